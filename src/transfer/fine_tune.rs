//! All layers of a network from elsewhere, trained on.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::listener::Listener;
use super::probe::HeardSet;
use super::recipe::FineTune;
use crate::config::{Config, TrainConfig};
use crate::error::{Error, Result};
use crate::front_end::audio;
use crate::model::pretrained::{Architecture, Pretrained};
use crate::results::metrics::Scored;
use crate::training::history::{self, EpochRecord};
use crate::training::linear_head::Targets;
use crate::training::loader::stream;
use crate::training::loss::count_hits;
use crate::training::loss_scale::LossScale;
use crate::training::observe::{Console, Observer};
use crate::training::optim::FlatWeights;
use crate::training::paths::{history_path, state_path};
use crate::training::resume::{Progress, RunInfo, same_run};
use crate::training::run_lock::RunLock;
use crate::training::trainer::{Network, Trainer};
use crate::training::words::untrained_warning;

/// Recordings scored at once.
const SCORED_AT_ONCE: usize = 8;
/// Bytes that one number of a token takes while its gradient is due, for each of the numbers a block keeps of it.
const KEPT_PER_NUMBER: f64 = 4.0;

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
    mut listener: Listener,
    how: &FineTune,
    observer: &mut dyn Observer,
) -> Result<FineTuned> {
    let started = Instant::now();
    how.validate(listener.published_network()?.depth())?;
    // What TinyAST left under the run's own name stays.
    let mut config = config.clone();
    config.train.run_name.push_str("-tuned");
    let (config, _lock) = (&config, RunLock::take(&config)?);
    let stand_in = listener.is_untrained();
    let identity = listener.identity()?;
    let heard = HeardSet::of(config, &mut listener)?;
    let validation = if config.train.validate { heard.folds.validation.clone() } else { Vec::new() };
    let mut train = heard.folds.train.clone();
    if !config.train.validate {
        train.extend(&heard.folds.validation);
    }
    if let Some(warning) = untrained_warning(&heard.untrained(&train)) {
        observer.say(&warning);
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
    let (part, bytes) = part_size(&network, &inputs, how);
    let at_once =
        if part < how.batch_size { format!(", for {part} of its recordings at a time") } else { String::new() };
    observer.say(&format!("a step takes about {:.0} MB of memory{at_once}", bytes / 1e6));
    let mut trainer = trainer(network, &settings, how)?.with_targets(heard.data.kind);
    let batch = |indices: &[usize], epoch: usize, network: &Pretrained| -> Vec<(Tensor, Tensor)> {
        let piece_of = |index: &usize| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(stream(settings.seed, epoch, *index as u64));
            masked(&one_piece(&inputs[*index], &mut rng), how, network, &mut rng)
        };
        let of_part = |indices: &[usize]| {
            let pieces: Vec<Tensor> = indices.iter().map(piece_of).collect();
            (side_by_side(&pieces), heard.data.marks(indices))
        };
        indices.chunks(part).map(of_part).collect()
    };
    let n_batches = train.len().div_ceil(how.batch_size);
    observer.plan(how.epochs);
    let run = Run {
        network: identity,
        how: how.clone(),
        train: same_run(&config.train),
        labels: heard.labels.clone(),
        test_fold: heard.folds.test_fold,
    };
    let data = heard.fingerprint([&train[..], &validation[..]].concat())?;
    let mut progress = Progress { run, data, step: 0, history: Vec::new(), loss_scale: LossScale::default() };
    let state_path = state_path(config);
    if config.train.resume {
        progress = trainer.state().go_on(&state_path, how.epochs, progress, observer)?;
    }
    let before_s = progress.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    let first_step = progress.step + 1;
    for epoch in progress.history.len() + 1..=how.epochs {
        let (begun, rate) = (Instant::now(), how.rate(epoch));
        observer.epoch_begins(epoch, how.epochs, train.len());
        let mut order = train.clone();
        order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(stream(settings.seed, epoch, u64::MAX)));
        let (mut loss_sum, mut right) = (0.0, 0.0);
        for indices in order.chunks(how.batch_size) {
            if observer.is_stopped() {
                return Err(Error::Stopped { checkpoint: state_path, epoch: epoch - 1, epochs: how.epochs });
            }
            let clock = Instant::now();
            progress.step += 1;
            let step = progress.step;
            let parts = batch(indices, epoch, &trainer.model);
            let taken = trainer.step_in_parts(&parts, indices.len() as i64, epoch, step, rate)?;
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
        let scored = score(&trainer.model, &inputs, &validation, &heard.data.marks(&validation))?;
        progress.history.push(EpochRecord {
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
        });
        trainer.state().save(&state_path, &progress)?;
        history::write(&history_path(config), &progress.history)?;
        observer.epoch_ends(&progress.history, how.epochs);
    }
    let probabilities = probabilities(&trainer.model, &inputs, &heard.folds.test)?;
    // A finished run is over: the next one starts from the beginning.
    fs::remove_file(&state_path).map_err(Error::io("remove", &state_path))?;
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

/// What the network takes of every recording.
fn inputs_of(paths: &[PathBuf], network: &mut Pretrained) -> Result<Vec<Tensor>> {
    let rate = network.sample_rate();
    let mut resampler = Listener::resampler_to(rate)?;
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        let sound = audio::read(path)?;
        all.push(resampler.resample(&sound.samples, sound.sample_rate).map_err(|error| error.in_file(path))?);
    }
    network.fit_to(all.iter().map(Vec::len).max().unwrap_or_default())?;
    let hear = |(samples, path): (Vec<f32>, &PathBuf)| network.listen(&samples).map_err(|error| error.in_file(path));
    all.into_iter().zip(paths).map(hear).collect()
}

