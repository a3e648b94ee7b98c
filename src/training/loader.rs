//! Training clips in batches: the order, the augmentation and the threads that prepare batches beside the training loop.
//!
//! Everything random in a batch follows from the run's seed, the epoch and the batch's number, so that a run can go on from any
//! epoch, and the number of threads changes nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use ndarray::{Array2, Array3, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use tch::{Device, Kind, Tensor};

use crate::config::{AugmentConfig, Config, TinyAstConfig, TrainConfig, View};
use crate::dataset::processed::Dataset;
use crate::dataset::stored::Stored;
use crate::distributed::peers::{Peers, part_of};
use crate::error::Result;
use crate::files::hash::fnv1a;
use crate::files::text::Text;
use crate::front_end::features::FeatureConfig;
use crate::training::augment::{Batch, augment_drawn, draw};
use crate::training::input;
use crate::training::order::{Shards, balanced};

/// Batches a thread prepares ahead of the training loop.
const AHEAD: usize = 2;

/// The clips trained on, in memory where they fit there.
pub struct Loader {
    clips: Clips,
    targets: Arc<[usize]>,
    shards: Option<Shards>,
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
    /// What every epoch makes inputs of its own from.
    Made(Arc<Maker>),
}

/// Makes batches.
struct Maker {
    work: Work,
    /// `(n_mels, n_frames)` of every clip.
    shape: (usize, usize),
    targets: Arc<[usize]>,
    num_classes: usize,
}

enum Work {
    /// Clips on disk are shown as they are.
    Show(Vec<Stored>),
    /// They are changed anew in every epoch.
    Change(Held, Change),
}

struct Change {
    window: Option<usize>,
    augment: AugmentConfig,
    features: FeatureConfig,
}

enum Held {
    /// Powers in memory.
    Powers(Vec<Array2<f32>>),
    OnDisk(Vec<Stored>),
}

