//! The training loop, top to bottom.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::dataset::processed::{Dataset, Split};
use crate::error::{Error, Result};
use crate::files;
use crate::model::seed::with_seed;
use crate::model::tensors::Precision;
use crate::model::tiny_ast::{TinyAst, predictions};
use crate::training::checkpoint::{self, CheckpointInfo};
use crate::training::device;
use crate::training::history::{self, EpochRecord};
use crate::training::input;
use crate::training::loader::{Loader, stream};
use crate::training::observe::{Console, Observer};
use crate::training::optim::{AdamW, Average, FlatWeights, clip, learning_rate};
use crate::training::paths::{checkpoint_path, history_path, state_path};
use crate::training::resume::{Progress, State};
use crate::training::run_lock::RunLock;

/// What losses are multiplied by in half precision, whose smallest numbers would swallow small gradients; a power of two.
const LOSS_SCALE: f64 = 1024.0;

/// A mean loss this many times that of a network that knows nothing means that the run diverges.
const DIVERGED: f64 = 10.0;

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
    /// Classes of which not one clip was trained on.
    pub untrained: Vec<String>,
    /// Where it ran, in words.
    pub device: String,
    /// Time taken, reading the spectrograms included.
    pub elapsed: Duration,
}

impl fmt::Display for TrainingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epochs, clips, elapsed_s) = (self.history.len(), self.train_clips, self.elapsed.as_secs_f64());
        write!(f, "{epochs} epochs over {clips} clips in {elapsed_s:.1} s on {}; ", self.device)?;
        write!(f, "checkpoint {}", self.checkpoint.display())?;
        untrained_warning(&self.untrained).map_or(Ok(()), |warning| write!(f, "\n{warning}"))
    }
}

/// Trains TinyAST with AdamW and cross-entropy; weights, history and the state to go on from are on disk after every epoch.
///
/// The held-out fold is not touched. Everything random follows from `config.train.seed`. A run that was stopped goes on after its last
/// whole epoch, to the same weights as one that was not; see `config.train.resume`.
///
/// # Errors
/// [`Error::StageMissing`] and [`Error::Features`] as [`Dataset::open`], [`Error::Config`] for settings out of range or a
/// device that is not there, [`Error::Training`] when the loss is no longer a number or far from one that learns, [`Error::Io`] when
/// the models folder cannot be written.
pub fn train(config: &Config) -> Result<TrainingReport> {
    train_observed(config, &mut Console::default())
}

/// [`train`], followed and stopped by someone else than the console.
///
/// # Errors
/// As [`train`]; [`Error::Stopped`] when the observer ends the run before its last epoch.
pub fn train_observed(config: &Config, observer: &mut dyn Observer) -> Result<TrainingReport> {
    config.validate()?;
    train_locked(config, observer, RunLock::take(config)?)
}

