//! A time to train in, turned into a number of epochs.

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
    let (mut n_steps, mut n_clips, mut clock) = (0, 0, Instant::now());
    'timing: loop {
        for (inputs, targets) in loader.epoch(1) {
            if n_steps == WARM_UP_STEPS {
                (n_clips, clock) = (0, Instant::now());
            }
            n_steps += 1;
            // At a rate that changes nothing, whatever the data.
            trainer.step(&inputs, &targets, 1, n_steps, 0.0)?;
            n_clips += targets.size()[0] as usize;
            if n_steps >= WARM_UP_STEPS + MIN_STEPS && clock.elapsed().as_secs_f64() >= timed_s {
                break 'timing;
            }
        }
    }
    let steps_s = clock.elapsed().as_secs_f64() / n_clips.max(1) as f64 * loader.n_clips() as f64;
    let rest = Instant::now();
    score(&mut trainer);
    let path = files::beside(&state_path(config));
    // Twice: an epoch writes its state and its checkpoint, which is smaller.
    for _ in 0..2 {
        trainer.state().save(&path, run)?;
    }
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    let epoch_s = steps_s + rest.elapsed().as_secs_f64();
    let left_s = budget_s - started.elapsed().as_secs_f64();
    Ok((left_s / epoch_s).round().clamp(1.0, 100_000.0) as usize)
}