/// Whether the values of spectrograms fit into so many MB.
pub(crate) fn fit(stored: &[Stored], megabytes: usize) -> bool {
    stored.iter().map(Stored::n_bytes).sum::<usize>() <= megabytes.saturating_mul(1_000_000)
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
    /// What [`Dataset::spectrogram`] reports for the first file that does not fit; where the clips stay on disk, a batch reports it.
    pub fn new(
        config: &Config,
        dataset: &Dataset,
        indices: &[usize],
        device: Device,
        peers: &dyn Peers,
    ) -> Result<Self> {
        let targets: Arc<[usize]> = indices.iter().map(|index| dataset.clips[*index].target).collect();
        let num_classes = dataset.labels.len();
        let stored: Vec<Stored> = indices.iter().map(|index| dataset.stored(*index)).collect();
        let shards = Shards::new(numbered(&stored));
        let changes = !config.train.augment.is_off() || config.model.view != View::Whole;
        let clips = match fit(&stored, config.train.memory_mb) {
            true if !changes => Clips::Ready(input::load(&stored, &config.model, &config.features)?.to_device(device)),
            fits => {
                let shape = stored.first().map_or((0, 0), Stored::shape);
                let work = match changes {
                    false => Work::Show(stored),
                    true => {
                        let power = |clip: &Stored| Ok(clip.read()?.power());
                        let held = match fits {
                            true => Held::Powers(stored.iter().map(power).collect::<Result<_>>()?),
                            false => Held::OnDisk(stored),
                        };
                        let (augment, features) = (config.train.augment.clone(), dataset.settings.features.clone());
                        Work::Change(held, Change { window: config.model.window(), augment, features })
                    }
                };
                Clips::Made(Arc::new(Maker { work, shape, targets: Arc::clone(&targets), num_classes }))
            }
        };
        let (model, config) = (config.model.clone(), config.train.clone());
        let peers = (peers.rank(), peers.size());
        Ok(Loader { clips, targets, shards, num_classes, model, config, device, peers })
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
        if let Some(shards) = &self.shards {
            shards.group(&mut order, &mut rng);
        }
        let chunks = order.chunks(self.config.batch_size).enumerate();
        let plans = chunks.map(|(number, clips)| Plan {
            clips: clips.to_vec(),
            part: self.part_of(clips.len()),
            seed: stream(seed, epoch, number as u64),
        });
        let plans: Arc<[Plan]> = plans.collect();
        let ahead = match &self.clips {
            Clips::Ready(_) => Vec::new(),
            Clips::Made(maker) => prepare_ahead(maker, &plans, self.config.loader_threads),
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

/// What makes a batch: its clips, which of them are this process', and the seed of what is done to them.
struct Plan {
    clips: Vec<usize>,
    part: Range<usize>,
    seed: u64,
}

impl Maker {
    fn batch(&self, plan: &Plan) -> Result<Batch> {
        let n_clips = plan.part.len();
        let (held, Change { window, augment, features }) = match &self.work {
            Work::Show(stored) => return self.as_stored(stored, &plan.clips[plan.part.clone()]),
            Work::Change(held, change) => (held, change),
        };
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(plan.seed);
        let (made, drawn) = draw(plan.clips.len(), self.shape, plan.part.clone(), *window, augment, &mut rng);
        let numbers: Vec<usize> = made.into_iter().map(|place| plan.clips[place]).collect();
        let power = |clip: &usize| match held {
            Held::Powers(powers) => Ok(Cow::Borrowed(&powers[*clip])),
            Held::OnDisk(stored) => Ok(Cow::Owned(stored[*clip].read()?.power())),
        };
        let powers = numbers.iter().map(power).collect::<Result<Vec<_>>>()?;
        let clips: Vec<_> =
            powers.iter().zip(&numbers).map(|(power, clip)| (power.view(), self.targets[*clip])).collect();
        Ok(augment_drawn(&clips, n_clips, self.num_classes, *window, &drawn, augment, features))
    }

    /// Normalised spectrograms, as they lie on disk.
    fn as_stored(&self, stored: &[Stored], numbers: &[usize]) -> Result<Batch> {
        let mut clips = Array3::zeros((numbers.len(), self.shape.0, self.shape.1));
        let mut targets = Array2::zeros((numbers.len(), self.num_classes));
        for (place, clip) in numbers.iter().enumerate() {
            targets[[place, self.targets[*clip]]] = 1.0;
            clips.index_axis_mut(Axis(0), place).assign(&stored[*clip].read()?.values);
        }
        Ok(Batch { clips, targets })
    }
}

/// The shards that clips lie in, by number.
fn numbered(stored: &[Stored]) -> Vec<Option<u32>> {
    let mut numbers: HashMap<Text, u32> = HashMap::new();
    let number = |clip: &'_ Stored| {
        let next = numbers.len() as u32;
        clip.shard().map(|shard| *numbers.entry(shard.clone()).or_insert(next))
    };
    stored.iter().map(number).collect()
}

/// Threads that make the batches in turn: the first the batches 0, n, 2n, …, the second 1, n + 1, …; each ends with its batches, or
/// when nobody takes them any more.
fn prepare_ahead(maker: &Arc<Maker>, plans: &Arc<[Plan]>, n_threads: usize) -> Vec<Receiver<Result<Batch>>> {
    let start = |thread: usize| {
        let (sender, receiver) = sync_channel(AHEAD);
        let (maker, plans) = (maker.clone(), plans.clone());
        thread::spawn(move || {
            for plan in plans.iter().skip(thread).step_by(n_threads) {
                if sender.send(maker.batch(plan)).is_err() {
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
    ahead: Vec<Receiver<Result<Batch>>>,
    next: usize,
}

impl Iterator for Batches<'_> {
    type Item = Result<Loaded>;

    fn next(&mut self) -> Option<Self::Item> {
        let plan = self.plans.get(self.next)?;
        let (inputs, targets) = match &self.loader.clips {
            // Of a short batch not every process has a part.
            _ if plan.part.is_empty() => {
                let none = (Kind::Float, Device::Cpu);
                (Tensor::zeros([0, 1, 0, 0], none), Tensor::zeros([0, self.loader.num_classes as i64], none))
            }
            Clips::Ready(inputs) => self.loader.select(inputs, &plan.clips[plan.part.clone()]),
            Clips::Made(maker) => {
                let receiver = self.ahead.get(self.next % self.ahead.len().max(1));
                // A thread that ended early is no reason to end the run: its batch can be made here.
                let batch = receiver.and_then(|receiver| receiver.recv().ok());
                match batch.unwrap_or_else(|| maker.batch(plan)) {
                    Ok(batch) => self.loader.to_tensors(&batch),
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        self.next += 1;
        let (inputs, targets) = (inputs.to_device(self.loader.device), targets.to_device(self.loader.device));
        Some(Ok(Loaded { inputs, targets, first: plan.part.start, n_clips: plan.clips.len() }))
    }
}
