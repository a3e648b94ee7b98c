//! Classifying recordings with a checkpoint alone: it brings labels, settings and weights.

use std::fmt;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use crate::config::{ClipConfig, Config, LongClips};
use crate::dataset::measure::loudest_dbfs;
use crate::dataset::preprocess::clips_of;
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};
use crate::front_end::audio::{self, Waveform};
use crate::front_end::features::FeatureExtractor;
use crate::model::tiny_ast::judge;
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::device;
use crate::training::familiarity::UNLIKE;
use crate::training::input;
use crate::training::paths::checkpoint_path;

/// Windows of a long recording run through the network at once.
const BATCH_SIZE: usize = 64;

/// The released model with the project, from the project's folder: the good preset, trained on ESC-10 without its fold 1. Its sheet,
/// what it was trained with and how well it does, lies beside it as JSON.
pub const RELEASED: &str = "data/models/tinyast-esc10.safetensors";

/// What a recording is called that is unlike everything a network was trained on.
pub const NONE_OF_THESE: &str = "none of these";

/// The level of 10 ms that is no louder than the least step of 16 bits, in dBFS.
pub(crate) const SILENCE_DBFS: f64 = -90.3;

/// A trained network with everything that turns a recording into what it takes.
pub struct Classifier {
    pub(super) checkpoint: Checkpoint,
    pub(super) extractor: FeatureExtractor,
    pub(super) device: Device,
}

/// What the network thinks of one recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The recording.
    pub path: PathBuf,
    /// Its length in seconds.
    pub duration_s: f64,
    /// How many windows of the clip length were averaged.
    pub windows: usize,
    /// Classes with their probabilities, the most probable first.
    pub ranked: Vec<(String, f32)>,
    /// What it thinks of each window, in their order.
    pub timeline: Vec<Window>,
    /// Whether it is like what the network was trained on, or none of it.
    pub standing: Standing,
}

/// How a recording compares with those a network was trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// There is nothing to hear: no part of it is louder than the least step of 16 bits, because it is silent or because its channels cancel
    /// each other.
    Silent,
    /// It is further from every class than nearly all recordings of the kind trained on: of a hundred such recordings that the network did not
    /// know, this share or fewer lay as far away; at most 0.05.
    Unlike(f64),
    /// It is as near as such recordings are: this share of them lay as far away.
    Like(f64),
    /// The network knows no recordings to compare with.
    Unknown,
}

impl Standing {
    /// Whether the classes of the network should not be believed: the recording is of none of them.
    pub fn is_none_of_these(self) -> bool {
        matches!(self, Standing::Silent | Standing::Unlike(_))
    }

    /// In a word, for programs to read: `silent`, `unlike`, `like`, `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Silent => "silent",
            Standing::Unlike(_) => "unlike",
            Standing::Like(_) => "like",
            Standing::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Silent => write!(f, "nothing to hear: silence, or channels that cancel each other"),
            Standing::Unlike(share) => {
                write!(f, "unlike what it was trained on: {:.0} of 100 such recordings lie as far away", 100.0 * share)
            }
            Standing::Like(_) => write!(f, "like what it was trained on"),
            Standing::Unknown => write!(f, "not compared with what it was trained on"),
        }
    }
}

impl Prediction {
    /// What to name the recording: its most probable class, or "none of these".
    pub fn name(&self) -> &str {
        match self.ranked.first() {
            Some((label, _)) if !self.standing.is_none_of_these() => label,
            _ => NONE_OF_THESE,
        }
    }
}

/// What the network thinks of one window of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Where it starts, in seconds. The last window ends with the recording, and may overlap the one before.
    pub start_s: f64,
    /// Where it ends, in seconds.
    pub end_s: f64,
    /// Probability of every class; in a [`Prediction`] in the order of its `ranked`.
    pub probabilities: Vec<f32>,
}

