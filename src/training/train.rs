//! The training loop, top to bottom.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use tch::nn::VarStore;

use crate::config::{Config, TrainConfig};
use crate::dataset::in_use::InUse;
use crate::dataset::processed::Dataset;
use crate::dataset::split::Split;
use crate::distributed::peers::{Alone, Peers};
use crate::error::{Error, Result};
use crate::files;
use crate::model::tensors::Precision;
use crate::model::tiny_ast::TinyAst;
use crate::training::budget;
use crate::training::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::training::device;
use crate::training::familiarity::Familiarity;
use crate::training::history::{self, EpochRecord};
use crate::training::known::Known;
use crate::training::loader::Loader;
use crate::training::loss_scale::LossScale;
use crate::training::observe::{Console, Observer, Quiet};
use crate::training::optim::learning_rate;
use crate::training::paths::{checkpoint_path, history_path, state_path};
use crate::training::processes;
use crate::training::report::TrainingReport;
use crate::training::resume::{self, Progress, same_run};
use crate::training::run_lock::RunLock;
use crate::training::start;
use crate::training::trainer::Trainer;
use crate::training::validation::Validation;
use crate::training::words::{describe, is_stuck, stuck, untrained_warning};

/// A mean loss this many times that of a network that knows nothing means that the run diverges.
const DIVERGED: f64 = 10.0;

/// Trains TinyAST on cross-entropy; weights, history and the state to go on from are on disk after every epoch.
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

/// [`train_observed`] by one of several processes that train one network: each makes its part of every batch, and one step is taken from the sum of
/// their gradients. The first of them speaks and writes; what it writes is read by itself alone when a run goes on.
///
/// With the same number of processes the numbers are the same to the bit, run for run. With another number they are those of one process up to
/// rounding, as long as the network has neither batch norms, whose statistics are each process' own over its part of a batch, nor dropout.
///
/// # Errors
/// As [`train`]; [`Error::Process`] when another process is gone, or has other settings or data.
pub fn train_together(config: &Config, observer: &mut dyn Observer, peers: Rc<dyn Peers>) -> Result<TrainingReport> {
    config.validate()?;
    match peers.is_first() {
        true => run(config, observer, &peers, Some(RunLock::take(config)?)),
        false => run(config, &mut Quiet, &peers, None),
    }
}

/// [`train_observed`] by the owner of the run's lock, which is let go at the end.
pub(crate) fn train_locked(config: &Config, observer: &mut dyn Observer, lock: RunLock) -> Result<TrainingReport> {
    if config.train.processes > 1 {
        // The first of them takes it.
        drop(lock);
        return processes::train(config, observer);
    }
    let alone: Rc<dyn Peers> = Rc::new(Alone);
    run(config, observer, &alone, Some(lock))
}

