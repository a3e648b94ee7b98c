//! The held-out fold, scored once with the finished checkpoint.

use std::collections::HashMap;
use std::path::Path;

use crate::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::config::Config;
use crate::dataset::{Dataset, Split};
use crate::model::verdicts;
use crate::train::checkpoint_path;
use crate::{Error, Result, device, input};

pub use crate::metrics::{Evaluation, ScoredClip};

/// Clips run through the network at once.
const BATCH_SIZE: usize = 64;

/// Scores the checkpoint of the config's run on the held-out fold. A recording of several windows counts once, by the mean
/// of its windows' probabilities.
///
/// # Errors
/// [`Error::StageMissing`] before preprocessing or training; [`Error::Checkpoint`] when the checkpoint was trained for other
/// classes, on other spectrograms, or on recordings of the fold that is to be held out.
pub fn evaluate(config: &Config) -> Result<Evaluation> {
    evaluate_checkpoint(config, &checkpoint_path(config))
}

/// [`evaluate`] with the checkpoint in a file.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_checkpoint(config: &Config, path: &Path) -> Result<Evaluation> {
    let device = device::select(config.train.device)?;
    let dataset = Dataset::open(config)?;
    let Checkpoint { info, model, vs: _vs } = checkpoint::load(path, device)?;
    let split = dataset.split(&config.train)?;
    check_fit(path, &info, &dataset, &split)?;

    let mut clips: Vec<ScoredClip> = Vec::new();
    let mut n_windows: Vec<usize> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for batch in split.test.chunks(BATCH_SIZE) {
        let (inputs, _) = input::load(&dataset, batch, &info.model)?;
        let rows = Vec::<Vec<f32>>::try_from(verdicts(&model, &inputs.to_device(device)))
            .map_err(|source| Error::Torch { action: "reading probabilities", source })?;
        for (index, probabilities) in batch.iter().zip(rows) {
            let clip = &dataset.clips[*index];
            let place = *places.entry(&clip.filename).or_insert(clips.len());
            if place == clips.len() {
                clips.push(ScoredClip::new(clip.filename.clone(), clip.target, probabilities));
                n_windows.push(1);
            } else {
                n_windows[place] += 1;
                clips[place].probabilities.iter_mut().zip(probabilities).for_each(|(sum, more)| *sum += more);
            }
        }
    }
    let mean = |(clip, n_windows): (ScoredClip, usize)| {
        let probabilities = clip.probabilities.iter().map(|sum| sum / n_windows as f32).collect();
        ScoredClip::new(clip.filename, clip.actual, probabilities)
    };
    let clips = clips.into_iter().zip(n_windows).map(mean).collect();
    Ok(Evaluation { test_fold: split.test_fold, labels: dataset.labels, clips })
}

/// Refuses a checkpoint whose score on this data would not mean what it says.
fn check_fit(path: &Path, info: &CheckpointInfo, dataset: &Dataset, split: &Split) -> Result<()> {
    let unfit = |expected: String, found: String| {
        let next = "Run the stage \"Train\" again with this config.".to_owned();
        Err(Error::Checkpoint { path: path.into(), expected, found, next })
    };
    if info.labels != dataset.labels {
        return unfit(format!("the classes {:?}", dataset.labels), format!("{:?}", info.labels));
    }
    if info.settings != dataset.settings {
        let (expected, found) = dataset.settings.differences(&info.settings);
        return unfit(expected, found);
    }
    if info.dataset != dataset.name {
        return unfit(format!("a network trained on {}", dataset.name), format!("one trained on {}", info.dataset));
    }
    let seen = |index: &&usize| info.seen_sources.binary_search(&dataset.clips[**index].source).is_ok();
    match split.test.iter().filter(seen).count() {
        0 => Ok(()),
        n_seen => unfit(format!("fold {} held out", split.test_fold), format!("{n_seen} of its clips trained on")),
    }
}
