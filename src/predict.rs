//! Classifying recordings with a checkpoint alone: it brings labels, settings and weights.

mod listening;

use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, Tensor};

use crate::audio::{self, Waveform};
use crate::catalog::{audio_files, passed_over};
use crate::checkpoint::{self, Checkpoint};
use crate::config::{ClipConfig, Config, LongClips};
use crate::dataset::Dataset;
use crate::features::FeatureExtractor;
use crate::model::verdicts;
use crate::preprocess::clips_of;
use crate::train::checkpoint_path;
use crate::{Error, Result, acquire, device, files, input};

pub use listening::Listening;

/// Windows of a long recording run through the network at once.
const BATCH_SIZE: usize = 64;

/// Lists the recordings that [`copy_examples`] put into the folder, a name a line.
const EXAMPLES_FILE: &str = ".examples.txt";

/// The network that ships with the project, from the project's folder: the good preset, trained on ESC-10 without its fold 1. Its sheet,
/// what it was trained with and how well it does, lies beside it as JSON.
pub const SHIPPED: &str = "data/models/tinyast-esc10.safetensors";

/// A trained network with everything that turns a recording into what it takes.
pub struct Classifier {
    checkpoint: Checkpoint,
    extractor: FeatureExtractor,
    device: Device,
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

/// The predictions for a folder.
#[derive(Debug)]
pub struct FolderPredictions {
    /// A prediction per readable recording, by name.
    pub predictions: Vec<Prediction>,
    /// Recordings that could not be read, with the reason.
    pub failed: Vec<(PathBuf, Error)>,
}

impl Classifier {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// As [`checkpoint::load`].
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let checkpoint = checkpoint::load(path, device)?;
        let extractor = FeatureExtractor::new(&checkpoint.info.settings.features)?;
        Ok(Classifier { checkpoint, extractor, device })
    }

    /// Reads the network that ships, on the CPU.
    ///
    /// # Errors
    /// As [`checkpoint::load`]; it looks for [`SHIPPED`] from the working folder.
    pub fn shipped() -> Result<Self> {
        Self::load(Path::new(SHIPPED), Device::Cpu)
    }

    /// Reads the network that the config's run trained, on the config's device.
    ///
    /// # Errors
    /// As [`checkpoint::load`]; [`Error::Config`] for a device that is not there.
    pub fn of_run(config: &Config) -> Result<Self> {
        Self::load(&checkpoint_path(config), device::select(config.train.device)?)
    }

    /// Class names in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.checkpoint.info.labels
    }

    /// Probability of every class. A recording longer than a clip is read as windows, whose probabilities are averaged; a
    /// shorter one is padded with silence, as in training.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, [`Error::Torch`] when the network cannot run.
    pub fn probabilities(&mut self, waveform: &Waveform) -> Result<(Vec<f32>, usize)> {
        let (mean, timeline) = self.listen(waveform)?;
        Ok((mean, timeline.len()))
    }

    /// Probability of every class, as the mean of all windows and for each of them.
    fn listen(&mut self, waveform: &Waveform) -> Result<(Vec<f32>, Vec<Window>)> {
        let info = &self.checkpoint.info;
        let sample_rate = info.settings.features.sample_rate;
        let samples = self.extractor.resample_parallel(&waveform.samples, waveform.sample_rate)?;
        let windows_config = ClipConfig { long_clips: LongClips::Windows, ..info.settings.clip };
        let windows: Vec<_> = clips_of(&samples, sample_rate, &windows_config).collect();
        let mut mean = vec![0.0; info.labels.len()];
        let mut timeline = Vec::with_capacity(windows.len());
        for batch in windows.chunks(BATCH_SIZE) {
            let mut inputs = Vec::with_capacity(batch.len());
            for (_, window) in batch {
                let spectrogram = self.extractor.extract(window, sample_rate)?;
                inputs.push(input::of_clip(&spectrogram, &info.model, &info.settings.features));
            }
            let inputs = Tensor::cat(&inputs, 0).to_device(self.device);
            let each = verdicts(&self.checkpoint.model, &inputs);
            let rows = Vec::<Vec<f32>>::try_from(each)
                .map_err(|source| Error::Torch { action: "reading probabilities", source })?;
            for ((start_s, samples), probabilities) in batch.iter().zip(rows) {
                mean.iter_mut().zip(&probabilities).for_each(|(mean, share)| *mean += share / windows.len() as f32);
                let start_s = f64::from(*start_s);
                let end_s = start_s + samples.len() as f64 / f64::from(sample_rate);
                timeline.push(Window { start_s, end_s: end_s.min(waveform.duration_s()), probabilities });
            }
        }
        Ok((mean, timeline))
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
        let (probabilities, mut timeline) = self.listen(waveform)?;
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let ranked = order.iter().map(|&class| (self.labels()[class].clone(), probabilities[class])).collect();
        for window in &mut timeline {
            window.probabilities = order.iter().map(|&class| window.probabilities[class]).collect();
        }
        let (duration_s, windows) = (waveform.duration_s(), timeline.len());
        Ok(Prediction { path: path.into(), duration_s, windows, ranked, timeline })
    }
}

