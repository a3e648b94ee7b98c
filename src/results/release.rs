//! A trained network made ready to travel: half precision, and a sheet of what was measured.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Device;

use crate::config::differences::differences;
use crate::config::{Config, TinyAstConfig, TrainConfig};
use crate::dataset::processed::Dataset;
use crate::distributed::peers::Alone;
use crate::error::{Error, Result};
use crate::files;
use crate::model::tensors::Precision;
use crate::results::cross_validate::{CrossValidation, of_fold};
use crate::results::evaluate::evaluate_checkpoint;
use crate::results::export;
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::familiarity::Familiarity;
use crate::training::known::Known;
use crate::training::paths::checkpoint_path;
use crate::training::resume::same_run;

/// What a released model is worth, and how it came about; a JSON file beside the weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sheet {
    /// For each seed, the accuracy on every fold in the folds' order, 0 to 1.
    pub fold_accuracies: Vec<SeedAccuracies>,
    /// The mean over the folds that no choice of the recipe has scored, and over the seeds.
    pub mean_accuracy: f64,
    /// The mean over all folds and seeds.
    pub mean_accuracy_all: f64,
    /// The fold that the released model has not heard.
    pub released_fold: u32,
    /// Accuracy on that fold, measured with the released file itself.
    pub released_accuracy: f64,
    /// Trainable numbers.
    pub parameters: usize,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The recipe.
    pub settings: Settings,
    /// What makes these files again.
    pub command: String,
    /// Seconds of training for all folds and seeds, one after another.
    pub training_seconds: f64,
}

/// The accuracies of one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedAccuracies {
    /// The seed.
    pub seed: u64,
    /// Fold by fold.
    pub accuracies: Vec<f64>,
}

/// A recipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The architecture.
    pub model: TinyAstConfig,
    /// The training.
    pub train: TrainConfig,
}

/// Where released weights lie; their sheet has the same name and the extension `json`.
pub fn released_path(config: &Config) -> PathBuf {
    config.data.models_dir.join(format!("tinyast-{}.safetensors", config.data.name()))
}

/// Where the predictions of all runs lie, beside released weights.
pub fn record_path(weights: &Path) -> PathBuf {
    weights.with_extension("runs.jsonl")
}

/// Where the same network lies as ONNX, for programs without libtorch.
pub fn onnx_path(weights: &Path) -> PathBuf {
    weights.with_extension("onnx")
}

/// Writes the network that held out `fold` in half precision, with how sure it may be (from the other folds' runs) and with what is like the
/// recordings it knows (from how far recordings lay from a `sibling`, the checkpoint of the same recipe that kept some back), measures that very file on the fold, and writes its sheet and the record of
/// all runs.
///
/// # Errors
/// [`Error::StageMissing`] before the run; [`Error::Checkpoint`] when its weights are of another recipe or of a run that is not finished;
/// as [`evaluate`](crate::evaluate); [`Error::Io`] when the folder cannot be written.
pub fn release(
    config: &Config,
    all: &CrossValidation,
    fold: u32,
    seed: u64,
    counts: impl Fn(u32) -> bool,
    command: &str,
    sibling: &Path,
) -> Result<Sheet> {
    let run = of_fold(config, fold, seed);
    let path = released_path(config);
    let checkpoint = checkpoint::load(&checkpoint_path(&run), Device::Cpu)?;
    check_recipe(&checkpoint_path(&run), &checkpoint.info, &run)?;
    let info = checkpoint.info.clone();
    save_told(&path, &run, checkpoint, all, sibling)?;
    export::onnx(&path, &onnx_path(&path))?;
    let seeds = all.seeds();
    let fold_accuracies = seeds.iter().map(|&seed| SeedAccuracies {
        seed,
        accuracies: all.accuracies(seed).into_iter().map(|(_, accuracy)| accuracy).collect(),
    });
    let sheet = Sheet {
        fold_accuracies: fold_accuracies.collect(),
        mean_accuracy: all.over_folds(counts).mean,
        mean_accuracy_all: all.over_folds(|_| true).mean,
        released_fold: fold,
        released_accuracy: evaluate_checkpoint(&run, &path)?.accuracy(),
        parameters: info.model.n_parameters(info.labels.len()).unwrap_or_default(),
        seeds: seeds.clone(),
        settings: Settings { model: config.model.clone(), train: config.train.clone() },
        command: command.into(),
        training_seconds: seeds.iter().map(|seed| all.training_s(*seed)).sum(),
    };
    let json = serde_json::to_vec_pretty(&sheet).map_err(|error| Error::io("write", &path)(error.into()))?;
    files::write_bytes(&path.with_extension("json"), &json)?;
    all.save(&record_path(&path))?;
    Ok(sheet)
}

