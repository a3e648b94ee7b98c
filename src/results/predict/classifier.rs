//! Classifying recordings with a checkpoint alone: it brings labels, settings and weights.

use std::path::Path;

use tch::{Device, Tensor};

use super::hearing::{FEW, Heard, Hearing, MANY, Verdict, check_hop, standing};
use super::prediction::Prediction;
use crate::config::Config;
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};
use crate::front_end::audio::Waveform;
use crate::front_end::features::{FeatureExtractor, Spectrogram};
use crate::model::tiny_ast::judge;
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::device;
use crate::training::familiarity::Familiarity;
use crate::training::input;
use crate::training::paths::checkpoint_path;

/// The released model with the project, from the project's folder: the good preset, trained on ESC-10 without its fold 1. Its sheet,
/// what it was trained with and how well it does, lies beside it as JSON.
pub const RELEASED: &str = "data/models/tinyast-esc10.safetensors";

/// A trained network with everything that turns a recording into what it takes.
pub struct Classifier {
    pub(crate) checkpoint: Checkpoint,
    pub(super) extractor: FeatureExtractor,
    pub(super) device: Device,
    hop_s: Option<f32>,
}

impl Classifier {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::StageMissing`] when there is no such file; [`Error::Checkpoint`] when it is damaged or is none of this crate.
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let checkpoint = checkpoint::load(path, device)?;
        let extractor = FeatureExtractor::new(&checkpoint.info.settings.features)?;
        Ok(Classifier { checkpoint, extractor, device, hop_s: None })
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

    /// How many seconds of a recording it was trained on at a time.
    pub fn clip_s(&self) -> f32 {
        self.checkpoint.info.settings.clip.duration_s
    }

    /// Lets the windows of a long recording overlap, one every `hop_s` seconds in place of one behind the other.
    ///
    /// # Errors
    /// [`Error::Config`] for a hop that is not above 0 and up to the clip's length.
    pub fn set_hop_s(&mut self, hop_s: f32) -> Result<()> {
        check_hop(hop_s, &self.checkpoint.info)?;
        self.hop_s = Some(hop_s);
        Ok(())
    }

    /// The highest frequency that it hears, in Hz.
    pub fn highest_hz(&self) -> f32 {
        self.checkpoint.info.settings.features.f_max_hz()
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
        // Behind what it made of the recording early.
        Ok(self.hearing().waveform(waveform)?.seen.split_off(self.embed_dim()))
    }

    /// The same of a file of any length.
    ///
    /// # Errors
    /// As [`Classifier::predict_file`].
    pub fn embedding_of_file(&mut self, path: &Path) -> Result<Vec<f32>> {
        let (heard, _) = self.hearing().file(path, &mut |_| true).map_err(|error| error.in_file(path))?;
        Ok(heard.seen.clone().split_off(self.embed_dim()))
    }

    /// Probability of every class, calibrated where the checkpoint says how. A recording longer than a clip is read as windows, whose
    /// probabilities are averaged; a shorter one is padded with silence, as in training.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, [`Error::Torch`] when the network cannot run.
    pub fn probabilities(&mut self, waveform: &Waveform) -> Result<(Vec<f32>, usize)> {
        let heard = self.hearing().waveform(waveform)?;
        Ok((heard.mean, heard.timeline.len()))
    }

    fn hearing(&mut self) -> Hearing<'_, impl FnMut(&[Spectrogram]) -> Result<Vec<Verdict>>> {
        let Classifier { checkpoint, extractor, device, hop_s } = self;
        let (checkpoint, device, hop_s) = (&*checkpoint, *device, *hop_s);
        let (info, familiarity) = (&checkpoint.info, checkpoint.familiarity.as_ref());
        let reference = familiarity.map(Familiarity::reference);
        let batch_size = if device.is_cuda() { MANY } else { FEW };
        Hearing::new(info, extractor, reference, batch_size, move |clips: &[Spectrogram]| {
            let inputs: Vec<_> =
                clips.iter().map(|clip| input::of_clip(clip, &info.model, &info.settings.features)).collect();
            let inputs = Tensor::cat(&inputs, 0).to_device(device);
            let (probabilities, stages) = judge(&checkpoint.model, &inputs);
            let distances = familiarity.map(|familiarity| familiarity.distances_of(&stages)).transpose()?;
            let rows = |tensor: Tensor| {
                Vec::<Vec<f32>>::try_from(tensor)
                    .map_err(|source| Error::Torch { action: "reading probabilities", source })
            };
            let verdicts = rows(probabilities)?.into_iter().zip(rows(stages)?).enumerate();
            let verdict = |(i, (probabilities, seen))| {
                let distance = distances.as_ref().and_then(|distances| distances.get(i)).copied();
                Verdict { probabilities, seen, distance }
            };
            Ok(verdicts.map(verdict).collect())
        })
        .every(hop_s)
    }

    /// Classifies one file in any format the crate reads, of any length.
    ///
    /// # Errors
    /// As [`audio::stream`](crate::front_end::audio::stream) and [`Classifier::probabilities`].
    pub fn predict_file(&mut self, path: &Path) -> Result<Prediction> {
        self.predict_file_while(path, &mut |_| true).map(|(prediction, _)| prediction)
    }

    /// The same as long as `go_on` says so, which is told how much of the file was read, 0 to 1; and whether that was to its end. What is said of a
    /// recording that was not heard to its end is said of its beginning.
    ///
    /// # Errors
    /// As [`Classifier::predict_file`].
    pub fn predict_file_while(
        &mut self,
        path: &Path,
        go_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<(Prediction, bool)> {
        let (heard, is_whole) = self.hearing().file(path, go_on).map_err(|error| error.in_file(path))?;
        Ok((self.judged(heard, path)?, is_whole))
    }

    /// Classifies a sound in memory; `path` is its name in the prediction.
    ///
    /// # Errors
    /// As [`Classifier::probabilities`].
    pub fn predict(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction> {
        let heard = self.hearing().waveform(waveform)?;
        self.judged(heard, path)
    }

    fn judged(&self, heard: Heard, path: &Path) -> Result<Prediction> {
        let familiarity = self.checkpoint.familiarity.as_ref();
        let distances =
            familiarity.map(|familiarity| familiarity.distances_of(&Tensor::from_slice(&heard.seen).unsqueeze(0)));
        let distance = distances.transpose()?.and_then(|distances| distances.first().copied());
        let standing = standing(heard.loudest_dbfs, familiarity.map(Familiarity::reference).zip(distance));
        Ok(heard.prediction(self.labels(), standing, path))
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
