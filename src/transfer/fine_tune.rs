//! All layers of a network from elsewhere, trained on.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::listener::Listener;
use super::pieces::{inputs_of, masked, one_piece, part_size, side_by_side};
use super::probe::{Folds, HeardSet};
use super::recipe::FineTune;
use super::scoring::{probabilities, score};
use crate::config::{Config, OptimizerChoice, TrainConfig};
use crate::distributed::peers::{Alone, Peers};
use crate::error::{Error, Result};
use crate::model::pretrained::Pretrained;
use crate::results::metrics::Scored;
use crate::training::flat_weights::FlatWeights;
use crate::training::history::{self, EpochRecord};
use crate::training::linear_head::Targets;
use crate::training::loader::stream;
use crate::training::loss_scale::LossScale;
use crate::training::observe::{Console, Observer, Quiet};
use crate::training::paths::{history_path, state_path};
use crate::training::resume::{Progress, RunInfo, same_run};
use crate::training::run_lock::RunLock;
use crate::training::trainer::{Network, Trainer};
use crate::training::words::untrained_warning;

/// A network that was trained on.
pub struct FineTuned {
    network: Pretrained,
    /// A record per epoch.
    pub history: Vec<EpochRecord>,
    /// Recordings trained on.
    pub train_clips: usize,
    /// The fold that nothing was trained or chosen on, scored once.
    pub evaluation: Scored,
    /// Whether the network it began with is one that nobody had trained.
    pub stand_in: bool,
    /// Time taken.
    pub elapsed: Duration,
}

impl fmt::Display for FineTuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epochs, clips, elapsed_s) = (self.history.len(), self.train_clips, self.elapsed.as_secs_f64());
        writeln!(f, "{epochs} epochs over {clips} recordings in {elapsed_s:.0} s")?;
        if self.stand_in {
            writeln!(
                f,
                "It began as a stand-in of random weights: this says nothing of the network that it stands for."
            )?;
        }
        write!(f, "{}", self.evaluation)
    }
}

impl FineTuned {
    /// Writes the network as transformers loads it, and as [`Listener::open`] does.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        self.network.save(folder)
    }
}

/// What tells a run from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Run {
    /// The network it began with.
    network: String,
    how: FineTune,
    train: TrainConfig,
    labels: Vec<String>,
    test_fold: u32,
}

impl RunInfo for Run {
    fn is_of_the_run(&self, other: &Self) -> bool {
        self == other
    }
}

impl Network for Pretrained {
    fn logits(&self, inputs: &Tensor, train: bool) -> Tensor {
        Pretrained::logits(self, &self.embed(inputs, train))
    }
}

/// Trains a network from elsewhere on the config's recordings, all layers or the last ones. Its head starts as the best linear one on the
/// embeddings that the network has, fitted to the recordings that are trained on (Kumar et al. 2022, <https://arxiv.org/abs/2202.10054>).
/// The fold before the held-out one is watched where `train.validate` says so, and else trained on; the held-out fold is scored once, at
/// the end. Everything random follows from `train.seed`.
///
/// What it will take is said before it begins: time, by a first step, and memory. History and state are on disk after every epoch, under the
/// run's name with `-tuned` behind it; a run that was stopped goes on after its last whole epoch, to the same weights as one that was not,
/// unless `train.resume` says otherwise.
///
/// # Errors
/// As [`super::probe()`]; [`Error::Config`] for a TinyAST, which is trained by [`crate::train`], and for settings out of range;
/// [`Error::Training`] when the loss is no longer a number; [`Error::Busy`] when another run of this name is under way.
pub fn fine_tune(config: &Config, listener: Listener, how: &FineTune) -> Result<FineTuned> {
    fine_tune_observed(config, listener, how, &mut Console::default())
}

/// [`fine_tune`], followed and stopped by someone else than the console.
///
/// # Errors
/// As [`fine_tune`]; [`Error::Stopped`] when the observer ends the run before its last epoch.
pub fn fine_tune_observed(
    config: &Config,
    listener: Listener,
    how: &FineTune,
    observer: &mut dyn Observer,
) -> Result<FineTuned> {
    if config.train.processes > 1 {
        let n = config.train.processes;
        observer
            .say(&format!("one process trains here, not {n}: `train --processes {n}` with a network in its settings"));
    }
    fine_tune_together(config, listener, how, observer, Rc::new(Alone))
}

