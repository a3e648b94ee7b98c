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
use crate::training::checkpoint::{self, CheckpointInfo};
use crate::training::device;
use crate::training::history::{self, EpochRecord};
use crate::training::input;
use crate::training::loader::Loader;
use crate::training::observe::{Console, Observer};
use crate::training::optim::learning_rate;
use crate::training::paths::{checkpoint_path, history_path, state_path};
use crate::training::resume::{self, Progress, State};
use crate::training::run_lock::RunLock;
use crate::training::trainer::{Trainer, count_right};

/// A mean loss this many times that of a network that knows nothing means that the run diverges.
const DIVERGED: f64 = 10.0;

/// After this part of a run, a loss no further than this share below that of a network that knows nothing is told.
const STUCK_AFTER: usize = 4;
const STUCK: f64 = 0.02;

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
    let (num_classes, batch_size) = (check_classes(config, &dataset)?, config.train.batch_size);
    let loader = Loader::new(config, &dataset, &split.train, device)?;
    let validation = to_device(input::load(&dataset, &split.validation, &config.model)?, device);
    observer.say(&describe(&split, device));
    let untrained = dataset.untrained(&split);
    if let Some(warning) = untrained_warning(&untrained) {
        observer.say(&warning);
    }

    let mut trainer = Trainer::new(config, num_classes, device)?;
    let mut run = begin(config, &dataset, &split);
    let epochs = match config.train.minutes {
        None => config.train.epochs,
        Some(minutes) => match resume::begun_epochs(&state_path(config), &run).filter(|_| config.train.resume) {
            Some(epochs) => epochs,
            None => {
                let trial = Trainer::new(config, num_classes, device)?;
                let score = |trial: &mut Trainer| _ = trial.averaged(|model, _| score(model, &validation, batch_size));
                budget::epochs(config, minutes, started, &loader, trial, score, &run)?
            }
        },
    };
    run.run.train.epochs = epochs;
    observer.plan(epochs);
    if let Some(minutes) = config.train.minutes {
        observer.say(&format!("{epochs} epochs, which take about {minutes} min here"));
    }
    if config.train.resume {
        run = go_on(trainer.state(), config, run, observer)?;
    }
    let before_s = run.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    // What measuring its speed took is no part of an epoch.
    let clock = if config.train.minutes.is_some() { Instant::now() } else { started };
    let n_steps = epochs * loader.n_batches();

    for epoch in run.history.len() + 1..=epochs {
        let epoch_started = Instant::now();
        observer.epoch_begins(epoch, epochs, split.train.len());
        let (mut loss_sum, mut right, mut rate) = (0.0, 0.0, 0.0);
        for (inputs, targets) in loader.epoch(epoch) {
            if observer.is_stopped() {
                return Err(stopped(config, epoch - 1, epochs));
            }
            run.step += 1;
            rate = learning_rate(&config.train, run.step, n_steps);
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
        let scored = trainer.averaged(|model, _| score(model, &validation, batch_size));
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
            elapsed_s: before_s + clock.elapsed().as_secs_f64(),
        });
        run.run.epoch = epoch;
        trainer.state().save(&state_path(config), &run)?;
        trainer.averaged(|_, vs| save(config, vs, &run))?;
        observer.epoch_ends(&run.history, epochs);
        if epoch == (epochs / STUCK_AFTER).max(2) && learns_nothing(&run.history, num_classes) {
            observer.say(&stuck(num_classes));
        }
    }
    // Again, for a run that was stopped between its last state and its last checkpoint.
    trainer.averaged(|_, vs| save(config, vs, &run))?;
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
            let (done, epochs) = (progress.history.len(), progress.run.train.epochs);
            observer.say(&format!("going on after epoch {done} of {epochs}"));
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

/// Whether the loss still stands where a network that gives every class the same probability has it.
fn learns_nothing(history: &[EpochRecord], num_classes: usize) -> bool {
    let ignorant = (num_classes.max(2) as f64).ln();
    history.last().is_some_and(|last| last.train_loss >= (1.0 - STUCK) * ignorant)
}

fn stuck(num_classes: usize) -> String {
    let ignorant = (num_classes.max(2) as f64).ln();
    format!(
        "warning: the loss still is that of a network that knows nothing, ln({num_classes}) = {ignorant:.2}. Settings that do not fit the \
         recordings are the likeliest reason: propose(Preset::Fitted, …) fits them; else another train.learning_rate."
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_stands_where_it_began_is_told() {
        let epoch = |train_loss| EpochRecord {
            epoch: 5,
            train_loss,
            train_accuracy: 0.1,
            validation_loss: None,
            validation_accuracy: None,
            learning_rate: 1e-3,
            clips_per_s: 100.0,
            elapsed_s: 1.0,
        };
        for (loss, nothing) in [(2.31, true), (2.29, true), (2.2, false), (0.1, false)] {
            assert_eq!(learns_nothing(&[epoch(loss)], 10), nothing, "{loss}");
        }
        assert!(stuck(10).contains("ln(10) = 2.30"));
    }
}