fn run(
    config: &Config,
    observer: &mut dyn Observer,
    peers: &Rc<dyn Peers>,
    _lock: Option<RunLock>,
) -> Result<TrainingReport> {
    if peers.is_first() {
        check_writable(&checkpoint_path(config))?;
    }
    let started = Instant::now();
    let device = device::of_process(device::select(config.train.device)?, peers.local_rank());
    // To the end of the run, which looks at spectrograms again.
    let _in_use = InUse::to_read(&config.data.processed_dir)?;
    let dataset = Dataset::open(config)?;
    let split = dataset.split(&config.train)?;
    let num_classes = check_classes(config, &dataset)?;
    if config.train.patience.is_some() && split.validation.is_empty() {
        let (expected, found) = ("a data set of three folds or more, or None".into(), "no fold to validate on".into());
        return Err(Error::Config { field: "train.patience", expected, found });
    }
    let begun = begin(config, &dataset, &split);
    // Of two processes some settings may differ: those that change no number.
    let alike = CheckpointInfo { train: same_run(&begun.run.train), ..begun.run.clone() };
    peers.agree(&Progress { run: alike, ..begun.clone() })?;
    let loader = Loader::new(config, &dataset, &split.train, device, peers.as_ref())?;
    let validation = Validation::load(&dataset, &split.validation, config, device, peers.as_ref())?;
    observer.say(&describe(&split, device, peers.size()));
    let untrained = dataset.untrained(&split);
    if let Some(warning) = untrained_warning(&untrained) {
        observer.say(&warning);
    }

    let vs = VarStore::new(device);
    let trainer = Trainer::new(&vs, config, num_classes)?.with_peers(Rc::clone(peers));
    let epochs = planned_epochs(config, started, &loader, &validation, &begun, peers)?;
    let mut course = Course { config, peers: peers.as_ref(), loader, validation, vs, trainer, run: begun, epochs };
    course.go_on(observer)?;
    let before_s = course.run.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    // What measuring its speed took is no part of an epoch.
    let clock = if config.train.minutes.is_some() { Instant::now() } else { started };
    // A run that goes on keeps the number it chose.
    let corrected = config.train.minutes.filter(|_| course.run.history.is_empty());
    let mut told_stuck = false;
    while course.run.history.len() < course.epochs {
        let done = course.run.history.len();
        if let Some(best) = no_longer_better(config, &course.run.history) {
            observer.say(&format!("ended after epoch {done}: no validation loss was lower than that of epoch {best}"));
            course.run.history.iter_mut().last().into_iter().for_each(|last| last.planned = done);
            break;
        }
        let mut record = course.epoch(observer)?;
        if let Some(minutes) = corrected {
            let (took_s, left_s) = (clock.elapsed().as_secs_f64(), 60.0 * minutes - started.elapsed().as_secs_f64());
            let n_batches = course.loader.n_batches();
            let ended: Vec<f64> = course.run.history.iter().map(|epoch| epoch.elapsed_s).collect();
            let epoch_s = budget::pace(&ended, took_s);
            record.planned = budget::again(&config.train, course.epochs, record.epoch, n_batches, epoch_s, left_s);
        }
        record.elapsed_s = before_s + clock.elapsed().as_secs_f64();
        // Clocks differ, and the first process' counts.
        let record = peers.told_by_first(record)?;
        if record.planned != course.epochs {
            course.epochs = record.planned;
            course.run.run.train.epochs = record.planned;
            observer.plan(record.planned);
        }
        course.keep(record)?;
        observer.epoch_ends(&course.run.history, course.epochs);
        if !told_stuck && is_stuck(&course.run.history, course.epochs, num_classes) {
            observer.say(&stuck(num_classes));
            told_stuck = true;
        }
    }
    course.finish(&dataset, &split)?;
    let recordings = dataset.fingerprint(0..dataset.clips.len());
    Ok(TrainingReport {
        checkpoint: checkpoint_path(config),
        recordings,
        history: course.run.history,
        train_clips: split.train.len(),
        validation_clips: split.validation.len(),
        calibration: course.run.run.calibration,
        untrained,
        device: device::describe(device),
        elapsed: started.elapsed(),
    })
}

/// A run between its epochs.
struct Course<'a> {
    config: &'a Config,
    peers: &'a dyn Peers,
    loader: Loader,
    validation: Validation,
    vs: VarStore,
    trainer: Trainer<TinyAst>,
    run: Progress,
    epochs: usize,
}

