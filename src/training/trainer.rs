//! A network in training, and one step of it.

use std::rc::Rc;

use tch::nn::{ModuleT, VarStore};
use tch::{Kind, Tensor};

use crate::config::{Config, TrainConfig};
use crate::distributed::peers::{Alone, Peers};
use crate::error::Result;
use crate::model::seed::with_seed;
use crate::model::tiny_ast::TinyAst;
use crate::training::flat_weights::FlatWeights;
use crate::training::linear_head::Targets;
use crate::training::loader::{Loaded, stream};
use crate::training::loss::{binary_cross_entropy, count_hits, count_right, cross_entropy};
use crate::training::loss_scale::LossScale;
use crate::training::optim::{Average, Optimizer, clip};
use crate::training::resume::State;
use crate::training::start;

/// Processes whose states lie further apart than this, in relation to their length, do not train one network.
const MOST_APART: f64 = 1e-3;

/// A network that can be trained.
pub(crate) trait Network {
    /// Inputs as it takes them → logits `(batch, classes)`.
    fn logits(&self, inputs: &Tensor, train: bool) -> Tensor;
}

impl Network for TinyAst {
    fn logits(&self, inputs: &Tensor, train: bool) -> Tensor {
        self.forward_t(inputs, train)
    }
}

/// A network, its optimiser and the average of its weights.
pub(crate) struct Trainer<N> {
    pub model: N,
    pub weights: FlatWeights,
    pub average: Average,
    optimizer: Optimizer,
    config: TrainConfig,
    targets: Targets,
    half_precision: bool,
    loss_scale: LossScale,
    peers: Rc<dyn Peers>,
}

/// What a step over a batch gave.
pub(crate) struct Step {
    /// The mean loss before it.
    pub loss: f64,
    /// Clips whose most probable class is theirs.
    pub right: f64,
    /// Whether the gradient was a number; where it was not, no step was taken.
    pub is_finite: bool,
    /// Whether a process was told to stop.
    pub stops: bool,
}

/// What the parts of a batch have come to so far.
struct Sum {
    gradient: Option<Tensor>,
    buffers: Option<Tensor>,
    step: Step,
}

impl Sum {
    fn add(&mut self, gradient: Tensor, buffers: Option<Tensor>, loss: f64, right: f64) {
        self.gradient = Some(match self.gradient.take() {
            None => gradient,
            Some(before) => before + gradient,
        });
        self.buffers = match (self.buffers.take(), buffers) {
            (Some(before), Some(more)) => Some(before + more),
            (before, more) => before.or(more),
        };
        self.step.loss += loss;
        self.step.right += right;
    }
}

impl Step {
    const NOTHING: Step = Step { loss: 0.0, right: 0.0, is_finite: true, stops: false };
}

impl Trainer<TinyAst> {
    /// A TinyAST before its first step, its weights in `vs`.
    ///
    /// # Errors
    /// [`crate::error::Error::Torch`] when libtorch cannot hold the network, [`crate::error::Error::Config`] when what it is to know before fits
    /// other layers.
    pub fn new(vs: &VarStore, config: &Config, num_classes: usize) -> Result<Self> {
        let model = TinyAst::new(vs.root(), &config.model, num_classes, config.train.seed)?;
        start::take_up(config.train.start, vs, &config.model)?;
        let half_precision = config.train.mixed_precision && vs.device().is_cuda();
        Ok(Trainer { half_precision, ..Trainer::with_weights(model, FlatWeights::new(vs)?, &config.train, |_| 1.0) })
    }
}

