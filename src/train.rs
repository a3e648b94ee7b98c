//! The training loop, top to bottom.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tch::nn::{ModuleT, OptimizerConfig, VarStore, adam};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{self, CheckpointInfo};
use crate::config::Config;
use crate::dataset::{Dataset, Split};
use crate::history::{self, EpochRecord};
use crate::model::TinyAst;
use crate::{Error, Result, device, files, input};

/// A finished run.
#[derive(Clone, Debug)]
pub struct TrainingReport {
    /// Where the weights are.
    pub checkpoint: PathBuf,
    /// A record per epoch; also on disk beside the checkpoint.
    pub history: Vec<EpochRecord>,
    /// Clips trained on.
    pub train_clips: usize,
    /// Clips watched during training.
    pub validation_clips: usize,
    /// Where it ran, in words.
    pub device: String,
    /// Time taken, reading the spectrograms included.
    pub elapsed: Duration,
}

impl fmt::Display for TrainingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epochs, clips, elapsed_s) = (self.history.len(), self.train_clips, self.elapsed.as_secs_f64());
        write!(f, "{epochs} epochs over {clips} clips in {elapsed_s:.1} s on {}; ", self.device)?;
        write!(f, "checkpoint {}", self.checkpoint.display())
    }
}

/// Where the config's run keeps its weights.
pub fn checkpoint_path(config: &Config) -> PathBuf {
    config.data.models_dir.join(format!("{}-{}.safetensors", config.train.run_name, config.data.name()))
}

/// Where the config's run keeps its history.
pub fn history_path(config: &Config) -> PathBuf {
    config.data.models_dir.join(format!("{}-{}-history.csv", config.train.run_name, config.data.name()))
}

/// Trains TinyAST with Adam and cross-entropy; weights and history are on disk after every epoch.
///
/// The held-out fold is not touched. Weights, order and choice of clips follow from `config.train.seed`.
///
/// # Errors
/// [`Error::StageMissing`] and [`Error::Features`] as [`Dataset::open`], [`Error::Config`] for settings out of range or a
/// device that is not there, [`Error::Training`] when the loss is no longer a number, [`Error::Io`] when the models folder
/// cannot be written.
pub fn train(config: &Config) -> Result<TrainingReport> {
    config.validate()?;
    check_writable(&checkpoint_path(config))?;
    let started = Instant::now();
    let device = device::select(config.train.device)?;
    let dataset = Dataset::open(config)?;
    let split = dataset.split(&config.train)?;
    let (inputs, targets) = to_device(input::load(&dataset, &split.train, config.model.input_size)?, device);
    let validation = to_device(input::load(&dataset, &split.validation, config.model.input_size)?, device);
    println!("{}", describe(&split, device));

    let mut order_rng = Xoshiro256PlusPlus::seed_from_u64(config.train.seed);
    let vs = VarStore::new(device);
    let model = TinyAst::new(vs.root(), &config.model, dataset.labels.len(), config.train.seed)?;
    let torch = |source| Error::Torch { action: "setting up Adam", source };
    let mut optimizer = adam(0.9, 0.999, 0.0).build(&vs, config.train.learning_rate).map_err(torch)?;

    let mut order: Vec<i64> = (0..split.train.len() as i64).collect();
    let mut history: Vec<EpochRecord> = Vec::new();
    let mut step = 0;
    for epoch in 1..=config.train.epochs {
        let epoch_started = Instant::now();
        order.shuffle(&mut order_rng);
        let (mut loss_sum, mut right) = (0.0, 0.0);
        for batch in order.chunks(config.train.batch_size) {
            step += 1;
            let indices = Tensor::from_slice(batch).to_device(device);
            let (inputs, targets) = (inputs.index_select(0, &indices), targets.index_select(0, &indices));
            let logits = model.forward_t(&inputs, true); // (batch, num_classes)
            let loss = logits.cross_entropy_for_logits(&targets);
            optimizer.backward_step(&loss);

            let loss = loss.double_value(&[]);
            if !loss.is_finite() {
                return Err(diverged(config, epoch, step, loss, history.last()));
            }
            loss_sum += loss * batch.len() as f64;
            right += count_right(&logits, &targets);
        }
        let train_s = epoch_started.elapsed().as_secs_f64();
        let (validation_loss, validation_accuracy) = score(&model, &validation, config.train.batch_size).unzip();
        let n_clips = split.train.len() as f64;
        history.push(EpochRecord {
            epoch,
            train_loss: loss_sum / n_clips,
            train_accuracy: right / n_clips,
            validation_loss,
            validation_accuracy,
            learning_rate: config.train.learning_rate,
            clips_per_s: n_clips / train_s.max(1e-9),
            elapsed_s: started.elapsed().as_secs_f64(),
        });
        if !weights_are_finite(&vs) {
            history.pop();
            return Err(diverged(config, epoch, step, f64::NAN, history.last()));
        }
        save(config, &dataset, &split, &vs, &history)?;
        println!("{}", progress_line(&history, config.train.epochs));
    }
    Ok(TrainingReport {
        checkpoint: checkpoint_path(config),
        history,
        train_clips: split.train.len(),
        validation_clips: split.validation.len(),
        device: device::describe(device),
        elapsed: started.elapsed(),
    })
}