impl Course<'_> {
    /// Takes up where the run was stopped, if it was.
    fn go_on(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Course { config, peers, trainer, run, epochs, .. } = self;
        run.run.train.epochs = *epochs;
        observer.plan(*epochs);
        if let Some(minutes) = config.train.minutes {
            observer.say(&format!("about {epochs} epochs, which take {minutes} min here"));
        }
        if config.train.resume && peers.is_first() {
            *run = trainer.state().go_on(&state_path(config), *epochs, run.clone(), observer)?;
        }
        *run = peers.told_by_first(run.clone())?;
        trainer.take_state_of_first(false)?;
        trainer.go_on(run.steps_taken(), run.loss_scale);
        let has_best = config.train.patience.is_some() && !run.history.is_empty() && is_best(config, &run.history);
        // Stopped between its state and its checkpoint.
        if peers.is_first() && has_best { self.save(None) } else { Ok(()) }
    }

    /// Trains for an epoch, and scores what came of it.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<EpochRecord> {
        let Course { config, peers, loader, validation, trainer, run, epochs, .. } = self;
        let (epoch, n_clips, started) = (run.history.len() + 1, loader.n_clips(), Instant::now());
        observer.epoch_begins(epoch, *epochs, n_clips);
        let (mut loss_sum, mut right, mut rate) = (0.0, 0.0, 0.0);
        let (mut n_counted, mut skipped_steps) = (0, 0);
        for batch in loader.epoch(epoch) {
            let (batch, stops) = (batch?, observer.is_stopped());
            if stops && peers.size() == 1 {
                return Err(stopped(config, epoch - 1, *epochs));
            }
            run.step += 1;
            rate = learning_rate(&config.train, run.step, *epochs * loader.n_batches());
            let step = trainer.step(&batch, stops, epoch, run.step, rate)?;
            if step.stops {
                return Err(stopped(config, epoch - 1, *epochs));
            }
            observer.step_ends(batch.n_clips);
            if !step.is_finite && trainer.may_skip() {
                skipped_steps += 1;
                continue;
            }
            if !step.loss.is_finite() {
                return Err(diverged(config, run, rate, &format!("the loss is {}", step.loss)));
            }
            if !step.is_finite {
                return Err(diverged(config, run, rate, "the gradient is no longer a number"));
            }
            loss_sum += step.loss * batch.n_clips as f64;
            right += step.right;
            n_counted += batch.n_clips;
        }
        let train_s = started.elapsed().as_secs_f64();
        if n_counted == 0 {
            return Err(diverged(config, run, rate, "no gradient of the epoch was a number"));
        }
        let (train_loss, train_accuracy) = (loss_sum / n_counted as f64, right / n_counted as f64);
        if train_loss > DIVERGED * (run.run.labels.len().max(2) as f64).ln() {
            return Err(diverged(config, run, rate, &format!("the mean loss is {train_loss:.1}")));
        }
        if !trainer.all_finite() {
            return Err(diverged(config, run, rate, "the weights are no longer numbers"));
        }
        trainer.take_state_of_first(true)?;
        let scored = trainer.averaged(|model| validation.score(model, *peers))?;
        let (validation_loss, validation_accuracy) = scored.unzip();
        if validation_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(diverged(config, run, rate, "the validation loss is no longer a number"));
        }
        Ok(EpochRecord {
            epoch,
            train_loss,
            train_accuracy,
            validation_loss,
            validation_accuracy,
            learning_rate: rate,
            clips_per_s: n_clips as f64 / train_s.max(1e-9),
            elapsed_s: 0.0,
            planned: *epochs,
            skipped_steps,
        })
    }

    /// Leaves on disk what a run goes on from, and the weights that are to be kept.
    fn keep(&mut self, record: EpochRecord) -> Result<()> {
        self.run.run.epoch = record.epoch;
        self.run.history.push(record);
        self.run.loss_scale = self.trainer.loss_scale();
        if !self.peers.is_first() {
            return Ok(());
        }
        self.trainer.state().save(&state_path(self.config), &self.run)?;
        match is_best(self.config, &self.run.history) {
            true => self.save(None),
            false => history::write(&history_path(self.config), &self.run.history),
        }
    }

    /// Writes the averaged weights.
    fn save(&mut self, familiarity: Option<&Familiarity>) -> Result<()> {
        let Course { config, trainer, vs, run, .. } = self;
        trainer.averaged(|_| save(config, vs, run, familiarity))
    }

    /// Tells the network what it knows, which all find out together, and writes it for good.
    fn finish(&mut self, dataset: &Dataset, split: &Split) -> Result<()> {
        let Course { config, trainer, vs, run, peers, .. } = self;
        let (device, peers) = (vs.device(), *peers);
        let finish = |run: &mut Progress, model: &TinyAst, vs: &VarStore| {
            let known = Known { dataset, split, model, device, peers };
            run.run.calibration = known.calibration()?;
            let familiarity = known.familiarity()?;
            if peers.is_first() { save(config, vs, run, familiarity.as_ref()) } else { Ok(()) }
        };
        match history::best_epoch(&run.history).filter(|_| config.train.patience.is_some()) {
            Some(best) => {
                let Checkpoint { model, vs, info, .. } =
                    checkpoint::load_together(&checkpoint_path(config), device, peers)
                        .map_err(|error| lost_best(config, best, error.to_string()))?;
                if of_run(&info) != (CheckpointInfo { epoch: best, ..of_run(&run.run) }) {
                    return Err(lost_best(config, best, format!("weights of another run, or of epoch {}", info.epoch)));
                }
                run.run.epoch = best;
                finish(run, &model, &vs)?;
            }
            // For a run that was stopped between its last state and its last checkpoint, too.
            None => trainer.averaged(|model| finish(run, model, vs))?,
        }
        if !peers.is_first() {
            return Ok(());
        }
        // A finished run is over: the next one starts from the beginning.
        fs::remove_file(state_path(config)).map_err(Error::io("remove", state_path(config)))
    }
}

