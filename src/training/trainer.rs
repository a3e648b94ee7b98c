//! A network in training, and one step of it.

use tch::nn::{ModuleT, VarStore};
use tch::{Kind, Reduction, Tensor};

use crate::config::{Config, TrainConfig};
use crate::error::Result;
use crate::model::seed::with_seed;
use crate::model::tiny_ast::TinyAst;
use crate::training::linear_head::Targets;
use crate::training::loader::stream;
use crate::training::optim::{AdamW, Average, FlatWeights, clip};
use crate::training::resume::State;

/// What losses are multiplied by in half precision, whose smallest numbers would swallow small gradients; a power of two.
const LOSS_SCALE: f64 = 1024.0;

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
    optimizer: AdamW,
    config: TrainConfig,
    targets: Targets,
    half_precision: bool,
}

/// What a step over a batch gave.
pub(crate) struct Step {
    /// The mean loss before it.
    pub loss: f64,
    /// Clips whose most probable class is theirs.
    pub right: f64,
}

impl Trainer<TinyAst> {
    /// A fresh TinyAST before the first step, its weights in `vs`.
    ///
    /// # Errors
    /// [`crate::error::Error::Torch`] when libtorch cannot hold the network.
    pub fn new(vs: &VarStore, config: &Config, num_classes: usize) -> Result<Self> {
        let model = TinyAst::new(vs.root(), &config.model, num_classes, config.train.seed)?;
        let half_precision = config.train.mixed_precision && vs.device().is_cuda();
        Ok(Trainer { half_precision, ..Trainer::with_weights(model, FlatWeights::new(vs)?, &config.train, |_| 1.0) })
    }
}

impl<N: Network> Trainer<N> {
    /// A network and its weights before the first step, in single precision. `share` tells by a variable's name how much of a step it takes, 0
    /// to 1.
    pub fn with_weights(model: N, weights: FlatWeights, config: &TrainConfig, share: impl Fn(&str) -> f64) -> Self {
        let optimizer = AdamW::new(&weights, config.weight_decay).with_shares(weights.shares(share));
        let average = Average::new(&weights, config.ema_decay);
        let (config, targets) = (config.clone(), Targets::Exclusive);
        Trainer { model, weights, average, optimizer, config, targets, half_precision: false }
    }

    /// The same, with what the classes are to each other.
    pub fn with_targets(self, targets: Targets) -> Self {
        Trainer { targets, ..self }
    }

    /// Takes step number `step` of the run, in `epoch`, over a batch: inputs as the network takes them, targets `(batch, classes)`.
    ///
    /// # Errors
    /// [`crate::error::Error::Torch`] when a parameter has no part in the loss.
    pub fn step(&mut self, inputs: &Tensor, targets: &Tensor, epoch: usize, step: usize, rate: f64) -> Result<Step> {
        let n_clips = targets.size()[0];
        self.step_in_parts(&[(inputs.shallow_clone(), targets.shallow_clone())], n_clips, epoch, step, rate)
    }

    /// As [`Trainer::step`], over a batch of `n_clips` in parts, whose gradients are added up: it takes the memory of one part, and comes to
    /// the same.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_in_parts(
        &mut self,
        parts: &[(Tensor, Tensor)],
        n_clips: i64,
        epoch: usize,
        step: usize,
        rate: f64,
    ) -> Result<Step> {
        let mut sum: Option<(Tensor, Step)> = None;
        for (number, (inputs, targets)) in parts.iter().enumerate() {
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
            if parts.len() > 1 {
                loss *= targets.size()[0] as f64 / n_clips as f64;
            }
            let gradient = match self.half_precision {
                true => self.weights.gradient(&(&loss * LOSS_SCALE))? / LOSS_SCALE,
                false => self.weights.gradient(&loss)?,
            };
            let loss = loss.double_value(&[]);
            sum = Some(match sum {
                None => (gradient, Step { loss, right }),
                Some((before, step)) => (before + gradient, Step { loss: step.loss + loss, right: step.right + right }),
            });
        }
        let Some((mut gradient, taken)) = sum else { return Ok(Step { loss: 0.0, right: 0.0 }) };
        if let Some(max_norm) = self.config.max_grad_norm {
            clip(&mut gradient, max_norm);
        }
        self.optimizer.step(&mut self.weights, &gradient, rate);
        self.average.update(&self.weights, step);
        Ok(taken)
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

/// Mean cross-entropy with soft targets `(batch, num_classes)`, of which `smoothing` is shared out among all classes.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Tensor {
    let num_classes = targets.size()[1] as f64;
    let targets = targets * (1.0 - smoothing) + smoothing / num_classes;
    let log_probabilities = logits.log_softmax(-1, Kind::Float);
    -(targets * log_probabilities).sum_dim_intlist(1i64, false, Kind::Float).mean(Kind::Float)
}

