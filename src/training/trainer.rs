//! A network in training, and one step of it.

use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

use crate::config::{Config, TrainConfig};
use crate::error::Result;
use crate::model::seed::with_seed;
use crate::model::tiny_ast::TinyAst;
use crate::training::loader::stream;
use crate::training::optim::{AdamW, Average, FlatWeights, clip};
use crate::training::resume::State;

/// What losses are multiplied by in half precision, whose smallest numbers would swallow small gradients; a power of two.
const LOSS_SCALE: f64 = 1024.0;

/// The network, its optimiser and the average of its weights.
pub(crate) struct Trainer {
    pub vs: VarStore,
    pub model: TinyAst,
    pub weights: FlatWeights,
    pub average: Average,
    optimizer: AdamW,
    config: TrainConfig,
    half_precision: bool,
}

/// What a step over a batch gave.
pub(crate) struct Step {
    /// The mean loss before it.
    pub loss: f64,
    /// Clips whose class the network had right.
    pub right: f64,
}

impl Trainer {
    /// Before the first step.
    ///
    /// # Errors
    /// [`crate::error::Error::Torch`] when libtorch cannot hold the network.
    pub fn new(config: &Config, num_classes: usize, device: Device) -> Result<Self> {
        let vs = VarStore::new(device);
        let model = TinyAst::new(vs.root(), &config.model, num_classes, config.train.seed)?;
        let weights = FlatWeights::new(&vs)?;
        let optimizer = AdamW::new(&weights, config.train.weight_decay);
        let average = Average::new(&weights, config.train.ema_decay);
        let half_precision = config.train.mixed_precision && device.is_cuda();
        Ok(Trainer { vs, model, weights, average, optimizer, config: config.train.clone(), half_precision })
    }

    /// Takes step number `step` of the run, in `epoch`, over a batch: inputs `(batch, 1, n_mels, n_frames)`, targets `(batch, classes)`.
    ///
    /// # Errors
    /// [`crate::error::Error::Torch`] when a parameter has no part in the loss.
    pub fn step(&mut self, inputs: &Tensor, targets: &Tensor, epoch: usize, step: usize, rate: f64) -> Result<Step> {
        let forward = || match self.half_precision {
            true => tch::autocast(true, || self.model.forward_t(inputs, true)),
            false => self.model.forward_t(inputs, true),
        };
        let logits = with_seed(stream(self.config.seed, epoch, step as u64), forward); // (batch, num_classes)
        let loss = cross_entropy(&logits, targets, self.config.label_smoothing);
        let mut gradient = match self.half_precision {
            true => self.weights.gradient(&(&loss * LOSS_SCALE))? / LOSS_SCALE,
            false => self.weights.gradient(&loss)?,
        };
        if let Some(max_norm) = self.config.max_grad_norm {
            clip(&mut gradient, max_norm);
        }
        self.optimizer.step(&mut self.weights, &gradient, rate);
        self.average.update(&self.weights, step);
        Ok(Step { loss: loss.double_value(&[]), right: count_right(&logits, &targets.argmax(-1, false)) })
    }

    /// What a run that is stopped goes on from.
    pub fn state(&mut self) -> State<'_> {
        State { weights: &mut self.weights, optimizer: &mut self.optimizer, average: &mut self.average }
    }

    /// Runs `work` with the averaged weights in the place of the network's own.
    pub fn averaged<T>(&mut self, work: impl FnOnce(&TinyAst, &VarStore) -> T) -> T {
        let Trainer { weights, average, model, vs, .. } = self;
        weights.with(&average.values, &average.buffers, || work(model, vs))
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

pub(crate) fn count_right(logits: &Tensor, targets: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(targets).sum(Kind::Float).double_value(&[])
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
