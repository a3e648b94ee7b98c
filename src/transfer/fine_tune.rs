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
use tch::{Device, Kind, Tensor};

use super::listener::Listener;
use super::pieces::{inputs_of, masked, one_piece, part_size, side_by_side};
use super::probe::HeardSet;
use super::recipe::FineTune;
use crate::config::{Config, TrainConfig};
use crate::distributed::peers::{Alone, Peers};
use crate::error::{Error, Result};
use crate::model::pretrained::Pretrained;
use crate::results::metrics::Scored;
use crate::training::history::{self, EpochRecord};
use crate::training::linear_head::Targets;
use crate::training::loader::stream;
use crate::training::loss::count_hits;
use crate::training::loss_scale::LossScale;
use crate::training::observe::{Console, Observer, Quiet};
use crate::training::optim::FlatWeights;
use crate::training::paths::{history_path, state_path};
use crate::training::resume::{Progress, RunInfo, same_run};
use crate::training::run_lock::RunLock;
use crate::training::trainer::{Network, Trainer};
use crate::training::words::untrained_warning;

/// Recordings scored at once.
const SCORED_AT_ONCE: usize = 8;

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
    let validation = if config.train.validate { heard.folds.validation.clone() } else { Vec::new() };
    let mut train = heard.folds.train.clone();
    if !config.train.validate {
        train.extend(&heard.folds.validation);
    }
    if let Some(warning) = untrained_warning(&heard.untrained(&train)) {
        observer.say(&warning);
    }
    let run = Run {
        network: identity,
        how: how.clone(),
        train: same_run(&config.train),
        labels: heard.labels.clone(),
        test_fold: heard.folds.test_fold,
    };
    let data = heard.fingerprint([&train[..], &validation[..]].concat())?;
    let mut progress = Progress { run, data, step: 0, history: Vec::new(), loss_scale: LossScale::default() };
    if peers.size() > 1 {
        let data = heard.fingerprint(0..heard.catalog.clips.len())?;
        peers.agree(&Progress { data, ..progress.clone() })?;
    }
    let (_, l2) = heard.choose()?;
    let head = heard.data.fit(&train, l2)?;
    let mut network = listener.into_published()?;
    let is_multi_label = heard.data.kind == Targets::Independent;
    network = network.with_head(heard.labels.clone(), is_multi_label, &head.weight, &head.bias)?;
    network.leave_out(how.dropped_columns, how.stochastic_depth);
    let paths: Vec<PathBuf> = heard.catalog.clips.iter().map(|clip| heard.catalog.path(clip)).collect();
    let inputs = inputs_of(&paths, &mut network)?;

    let settings = TrainConfig {
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
    let mut trainer = trainer(network, &settings, how)?.with_targets(heard.data.kind).with_peers(Rc::clone(&peers));
    // This process' parts of a batch, by their numbers in it.
    let batch = |indices: &[usize], epoch: usize, network: &Pretrained| -> Vec<(i64, Tensor, Tensor)> {
        let piece_of = |index: &usize| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(stream(settings.seed, epoch, *index as u64));
            masked(&one_piece(&inputs[*index], &mut rng), how, network, &mut rng)
        };
        let own = peers.part_of(indices.len().div_ceil(part));
        let of_part = |(number, indices): (usize, &[usize])| {
            let pieces: Vec<Tensor> = indices.iter().map(piece_of).collect();
            let side_by_side = side_by_side(&pieces);
            let marks = heard.data.marks(indices).to_device(side_by_side.device());
            (number as i64, side_by_side, marks)
        };
        indices.chunks(part).enumerate().skip(own.start).take(own.len()).map(of_part).collect()
    };
    let n_batches = train.len().div_ceil(how.batch_size);
    observer.plan(how.epochs);
    let state_path = state_path(config);
    if config.train.resume && peers.is_first() {
        progress = trainer.state().go_on(&state_path, how.epochs, progress, observer)?;
    }
    progress = peers.told_by_first(progress)?;
    trainer.take_state_of_first(false)?;
    trainer.go_on(progress.steps_taken(), progress.loss_scale);
    let stopped =
        |epoch: usize| Err(Error::Stopped { checkpoint: state_path.clone(), epoch: epoch - 1, epochs: how.epochs });
    let before_s = progress.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    let first_step = progress.step + 1;
    for epoch in progress.history.len() + 1..=how.epochs {
        let (begun, rate) = (Instant::now(), how.rate(epoch));
        observer.epoch_begins(epoch, how.epochs, train.len());
        let mut order = train.clone();
        order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(stream(settings.seed, epoch, u64::MAX)));
        let (mut loss_sum, mut right) = (0.0, 0.0);
        for indices in order.chunks(how.batch_size) {
            let stops = observer.is_stopped();
            if stops && peers.size() == 1 {
                return stopped(epoch);
            }
            let clock = Instant::now();
            progress.step += 1;
            let step = progress.step;
            let parts = batch(indices, epoch, &trainer.model);
            let taken = trainer.step_in_parts(&parts, indices.len() as i64, stops, epoch, step, rate)?;
            if taken.stops {
                return stopped(epoch);
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
            if step == first_step {
                let left = n_batches * (how.epochs + 1 - epoch);
                let minutes = clock.elapsed().as_secs_f64() * left as f64 / 60.0;
                observer.say(&format!("about {minutes:.1} min: {} epochs of {n_batches} steps", how.epochs));
            }
        }
        trainer.take_state_of_first(true)?;
        let scored = score(&trainer.model, &inputs, &validation, &heard.data.marks(&validation), peers.as_ref())?;
        let record = EpochRecord {
            epoch,
            train_loss: loss_sum / train.len() as f64,
            train_accuracy: right / train.len() as f64,
            validation_loss: scored.as_ref().map(|scored| scored.0),
            validation_accuracy: scored.as_ref().map(|scored| scored.1),
            learning_rate: rate,
            clips_per_s: train.len() as f64 / begun.elapsed().as_secs_f64().max(1e-9),
            elapsed_s: before_s + started.elapsed().as_secs_f64(),
            planned: how.epochs,
            skipped_steps: 0,
        };
        // Clocks differ, and the first process' counts.
        progress.history.push(peers.told_by_first(record)?);
        if peers.is_first() {
            trainer.state().save(&state_path, &progress)?;
            history::write(&history_path(config), &progress.history)?;
        }
        observer.epoch_ends(&progress.history, how.epochs);
    }
    let probabilities = probabilities(&trainer.model, &inputs, &heard.folds.test, peers.as_ref())?;
    if peers.is_first() {
        // A finished run is over: the next one starts from the beginning.
        fs::remove_file(&state_path).map_err(Error::io("remove", &state_path))?;
    }
    let evaluation = heard.data.scored(&heard.catalog, heard.folds.test_fold, &heard.folds.test, probabilities);
    Ok(FineTuned {
        network: trainer.model,
        history: progress.history,
        train_clips: train.len(),
        evaluation,
        stand_in,
        elapsed: started.elapsed(),
    })
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