/// Mean binary cross-entropy over all classes, of targets `(batch, num_classes)` between 0 and 1.
pub(crate) fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    logits.to_kind(Kind::Float).binary_cross_entropy_with_logits::<Tensor>(targets, None, None, Reduction::Mean)
}

/// Clips whose most probable class is that of their target.
pub(crate) fn count_right(logits: &Tensor, targets: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(targets).sum(Kind::Float).double_value(&[])
}

/// Clips whose most probable class is one of theirs, by targets `(batch, num_classes)` of 0 and 1.
pub(crate) fn count_hits(logits: &Tensor, targets: &Tensor) -> f64 {
    targets.gather(-1, &logits.argmax(-1, true), false).sum(Kind::Float).double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::model::transformer::noise;

    #[test]
    fn a_batch_in_parts_comes_to_the_same_as_a_whole_one() {
        let config = Config::default();
        let (inputs, targets) = (noise(&[6, 1, 64, 64]), Tensor::arange(6, (Kind::Int64, Device::Cpu)));
        let targets = targets.one_hot(6).to_kind(Kind::Float);
        let after = |parts: &[(i64, i64)]| {
            let vs = VarStore::new(Device::Cpu);
            let mut trainer = Trainer::new(&vs, &config, 6).unwrap();
            let part = |&(start, n): &(i64, i64)| (inputs.narrow(0, start, n), targets.narrow(0, start, n));
            let parts: Vec<_> = parts.iter().map(part).collect();
            let step = trainer.step_in_parts(&parts, 6, 1, 1, 1e-3).unwrap();
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
            trainer.step(&inputs, &targets, 1, 1, 1e-3).unwrap();
            let after = named();
            [0, 1].map(|i| (&after[i] - &before[i]).abs().mean(Kind::Float).double_value(&[]))
        };
        let (all, half, none) = (moved(1.0), moved(0.5), moved(0.0));
        assert_eq!((all[0], none[1]), (half[0], 0.0));
        assert!((half[1] / all[1] - 0.5).abs() < 1e-3, "{half:?} {all:?}");
    }

    #[test]
    fn of_several_classes_each_counts_by_itself() {
        let logits = Tensor::from_slice(&[0.0f32, 2.0, -1.0, 1.0, 0.0, 3.0]).view([2, 3]);
        let targets = Tensor::from_slice(&[0.0f32, 1.0, 1.0, 1.0, 0.0, 0.0]).view([2, 3]);
        let of_one =
            |logit: f64, target: f64| -> f64 { (1.0 + (if target > 0.5 { -logit } else { logit }).exp()).ln() };
        let by_hand: f64 = [(0.0, 0.0), (2.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (0.0, 0.0), (3.0, 0.0)]
            .map(|(logit, target)| of_one(logit, target))
            .iter()
            .sum();
        let loss = binary_cross_entropy(&logits, &targets).double_value(&[]);
        assert!((loss - by_hand / 6.0).abs() < 1e-6, "{loss} {by_hand}");
        assert_eq!(count_hits(&logits, &targets), 1.0);
    }

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