impl<N: Network> Trainer<N> {
    /// A network and its weights before the first step, in single precision. `share` tells by a variable's name how much of a step it takes, 0
    /// to 1.
    pub fn with_weights(model: N, weights: FlatWeights, config: &TrainConfig, share: impl Fn(&str) -> f64) -> Self {
        let optimizer =
            Optimizer::new(&weights, config.optimizer, config.weight_decay).with_shares(weights.shares(share));
        let average = Average::new(&weights, config.ema_decay);
        let (config, targets) = (config.clone(), Targets::Exclusive);
        Trainer {
            model,
            weights,
            average,
            optimizer,
            config,
            targets,
            half_precision: false,
            loss_scale: LossScale::default(),
            peers: Rc::new(Alone),
        }
    }

    /// The same, with others that train the same network at once.
    pub fn with_peers(self, peers: Rc<dyn Peers>) -> Self {
        Trainer { peers, ..self }
    }

    /// The same, with what the classes are to each other.
    pub fn with_targets(self, targets: Targets) -> Self {
        Trainer { targets, ..self }
    }

    /// Takes step number `step` of the run, in `epoch`, over a batch, of which each process has its part; `stops` tells the others to stop.
    ///
    /// # Errors
    /// [`crate::error::Error::Torch`] when a parameter has no part in the loss, [`crate::error::Error::Process`] when another process is gone.
    pub fn step(&mut self, batch: &Loaded, stops: bool, epoch: usize, step: usize, rate: f64) -> Result<Step> {
        let n_own = batch.targets.size()[0];
        let at_once = self.config.clips_at_once.map_or(n_own, |at_once| at_once as i64).max(1);
        let part = |first: i64| {
            let n = at_once.min(n_own - first);
            // What the network drops is drawn for each part by its number in the batch, or by each process for itself.
            let number = if self.is_precise() {
                batch.first as i64 / at_once + first / at_once
            } else {
                self.peers.rank() as i64
            };
            (number, batch.inputs.narrow(0, first, n), batch.targets.narrow(0, first, n))
        };
        let parts: Vec<_> = (0..n_own).step_by(at_once as usize).map(part).collect();
        self.step_in_parts(&parts, batch.n_clips as i64, stops, epoch, step, rate)
    }

