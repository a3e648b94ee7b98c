//! The held-out fold, scored once with the finished checkpoint.

use std::collections::HashMap;
use std::path::Path;

use tch::{Device, Tensor};

use crate::config::Config;
use crate::config::differences::differences;
use crate::dataset::metadata::ProcessedClip;
use crate::dataset::processed::{Dataset, Split};
use crate::error::{Error, Result};
use crate::model::tiny_ast::{TinyAst, predictions};
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::device;
use crate::training::input;
use crate::training::paths::checkpoint_path;

pub use crate::results::metrics::{Evaluation, ScoredClip};

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
    let held_out = HeldOut::open(config, path)?;
    let clips = held_out.means("reading probabilities", predictions)?;
    let clips =
        clips.into_iter().map(|(clip, mean)| ScoredClip::new(clip.filename.clone(), clip.target, mean)).collect();
    Ok(Evaluation { test_fold: held_out.split.test_fold, labels: held_out.dataset.labels.clone(), clips })
}

/// A checkpoint beside the fold it never saw.
pub(crate) struct HeldOut {
    pub dataset: Dataset,
    pub split: Split,
    checkpoint: Checkpoint,
    device: Device,
}

impl HeldOut {
    /// # Errors
    /// As [`evaluate`].
    pub fn open(config: &Config, path: &Path) -> Result<Self> {
        let device = device::select(config.train.device)?;
        let dataset = Dataset::open(config)?;
        let checkpoint = checkpoint::load(path, device)?;
        let split = dataset.split(&config.train)?;
        check_fit(path, &checkpoint.info, &dataset, &split)?;
        Ok(HeldOut { dataset, split, checkpoint, device })
    }

    /// What `network` makes of the inputs of clips, `(clips, n)`, as one row per recording: the mean of its windows.
    pub fn means(
        &self,
        action: &'static str,
        network: impl Fn(&TinyAst, &Tensor) -> Tensor,
    ) -> Result<Vec<(&ProcessedClip, Vec<f32>)>> {
        let Checkpoint { info, model, .. } = &self.checkpoint;
        let mut recordings: Vec<(&ProcessedClip, Vec<f32>)> = Vec::new();
        let mut n_windows: Vec<usize> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for batch in self.split.test.chunks(BATCH_SIZE) {
            let (inputs, _) = input::load(&self.dataset, batch, &info.model)?;
            let rows = Vec::<Vec<f32>>::try_from(network(model, &inputs.to_device(self.device)))
                .map_err(|source| Error::Torch { action, source })?;
            for (index, row) in batch.iter().zip(rows) {
                let clip = &self.dataset.clips[*index];
                let place = *places.entry(&clip.filename).or_insert(recordings.len());
                if place == recordings.len() {
                    recordings.push((clip, row));
                    n_windows.push(1);
                } else {
                    n_windows[place] += 1;
                    recordings[place].1.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
                }
            }
        }
        for ((_, sums), n_windows) in recordings.iter_mut().zip(n_windows) {
            sums.iter_mut().for_each(|sum| *sum /= n_windows as f32);
        }
        Ok(recordings)
    }
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
        let (expected, found) = differences(&dataset.settings, &info.settings);
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