/// Mean loss and accuracy over a set, or `None` for an empty one.
pub(crate) fn score(model: &TinyAst, (inputs, targets): &(Tensor, Tensor), batch_size: usize) -> Option<(f64, f64)> {
    let n_clips = inputs.size()[0];
    if n_clips == 0 {
        return None;
    }
    let _no_grad = tch::no_grad_guard();
    let (mut loss_sum, mut right) = (0.0, 0.0);
    for (inputs, targets) in inputs.split(batch_size as i64, 0).iter().zip(targets.split(batch_size as i64, 0)) {
        let logits = model.forward_t(inputs, false);
        loss_sum += logits.cross_entropy_for_logits(&targets).double_value(&[]) * targets.size()[0] as f64;
        right += count_right(&logits, &targets);
    }
    Some((loss_sum / n_clips as f64, right / n_clips as f64))
}

fn count_right(logits: &Tensor, targets: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(targets).sum(Kind::Float).double_value(&[])
}

fn to_device((inputs, targets): (Tensor, Tensor), device: Device) -> (Tensor, Tensor) {
    (inputs.to_device(device), targets.to_device(device))
}

fn save(config: &Config, dataset: &Dataset, split: &Split, vs: &VarStore, history: &[EpochRecord]) -> Result<()> {
    let seen = split.train.iter().chain(&split.validation).map(|index| dataset.clips[*index].source.clone());
    let info = CheckpointInfo {
        dataset: dataset.name.clone(),
        labels: dataset.labels.clone(),
        settings: dataset.settings.clone(),
        model: config.model.clone(),
        train: config.train.clone(),
        test_fold: split.test_fold,
        seen_sources: seen.collect::<BTreeSet<_>>().into_iter().collect(),
        epoch: history.len(),
    };
    checkpoint::save(&checkpoint_path(config), vs, &info)?;
    history::write(&history_path(config), history)
}

/// What is trained on, in a sentence.
fn describe(split: &Split, device: Device) -> String {
    let validation = match split.validation_fold {
        Some(fold) => format!("{} of fold {fold} to validate on", split.validation.len()),
        None => "none to validate on".into(),
    };
    let (n_clips, test_fold) = (split.train.len(), split.test_fold);
    format!("{n_clips} clips to train on, {validation}, fold {test_fold} held out; {}", device::describe(device))
}

/// A models folder that cannot be written is told before an epoch is spent, not after.
fn check_writable(path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        files::create_dir(dir)?;
    }
    let probe = files::beside(path);
    fs::File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(Error::io("write", path))
}

fn weights_are_finite(vs: &VarStore) -> bool {
    let finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
    vs.trainable_variables().iter().all(finite)
}

fn diverged(config: &Config, epoch: usize, step: usize, loss: f64, last_good: Option<&EpochRecord>) -> Error {
    let next = match last_good {
        Some(record) => {
            format!("Lower train.learning_rate; {} holds epoch {}.", checkpoint_path(config).display(), record.epoch)
        }
        None => "Lower train.learning_rate.".into(),
    };
    let reason = if loss.is_nan() { "the weights are no longer numbers".into() } else { format!("the loss is {loss}") };
    Error::Training { epoch, step, learning_rate: config.train.learning_rate, reason, next }
}

fn progress_line(history: &[EpochRecord], epochs: usize) -> String {
    let Some(last) = history.last() else { return String::new() };
    let left_s = last.elapsed_s / last.epoch as f64 * (epochs - last.epoch) as f64;
    let validation = match (last.validation_loss, last.validation_accuracy) {
        (Some(loss), Some(accuracy)) => format!(" | validation loss {loss:.3}, accuracy {:.1} %", 100.0 * accuracy),
        _ => String::new(),
    };
    format!(
        "epoch {} of {epochs} | loss {:.3}, accuracy {:.1} %{validation} | {:.0} clips/s, {left_s:.0} s left",
        last.epoch,
        last.train_loss,
        100.0 * last.train_accuracy,
        last.clips_per_s
    )
}
