//! The training loop, top to bottom.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::dataset::processed::{Dataset, Split};
use crate::error::{Error, Result};
use crate::files;
use crate::model::tensors::Precision;
use crate::model::tiny_ast::{TinyAst, predictions};
use crate::training::budget;
use crate::training::calibration::Calibration;
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::device;
use crate::training::familiarity::Familiarity;
use crate::training::history::{self, EpochRecord};
use crate::training::input;
use crate::training::known::Known;
use crate::training::loader::Loader;
use crate::training::observe::{Console, Observer};
use crate::training::optim::learning_rate;
use crate::training::paths::{checkpoint_path, history_path, state_path};
use crate::training::resume::{self, Progress};
use crate::training::run_lock::RunLock;
use crate::training::trainer::{Trainer, count_right};
use crate::training::words::{describe, is_stuck, stuck, untrained_warning};

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
    /// How sure the network may be, where recordings were kept out of its training to learn it from.
    pub calibration: Option<Calibration>,
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
        if let Some(calibration) = &self.calibration {
            write!(f, "\n{calibration}")?;
        }
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
    let (num_classes, batch_size) = (check_classes(config, &dataset)?, config.train.batch_size);
    if config.train.patience.is_some() && split.validation.is_empty() {
        let (expected, found) = ("a data set of three folds or more, or None".into(), "no fold to validate on".into());
        return Err(Error::Config { field: "train.patience", expected, found });
    }
    let loader = Loader::new(config, &dataset, &split.train, device)?;
    let validation = to_device(input::load(&dataset, &split.validation, &config.model)?, device);
    observer.say(&describe(&split, device));
    let untrained = dataset.untrained(&split);
    if let Some(warning) = untrained_warning(&untrained) {
        observer.say(&warning);
    }

    let vs = VarStore::new(device);
    let mut trainer = Trainer::new(&vs, config, num_classes)?;
    let mut run = begin(config, &dataset, &split);
    let mut epochs = match config.train.minutes {
        None => config.train.epochs,
        Some(minutes) => match resume::begun_epochs(&state_path(config), &run).filter(|_| config.train.resume) {
            Some(epochs) => epochs,
            None => {
                let trial = Trainer::new(&VarStore::new(device), config, num_classes)?;
                let score =
                    |trial: &mut Trainer<TinyAst>| _ = trial.averaged(|model| score(model, &validation, batch_size));
                budget::epochs(config, minutes, started, &loader, trial, score, &run)?
            }
        },
    };
    run.run.train.epochs = epochs;
    observer.plan(epochs);
    if let Some(minutes) = config.train.minutes {
        observer.say(&format!("about {epochs} epochs, which take {minutes} min here"));
    }
    if config.train.resume {
        run = trainer.state().go_on(&state_path(config), epochs, run, observer)?;
    }
    let before_s = run.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    // What measuring its speed took is no part of an epoch.
    let clock = if config.train.minutes.is_some() { Instant::now() } else { started };
    // A run that goes on keeps the number it chose.
    let corrected = config.train.minutes.filter(|_| run.history.is_empty());
    if config.train.patience.is_some() && !run.history.is_empty() && is_best(config, &run.history) {
        // Stopped between its state and its checkpoint.
        trainer.averaged(|_| save(config, &vs, &run, None))?;
    }
    let mut told_stuck = false;
    while run.history.len() < epochs {
        let epoch = run.history.len() + 1;
        if let Some(best) = no_longer_better(config, &run.history) {
            observer.say(&format!(
                "ended after epoch {}: no validation loss was lower than that of epoch {best}",
                epoch - 1
            ));
            run.history.iter_mut().last().into_iter().for_each(|last| last.planned = epoch - 1);
            break;
        }
        let epoch_started = Instant::now();
        observer.epoch_begins(epoch, epochs, split.train.len());
        let (mut loss_sum, mut right, mut rate) = (0.0, 0.0, 0.0);
        for (inputs, targets) in loader.epoch(epoch) {
            if observer.is_stopped() {
                return Err(stopped(config, epoch - 1, epochs));
            }
            run.step += 1;
            rate = learning_rate(&config.train, run.step, epochs * loader.n_batches());
            let (step, n_clips) = (trainer.step(&inputs, &targets, epoch, run.step, rate)?, targets.size()[0]);
            if !step.loss.is_finite() {
                return Err(diverged(config, &run, rate, &format!("the loss is {}", step.loss)));
            }
            loss_sum += step.loss * n_clips as f64;
            right += step.right;
            observer.step_ends(n_clips as usize);
        }
        let (n_clips, train_s) = (split.train.len() as f64, epoch_started.elapsed().as_secs_f64());
        if loss_sum / n_clips > DIVERGED * (num_classes.max(2) as f64).ln() {
            return Err(diverged(config, &run, rate, &format!("the mean loss is {:.1}", loss_sum / n_clips)));
        }
        if !trainer.all_finite() {
            return Err(diverged(config, &run, rate, "the weights are no longer numbers"));
        }
        let scored = trainer.averaged(|model| score(model, &validation, batch_size));
        let (validation_loss, validation_accuracy) = scored.unzip();
        if validation_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(diverged(config, &run, rate, "the validation loss is no longer a number"));
        }
        if let Some(minutes) = corrected {
            let (took_s, left_s) = (clock.elapsed().as_secs_f64(), 60.0 * minutes - started.elapsed().as_secs_f64());
            let corrected = budget::again(&config.train, epochs, epoch, loader.n_batches(), took_s, left_s);
            if corrected != epochs {
                epochs = corrected;
                run.run.train.epochs = epochs;
                observer.plan(epochs);
            }
        }
        run.history.push(EpochRecord {
            epoch,
            train_loss: loss_sum / n_clips,
            train_accuracy: right / n_clips,
            validation_loss,
            validation_accuracy,
            learning_rate: rate,
            clips_per_s: n_clips / train_s.max(1e-9),
            elapsed_s: before_s + clock.elapsed().as_secs_f64(),
            planned: epochs,
        });
        run.run.epoch = epoch;
        trainer.state().save(&state_path(config), &run)?;
        match is_best(config, &run.history) {
            true => trainer.averaged(|_| save(config, &vs, &run, None))?,
            false => history::write(&history_path(config), &run.history)?,
        }
        observer.epoch_ends(&run.history, epochs);
        if !told_stuck && is_stuck(&run.history, epochs, num_classes) {
            observer.say(&stuck(num_classes));
            told_stuck = true;
        }
    }
    let finish = |run: &mut Progress, model: &TinyAst, vs: &VarStore| {
        let known = Known { dataset: &dataset, split: &split, model, device };
        run.run.calibration = known.calibration()?;
        save(config, vs, run, known.familiarity()?.as_ref())
    };
    match history::best_epoch(&run.history).filter(|_| config.train.patience.is_some()) {
        Some(best) => {
            let Checkpoint { model, vs, .. } = checkpoint::load(&checkpoint_path(config), device)?;
            run.run.epoch = best;
            finish(&mut run, &model, &vs)?;
        }
        // For a run that was stopped between its last state and its last checkpoint, too.
        None => trainer.averaged(|model| finish(&mut run, model, &vs))?,
    }
    // A finished run is over: the next one starts from the beginning.
    fs::remove_file(state_path(config)).map_err(Error::io("remove", state_path(config)))?;
    Ok(TrainingReport {
        checkpoint: checkpoint_path(config),
        history: run.history,
        train_clips: split.train.len(),
        validation_clips: split.validation.len(),
        calibration: run.run.calibration,
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
    let seen = || split.train.iter().chain(&split.validation).chain(&split.calibration).copied();
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
        calibration: None,
    };
    Progress { run, data: dataset.fingerprint(seen()), step: 0, history: Vec::new() }
}