/// Classifies every audio file under `config.data.test_dir` with the checkpoint of the config's run.
///
/// A file that cannot be read is listed and does not end the run.
///
/// # Errors
/// [`Error::StageMissing`] before training, [`Error::Checkpoint`] for a damaged checkpoint, [`Error::Dataset`] when the folder
/// holds no audio file.
pub fn predict_folder(config: &Config) -> Result<FolderPredictions> {
    let mut classifier = Classifier::of_run(config)?;
    let dir = &config.data.test_dir;
    let paths = recordings(dir)?;
    if paths.is_empty() {
        let expected = "at least one audio file".to_owned();
        let next = "Put recordings there, or call copy_examples to try clips of the held-out fold.".to_owned();
        return Err(Error::Dataset { root: dir.clone(), expected, found: "none".into(), next });
    }
    for name in passed_over(dir)? {
        println!("passed over {name}: this format is not read");
    }
    let mut result = FolderPredictions { predictions: Vec::new(), failed: Vec::new() };
    for path in paths {
        match classifier.predict_file(&path) {
            Ok(prediction) => result.predictions.push(prediction),
            Err(error) => result.failed.push((path, error)),
        }
    }
    Ok(result)
}

/// Puts up to `n` clips of the held-out fold into `config.data.test_dir`, each of another class as far as there are classes,
/// unless recordings of your own lie there. Examples of an earlier call are replaced. Returns what lies there then.
///
/// # Errors
/// [`Error::StageMissing`] before preprocessing, [`Error::Io`] when the folder cannot be written.
pub fn copy_examples(config: &Config, n: usize) -> Result<Vec<PathBuf>> {
    let dir = &config.data.test_dir;
    let dataset = Dataset::open(config)?;
    let catalog = acquire::open_catalog(config)?;
    let test = dataset.split(&config.train)?.test;
    let list = dir.join(EXAMPLES_FILE);
    for name in fs::read_to_string(&list).unwrap_or_default().lines().filter(|name| !name.contains(['/', '\\'])) {
        // One that is gone already is as good as removed.
        let _ = fs::remove_file(dir.join(name));
    }
    files::write_bytes(&list, b"")?;
    let present = recordings(dir)?;
    if !present.is_empty() {
        return Ok(present);
    }
    let mut used = vec![false; dataset.labels.len()];
    let mut names = Vec::new();
    for clip in test.into_iter().map(|index| &dataset.clips[index]) {
        if names.len() == n || std::mem::replace(&mut used[clip.target], true) {
            continue;
        }
        let name = clip.filename.replace('/', "__");
        let from = catalog.audio_dir.join(&clip.filename);
        let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
        names.push(name.clone());
        files::write_bytes(&list, names.join("\n").as_bytes())?;
        files::write_bytes(&dir.join(name), &bytes)?;
    }
    recordings(dir)
}

fn recordings(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    Ok(audio_files(dir)?.iter().map(|name| dir.join(name)).collect())
}