/// Tells released weights again how sure they may be and what is like the recordings they know, and changes nothing else of them: where a newer
/// version knows more to tell. `sibling` is as for [`release`].
///
/// # Errors
/// As [`release`].
pub fn tell(path: &Path, run: &Config, all: &CrossValidation, sibling: &Path) -> Result<()> {
    save_told(path, run, checkpoint::load(path, Device::Cpu)?, all, sibling)?;
    export::onnx(path, &onnx_path(path))
}

fn save_told(path: &Path, run: &Config, checkpoint: Checkpoint, all: &CrossValidation, sibling: &Path) -> Result<()> {
    let Checkpoint { mut info, model, vs, .. } = checkpoint;
    info.calibration = all.calibration_without(info.test_fold);
    let dataset = Dataset::open(run)?;
    let split = dataset.split(&run.train)?;
    let reference = reference_of(sibling, &info)?;
    let known = Known { dataset: &dataset, split: &split, model: &model, device: Device::Cpu, peers: &Alone };
    let familiarity = match &reference {
        Some(reference) => known.familiarity_with(reference)?,
        None => None,
    };
    checkpoint::save(path, &vs, &info, familiarity.as_ref(), Precision::Half)
}

/// How far recordings lie from a sibling that it was not trained on; `None` where it kept too few to tell. Refuses one whose distances would
/// not speak of the released weights.
fn reference_of(sibling: &Path, info: &CheckpointInfo) -> Result<Option<Familiarity>> {
    let Checkpoint { info: theirs, familiarity, .. } = checkpoint::load(sibling, Device::Cpu)?;
    let unfit = |expected: String, found: String| {
        let next = "Train it with the released recipe, the same fold held out, and train.validate.".to_owned();
        Error::Checkpoint { path: sibling.into(), expected, found, next }
    };
    // What it kept out of its training, and its name, make it a sibling; half precision is for CUDA alone.
    let kin = |info: &CheckpointInfo| CheckpointInfo {
        train: TrainConfig {
            run_name: String::new(),
            test_fold: None,
            validate: false,
            keep_back: 0.0,
            mixed_precision: false,
            ..same_run(&info.train)
        },
        seen_sources: Vec::new(),
        calibration: None,
        ..info.clone()
    };
    let (expected, found) = differences(&kin(info), &kin(&theirs));
    if !expected.is_empty() {
        return Err(unfit(expected, found));
    }
    if !theirs.train.validate && theirs.train.keep_back == 0.0 {
        return Err(unfit("a network that kept recordings out of its training".into(), "none kept".into()));
    }
    Ok(familiarity)
}

/// Refuses weights that the sheet's accuracies would not speak of. A run's name enters no number, and its epochs are those it was trained.
fn check_recipe(path: &Path, info: &CheckpointInfo, run: &Config) -> Result<()> {
    let recipe = |model: &TinyAstConfig, train: &TrainConfig, epochs: usize| Settings {
        model: model.clone(),
        train: TrainConfig { run_name: String::new(), epochs, ..same_run(train) },
    };
    let wanted = recipe(&run.model, &run.train, run.train.epochs);
    let (expected, found) = differences(&wanted, &recipe(&info.model, &info.train, info.epoch));
    if expected.is_empty() {
        return Ok(());
    }
    let next = "Remove it and the result of its fold, and train that run again.".to_owned();
    Err(Error::Checkpoint { path: path.into(), expected, found, next })
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} parameters; fold {} with the released file: {:.2} %; mean of the folds no choice has scored {:.2} %, of all {:.2} %",
            self.parameters,
            self.released_fold,
            100.0 * self.released_accuracy,
            100.0 * self.mean_accuracy,
            100.0 * self.mean_accuracy_all
        )
    }
}