/// [`train_observed`] by the owner of the run's lock, which is let go at the end.
pub(crate) fn train_locked(config: &Config, observer: &mut dyn Observer, _lock: RunLock) -> Result<TrainingReport> {
    check_writable(&checkpoint_path(config))?;
    let started = Instant::now();
    let device = device::select(config.train.device)?;
    let dataset = Dataset::open(config)?;
    let split = dataset.split(&config.train)?;
    let num_classes = check_classes(config, &dataset)?;
    let loader = Loader::new(config, &dataset, &split.train, device)?;
    let validation = to_device(input::load(&dataset, &split.validation, &config.model)?, device);
    observer.say(&describe(&split, device));
    let untrained = dataset.untrained(&split);
    if let Some(warning) = untrained_warning(&untrained) {
        observer.say(&warning);
    }

    let vs = VarStore::new(device);
    let model = TinyAst::new(vs.root(), &config.model, num_classes, config.train.seed)?;
    let mut weights = FlatWeights::new(&vs)?;
    let mut optimizer = AdamW::new(&weights, config.train.weight_decay);
    let mut average = Average::new(&weights, config.train.ema_decay);
    let n_steps = config.train.epochs * loader.n_batches();
    let half_precision = config.train.mixed_precision && device.is_cuda();

    let mut run = begin(config, &dataset, &split);
    if config.train.resume {
        let state = State { weights: &mut weights, optimizer: &mut optimizer, average: &mut average };
        run = go_on(state, config, run, observer)?;
    }
    let before_s = run.history.last().map_or(0.0, |epoch| epoch.elapsed_s);

    for epoch in run.history.len() + 1..=config.train.epochs {
        let epoch_started = Instant::now();
        observer.epoch_begins(epoch, config.train.epochs, split.train.len());
        let (mut loss_sum, mut right, mut rate) = (0.0, 0.0, 0.0);
        for (inputs, targets) in loader.epoch(epoch) {
            if observer.is_stopped() {
                return Err(stopped(config, epoch - 1));
            }
            run.step += 1;
            rate = learning_rate(&config.train, run.step, n_steps);
            let forward = || tch::autocast(half_precision, || model.forward_t(&inputs, true));
            let logits = with_seed(stream(config.train.seed, epoch, run.step as u64), forward); // (batch, num_classes)
            let loss = cross_entropy(&logits, &targets, config.train.label_smoothing);
            let mut gradient = match half_precision {
                true => weights.gradient(&(&loss * LOSS_SCALE))? / LOSS_SCALE,
                false => weights.gradient(&loss)?,
            };
            if let Some(max_norm) = config.train.max_grad_norm {
                clip(&mut gradient, max_norm);
            }
            optimizer.step(&mut weights, &gradient, rate);
            average.update(&weights, run.step);

            let loss = loss.double_value(&[]);
            if !loss.is_finite() {
                return Err(diverged(config, &run, rate, &format!("the loss is {loss}")));
            }
            loss_sum += loss * targets.size()[0] as f64;
            right += count_right(&logits, &targets.argmax(-1, false));
            observer.step_ends(targets.size()[0] as usize);
        }
        let (n_clips, train_s) = (split.train.len() as f64, epoch_started.elapsed().as_secs_f64());
        if loss_sum / n_clips > DIVERGED * (num_classes.max(2) as f64).ln() {
            return Err(diverged(config, &run, rate, &format!("the mean loss is {:.1}", loss_sum / n_clips)));
        }
        if !all_finite(&weights) {
            return Err(diverged(config, &run, rate, "the weights are no longer numbers"));
        }
        let scored =
            weights.with(&average.values, &average.buffers, || score(&model, &validation, config.train.batch_size));
        let (validation_loss, validation_accuracy) = scored.unzip();
        if validation_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(diverged(config, &run, rate, "the validation loss is no longer a number"));
        }
        run.history.push(EpochRecord {
            epoch,
            train_loss: loss_sum / n_clips,
            train_accuracy: right / n_clips,
            validation_loss,
            validation_accuracy,
            learning_rate: rate,
            clips_per_s: n_clips / train_s.max(1e-9),
            elapsed_s: before_s + started.elapsed().as_secs_f64(),
        });
        run.run.epoch = epoch;
        State { weights: &mut weights, optimizer: &mut optimizer, average: &mut average }
            .save(&state_path(config), &run)?;
        weights.with(&average.values, &average.buffers, || save(config, &vs, &run))?;
        observer.epoch_ends(&run.history, config.train.epochs);
    }
    // Again, for a run that was stopped between its last state and its last checkpoint.
    weights.with(&average.values, &average.buffers, || save(config, &vs, &run))?;
    // A finished run is over: the next one starts from the beginning.
    fs::remove_file(state_path(config)).map_err(Error::io("remove", state_path(config)))?;
    Ok(TrainingReport {
        checkpoint: checkpoint_path(config),
        history: run.history,
        train_clips: split.train.len(),
        validation_clips: split.validation.len(),
        untrained,
        device: device::describe(device),
        elapsed: started.elapsed(),
    })
}

/// The number of classes, which must be what the config names, if it names one.
fn check_classes(config: &Config, dataset: &Dataset) -> Result<usize> {
    let num_classes = dataset.labels.len();
    match config.model.num_classes {
        Some(named) if named != num_classes => {
            let expected = format!("{num_classes}, as the data set has, or None");
            Err(Error::Config { field: "model.num_classes", expected, found: named.to_string() })
        }
        _ => Ok(num_classes),
    }
}

/// A run before its first step.
fn begin(config: &Config, dataset: &Dataset, split: &Split) -> Progress {
    let seen = || split.train.iter().chain(&split.validation).copied();
    let sources: BTreeSet<String> = seen().map(|index| dataset.clips[index].source.clone()).collect();
    let run = CheckpointInfo {
        dataset: dataset.name.clone(),
        labels: dataset.labels.clone(),
        settings: dataset.settings.clone(),
        model: config.model.clone(),
        train: config.train.clone(),
        test_fold: split.test_fold,
        seen_sources: sources.into_iter().collect(),
        epoch: 0,
    };
    Progress { run, data: dataset.fingerprint(seen()), step: 0, history: Vec::new() }
}

/// Takes up the state of this run if it was stopped, and says so.
fn go_on(mut state: State, config: &Config, begun: Progress, observer: &mut dyn Observer) -> Result<Progress> {
    let path = state_path(config);
    match state.restore(&path, &begun)? {
        Some(progress) => {
            observer.say(&format!("going on after epoch {} of {}", progress.history.len(), config.train.epochs));
            Ok(progress)
        }
        None if path.exists() => {
            let path = path.display();
            observer.say(&format!("{path} is of other settings or data, or damaged: starting from the beginning"));
            Ok(begun)
        }
        None => Ok(begun),
    }
}