/// [`fine_tune`] by one of several processes that train one network: each listens to its part of the recordings, makes its part of every batch and
/// scores its part of the folds. The first of them speaks and writes, and all have the network in the end.
///
/// With `train.clips_at_once`, 1, 2 and 4 processes train to the same bits; else those of a number of processes are their own, run for run.
///
/// # Errors
/// As [`fine_tune_observed`]; [`Error::Process`] when another process is gone, or has other settings, recordings or another network.
pub fn fine_tune_together(
    config: &Config,
    mut listener: Listener,
    how: &FineTune,
    observer: &mut dyn Observer,
    peers: Rc<dyn Peers>,
) -> Result<FineTuned> {
    let started = Instant::now();
    let mut quiet = Quiet;
    let observer: &mut dyn Observer = if peers.is_first() { observer } else { &mut quiet };
    how.validate(listener.published_network()?.depth())?;
    // What TinyAST left under the run's own name stays.
    let mut config = config.clone();
    config.train.run_name.push_str("-tuned");
    let config = &config;
    let _lock = peers.is_first().then(|| RunLock::take(config)).transpose()?;
    let stand_in = listener.is_untrained();
    let identity = listener.identity()?;
    let heard = HeardSet::of(config, &mut listener, peers.as_ref())?;
    let mut course = Course::begin(config, how, peers.as_ref(), heard, identity, observer)?;
    let network = course.with_new_head(listener.into_published()?)?;
    let mut tuner = Tuner::new(&course, network, &peers, observer)?;
    observer.plan(how.epochs);
    course.go_on(&mut tuner, observer)?;
    let before_s = course.progress.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    while course.progress.history.len() < how.epochs {
        let mut record = course.epoch(&mut tuner, observer)?;
        record.elapsed_s = before_s + started.elapsed().as_secs_f64();
        course.keep(&mut tuner, record)?;
        observer.epoch_ends(&course.progress.history, how.epochs);
    }
    let evaluation = course.finish(&tuner)?;
    Ok(FineTuned {
        network: tuner.trainer.model,
        history: course.progress.history,
        train_clips: course.train.len(),
        evaluation,
        stand_in,
        elapsed: started.elapsed(),
    })
}

/// A run between its epochs.
struct Course<'a> {
    config: &'a Config,
    how: &'a FineTune,
    peers: &'a dyn Peers,
    heard: HeardSet,
    /// Recordings trained on, and those watched.
    train: Vec<usize>,
    validation: Vec<usize>,
    progress: Progress<Run>,
    /// The first step of this process, by which it tells how long all will take.
    first_step: usize,
}

/// The network in training, and what it takes of every recording.
struct Tuner {
    trainer: Trainer<Pretrained>,
    inputs: Vec<Tensor>,
    /// Recordings that are gone through at once.
    part: usize,
}

impl<'a> Course<'a> {
    /// A run before its first step, the same in all processes.
    fn begin(
        config: &'a Config,
        how: &'a FineTune,
        peers: &'a dyn Peers,
        heard: HeardSet,
        network: String,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let validation = if config.train.validate { heard.folds.validation.clone() } else { Vec::new() };
        let mut train = heard.folds.train.clone();
        if !config.train.validate {
            train.extend(&heard.folds.validation);
        }
        if let Some(warning) = untrained_warning(&heard.untrained(&train)) {
            observer.say(&warning);
        }
        let (labels, test_fold) = (heard.labels.clone(), heard.folds.test_fold);
        let run = Run { network, how: how.clone(), train: same_run(&config.train), labels, test_fold };
        let data = heard.fingerprint([&train[..], &validation[..]].concat())?;
        let progress = Progress { run, data, step: 0, history: Vec::new(), loss_scale: LossScale::default() };
        if peers.size() > 1 {
            let data = heard.fingerprint(0..heard.catalog.clips.len())?;
            peers.agree(&Progress { data, ..progress.clone() })?;
        }
        Ok(Course { config, how, peers, heard, train, validation, progress, first_step: 1 })
    }

