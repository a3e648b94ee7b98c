//! A time to train in, turned into a number of epochs.

use std::collections::HashSet;
use std::fs;
use std::time::Instant;

use crate::config::{Config, Schedule, TrainConfig};
use crate::distributed::peers::Peers;
use crate::error::{Error, Result};
use crate::files;
use crate::model::tiny_ast::TinyAst;
use crate::training::loader::Loader;
use crate::training::paths::state_path;
use crate::training::resume::Progress;
use crate::training::trainer::Trainer;

/// Steps before the clock runs: the first ones allocate what the later ones use again.
const WARM_UP_STEPS: usize = 2;
/// The fewest steps that are timed, and the share of the budget, in seconds from the first to the second, that more are timed for.
const MIN_STEPS: usize = 3;
const TIMED_SHARE: f64 = 0.03;
const TIMED_S: (f64, f64) = (0.5, 15.0);
/// What an epoch writes, its state and its checkpoint of a quarter that size, beside the state alone.
const WRITES: f64 = 1.3;
/// And the most of the budget that this may take.
const MAX_SHARE: f64 = 0.3;

/// What the end of a run takes, in epochs: a last look at the recordings.
const END: f64 = 0.5;

/// Seconds an epoch takes, from those of the later half of `done`, the last of which ended after `took_s`: what else the machine did at first is no
/// longer told. `elapsed_s` tells when each of those before it ended.
pub(crate) fn pace(elapsed_s: &[f64], took_s: f64) -> f64 {
    let done = elapsed_s.len() + 1;
    let early = done / 2;
    let since = early.checked_sub(1).map_or(0.0, |last| elapsed_s[last]);
    (took_s - since) / (done - early) as f64
}

/// How many epochs the run should have, from how long one takes and how many are `done`; `epochs` where it is too late for another number: from half of
/// the run on its step size depends on it, and where the run is so short that its rise does.
pub(crate) fn again(
    config: &TrainConfig,
    epochs: usize,
    done: usize,
    n_batches: usize,
    epoch_s: f64,
    left_s: f64,
) -> usize {
    let Schedule::Hold { warmup_steps } = config.schedule else { return epochs };
    let fitting = done as f64 + left_s / epoch_s.max(1e-9) - END;
    let fitting = (fitting.round().clamp(1.0, 100_000.0) as usize).max(2 * done);
    let rises_alike = fitting.min(epochs) * n_batches / 10 >= warmup_steps;
    if 2 * done <= epochs && rises_alike { fitting } else { epochs }
}

/// How many epochs of this run end within `config.train.minutes` of `started`: a network that is thrown away takes some steps, is
/// scored on the validation clips and saved, as every epoch will be. Of several processes the first one's clock counts.
///
/// # Errors
/// As the training itself.
pub(crate) fn epochs(
    config: &Config,
    (minutes, started): (f64, Instant),
    loader: &Loader,
    mut trainer: Trainer<TinyAst>,
    score: impl FnOnce(&mut Trainer<TinyAst>) -> Result<()>,
    run: &Progress,
    peers: &dyn Peers,
) -> Result<usize> {
    let budget_s = 60.0 * minutes;
    let timed_s = (TIMED_SHARE * budget_s).clamp(TIMED_S.0, TIMED_S.1);
    let (mut n_steps, mut n_timed, mut n_clips, mut steps_s) = (0, 0, 0, 0.0);
    let (clock, mut sizes_met) = (Instant::now(), HashSet::new());
    'timing: loop {
        let mut begun = Instant::now();
        for batch in loader.epoch(1) {
            let batch = batch?;
            n_steps += 1;
            let size = batch.n_clips;
            // At a rate that changes nothing, whatever the data.
            trainer.step(&batch, false, 1, n_steps, 0.0)?;
            // A batch of a new size costs once what the next ones do not.
            if !sizes_met.insert(size) && n_steps > WARM_UP_STEPS {
                n_timed += 1;
                n_clips += size;
                steps_s += begun.elapsed().as_secs_f64();
            }
            let is_enough = n_timed >= MIN_STEPS && steps_s >= timed_s;
            let is_enough = is_enough || clock.elapsed().as_secs_f64() >= MAX_SHARE * budget_s;
            if peers.told_by_first(is_enough)? {
                break 'timing;
            }
            begun = Instant::now();
        }
    }
    if peers.told_by_first(n_clips == 0)? {
        // One step takes up the whole budget: an epoch will not end before it.
        return Ok(1);
    }
    let steps_s = steps_s / n_clips as f64 * loader.n_clips() as f64;
    let clock = Instant::now();
    score(&mut trainer)?;
    let score_s = clock.elapsed().as_secs_f64();
    if !peers.is_first() {
        return peers.told_by_first(0);
    }
    let path = files::beside(&state_path(config));
    // The first one makes the file and its room in memory.
    trainer.state().save(&path, run)?;
    let clock = Instant::now();
    trainer.state().save(&path, run)?;
    let epoch_s = steps_s + score_s + WRITES * clock.elapsed().as_secs_f64();
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    let left_s = budget_s - started.elapsed().as_secs_f64();
    peers.told_by_first((left_s / epoch_s).round().clamp(1.0, 100_000.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::optim::learning_rate;

    fn held() -> TrainConfig {
        TrainConfig { schedule: Schedule::Hold { warmup_steps: 50 }, ..TrainConfig::default() }
    }

    #[test]
    fn a_run_that_is_faster_or_slower_than_it_was_thought_gets_another_number_of_epochs() {
        // 100 epochs planned, ten done: at 1 s each with 90 s left they are right, but for the end.
        assert_eq!(again(&held(), 100, 10, 10, 1.0, 90.0), 100);
        assert_eq!(again(&held(), 100, 10, 10, 1.0, 200.0), 210);
        assert_eq!(again(&held(), 200, 10, 10, 2.0, 190.0), 105);
        // From half of the run on, and where another number would have risen otherwise, it stays.
        assert_eq!(again(&held(), 100, 51, 10, 1.0, 500.0), 100);
        assert_eq!(again(&held(), 40, 10, 10, 1.0, 90.0), 40);
        // Never to fewer than were done at the full step size.
        assert_eq!(again(&held(), 100, 45, 10, 2.0, 1.0), 90);
        let cosine = TrainConfig { schedule: Schedule::Cosine { warmup_steps: 50 }, ..held() };
        assert_eq!(again(&cosine, 100, 10, 10, 1.0, 500.0), 100);
    }

    #[test]
    fn an_epoch_takes_what_the_later_ones_took() {
        assert_eq!(pace(&[], 3.0), 3.0);
        assert_eq!(pace(&[3.0], 4.0), 1.0);
        // Slow at first, beside other work.
        assert_eq!(pace(&[5.0, 10.0, 11.0], 12.0), 1.0);
        assert_eq!(pace(&[1.0, 2.0, 7.0, 12.0], 17.0), 5.0);
    }

    #[test]
    fn the_steps_before_a_correction_are_those_of_the_corrected_run() {
        for (planned, done, epoch_s, left_s) in [(100, 10, 1.0, 300.0), (300, 100, 3.0, 90.0), (200, 99, 1.0, 77.0)] {
            let corrected = again(&held(), planned, done, 8, epoch_s, left_s);
            for step in 1..=done * 8 {
                let rates = [planned, corrected].map(|epochs| learning_rate(&held(), step, epochs * 8));
                assert_eq!(rates[0], rates[1], "step {step} of {planned} or {corrected} epochs");
            }
        }
    }
}