impl Classifier {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::StageMissing`] when there is no such file; [`Error::Checkpoint`] when it is damaged or is none of this crate.
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let checkpoint = checkpoint::load(path, device)?;
        let extractor = FeatureExtractor::new(&checkpoint.info.settings.features)?;
        Ok(Classifier { checkpoint, extractor, device })
    }

    /// Reads the released model, on the CPU.
    ///
    /// # Errors
    /// As [`Classifier::load`]; it looks for [`RELEASED`] from the working folder.
    pub fn released() -> Result<Self> {
        Self::load(Path::new(RELEASED), Device::Cpu)
    }

    /// Reads the network that the config's run trained, on the config's device.
    ///
    /// # Errors
    /// As [`Classifier::load`]; [`Error::Checkpoint`] when the network is of another data set, or of other classes than the data set has
    /// since its last preprocessing; [`Error::Config`] for a device that is not there.
    pub fn of_run(config: &Config) -> Result<Self> {
        let path = checkpoint_path(config);
        let classifier = Self::load(&path, device::select(config.train.device)?)?;
        check_identity(&path, &classifier.checkpoint.info, config)?;
        Ok(classifier)
    }

    /// Class names in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.checkpoint.info.labels
    }

    /// Numbers in an embedding.
    pub fn embed_dim(&self) -> usize {
        self.checkpoint.info.model.embed_dim
    }

    /// What the head sees of a recording: `embed_dim` numbers, the mean over its windows.
    ///
    /// # Errors
    /// As [`Classifier::probabilities`].
    pub fn embedding(&mut self, waveform: &Waveform) -> Result<Vec<f32>> {
        let (_, _, stages) = self.hear(waveform)?;
        let dim = self.embed_dim() as i64;
        // Behind what it made of the recording early.
        Vec::try_from(stages.narrow(1, dim, dim).flatten(0, 1))
            .map_err(|source| Error::Torch { action: "reading an embedding", source })
    }

    /// Probability of every class, calibrated where the checkpoint says how. A recording longer than a clip is read as windows, whose
    /// probabilities are averaged; a shorter one is padded with silence, as in training.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, [`Error::Torch`] when the network cannot run.
    pub fn probabilities(&mut self, waveform: &Waveform) -> Result<(Vec<f32>, usize)> {
        let (mean, timeline, _) = self.listen(waveform)?;
        Ok((mean, timeline.len()))
    }

    /// Probability of every class, as the mean of all windows and for each of them, and how the recording stands.
    fn listen(&mut self, waveform: &Waveform) -> Result<(Vec<f32>, Vec<Window>, Standing)> {
        let (mean, timeline, stages) = self.hear(waveform)?;
        let standing = match &self.checkpoint.familiarity {
            _ if loudest_dbfs(waveform) <= SILENCE_DBFS => Standing::Silent,
            Some(familiarity) => {
                let distances = familiarity.distances_of(&stages)?;
                let share = familiarity.share_as_far(distances.first().copied().unwrap_or(f32::INFINITY));
                if share <= UNLIKE { Standing::Unlike(share) } else { Standing::Like(share) }
            }
            None => Standing::Unknown,
        };
        Ok((mean, timeline, standing))
    }

    /// Probability of every class, as the mean of all windows and for each of them, and what the network makes of the recording early and
    /// late, `(1, 2 · embed_dim)`.
    fn hear(&mut self, waveform: &Waveform) -> Result<(Vec<f32>, Vec<Window>, Tensor)> {
        let info = &self.checkpoint.info;
        let sample_rate = info.settings.features.sample_rate;
        let samples = self.extractor.resample_parallel(&waveform.samples, waveform.sample_rate)?;
        let windows_config = ClipConfig { long_clips: LongClips::Windows, ..info.settings.clip };
        let windows: Vec<_> = clips_of(&samples, sample_rate, &windows_config).collect();
        let mut mean = vec![0.0; info.labels.len()];
        let mut timeline = Vec::with_capacity(windows.len());
        let mut seen: Option<Tensor> = None;
        for batch in windows.chunks(BATCH_SIZE) {
            let mut inputs = Vec::with_capacity(batch.len());
            for (_, window) in batch {
                let spectrogram = self.extractor.extract(window, sample_rate)?;
                inputs.push(input::of_clip(&spectrogram, &info.model, &info.settings.features));
            }
            let inputs = Tensor::cat(&inputs, 0).to_device(self.device);
            let (each, stages) = judge(&self.checkpoint.model, &inputs);
            let stages = stages.sum_dim_intlist(0i64, true, Kind::Float);
            seen = Some(seen.map_or(stages.shallow_clone(), |before| before + stages));
            let rows = Vec::<Vec<f32>>::try_from(each)
                .map_err(|source| Error::Torch { action: "reading probabilities", source })?;
            for ((start_s, samples), probabilities) in batch.iter().zip(rows) {
                mean.iter_mut().zip(&probabilities).for_each(|(mean, share)| *mean += share / windows.len() as f32);
                let start_s = f64::from(*start_s);
                let end_s = start_s + samples.len() as f64 / f64::from(sample_rate);
                timeline.push(Window { start_s, end_s: end_s.min(waveform.duration_s()), probabilities });
            }
        }
        if let Some(calibration) = &info.calibration {
            calibration.apply(&mut mean);
            timeline.iter_mut().for_each(|window| calibration.apply(&mut window.probabilities));
        }
        let stages = seen.map(|seen| seen / windows.len() as f64);
        let nothing = || Tensor::zeros([1, 2 * info.model.embed_dim as i64], (Kind::Float, self.device));
        Ok((mean, timeline, stages.unwrap_or_else(nothing)))
    }

    /// Classifies one file in any format the crate reads.
    ///
    /// # Errors
    /// [`Error::Audio`] and [`Error::Io`] as [`audio::read`].
    pub fn predict_file(&mut self, path: &Path) -> Result<Prediction> {
        self.predict(&audio::read(path)?, path).map_err(|error| error.in_file(path))
    }

    /// Classifies a sound in memory; `path` is its name in the prediction.
    ///
    /// # Errors
    /// As [`Classifier::probabilities`].
    pub fn predict(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction> {
        let (probabilities, mut timeline, standing) = self.listen(waveform)?;
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let ranked = order.iter().map(|&class| (self.labels()[class].clone(), probabilities[class])).collect();
        for window in &mut timeline {
            window.probabilities = order.iter().map(|&class| window.probabilities[class]).collect();
        }
        let (duration_s, windows) = (waveform.duration_s(), timeline.len());
        Ok(Prediction { path: path.into(), duration_s, windows, ranked, timeline, standing })
    }
}

/// Refuses a network that would answer with the classes of something else than the config's data set.
fn check_identity(path: &Path, info: &CheckpointInfo, config: &Config) -> Result<()> {
    let unfit = |expected: String, found: String| {
        let next =
            "Run the stage \"Train\" again with this config; to ask this network all the same, load it by its path."
                .into();
        Err(Error::Checkpoint { path: path.into(), expected, found, next })
    };
    let name = config.data.name();
    if info.dataset != name {
        return unfit(format!("a network trained on {name}"), format!("one trained on {}", info.dataset));
    }
    // Before preprocessing, or with spectrograms that are stale, there are no other classes to compare with.
    match Dataset::open(config) {
        Ok(dataset) if dataset.labels != info.labels => {
            unfit(format!("the classes {:?}", dataset.labels), format!("{:?}", info.labels))
        }
        _ => Ok(()),
    }
}