    /// As [`Trainer::step`], over a batch of `n_clips` in parts `(number, inputs, targets)`, whose gradients are added up: it takes the memory of one
    /// part, and comes to the same. What the network drops follows from a part's number in the batch.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_in_parts(
        &mut self,
        parts: &[(i64, Tensor, Tensor)],
        n_clips: i64,
        stops: bool,
        epoch: usize,
        step: usize,
        rate: f64,
    ) -> Result<Step> {
        let before = (self.is_precise() || self.half_precision).then(|| self.weights.buffers.copy());
        let kind = if self.is_precise() { Kind::Double } else { Kind::Float };
        let mut sum = Sum { gradient: None, buffers: None, step: Step { stops, ..Step::NOTHING } };
        for (number, inputs, targets) in parts {
            if let Some(before) = before.as_ref().filter(|_| self.is_precise()) {
                tch::no_grad(|| self.weights.buffers.copy_(before));
            }
            let (gradient, loss, right) = self.gradient(*number, inputs, targets, n_clips, epoch, step)?;
            let share = targets.size()[0] as f64 / n_clips as f64;
            // The statistics of batch norms are each part's own, and their mean is everyone's.
            let buffers = || self.weights.buffers.to_kind(kind) * share;
            let buffers = (self.is_precise() || self.peers.size() > 1).then(buffers);
            sum.add(gradient.to_kind(kind), buffers, loss, right);
        }
        let (mut gradient, taken) = self.everyones(sum, kind)?;
        if self.half_precision {
            self.loss_scale.note(taken.is_finite);
        }
        if !taken.is_finite {
            if let Some(before) = &before {
                tch::no_grad(|| self.weights.buffers.copy_(before));
            }
            return Ok(taken);
        }
        if let Some(max_norm) = self.config.max_grad_norm {
            clip(&mut gradient, max_norm);
        }
        self.optimizer.step(&mut self.weights, &gradient, rate);
        self.average.update(&self.weights, step);
        Ok(taken)
    }

    /// A part's share in the gradient of a batch of `n_clips`, in its loss, and how many of its clips are right.
    fn gradient(
        &self,
        number: i64,
        inputs: &Tensor,
        targets: &Tensor,
        n_clips: i64,
        epoch: usize,
        step: usize,
    ) -> Result<(Tensor, f64, f64)> {
        let forward = || match self.half_precision {
            true => tch::autocast(true, || self.model.logits(inputs, true)),
            false => self.model.logits(inputs, true),
        };
        let seed = stream(self.config.seed, epoch, step as u64);
        let seed = if number == 0 { seed } else { stream(seed, epoch, number as u64) };
        let logits = with_seed(seed, forward); // (batch, num_classes)
        let (mut loss, right) = match self.targets {
            Targets::Exclusive => (
                cross_entropy(&logits, targets, self.config.label_smoothing),
                count_right(&logits, &targets.argmax(-1, false)),
            ),
            Targets::Independent => (binary_cross_entropy(&logits, targets), count_hits(&logits, targets)),
        };
        if targets.size()[0] < n_clips {
            loss *= targets.size()[0] as f64 / n_clips as f64;
        }
        let scale = self.loss_scale.scale;
        let gradient = match self.half_precision {
            true => self.weights.gradient(&(&loss * scale))? / scale,
            false => self.weights.gradient(&loss)?,
        };
        Ok((gradient, loss.double_value(&[]), right))
    }

    /// The gradient of all processes' parts, and what there is to say of the step.
    fn everyones(&mut self, sum: Sum, kind: Kind) -> Result<(Tensor, Step)> {
        let Sum { gradient, buffers, step } = sum;
        let values = &self.weights.values;
        let mut gradient = gradient.unwrap_or_else(|| values.zeros_like().to_kind(kind));
        let mut step = step;
        let mut buffers = buffers;
        if self.peers.size() > 1 {
            let own_buffers = buffers.unwrap_or_else(|| self.weights.buffers.zeros_like().to_kind(kind));
            let (n_values, n_buffers) = (gradient.numel() as i64, own_buffers.numel() as i64);
            let told = [step.loss, step.right, f64::from(u8::from(step.stops))];
            let told = Tensor::from_slice(&told).to_kind(kind).to_device(gradient.device());
            // In one piece: what takes time between machines is to begin.
            let all = tch::no_grad(|| Tensor::cat(&[&gradient, &own_buffers, &told], 0));
            self.peers.sum(&all)?;
            gradient = all.narrow(0, 0, n_values);
            buffers = Some(all.narrow(0, n_values, n_buffers));
            let told = all.narrow(0, n_values + n_buffers, 3);
            (step.loss, step.right) = (told.double_value(&[0]), told.double_value(&[1]));
            step.stops = told.double_value(&[2]) > 0.0;
        }
        if let Some(buffers) = &buffers {
            tch::no_grad(|| self.weights.buffers.copy_(buffers));
        }
        let gradient = gradient.to_kind(Kind::Float);
        step.is_finite = gradient.sum(Kind::Float).double_value(&[]).is_finite();
        Ok((gradient, step))
    }

    /// Whether parts are added up so exactly that it does not matter which process made them.
    fn is_precise(&self) -> bool {
        self.config.clips_at_once.is_some()
    }

    /// Takes up the state of the first process, so that all go on from one. What differs by more than rounding does is refused.
    ///
    /// # Errors
    /// [`crate::error::Error::Process`] when another process is gone, or when this one's weights have come apart from the first's.
    pub fn take_state_of_first(&mut self, must_be_alike: bool) -> Result<()> {
        let peers = Rc::clone(&self.peers);
        if peers.size() == 1 {
            return Ok(());
        }
        for (name, tensor) in self.state().tensors() {
            let first = tensor.copy();
            peers.take_from_first(&first)?;
            let apart = (&first - &*tensor).norm().double_value(&[]);
            let length = first.norm().double_value(&[]);
            // Not the other way round: what is no number is refused, too.
            let is_alike = apart <= MOST_APART * length;
            if must_be_alike && !is_alike {
                let reason = format!("its {name} differ from those of process 0 by {:.0e}", apart / length);
                return Err(peers.refuse(
                    "comparing weights",
                    reason,
                    "Start every process from one build, on like machines.",
                ));
            }
            tch::no_grad(|| tensor.copy_(&first));
        }
        Ok(())
    }

    /// How losses are scaled, for whoever goes on.
    pub fn loss_scale(&self) -> LossScale {
        self.loss_scale
    }

    /// Goes on after so many steps, of which some were skipped.
    pub fn go_on(&mut self, steps_taken: usize, loss_scale: LossScale) {
        self.optimizer.step = steps_taken;
        self.loss_scale = loss_scale;
    }

    /// Whether a step whose gradient is no number can be skipped: in half precision, as long as a smaller scale may help.
    pub fn may_skip(&self) -> bool {
        self.half_precision && self.loss_scale.may_help()
    }

    /// What a run that is stopped goes on from.
    pub fn state(&mut self) -> State<'_> {
        State { weights: &mut self.weights, optimizer: &mut self.optimizer, average: &mut self.average }
    }

    /// Runs `work` with the averaged weights in the place of the network's own.
    pub fn averaged<T>(&mut self, work: impl FnOnce(&N) -> T) -> T {
        let Trainer { weights, average, model, .. } = self;
        weights.with(&average.values, &average.buffers, || work(model))
    }

    /// Whether every weight is a number.
    pub fn all_finite(&self) -> bool {
        self.weights.values.isfinite().all().int64_value(&[]) == 1
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::config::{Preset, Start};
    use crate::model::transformer::noise;

    fn whole(inputs: &Tensor, targets: &Tensor) -> Loaded {
        let n_clips = targets.size()[0] as usize;
        Loaded { inputs: inputs.shallow_clone(), targets: targets.shallow_clone(), first: 0, n_clips }
    }

    #[test]
    fn a_step_that_overflows_is_skipped_at_a_smaller_scale_and_changes_no_number() {
        // Without batch norms and with: an overflow is in their statistics before it is seen.
        [Preset::Quick, Preset::Good].iter().for_each(|preset| overflow(&preset.settings()));
    }

    fn overflow(config: &Config) {
        let (n_mels, n_frames) = (config.model.input_size.0 as i64, config.model.input_size.1 as i64);
        let targets = Tensor::from_slice(&[1i64, 0]).one_hot(2).to_kind(Kind::Float);
        let trained = |planted: &[usize], half_precision: bool| {
            let vs = VarStore::new(Device::Cpu);
            let mut trainer = Trainer::new(&vs, config, 2).unwrap();
            trainer.half_precision = half_precision;
            let mut skipped = 0;
            for step in 1..=4 {
                for bad in [planted.contains(&step), false].into_iter().skip(usize::from(!planted.contains(&step))) {
                    let inputs = noise(&[2, 1, n_mels, n_frames]) * if bad { f64::INFINITY } else { 1.0 };
                    let taken = trainer.step(&whole(&inputs, &targets), false, 1, step, 1e-3).unwrap();
                    assert_eq!(taken.is_finite, !bad);
                    skipped += usize::from(!taken.is_finite);
                }
            }
            let weights = Tensor::cat(&[&trainer.weights.values, &trainer.weights.buffers], 0);
            let average = Tensor::cat(&[&trainer.average.values, &trainer.average.buffers], 0);
            (weights, average, trainer.loss_scale().scale, skipped)
        };
        let (plain, scaled, planted) = (trained(&[], false), trained(&[], true), trained(&[1, 3, 4], true));
        // Scales are powers of two: they change no number that does not overflow.
        assert_eq!((&plain.0, &plain.1), (&scaled.0, &scaled.1));
        assert_eq!((&plain.0, &plain.1), (&planted.0, &planted.1));
        assert_eq!((planted.3, planted.2), (3, scaled.2 / 8.0));
    }

    #[test]
    fn a_network_that_knows_of_sounds_takes_its_first_step_from_there() {
        let begun = |start: Start| {
            let mut config = Preset::Fitted.settings();
            config.train.start = start;
            let vs = VarStore::new(Device::Cpu);
            let trainer = Trainer::new(&vs, &config, 2).unwrap();
            // What moves, what its average begins at, and what the network sees are one.
            assert_eq!(trainer.weights.values, trainer.average.values);
            (trainer.weights.buffers.copy(), vs.variables()["pos_embed"].copy())
        };
        let (fresh, known) = (begun(Start::Fresh), begun(Start::Formulas));
        assert_ne!(fresh.0, known.0);
        let expected = VarStore::new(Device::Cpu);
        TinyAst::new(expected.root(), &Preset::Fitted.model(), 2, 0).unwrap();
        start::take_up(Start::Formulas, &expected, &Preset::Fitted.model()).unwrap();
        assert_eq!(known.1, expected.variables()["pos_embed"]);
    }

    #[test]
    fn a_batch_in_parts_comes_to_the_same_as_a_whole_one() {
        let config = Config::default();
        let (inputs, targets) = (noise(&[6, 1, 64, 64]), Tensor::arange(6, (Kind::Int64, Device::Cpu)));
        let targets = targets.one_hot(6).to_kind(Kind::Float);
        let after = |parts: &[(i64, i64)]| {
            let vs = VarStore::new(Device::Cpu);
            let mut trainer = Trainer::new(&vs, &config, 6).unwrap();
            let part = |(number, &(start, n)): (i64, &(i64, i64))| {
                (number, inputs.narrow(0, start, n), targets.narrow(0, start, n))
            };
            let parts: Vec<_> = (0..).zip(parts).map(part).collect();
            let step = trainer.step_in_parts(&parts, 6, false, 1, 1, 1e-3).unwrap();
            (trainer.weights.values.copy(), step)
        };
        let (whole, parts) = (after(&[(0, 6)]), after(&[(0, 4), (4, 2)]));
        assert!((whole.1.loss - parts.1.loss).abs() < 1e-5 && whole.1.right == parts.1.right);
        // AdamW's first step is as long for any gradient: what differs is what lies within rounding of none.
        let moved = (&whole.0 - &parts.0).abs().gt(1e-4).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
        assert!(moved < 0.01, "{moved}");
    }

    #[test]
    fn a_variable_takes_its_share_of_a_step() {
        let config = Config::default();
        let (inputs, targets) =
            (noise(&[2, 1, 64, 64]), Tensor::from_slice(&[1i64, 0]).one_hot(2).to_kind(Kind::Float));
        let moved = |share: f64| {
            let vs = VarStore::new(Device::Cpu);
            let model = TinyAst::new(vs.root(), &config.model, 2, 0).unwrap();
            let of = move |name: &str| if name.starts_with("head") { 1.0 } else { share };
            let mut trainer = Trainer::with_weights(model, FlatWeights::new(&vs).unwrap(), &config.train, of);
            let named = || ["head.weight", "blocks.0.mlp.fc1.weight"].map(|name| vs.variables()[name].copy());
            let before = named();
            trainer.step(&whole(&inputs, &targets), false, 1, 1, 1e-3).unwrap();
            let after = named();
            [0, 1].map(|i| (&after[i] - &before[i]).abs().mean(Kind::Float).double_value(&[]))
        };
        let (all, half, none) = (moved(1.0), moved(0.5), moved(0.0));
        assert_eq!((all[0], none[1]), (half[0], 0.0));
        assert!((half[1] / all[1] - 0.5).abs() < 1e-3, "{half:?} {all:?}");
    }
}