    /// The network with the best linear head in the place of its own.
    fn with_new_head(&self, network: Pretrained) -> Result<Pretrained> {
        let (_, l2) = self.heard.choose()?;
        let head = self.heard.data.fit(&self.train, l2)?;
        let is_multi_label = self.heard.data.kind == Targets::Independent;
        network.with_head(self.heard.labels.clone(), is_multi_label, &head.weight, &head.bias)
    }

    /// Takes up where the run was stopped, if it was.
    fn go_on(&mut self, tuner: &mut Tuner, observer: &mut dyn Observer) -> Result<()> {
        let Course { config, how, peers, progress, .. } = self;
        let trainer = &mut tuner.trainer;
        if config.train.resume && peers.is_first() {
            *progress = trainer.state().go_on(&state_path(config), how.epochs, progress.clone(), observer)?;
        }
        *progress = peers.told_by_first(progress.clone())?;
        trainer.take_state_of_first(false)?;
        trainer.go_on(progress.steps_taken(), progress.loss_scale);
        self.first_step = self.progress.step + 1;
        Ok(())
    }

    /// Trains for an epoch, and scores what came of it.
    fn epoch(&mut self, tuner: &mut Tuner, observer: &mut dyn Observer) -> Result<EpochRecord> {
        let (how, n_clips) = (self.how, self.train.len());
        let epoch = self.progress.history.len() + 1;
        let (begun, rate) = (Instant::now(), how.rate(epoch));
        observer.epoch_begins(epoch, how.epochs, n_clips);
        let mut order = self.train.clone();
        order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(stream(self.config.train.seed, epoch, u64::MAX)));
        let (mut loss_sum, mut right) = (0.0, 0.0);
        for indices in order.chunks(how.batch_size) {
            let stops = observer.is_stopped();
            if stops && self.peers.size() == 1 {
                return Err(self.stopped(epoch));
            }
            let clock = Instant::now();
            self.progress.step += 1;
            let step = self.progress.step;
            let parts = self.parts(tuner, indices, epoch);
            let taken = tuner.trainer.step_in_parts(&parts, indices.len() as i64, stops, epoch, step, rate)?;
            if taken.stops {
                return Err(self.stopped(epoch));
            }
            if !taken.loss.is_finite() || !taken.is_finite {
                let reason = match taken.loss.is_finite() {
                    true => "the gradient is no longer a number".into(),
                    false => format!("the loss is {}", taken.loss),
                };
                let next = "Lower the learning_rate.".into();
                return Err(Error::Training { epoch, step, learning_rate: rate, reason, next });
            }
            loss_sum += taken.loss * indices.len() as f64;
            right += taken.right;
            observer.step_ends(indices.len());
            if step == self.first_step {
                let n_batches = n_clips.div_ceil(how.batch_size);
                let minutes = clock.elapsed().as_secs_f64() * (n_batches * (how.epochs + 1 - epoch)) as f64 / 60.0;
                observer.say(&format!("about {minutes:.1} min: {} epochs of {n_batches} steps", how.epochs));
            }
        }
        tuner.trainer.take_state_of_first(true)?;
        let marks = self.heard.data.marks(&self.validation);
        let scored = score(&tuner.trainer.model, &tuner.inputs, &self.validation, &marks, self.peers)?;
        let (validation_loss, validation_accuracy) = scored.unzip();
        Ok(EpochRecord {
            epoch,
            train_loss: loss_sum / n_clips as f64,
            train_accuracy: right / n_clips as f64,
            validation_loss,
            validation_accuracy,
            learning_rate: rate,
            clips_per_s: n_clips as f64 / begun.elapsed().as_secs_f64().max(1e-9),
            elapsed_s: 0.0,
            planned: how.epochs,
            skipped_steps: 0,
        })
    }

    /// This process' parts of a batch: their numbers in it, what the network takes of them, and their classes.
    fn parts(&self, tuner: &Tuner, indices: &[usize], epoch: usize) -> Vec<(i64, Tensor, Tensor)> {
        let Tuner { trainer, inputs, part } = tuner;
        let piece_of = |index: &usize| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(stream(self.config.train.seed, epoch, *index as u64));
            masked(&one_piece(&inputs[*index], &mut rng), self.how, &trainer.model, &mut rng)
        };
        let of_part = |(number, indices): (usize, &[usize])| {
            let pieces: Vec<Tensor> = indices.iter().map(piece_of).collect();
            let side_by_side = side_by_side(&pieces);
            let marks = self.heard.data.marks(indices).to_device(side_by_side.device());
            (number as i64, side_by_side, marks)
        };
        let own = self.peers.part_of(indices.len().div_ceil(*part));
        indices.chunks(*part).enumerate().skip(own.start).take(own.len()).map(of_part).collect()
    }

    /// Leaves on disk what a run goes on from.
    fn keep(&mut self, tuner: &mut Tuner, record: EpochRecord) -> Result<()> {
        // Clocks differ, and the first process' counts.
        self.progress.history.push(self.peers.told_by_first(record)?);
        if !self.peers.is_first() {
            return Ok(());
        }
        tuner.trainer.state().save(&state_path(self.config), &self.progress)?;
        history::write(&history_path(self.config), &self.progress.history)
    }

    /// Scores the held-out fold.
    fn finish(&self, tuner: &Tuner) -> Result<Scored> {
        let Folds { test_fold, test, .. } = &self.heard.folds;
        let probabilities = probabilities(&tuner.trainer.model, &tuner.inputs, test, self.peers)?;
        if self.peers.is_first() {
            // A finished run is over: the next one starts from the beginning.
            let state = state_path(self.config);
            fs::remove_file(&state).map_err(Error::io("remove", &state))?;
        }
        Ok(self.heard.data.scored(&self.heard.catalog, *test_fold, test, probabilities))
    }

    fn stopped(&self, epoch: usize) -> Error {
        Error::Stopped { checkpoint: state_path(self.config), epoch: epoch - 1, epochs: self.how.epochs }
    }
}