/// Recordings of a batch that are gone through at once, so that a step takes no more memory than it may, and the bytes that it takes.
fn part_size(network: &Pretrained, inputs: &[Tensor], how: &FineTune) -> (usize, f64) {
    let (tokens, kept) = match network.architecture() {
        Architecture::Ced(network) => {
            let config = network.config();
            let longest = inputs.iter().map(|input| input.size()[2]).max().unwrap_or_default() as usize;
            let tokens = (longest / config.patch_size).max(1) * config.grid().0;
            (tokens, config.embed_dim as f64 * (12.0 + 2.0 * config.mlp_ratio))
        }
        Architecture::Ast(network) => {
            let config = network.config();
            let (rows, columns) = config.grid();
            (rows * columns + 2, 12.0 * config.hidden_size as f64 + 2.0 * config.intermediate_size as f64)
        }
    };
    let weights: usize = network.variables().variables().values().map(Tensor::numel).sum();
    // The weights, their gradient and two moments, and one more while they are laid out.
    let of_weights = 5.0 * 4.0 * weights as f64;
    let of_one = KEPT_PER_NUMBER * (tokens * network.depth()) as f64 * kept;
    let part = (((how.memory_bytes - of_weights) / of_one).floor().max(1.0) as usize).min(how.batch_size);
    (part, of_weights + part as f64 * of_one)
}

/// One of a recording's pieces, by chance.
fn one_piece(pieces: &Tensor, rng: &mut Xoshiro256PlusPlus) -> Tensor {
    pieces.get(rng.random_range(0..pieces.size()[0].max(1)))
}

/// A piece with a band of frequencies and a stretch of time masked (SpecAugment, Park et al. 2019), each of a width by chance.
fn masked(piece: &Tensor, how: &FineTune, network: &Pretrained, rng: &mut Xoshiro256PlusPlus) -> Tensor {
    let piece = piece.copy();
    let (freq, time) = if matches!(network.architecture(), Architecture::Ced(_)) { (0, 1) } else { (1, 0) };
    let fill = network.silence();
    for (dim, most) in [(freq, how.freq_mask), (time, how.time_mask)] {
        let length = piece.size()[dim as usize];
        let width = rng.random_range(0..=most as i64).min(length);
        let start = rng.random_range(0..=length - width);
        let _ = piece.narrow(dim, start, width).fill_(fill);
    }
    piece
}

/// Pieces as one batch; the shorter ones of a CED are followed by zeros, as the last piece of a long recording is.
fn side_by_side(pieces: &[Tensor]) -> Tensor {
    let longest = pieces.iter().map(|piece| piece.size()[1]).max().unwrap_or_default();
    let padded = pieces.iter().map(|piece| piece.constant_pad_nd([0, longest - piece.size()[1]]));
    Tensor::stack(&padded.collect::<Vec<_>>(), 0)
}

/// The class probabilities of recordings, each heard to its end.
fn probabilities(network: &Pretrained, inputs: &[Tensor], indices: &[usize]) -> Result<Vec<Vec<f32>>> {
    let of_one = |index: &usize| {
        let embedded: Vec<Tensor> = tch::no_grad(|| {
            let parts = inputs[*index].split(SCORED_AT_ONCE as i64, 0);
            parts.iter().map(|part| network.embed(part, false)).collect()
        });
        let embedding = Tensor::cat(&embedded, 0).mean_dim(0i64, true, Kind::Float);
        Vec::try_from(network.probabilities(&embedding).to_device(Device::Cpu).flatten(0, 1))
            .map_err(|source| Error::Torch { action: "reading probabilities", source })
    };
    indices.iter().map(of_one).collect()
}

/// Mean loss of recordings, and the share of them whose most probable class is theirs, by their marks `(n, classes)`; `None` for none.
fn score(network: &Pretrained, inputs: &[Tensor], indices: &[usize], marks: &Tensor) -> Result<Option<(f64, f64)>> {
    if indices.is_empty() {
        return Ok(None);
    }
    let said = probabilities(network, inputs, indices)?;
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