/// Mean cross-entropy with soft targets `(batch, num_classes)`, of which `smoothing` is shared out among all classes.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Tensor {
    let num_classes = targets.size()[1] as f64;
    let targets = targets * (1.0 - smoothing) + smoothing / num_classes;
    let log_probabilities = logits.log_softmax(-1, Kind::Float);
    -(targets * log_probabilities).sum_dim_intlist(1i64, false, Kind::Float).mean(Kind::Float)
}

/// Mean loss and accuracy over a set, or `None` for an empty one; a clip's views vote together.
fn score(model: &TinyAst, (inputs, targets): &(Tensor, Tensor), batch_size: usize) -> Option<(f64, f64)> {
    let n_clips = targets.size()[0];
    if n_clips == 0 {
        return None;
    }
    let n_views = model.config().n_views() as i64;
    let (mut loss_sum, mut right) = (0.0, 0.0);
    let batches = inputs.split(batch_size as i64 * n_views, 0);
    for (inputs, targets) in batches.iter().zip(targets.split(batch_size as i64, 0)) {
        let said = predictions(model, inputs);
        let of_target = said.gather(1, &targets.unsqueeze(1), false).clamp_min(f64::from(f32::MIN_POSITIVE));
        loss_sum -= of_target.log().sum(Kind::Double).double_value(&[]);
        right += count_right(&said, &targets);
    }
    Some((loss_sum / n_clips as f64, right / n_clips as f64))
}

fn count_right(logits: &Tensor, targets: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(targets).sum(Kind::Float).double_value(&[])
}

fn to_device((inputs, targets): (Tensor, Tensor), device: Device) -> (Tensor, Tensor) {
    (inputs.to_device(device), targets.to_device(device))
}

fn save(config: &Config, vs: &VarStore, run: &Progress) -> Result<()> {
    checkpoint::save(&checkpoint_path(config), vs, &run.run, Precision::Single)?;
    history::write(&history_path(config), &run.history)
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

/// What to know of classes that were not trained on, if there are any.
fn untrained_warning(untrained: &[String]) -> Option<String> {
    (!untrained.is_empty()).then(|| {
        let names = untrained.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().join(", ");
        format!("warning: no clip to train on of {names}: add recordings, or hold out another fold (train.test_fold)")
    })
}

/// A models folder that cannot be written is told before an epoch is spent, not after.
fn check_writable(path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        files::create_dir(dir)?;
    }
    let probe = files::beside(path);
    fs::File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(Error::io("write", path))
}

fn all_finite(weights: &FlatWeights) -> bool {
    weights.values.isfinite().all().int64_value(&[]) == 1
}

fn diverged(config: &Config, run: &Progress, learning_rate: f64, reason: &str) -> Error {
    let next = match run.history.last() {
        Some(record) => {
            format!("Lower train.learning_rate; {} holds epoch {}.", checkpoint_path(config).display(), record.epoch)
        }
        None => "Lower train.learning_rate.".into(),
    };
    Error::Training { epoch: run.history.len() + 1, step: run.step, learning_rate, reason: reason.into(), next }
}

fn stopped(config: &Config, epoch: usize) -> Error {
    Error::Stopped { checkpoint: checkpoint_path(config), epoch, epochs: config.train.epochs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_that_of_libtorch_for_whole_targets_and_counts_parts_of_soft_ones() {
        let logits = Tensor::from_slice(&[2.0f32, -1.0, 0.5, 0.0, 3.0, -2.0]).view([2, 3]);
        let whole = Tensor::from_slice(&[0i64, 2]).one_hot(3).to_kind(Kind::Float);
        for smoothing in [0.0, 0.1] {
            let theirs = logits.cross_entropy_loss::<Tensor>(
                &Tensor::from_slice(&[0i64, 2]),
                None,
                tch::Reduction::Mean,
                -100,
                smoothing,
            );
            let difference = (cross_entropy(&logits, &whole, smoothing) - theirs).abs().double_value(&[]);
            assert!(difference < 1e-6, "smoothing {smoothing}: {difference}");
        }
        // Half of one class and half of another, between which an even network cannot choose: ln 2.
        let (even, soft) = (Tensor::zeros([1, 2], (Kind::Float, Device::Cpu)), Tensor::from_slice(&[0.5f32, 0.5]));
        let loss = cross_entropy(&even, &soft.view([1, 2]), 0.0).double_value(&[]);
        assert!((loss - 2f64.ln()).abs() < 1e-6);
        // Of targets [¾, ¼] and probabilities [e/(e+1), 1/(e+1)] by hand: ln(e + 1) − ¾.
        let (logits, soft) = (Tensor::from_slice(&[1.0f32, 0.0]), Tensor::from_slice(&[0.75f32, 0.25]));
        let loss = cross_entropy(&logits.view([1, 2]), &soft.view([1, 2]), 0.0).double_value(&[]);
        assert!((loss - ((1f64.exp() + 1.0).ln() - 0.75)).abs() < 1e-6);
    }
}
