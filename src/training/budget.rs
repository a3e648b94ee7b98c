//! A time to train in, turned into a number of epochs.

use std::collections::HashSet;
use std::fs;
use std::time::Instant;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files;
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

/// How many epochs of this run end within `config.train.minutes` of `started`: a network that is thrown away takes some steps, is
/// scored on the validation clips and saved, as every epoch will be.
///
/// # Errors
/// As the training itself.
pub(crate) fn epochs(
    config: &Config,
    minutes: f64,
    started: Instant,
    loader: &Loader,
    mut trainer: Trainer,
    score: impl FnOnce(&mut Trainer),
    run: &Progress,
) -> Result<usize> {
    let budget_s = 60.0 * minutes;
    let timed_s = (TIMED_SHARE * budget_s).clamp(TIMED_S.0, TIMED_S.1);
    let (mut n_steps, mut n_timed, mut n_clips, mut steps_s) = (0, 0, 0, 0.0);
    let (clock, mut sizes_met) = (Instant::now(), HashSet::new());
    'timing: loop {
        let mut begun = Instant::now();
        for (inputs, targets) in loader.epoch(1) {
            n_steps += 1;
            let size = targets.size()[0];
            // At a rate that changes nothing, whatever the data.
            trainer.step(&inputs, &targets, 1, n_steps, 0.0)?;
            // A batch of a new size costs once what the next ones do not.
            if !sizes_met.insert(size) && n_steps > WARM_UP_STEPS {
                n_timed += 1;
                n_clips += size as usize;
                steps_s += begun.elapsed().as_secs_f64();
            }
            if (n_timed >= MIN_STEPS && steps_s >= timed_s) || clock.elapsed().as_secs_f64() >= MAX_SHARE * budget_s {
                break 'timing;
            }
            begun = Instant::now();
        }
    }
    if n_clips == 0 {
        // One step takes up the whole budget: an epoch will not end before it.
        return Ok(1);
    }
    let steps_s = steps_s / n_clips as f64 * loader.n_clips() as f64;
    let clock = Instant::now();
    score(&mut trainer);
    let score_s = clock.elapsed().as_secs_f64();
    let path = files::beside(&state_path(config));
    // The first one makes the file and its room in memory.
    trainer.state().save(&path, run)?;
    let clock = Instant::now();
    trainer.state().save(&path, run)?;
    let epoch_s = steps_s + score_s + WRITES * clock.elapsed().as_secs_f64();
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    let left_s = budget_s - started.elapsed().as_secs_f64();
    Ok((left_s / epoch_s).round().clamp(1.0, 100_000.0) as usize)
}