/// The epochs of the run; with a time budget those that fit, or that it chose when it began.
fn planned_epochs(
    config: &Config,
    started: Instant,
    loader: &Loader,
    validation: &Validation,
    begun: &Progress,
    peers: &Rc<dyn Peers>,
) -> Result<usize> {
    let Some(minutes) = config.train.minutes else { return Ok(config.train.epochs) };
    let goes_on = config.train.resume && peers.is_first();
    let chosen = goes_on.then(|| resume::begun_epochs(&state_path(config), begun)).flatten();
    if let Some(epochs) = peers.told_by_first(chosen)? {
        return Ok(epochs);
    }
    let vs = VarStore::new(loader.device());
    let trial = Trainer::new(&vs, config, begun.run.labels.len())?.with_peers(Rc::clone(peers));
    let score =
        |trial: &mut Trainer<TinyAst>| trial.averaged(|model| validation.score(model, peers.as_ref())).map(|_| ());
    budget::epochs(config, (minutes, started), loader, trial, score, begun, peers.as_ref())
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
    let sources: BTreeSet<String> = seen().map(|index| dataset.clips[index].source.to_string()).collect();
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
    // A run goes on from what it started from.
    let data = [Some(dataset.fingerprint(seen())), start::fingerprint(config.train.start)];
    let data = data.into_iter().flatten().collect::<Vec<_>>().join(" from ");
    Progress { run, data, step: 0, history: Vec::new(), loss_scale: LossScale::default() }
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

/// What of a description is that of the run, whichever of its epochs it describes.
fn of_run(info: &CheckpointInfo) -> CheckpointInfo {
    // A budget of time may have changed the number of epochs meanwhile.
    let train = TrainConfig { epochs: 0, ..same_run(&info.train) };
    CheckpointInfo { train, calibration: None, ..info.clone() }
}

/// The best epoch's weights are not where they were left.
fn lost_best(config: &Config, best: usize, found: String) -> Error {
    Error::Checkpoint {
        path: checkpoint_path(config),
        expected: format!("this run's weights after epoch {best}, its best"),
        found,
        next: format!("Put them back, or remove {} and train from the beginning.", state_path(config).display()),
    }
}

fn stopped(config: &Config, epoch: usize, epochs: usize) -> Error {
    Error::Stopped { checkpoint: checkpoint_path(config), epoch, epochs }
}