/// Whether the last epoch's weights are to be kept: the best ones so far, or any where nothing else is asked for.
fn is_best(config: &Config, history: &[EpochRecord]) -> bool {
    config.train.patience.is_none() || history::best_epoch(history) == history.last().map(|last| last.epoch)
}

/// The best epoch, once the config's patience with those after it is over.
fn no_longer_better(config: &Config, history: &[EpochRecord]) -> Option<usize> {
    let (patience, best) = (config.train.patience?, history::best_epoch(history)?);
    (history.len() >= best + patience).then_some(best)
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

fn to_device((inputs, targets): (Tensor, Tensor), device: Device) -> (Tensor, Tensor) {
    (inputs.to_device(device), targets.to_device(device))
}

fn save(config: &Config, vs: &VarStore, run: &Progress, familiarity: Option<&Familiarity>) -> Result<()> {
    checkpoint::save(&checkpoint_path(config), vs, &run.run, familiarity, Precision::Single)?;
    history::write(&history_path(config), &run.history)
}

/// A models folder that cannot be written is told before an epoch is spent, not after.
fn check_writable(path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        files::create_dir(dir)?;
    }
    let probe = files::beside(path);
    fs::File::create(&probe).and_then(|_| fs::remove_file(&probe)).map_err(Error::io("write", path))
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

fn stopped(config: &Config, epoch: usize, epochs: usize) -> Error {
    Error::Stopped { checkpoint: checkpoint_path(config), epoch, epochs }
}
