//! Everything random that is done to a batch, drawn before any of it is done.
//!
//! So that several processes can each make a part of one batch: all draw the same numbers for all of its clips, and do what they say to
//! their own.

use std::collections::HashMap;
use std::ops::Range;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::config::{AugmentConfig, Mix};

/// Places along the bands at which an equaliser lifts or lowers.
pub const EQUALIZER_PLACES: usize = 5;

/// What is done to each clip of a batch. What the config has turned off is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// Where its window is cut.
    pub cuts: Vec<Cut>,
    /// How much louder it becomes.
    pub gains_db: Vec<f32>,
    /// How much each of five places along its bands is lifted.
    pub equalizers_db: Vec<[f32; EQUALIZER_PLACES]>,
    /// What is mixed into it.
    pub mixing: Vec<Option<Mixed>>,
    /// By how many frames it is moved.
    pub shifts: Vec<usize>,
    /// Bands that are blanked.
    pub mel_masks: Vec<Vec<Range<usize>>>,
    /// Frames that are blanked.
    pub time_masks: Vec<Vec<Range<usize>>>,
}

/// Where a window is cut out of a clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// From its first place, 0, to its last, 1.
    pub within: f32,
    /// How much longer it is than what comes out.
    pub time_stretch: f32,
    /// How far its bands are spread.
    pub mel_stretch: f32,
    /// By how many bands it is moved.
    pub mel_start: f32,
}

impl Cut {
    fn new(config: &AugmentConfig, rng: &mut impl Rng) -> Self {
        Cut {
            time_stretch: factor(config.time_stretch, rng),
            mel_stretch: factor(config.mel_stretch, rng),
            mel_start: symmetric(rng) * config.mel_shift,
            within: if config.random_crop { rng.random::<f32>() } else { 0.5 },
        }
    }
}

/// Another clip in a clip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// Its place in the batch.
    pub partner: usize,
    /// The share of the clip itself, from ½ to 1.
    pub ratio: f32,
}

impl Drawn {
    /// For a batch of `(n_clips, n_mels, n_frames)`, as `config` says: a window starts at a random place with `random_crop`, else in the middle; it is
    /// longer or shorter by `time_stretch`, moved by `mel_shift`, spread by `mel_stretch`; and so on.
    pub fn new((n_clips, n_mels, n_frames): (usize, usize, usize), config: &AugmentConfig, rng: &mut impl Rng) -> Self {
        // The order of these draws is part of what a seed means.
        let cuts = (0..n_clips).map(|_| Cut::new(config, rng)).collect();
        let n_if = |is_on: bool| if is_on { n_clips } else { 0 };
        let gains_db = (0..n_if(config.gain_db != 0.0)).map(|_| symmetric(rng) * config.gain_db).collect();
        let equalizers_db = (0..n_if(config.equalizer_db != 0.0))
            .map(|_| std::array::from_fn(|_| symmetric(rng) * config.equalizer_db))
            .collect();
        let mut mixing = Vec::new();
        if config.mix == Mix::BetweenClass {
            mixing = partners(n_clips, config.mix_probability, rng);
        }
        let shifts = (0..n_if(config.time_roll)).map(|_| rng.random_range(0..n_frames.max(1))).collect();
        if config.mix == Mix::Mixup {
            mixing = partners(n_clips, config.mix_probability, rng);
        }
        let mel_masks = masks((n_clips, n_mels), config.mel_masks, config.mel_mask_width, rng);
        let time_masks = masks((n_clips, n_frames), config.time_masks, config.time_mask_width, rng);
        Drawn { cuts, gains_db, equalizers_db, mixing, shifts, mel_masks, time_masks }
    }

    /// The clips to make for a part of the batch, itself and behind it what is mixed into it; and what is drawn for those.
    pub fn for_part(self, part: Range<usize>) -> (Vec<usize>, Self) {
        let mut made: Vec<usize> = part.clone().collect();
        let mut places: HashMap<usize, usize> = made.iter().enumerate().map(|(place, clip)| (*clip, place)).collect();
        let mut mixing = Vec::with_capacity(part.len());
        for mixed in self.mixing.get(part).unwrap_or_default() {
            mixing.push(mixed.map(|Mixed { partner, ratio }| {
                let place = *places.entry(partner).or_insert(made.len());
                if place == made.len() {
                    made.push(partner);
                }
                Mixed { partner: place, ratio }
            }));
        }
        let drawn = Drawn {
            cuts: picked(&self.cuts, &made),
            gains_db: picked(&self.gains_db, &made),
            equalizers_db: picked(&self.equalizers_db, &made),
            mixing,
            shifts: picked(&self.shifts, &made),
            mel_masks: picked(&self.mel_masks, &made),
            time_masks: picked(&self.time_masks, &made),
        };
        (made, drawn)
    }
}

/// Some of what there is for all clips, or none of nothing.
fn picked<T: Clone>(of_all: &[T], clips: &[usize]) -> Vec<T> {
    clips.iter().filter_map(|clip| of_all.get(*clip).cloned()).collect()
}

/// Who is mixed into whom: partners are the batch in another order.
fn partners(n_clips: usize, probability: f32, rng: &mut impl Rng) -> Vec<Option<Mixed>> {
    let mut order: Vec<usize> = (0..n_clips).collect();
    order.shuffle(rng);
    let mixed = |partner| {
        let ratio = rng.random::<f32>();
        let ratio = ratio.max(1.0 - ratio);
        (rng.random::<f32>() < probability).then_some(Mixed { partner, ratio })
    };
    order.into_iter().map(mixed).collect()
}

/// For each of `n_clips`, `n_masks` stretches that start anywhere in `length` and are up to `max_width` long.
fn masks(
    (n_clips, length): (usize, usize),
    n_masks: usize,
    max_width: usize,
    rng: &mut impl Rng,
) -> Vec<Vec<Range<usize>>> {
    let mut mask = || {
        let width = rng.random_range(0..=max_width.min(length));
        let start = rng.random_range(0..=length - width);
        start..start + width
    };
    (0..n_clips).map(|_| (0..n_masks).map(|_| mask()).collect()).collect()
}

/// From `1 / (1 + most)` to `1 + most`, evenly on a logarithmic scale; exactly 1 for 0.
fn factor(most: f32, rng: &mut impl Rng) -> f32 {
    (symmetric(rng) * (1.0 + most).ln()).exp()
}

/// Evenly from −1 to 1.
fn symmetric(rng: &mut impl Rng) -> f32 {
    2.0 * rng.random::<f32>() - 1.0
}