/// The class probabilities of recordings, each heard to its end, by all processes.
fn probabilities(
    network: &Pretrained,
    inputs: &[Tensor],
    indices: &[usize],
    peers: &dyn Peers,
) -> Result<Vec<Vec<f32>>> {
    let of_one = |index: &usize| {
        let embedded: Vec<Tensor> = tch::no_grad(|| {
            let parts = inputs[*index].split(SCORED_AT_ONCE as i64, 0);
            parts.iter().map(|part| network.embed(part, false)).collect()
        });
        let embedding = Tensor::cat(&embedded, 0).mean_dim(0i64, true, Kind::Float);
        Vec::try_from(network.probabilities(&embedding).to_device(Device::Cpu).flatten(0, 1))
            .map_err(|source| Error::Torch { action: "reading probabilities", source })
    };
    let own = peers.part_of(indices.len());
    let rows = indices[own.clone()].iter().map(of_one).collect::<Result<_>>()?;
    peers.rows_of_all(indices.len(), own.start, rows)
}

/// Mean loss of recordings, and the share of them whose most probable class is theirs, by their marks `(n, classes)`; `None` for none.
fn score(
    network: &Pretrained,
    inputs: &[Tensor],
    indices: &[usize],
    marks: &Tensor,
    peers: &dyn Peers,
) -> Result<Option<(f64, f64)>> {
    if indices.is_empty() {
        return Ok(None);
    }
    let said = probabilities(network, inputs, indices, peers)?;
    let said = Tensor::from_slice2(&said);
    let not_said: Tensor = 1.0 - &said;
    let not_marked: Tensor = 1.0 - marks;
    let log = |share: &Tensor| share.clamp_min(f64::from(f32::MIN_POSITIVE)).log();
    let loss = match network.is_multi_label() {
        false => -(marks * log(&said)).sum_dim_intlist(1i64, false, Kind::Double).mean(Kind::Double),
        true => -(marks * log(&said) + not_marked * log(&not_said)).mean(Kind::Double),
    };
    Ok(Some((loss.double_value(&[]), count_hits(&said, marks) / indices.len() as f64)))
}
