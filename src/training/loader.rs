//! Training clips in batches: the order, the augmentation and the threads that prepare batches beside the training loop.
//!
//! Everything random in a batch follows from the run's seed, the epoch and the batch's number, so that a run can go on from any
//! epoch, and the number of threads changes nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use ndarray::{Array2, ArrayView2};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tch::{Device, Kind, Tensor};

use crate::config::{AugmentConfig, Config, TinyAstConfig, TrainConfig, View};
use crate::dataset::processed::Dataset;
use crate::distributed::peers::{Peers, part_of};
use crate::error::Result;
use crate::files::hash::fnv1a;
use crate::front_end::features::FeatureConfig;
use crate::training::augment::{Batch, augment_part};
use crate::training::input;

/// Batches a thread prepares ahead of the training loop.
const AHEAD: usize = 2;

/// The clips trained on, in memory.
pub struct Loader {
    clips: Clips,
    targets: Vec<usize>,
    num_classes: usize,
    model: TinyAstConfig,
    config: TrainConfig,
    device: Device,
    /// Which of how many processes this is.
    peers: (usize, usize),
}

/// A part of a batch, on the device.
pub struct Loaded {
    /// `(clips of the part, 1, n_mels, n_frames)`.
    pub inputs: Tensor,
    /// `(clips of the part, num_classes)`.
    pub targets: Tensor,
    /// The place of its first clip in the whole batch.
    pub first: usize,
    /// Clips in the whole batch.
    pub n_clips: usize,
}

enum Clips {
    /// Inputs that never change, `(clips, 1, n_mels, n_frames)`, where they are used.
    Ready(Tensor),
    /// Powers, from which every epoch makes inputs of its own.
    Powers(Arc<Powers>),
}

struct Powers {
    clips: Vec<Array2<f32>>,
    targets: Vec<usize>,
    num_classes: usize,
    window: Option<usize>,
    augment: AugmentConfig,
    features: FeatureConfig,
}

/// Numbers of a stream of their own for each of these: the run's seed, an epoch, something within it.
pub(crate) fn stream(seed: u64, epoch: usize, within: u64) -> u64 {
    fnv1a([seed, epoch as u64, within].map(u64::to_le_bytes).as_flattened())
}

/// The stream that orders an epoch; batches have their numbers.
const ORDER: u64 = u64::MAX;

impl Loader {
    /// Reads the clips, of which every process takes its part of every batch.
    ///
    /// # Errors
    /// What [`Dataset::spectrogram`] reports for the first file that does not fit.
    pub fn new(
        config: &Config,
        dataset: &Dataset,
        indices: &[usize],
        device: Device,
        peers: &dyn Peers,
    ) -> Result<Self> {
        let targets: Vec<usize> = indices.iter().map(|index| dataset.clips[*index].target).collect();
        let num_classes = dataset.labels.len();
        let clips = if config.train.augment.is_off() && config.model.view == View::Whole {
            Clips::Ready(input::load(dataset, indices, &config.model)?.0.to_device(device))
        } else {
            let power = |index: &usize| Ok(dataset.spectrogram(*index)?.power());
            let clips = indices.iter().map(power).collect::<Result<Vec<_>>>()?;
            let (augment, features) = (config.train.augment.clone(), dataset.settings.features.clone());
            let (targets, window) = (targets.clone(), config.model.window());
            Clips::Powers(Arc::new(Powers { clips, targets, num_classes, window, augment, features }))
        };
        let (model, config) = (config.model.clone(), config.train.clone());
        let peers = (peers.rank(), peers.size());
        Ok(Loader { clips, targets, num_classes, model, config, device, peers })
    }

    /// Where batches go.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Clips in an epoch.
    pub fn n_clips(&self) -> usize {
        self.targets.len()
    }

    /// Batches in an epoch; the last may be short.
    pub fn n_batches(&self) -> usize {
        self.targets.len().div_ceil(self.config.batch_size)
    }

    /// The batches of an epoch, in an order of its own.
    pub fn epoch(&self, epoch: usize) -> Batches<'_> {
        let seed = self.config.seed;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(stream(seed, epoch, ORDER));
        let mut order: Vec<usize> = match self.config.balance {
            0.0 => (0..self.targets.len()).collect(),
            balance => balanced(&self.targets, self.num_classes, balance, &mut rng),
        };
        order.shuffle(&mut rng);
        let chunks = order.chunks(self.config.batch_size).enumerate();
        let plans = chunks.map(|(number, clips)| Plan {
            clips: clips.to_vec(),
            part: self.part_of(clips.len()),
            seed: stream(seed, epoch, number as u64),
        });
        let plans: Arc<[Plan]> = plans.collect();
        let ahead = match &self.clips {
            Clips::Ready(_) => Vec::new(),
            Clips::Powers(powers) => prepare_ahead(powers, &plans, self.config.loader_threads),
        };
        Batches { loader: self, plans, ahead, next: 0 }
    }

    /// Which of the clips of a batch are this process': what goes through the network at once stays together.
    fn part_of(&self, n_clips: usize) -> Range<usize> {
        let at_once = self.config.clips_at_once.unwrap_or(1);
        let parts = part_of(n_clips.div_ceil(at_once), self.peers);
        (parts.start * at_once).min(n_clips)..(parts.end * at_once).min(n_clips)
    }

    fn select(&self, inputs: &Tensor, batch: &[usize]) -> (Tensor, Tensor) {
        let indices: Vec<i64> = batch.iter().map(|clip| *clip as i64).collect();
        let targets: Vec<i64> = batch.iter().map(|clip| self.targets[*clip] as i64).collect();
        let one_hot = Tensor::from_slice(&targets).one_hot(self.num_classes as i64).to_kind(Kind::Float);
        (inputs.index_select(0, &Tensor::from_slice(&indices).to_device(self.device)), one_hot)
    }

    fn to_tensors(&self, batch: &Batch) -> (Tensor, Tensor) {
        let (n_clips, n_mels, n_frames) = batch.clips.dim();
        let clips = batch.clips.as_slice().unwrap_or_default();
        let clips = Tensor::from_slice(clips).view([n_clips as i64, 1, n_mels as i64, n_frames as i64]);
        let inputs = match self.model.view {
            View::Whole => input::resize_batch(&clips, self.model.input_size),
            View::Windows { .. } => clips,
        };
        let targets = Tensor::from_slice(batch.targets.as_slice().unwrap_or_default());
        (inputs, targets.view([n_clips as i64, self.num_classes as i64]))
    }
}