impl Tuner {
    /// Says what a step will take.
    fn new(
        course: &Course,
        mut network: Pretrained,
        peers: &Rc<dyn Peers>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let Course { config, how, heard, .. } = course;
        network.leave_out(how.dropped_columns, how.stochastic_depth);
        let paths: Vec<PathBuf> = heard.catalog.clips.iter().map(|clip| heard.catalog.path(clip)).collect();
        let inputs = inputs_of(&paths, &mut network)?;
        let settings = TrainConfig {
            // What the published recipes take; their rates of learning would not suit another.
            optimizer: OptimizerChoice::AdamW,
            weight_decay: how.weight_decay,
            label_smoothing: 0.0,
            ema_decay: 0.0,
            max_grad_norm: Some(1.0),
            mixed_precision: false,
            ..config.train.clone()
        };
        let (part, bytes) = part_size(&network, &inputs, how, (settings.clips_at_once, peers.size()));
        let at_once =
            if part < how.batch_size { format!(", for {part} of its recordings at a time") } else { String::new() };
        observer.say(&format!("a step takes about {:.0} MB of memory{at_once}", bytes / 1e6));
        let trainer = trainer(network, &settings, how)?.with_targets(heard.data.kind).with_peers(Rc::clone(peers));
        Ok(Tuner { trainer, inputs, part })
    }
}

/// The network in the hands of a trainer that shares out its steps, its first blocks as they are where that is asked for.
fn trainer(network: Pretrained, settings: &TrainConfig, how: &FineTune) -> Result<Trainer<Pretrained>> {
    let depth = network.depth();
    for (name, variable) in network.variables().variables() {
        if how.share(&name, depth) == 0.0 && variable.requires_grad() {
            let _ = variable.set_requires_grad(false);
        }
    }
    let weights = FlatWeights::new(network.variables())?;
    Ok(Trainer::with_weights(network, weights, settings, |name| how.share(name, depth)))
}
