//! The held-out fold, scored once with the finished checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::config::Config;
use crate::config::differences::differences;
use crate::dataset::in_use::InUse;
use crate::dataset::metadata::ProcessedClip;
use crate::dataset::processed::Dataset;
use crate::dataset::split::Split;
use crate::distributed::peers::{Alone, Peers};
use crate::error::{Error, Result};
use crate::model::tiny_ast::{TinyAst, predictions};
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::device;
use crate::training::paths::checkpoint_path;
use crate::training::recordings;

pub use crate::results::metrics::{Evaluation, ScoredClip};

/// Scores the checkpoint of the config's run on the held-out fold. A recording of several windows counts once, by the mean
/// of its windows' probabilities, calibrated where the checkpoint says how.
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
    evaluated(config, path, &Alone)
}

/// [`evaluate`] by one of several processes: each scores its part of the fold, and all have the whole, with the numbers that one alone gets. The
/// first of them reads the checkpoint.
///
/// # Errors
/// As [`evaluate`]; [`Error::Process`] when another process is gone, or has other recordings.
pub fn evaluate_together(config: &Config, peers: &dyn Peers) -> Result<Evaluation> {
    evaluated(config, &checkpoint_path(config), peers)
}

fn evaluated(config: &Config, path: &Path, peers: &dyn Peers) -> Result<Evaluation> {
    let held_out = HeldOut::open(config, path, peers)?;
    let clips = held_out.means("reading probabilities", predictions)?;
    let calibration = held_out.checkpoint.info.calibration.clone();
    let scored = clips.into_iter().map(|(clip, mut mean)| {
        calibration.iter().for_each(|calibration| calibration.apply(&mut mean));
        ScoredClip::new(clip.filename.clone(), clip.target, mean)
    });
    let (clips, labels) = (scored.collect(), held_out.dataset.labels.clone());
    Ok(Evaluation { test_fold: held_out.split.test_fold, labels, clips, calibration })
}

/// A checkpoint beside the fold it never saw.
pub(crate) struct HeldOut<'a> {
    pub dataset: Dataset,
    pub split: Split,
    checkpoint: Checkpoint,
    device: Device,
    peers: &'a dyn Peers,
    /// Its spectrograms stay what they are.
    _in_use: InUse,
}

/// What the processes that score a fold must have alike.
#[derive(Clone, Serialize, Deserialize)]
struct Scored {
    fold: u32,
    labels: Vec<String>,
    recordings: String,
}

impl<'a> HeldOut<'a> {
    /// # Errors
    /// As [`evaluate_together`].
    pub fn open(config: &Config, path: &Path, peers: &'a dyn Peers) -> Result<Self> {
        let device = device::of_process(device::select(config.train.device)?, peers.local_rank());
        let in_use = InUse::to_read(&config.data.processed_dir)?;
        let dataset = Dataset::open(config)?;
        let split = dataset.split(&config.train)?;
        if peers.size() > 1 {
            let recordings = dataset.fingerprint(split.test.iter().copied());
            peers.agree(&Scored { fold: split.test_fold, labels: dataset.labels.clone(), recordings })?;
        }
        let checkpoint = checkpoint::load_together(path, device, peers)?;
        check_fit(path, &checkpoint.info, &dataset, &split)?;
        Ok(HeldOut { dataset, split, checkpoint, device, peers, _in_use: in_use })
    }

    /// What `network` makes of the inputs of clips, `(clips, n)`, as one row per recording: the mean of its windows.
    pub fn means(
        &self,
        action: &'static str,
        network: impl Fn(&TinyAst, &Tensor) -> Tensor,
    ) -> Result<Vec<(&ProcessedClip, Vec<f32>)>> {
        let Checkpoint { info, model, .. } = &self.checkpoint;
        let network = |inputs: &Tensor| network(model, inputs);
        recordings::means(&self.dataset, &self.split.test, (&info.model, self.device), action, self.peers, network)
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
    let is_seen = |source: &str| info.seen_sources.binary_search_by(|seen| seen.as_str().cmp(source)).is_ok();
    let seen = |index: &&usize| is_seen(&dataset.clips[**index].source);
    match split.test.iter().filter(seen).count() {
        0 => Ok(()),
        n_seen => unfit(format!("fold {} held out", split.test_fold), format!("{n_seen} of its clips trained on")),
    }
}
