//! Which step size suits a network and its data: the learning-rate range test.

use std::fmt;

use tch::nn::VarStore;

use crate::config::Config;
use crate::dataset::in_use::InUse;
use crate::dataset::processed::Dataset;
use crate::distributed::peers::Alone;
use crate::error::Result;
use crate::training::device;
use crate::training::loader::Loader;
use crate::training::trainer::Trainer;

/// The step sizes tried, from the first to the second, in so many steps of one factor.
const RANGE: (f64, f64) = (1e-6, 1.0);
const N_STEPS: usize = 120;
/// How much of itself the smoothed loss keeps per step.
const SMOOTHING: f64 = 0.9;
/// The test ends where the loss is this many times the lowest.
const DIVERGED: f64 = 2.0;
/// The step size proposed is this much smaller than that of the lowest loss.
const MARGIN: f64 = 10.0;

/// How the loss of a network that is thrown away went while its step size grew (Smith 2017, *Cyclical Learning Rates for Training Neural
/// Networks*, <https://arxiv.org/abs/1506.01186>).
#[derive(Clone, Debug, PartialEq)]
pub struct RateTest {
    /// Step size and smoothed loss in nats, one per step.
    pub points: Vec<(f64, f64)>,
    /// A tenth of the step size at which the loss was lowest: a `train.learning_rate` to begin with.
    pub proposed: f64,
}

/// Trains a network that is thrown away for at most 120 steps, with a step size that grows from 10⁻⁶ to 1. Nothing is written, and the
/// held-out fold is not touched.
///
/// # Errors
/// As [`train`](crate::train).
pub fn find_learning_rate(config: &Config) -> Result<RateTest> {
    config.validate()?;
    let device = device::select(config.train.device)?;
    let _in_use = InUse::to_read(&config.data.processed_dir)?;
    let dataset = Dataset::open(config)?;
    let split = dataset.split(&config.train)?;
    let loader = Loader::new(config, &dataset, &split.train, device, &Alone)?;
    let mut trainer = Trainer::new(&VarStore::new(device), config, dataset.labels.len())?;
    let factor = (RANGE.1 / RANGE.0).powf(1.0 / (N_STEPS - 1) as f64);
    let (mut points, mut mean, mut lowest): (Vec<(f64, f64)>, f64, f64) = (Vec::new(), 0.0, f64::INFINITY);
    for (step, batch) in (1..).flat_map(|epoch| loader.epoch(epoch)).take(N_STEPS).enumerate() {
        let rate = RANGE.0 * factor.powi(step as i32);
        let loss = trainer.step(&batch?, false, 1, step + 1, rate)?.loss;
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
        // Without the weight of the steps that never were.
        let smoothed = mean / (1.0 - SMOOTHING.powi(step as i32 + 1));
        if !smoothed.is_finite() || smoothed > DIVERGED * lowest {
            break;
        }
        lowest = lowest.min(smoothed);
        points.push((rate, smoothed));
    }
    let best = points.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(RANGE.0, |point| point.0);
    Ok(RateTest { points, proposed: best / MARGIN })
}

impl fmt::Display for RateTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "train.learning_rate: {:.1e} to begin with, after {} steps", self.proposed, self.points.len())
    }
}
