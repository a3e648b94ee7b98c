//! Steps of all weights at once: AdamW, and Muon for the matrices where it is asked for.

use tch::Tensor;

use crate::config::{OptimizerChoice, Schedule, TrainConfig};
use crate::training::flat_weights::FlatWeights;
use crate::training::muon::Muon;

/// Shortens a gradient to `max_norm` where it is longer.
pub fn clip(gradient: &mut Tensor, max_norm: f64) {
    let scale = (max_norm / (gradient.norm() + 1e-6)).clamp_max(1.0);
    _ = gradient.g_mul_(&scale);
}

/// AdamW (Loshchilov and Hutter 2019, algorithm 2), with PyTorch's defaults; without decay it is Adam (Kingma and Ba 2015). With
/// [`OptimizerChoice::Muon`] inner matrices go their own way.
#[derive(Debug)]
pub struct Optimizer {
    /// The moving average of gradients.
    pub mean: Tensor,
    /// The moving average of their squares.
    pub square: Tensor,
    /// Steps taken.
    pub step: usize,
    weight_decay: f64,
    /// How much of a step each number takes; all of it, where there are none.
    shares: Option<Tensor>,
    muon: Option<Muon>,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

impl Optimizer {
    /// Before the first step.
    pub fn new(weights: &FlatWeights, choice: OptimizerChoice, weight_decay: f64) -> Self {
        Optimizer {
            mean: weights.values.zeros_like(),
            square: weights.values.zeros_like(),
            step: 0,
            weight_decay,
            shares: None,
            muon: (choice == OptimizerChoice::Muon).then(|| Muon::new(weights, 1.0 - BETA1)),
        }
    }

    /// The same, with steps of which each number takes its share.
    pub fn with_shares(self, shares: Option<Tensor>) -> Self {
        Optimizer { shares, ..self }
    }

    /// Moves the weights one step against the gradient.
    pub fn step(&mut self, weights: &mut FlatWeights, gradient: &Tensor, learning_rate: f64) {
        let _no_grad = tch::no_grad_guard();
        self.step += 1;
        let bias1 = 1.0 - BETA1.powi(self.step as i32);
        let bias2 = 1.0 - BETA2.powi(self.step as i32);
        if self.weight_decay > 0.0 {
            let mut matrices = weights.values.narrow(0, 0, weights.n_decayed());
            _ = match &self.shares {
                None => matrices.g_mul_scalar_(1.0 - learning_rate * self.weight_decay),
                Some(shares) => matrices
                    .g_mul_(&(shares.narrow(0, 0, weights.n_decayed()) * (-learning_rate * self.weight_decay) + 1.0)),
            };
        }
        match &self.muon {
            None => _ = self.mean.lerp_(gradient, 1.0 - BETA1),
            Some(muon) => muon.take_in(&mut self.mean, gradient),
        }
        _ = self.square.lerp_(&gradient.square(), 1.0 - BETA2);
        let mut deviation = self.square.sqrt();
        _ = deviation.g_div_scalar_(bias2.sqrt()).g_add_scalar_(EPS);
        let mut update = &self.mean / deviation;
        if let Some(muon) = &self.muon {
            // What corrects the mean's start would lengthen steps that have one length.
            muon.put_steps(&update, &self.mean, gradient, bias1);
        }
        if let Some(shares) = &self.shares {
            _ = update.g_mul_(shares);
        }
        _ = weights.values.g_sub_(&update.g_mul_scalar_(learning_rate / bias1));
    }
}

/// The moving average of a network's weights and buffers over the steps of a run, which does better than the last step's.
#[derive(Debug)]
pub struct Average {
    /// Of the weights.
    pub values: Tensor,
    /// Of the buffers.
    pub buffers: Tensor,
    decay: f64,
}

impl Average {
    /// Starts at the weights as they are; with a decay of 0 it stays with them.
    pub fn new(weights: &FlatWeights, decay: f64) -> Self {
        Average { values: weights.values.copy(), buffers: weights.buffers.copy(), decay }
    }

    /// Takes in the weights after step number `step`, from 1. Early steps count for more, so that the start is soon forgotten.
    pub fn update(&mut self, weights: &FlatWeights, step: usize) {
        let _no_grad = tch::no_grad_guard();
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        let share = if self.decay > 0.0 { 1.0 - decay } else { 1.0 };
        _ = self.values.lerp_(&weights.values, share);
        _ = self.buffers.lerp_(&weights.buffers, share);
    }
}

/// The step size of step number `step` (from 1) of `n_steps`.
pub fn learning_rate(config: &TrainConfig, step: usize, n_steps: usize) -> f64 {
    let (warmup_steps, held) = match config.schedule {
        Schedule::Constant => return config.learning_rate,
        Schedule::Cosine { warmup_steps } => (warmup_steps, 0),
        Schedule::Hold { warmup_steps } => (warmup_steps, n_steps / 2),
    };
    let warmup_steps = warmup_steps.min(n_steps / 10);
    if step < warmup_steps {
        return config.learning_rate * step as f64 / warmup_steps as f64;
    }
    let falls_after = warmup_steps.max(held);
    let done = step.saturating_sub(falls_after) as f64 / n_steps.saturating_sub(falls_after).max(1) as f64;
    config.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, Module, OptimizerConfig, VarStore};
    use tch::{Device, Kind};