/// As many clips as there are, of a class in proportion to its number of clips to the power of `1 - balance`; a class gives each of
/// its clips as often as any other of them, or once more.
fn balanced(targets: &[usize], num_classes: usize, balance: f64, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let mut classes = vec![Vec::new(); num_classes];
    targets.iter().enumerate().for_each(|(clip, target)| classes[*target].push(clip));
    let weight = |clips: &Vec<usize>| if clips.is_empty() { 0.0 } else { (clips.len() as f64).powf(1.0 - balance) };
    let all: f64 = classes.iter().map(weight).sum();
    let mut order = Vec::with_capacity(targets.len());
    let mut due = 0.0;
    for clips in &mut classes {
        // Rounded so that the sum of all is whole.
        due += targets.len() as f64 * weight(clips) / all.max(1.0);
        let n = (due.round() as usize).saturating_sub(order.len());
        clips.shuffle(rng);
        order.extend(clips.iter().cycle().take(n));
    }
    order
}

/// What makes a batch: its clips, which of them are this process', and the seed of what is done to them.
struct Plan {
    clips: Vec<usize>,
    part: Range<usize>,
    seed: u64,
}

impl Powers {
    fn batch(&self, plan: &Plan) -> Batch {
        let clip = |index: &usize| (self.clips[*index].view(), self.targets[*index]);
        let clips: Vec<(ArrayView2<f32>, usize)> = plan.clips.iter().map(clip).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(plan.seed);
        let part = plan.part.clone();
        augment_part(&clips, part, self.num_classes, self.window, &self.augment, &self.features, &mut rng)
    }
}

/// Threads that make the batches in turn: the first the batches 0, n, 2n, …, the second 1, n + 1, …; each ends with its batches, or
/// when nobody takes them any more.
fn prepare_ahead(powers: &Arc<Powers>, plans: &Arc<[Plan]>, n_threads: usize) -> Vec<Receiver<Batch>> {
    let start = |thread: usize| {
        let (sender, receiver) = sync_channel(AHEAD);
        let (powers, plans) = (powers.clone(), plans.clone());
        thread::spawn(move || {
            for plan in plans.iter().skip(thread).step_by(n_threads) {
                if sender.send(powers.batch(plan)).is_err() {
                    return;
                }
            }
        });
        receiver
    };
    (0..n_threads.min(plans.len())).map(start).collect()
}

/// The batches of an epoch, this process' part of each.
pub struct Batches<'a> {
    loader: &'a Loader,
    plans: Arc<[Plan]>,
    ahead: Vec<Receiver<Batch>>,
    next: usize,
}

impl Iterator for Batches<'_> {
    type Item = Loaded;

    fn next(&mut self) -> Option<Self::Item> {
        let plan = self.plans.get(self.next)?;
        let (inputs, targets) = match &self.loader.clips {
            // Of a short batch not every process has a part.
            _ if plan.part.is_empty() => {
                let none = (Kind::Float, Device::Cpu);
                (Tensor::zeros([0, 1, 0, 0], none), Tensor::zeros([0, self.loader.num_classes as i64], none))
            }
            Clips::Ready(inputs) => self.loader.select(inputs, &plan.clips[plan.part.clone()]),
            Clips::Powers(powers) => {
                let receiver = self.ahead.get(self.next % self.ahead.len().max(1));
                // A thread that ended early is no reason to end the run: its batch can be made here.
                let batch = receiver.and_then(|receiver| receiver.recv().ok());
                self.loader.to_tensors(&batch.unwrap_or_else(|| powers.batch(plan)))
            }
        };
        self.next += 1;
        let (inputs, targets) = (inputs.to_device(self.loader.device), targets.to_device(self.loader.device));
        Some(Loaded { inputs, targets, first: plan.part.start, n_clips: plan.clips.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_are_met_more_often_and_an_epoch_is_as_long_as_ever() {
        let targets: Vec<usize> = [vec![0; 90], vec![1; 10]].concat();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut counts = |balance: f64| {
            let order = balanced(&targets, 3, balance, &mut rng);
            let rare: Vec<usize> = order.iter().copied().filter(|clip| targets[*clip] == 1).collect();
            // Each of its clips as often as any other, or once more.
            let each: Vec<usize> = (90..100).map(|clip| rare.iter().filter(|one| **one == clip).count()).collect();
            assert!(each.iter().max().unwrap() - each.iter().min().unwrap() <= 1, "{each:?}");
            (order.len(), rare.len())
        };
        assert_eq!(counts(0.0), (100, 10));
        // In proportion to √90 and √10.
        assert_eq!(counts(0.5), (100, 25));
        assert_eq!(counts(1.0), (100, 50));
    }
}