    use super::*;

    /// A layer of 3 × 2 weights and 2 biases, and a loss of it.
    fn layer() -> (VarStore, nn::Linear) {
        let vs = VarStore::new(Device::Cpu);
        let config =
            nn::LinearConfig { ws_init: nn::Init::Const(0.5), bs_init: Some(nn::Init::Const(-0.25)), bias: true };
        let layer = nn::linear(vs.root(), 3, 2, config);
        (vs, layer)
    }

    fn loss(layer: &nn::Linear, step: i64) -> Tensor {
        let inputs = Tensor::from_slice(&[0.3f32, -1.0, 2.0 + step as f32]).view([1, 3]);
        let targets = Tensor::from_slice(&[1.0f32, -2.0]).view([1, 2]);
        (layer.forward(&inputs) - targets).square().sum(Kind::Float)
    }

    #[test]
    fn nothing_moves_between_the_variables() {
        for choice in [OptimizerChoice::AdamW, OptimizerChoice::Muon] {
            let (vs, layer) = layer();
            let mut weights = FlatWeights::new(&vs).unwrap();
            let mut optimizer = Optimizer::new(&weights, choice, 0.1);
            for step in 0..3 {
                let gradient = weights.gradient(&loss(&layer, step)).unwrap();
                optimizer.step(&mut weights, &gradient, 0.1);
            }
            for gap in [weights.values.narrow(0, 6, 10), weights.values.narrow(0, 18, 14)] {
                assert_eq!(gap.abs().max().double_value(&[]), 0.0);
            }
        }
    }

    #[test]
    fn without_decay_it_takes_the_steps_of_adam() {
        let ((vs, ours), (their_vs, theirs)) = (layer(), layer());
        let mut weights = FlatWeights::new(&vs).unwrap();
        let mut optimizer = Optimizer::new(&weights, OptimizerChoice::AdamW, 0.0);
        let mut adam = nn::adam(BETA1, BETA2, 0.0).build(&their_vs, 0.05).unwrap();
        for step in 0..20 {
            let gradient = weights.gradient(&loss(&ours, step)).unwrap();
            optimizer.step(&mut weights, &gradient, 0.05);
            adam.backward_step(&loss(&theirs, step));
        }
        for (a, b) in [(&ours.ws, &theirs.ws), (ours.bs.as_ref().unwrap(), theirs.bs.as_ref().unwrap())] {
            let difference = (a - b).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{difference}");
        }
    }

    #[test]
    fn decay_shrinks_matrices_and_nothing_else() {
        let (vs, layer) = layer();
        let mut weights = FlatWeights::new(&vs).unwrap();
        let mut optimizer = Optimizer::new(&weights, OptimizerChoice::AdamW, 0.1);
        let gradient = weights.values.zeros_like();
        optimizer.step(&mut weights, &gradient, 0.5);
        assert!((layer.ws.double_value(&[0, 0]) - 0.5 * (1.0 - 0.05)).abs() < 1e-7);
        assert_eq!(layer.bs.unwrap().double_value(&[0]), -0.25);
    }

    #[test]
    fn a_long_gradient_is_shortened_and_a_short_one_left_alone() {
        let mut gradient = Tensor::from_slice(&[3.0f32, 4.0]);
        clip(&mut gradient, 10.0);
        assert_eq!(Vec::<f32>::try_from(&gradient).unwrap(), [3.0, 4.0]);
        clip(&mut gradient, 1.0);
        assert!((gradient.norm().double_value(&[]) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_average_keeps_its_decay_and_forgets_its_start() {
        let (vs, _layer) = layer();
        let mut weights = FlatWeights::new(&vs).unwrap();
        let (mut average, mut last) = (Average::new(&weights, 0.5), Average::new(&weights, 0.0));
        let mut by_hand = weights.values.double_value(&[0]);
        // Of step 1 on a share of 1 - 2/11 is the new weights', of step 2 on 1 - 3/12; 0.5 is reached at step 8.
        for (step, decay) in [(1, 2.0 / 11.0), (2, 3.0 / 12.0), (9, 0.5)] {
            let values = weights.values.full_like(step as f64);
            weights.set(&values, &weights.buffers.copy());
            average.update(&weights, step);
            last.update(&weights, step);
            by_hand = decay * by_hand + (1.0 - decay) * step as f64;
            assert!((average.values.double_value(&[0]) - by_hand).abs() < 1e-5, "step {step}");
            assert_eq!(last.values, weights.values);
        }
    }

    #[test]
    fn the_step_size_rises_then_falls_to_nothing() {
        let config = TrainConfig { schedule: Schedule::Cosine { warmup_steps: 10 }, ..Default::default() };
        let rate = |step: usize| learning_rate(&config, step, 100) / config.learning_rate;
        assert!((rate(5) - 0.5).abs() < 1e-12 && (rate(10) - 1.0).abs() < 1e-12);
        assert!((rate(55) - 0.5).abs() < 1e-12 && rate(100).abs() < 1e-12);
        assert_eq!(learning_rate(&TrainConfig::default(), 77, 100), TrainConfig::default().learning_rate);
    }
}
