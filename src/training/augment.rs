//! What training does to clips so that a few hundred of them teach more: small functions on a batch, each of which can be looked
//! at by itself. Nothing here knows the network.

use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::config::{AugmentConfig, Mix};
use crate::front_end::features::FeatureConfig;
use crate::training::views::{self, Place, copy_window, starts};

/// Clips on their way into the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `(batch, n_mels, n_frames)`: power, at most 1, until [`to_inputs`] turns it into normalised decibels.
    pub clips: Array3<f32>,
    /// `(batch, num_classes)`: how much of each class a clip holds; rows add up to 1.
    pub targets: Array2<f32>,
}

/// All of them in their order, as `config` says: windows → gain → equaliser → mix of powers → roll → normalised decibels → mix of those → masks.
///
/// `clips` are powers with their classes; the batch that comes out is `(batch, n_mels, n_frames)`, a window of each as long as `window`
/// says, or all of it.
pub fn augment(
    clips: &[(ArrayView2<f32>, usize)],
    num_classes: usize,
    window: Option<usize>,
    config: &AugmentConfig,
    features: &FeatureConfig,
    rng: &mut impl Rng,
) -> Batch {
    let mut batch = windows(clips, num_classes, window, config, rng);
    gain(&mut batch, config.gain_db, rng);
    equalize(&mut batch, config.equalizer_db, rng);
    if config.mix == Mix::BetweenClass {
        between_class(&mut batch, config.mix_probability, rng);
    }
    if config.time_roll {
        roll(&mut batch, rng);
    }
    to_inputs(&mut batch, features);
    if config.mix == Mix::Mixup {
        mixup(&mut batch, config.mix_probability, rng);
    }
    mask(&mut batch, Axis(1), config.mel_masks, config.mel_mask_width, rng);
    mask(&mut batch, Axis(2), config.time_masks, config.time_mask_width, rng);
    batch
}

/// Cuts a window of `window` frames from every clip: at a random place of its sound with `random_crop`, faster or slower by
/// `time_stretch`, its bands moved by `mel_shift` and spread by `mel_stretch`. Without a `window` the clip is shown whole, where it is.
/// Every window is brought to a maximum of 1.
pub fn windows(
    clips: &[(ArrayView2<f32>, usize)],
    num_classes: usize,
    window: Option<usize>,
    config: &AugmentConfig,
    rng: &mut impl Rng,
) -> Batch {
    let (n_mels, all_frames) = clips.first().map_or((0, 0), |(power, _)| power.dim());
    let n_frames = window.unwrap_or(all_frames);
    let mut batch = Batch {
        clips: Array3::zeros((clips.len(), n_mels, n_frames)),
        targets: Array2::zeros((clips.len(), num_classes)),
    };
    for (i, (power, target)) in clips.iter().enumerate() {
        batch.targets[(i, *target)] = 1.0;
        let time_stretch = factor(config.time_stretch, rng);
        let mel_stretch = factor(config.mel_stretch, rng);
        let mel_start = symmetric(rng) * config.mel_shift;
        let shown = if window.is_some() { views::sounding(*power) } else { 0..all_frames };
        let (low, high) = starts(&shown, n_frames as f32 * time_stretch);
        let within = if config.random_crop { rng.random::<f32>() } else { 0.5 };
        let start = low + (high - low) * within;
        let start = if time_stretch == 1.0 { start.round() } else { start };
        let mut cut = batch.clips.index_axis_mut(Axis(0), i);
        copy_window(*power, Place { start, time_stretch, mel_stretch, mel_start }, cut.view_mut());
        let loudest = cut.iter().fold(f32::MIN_POSITIVE, |loudest, power| loudest.max(*power));
        cut.mapv_inplace(|power| power / loudest);
    }
    batch
}

/// Makes every clip louder or quieter by up to `max_db`.
pub fn gain(batch: &mut Batch, max_db: f32, rng: &mut impl Rng) {
    if max_db == 0.0 {
        return;
    }
    for mut clip in batch.clips.outer_iter_mut() {
        let factor = 10f32.powf(symmetric(rng) * max_db / 10.0);
        clip.mapv_inplace(|power| power * factor);
    }
}

/// Colours every clip as another microphone or room would: bands are lifted and lowered by up to `max_db`, along a line through
/// random heights at five places.
pub fn equalize(batch: &mut Batch, max_db: f32, rng: &mut impl Rng) {
    const PLACES: usize = 5;
    if max_db == 0.0 {
        return;
    }
    for mut clip in batch.clips.outer_iter_mut() {
        let heights_db: [f32; PLACES] = std::array::from_fn(|_| symmetric(rng) * max_db);
        let step = (PLACES - 1) as f32 / clip.nrows().saturating_sub(1).max(1) as f32;
        for (mel, mut band) in clip.outer_iter_mut().enumerate() {
            let place = mel as f32 * step;
            let left = (place as usize).min(PLACES - 2);
            let height_db = heights_db[left] + (place - left as f32) * (heights_db[left + 1] - heights_db[left]);
            band *= 10f32.powf(height_db / 10.0);
        }
    }
}

/// Lets some clips sound together with another of the batch. With the ratio `r` from ½ to 1, waveforms would add up as
/// `r·x + (1 − r)·y` over `√(r² + (1 − r)²)`, powers of unrelated sounds as their squares; the target is `r` of one class and
/// `1 − r` of the other (Tokozume et al. 2018, equation 2).
pub fn between_class(batch: &mut Batch, probability: f32, rng: &mut impl Rng) {
    let square = |ratio: f32| ratio * ratio / (ratio * ratio + (1.0 - ratio) * (1.0 - ratio));
    combine(batch, probability, square, rng);
}

/// Averages some clips with another of the batch, `r` of one and `1 − r` of the other, targets alike.
pub fn mixup(batch: &mut Batch, probability: f32, rng: &mut impl Rng) {
    combine(batch, probability, |ratio| ratio, rng);
}

/// Adds `1 − weight(r)` of a partner to `weight(r)` of a clip; partners are the batch in another order.
fn combine(batch: &mut Batch, probability: f32, weight: impl Fn(f32) -> f32, rng: &mut impl Rng) {
    let partners = permutation(batch.clips.len_of(Axis(0)), rng);
    let original = batch.clone();
    for (i, partner) in partners.into_iter().enumerate() {
        let ratio = rng.random::<f32>();
        let ratio = ratio.max(1.0 - ratio);
        if rng.random::<f32>() >= probability {
            continue;
        }
        let weight = weight(ratio);
        let mut clip = batch.clips.index_axis_mut(Axis(0), i);
        clip.zip_mut_with(&original.clips.index_axis(Axis(0), partner), |x, y| *x = weight * *x + (1.0 - weight) * y);
        let mut target = batch.targets.row_mut(i);
        target.zip_mut_with(&original.targets.row(partner), |x, y| *x = ratio * *x + (1.0 - ratio) * y);
    }
}

/// Moves every clip along time by a random number of frames; what leaves at one end comes in at the other.
pub fn roll(batch: &mut Batch, rng: &mut impl Rng) {
    let n_frames = batch.clips.len_of(Axis(2));
    for mut clip in batch.clips.outer_iter_mut() {
        let shift = rng.random_range(0..n_frames.max(1));
        let before = clip.to_owned();
        clip.slice_mut(s![.., shift..]).assign(&before.slice(s![.., ..n_frames - shift]));
        clip.slice_mut(s![.., ..shift]).assign(&before.slice(s![.., n_frames - shift..]));
    }
}

/// Powers → decibels below each clip's own maximum, mean 0 and deviation 1: the one step that inference takes, too.
pub fn to_inputs(batch: &mut Batch, features: &FeatureConfig) {
    for mut clip in batch.clips.outer_iter_mut() {
        let mut values = clip.to_owned();
        views::to_input(&mut values, features);
        clip.assign(&values);
    }
}

/// Sets up to `n_masks` stretches of every clip to 0, the mean; each starts anywhere and is up to `max_width` long (Park et al.
/// 2019, SpecAugment without warping). `axis` 1 masks mel bands, 2 time.
pub fn mask(batch: &mut Batch, axis: Axis, n_masks: usize, max_width: usize, rng: &mut impl Rng) {
    let length = batch.clips.len_of(axis);
    for mut clip in batch.clips.outer_iter_mut() {
        for _ in 0..n_masks {
            let width = rng.random_range(0..=max_width.min(length));
            let start = rng.random_range(0..=length - width);
            clip.slice_axis_mut(Axis(axis.index() - 1), (start..start + width).into()).fill(0.0);
        }
    }
}

/// From `1 / (1 + most)` to `1 + most`, evenly on a logarithmic scale; exactly 1 for 0.
fn factor(most: f32, rng: &mut impl Rng) -> f32 {
    (symmetric(rng) * (1.0 + most).ln()).exp()
}

/// Evenly from −1 to 1.
fn symmetric(rng: &mut impl Rng) -> f32 {
    2.0 * rng.random::<f32>() - 1.0
}

fn permutation(n: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn rng() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(1)
    }

    /// Three clips of 8 bands and 100 frames that sound in the middle, louder with every band, and differ in level.
    fn clips() -> Vec<Array2<f32>> {
        let sound = |level: f32| {
            move |(mel, frame): (usize, usize)| {
                if (40..60).contains(&frame) { level * (mel + 1) as f32 * (frame % 7 + 1) as f32 } else { 0.0 }
            }
        };
        [1e-3, 1e-2, 1e-1].map(|level| Array2::from_shape_fn((8, 100), sound(level))).to_vec()
    }

    fn cut(config: &AugmentConfig) -> Batch {
        let clips = clips();
        let labelled: Vec<_> = clips.iter().enumerate().map(|(class, clip)| (clip.view(), class)).collect();
        windows(&labelled, 4, Some(50), config, &mut rng())
    }

    fn total(batch: &Batch, clip: usize) -> f32 {
        batch.clips.index_axis(Axis(0), clip).sum()
    }

    #[test]
    fn nothing_is_done_by_the_default() {
        let batch = cut(&AugmentConfig::default());
        assert_eq!(batch.targets.row(2).to_vec(), [0.0, 0.0, 1.0, 0.0]);
        let loudest = clips()[1].iter().fold(0f32, |a, b| a.max(*b));
        // The middle of the frames where a window holds all the sound.
        let expected = clips()[1].slice(s![.., 25..75]).mapv(|power| power / loudest);
        assert_eq!(batch.clips.index_axis(Axis(0), 1), expected);
        let mut same = batch.clone();
        gain(&mut same, 0.0, &mut rng());
        between_class(&mut same, 0.0, &mut rng());
        mask(&mut same, Axis(1), 0, 12, &mut rng());
        assert_eq!(same, batch);
    }

    #[test]
    fn a_whole_clip_stays_where_it_is() {
        // Sound in the first fifth alone: a window would be placed around it.
        let clip = Array2::from_shape_fn((8, 100), |(mel, frame)| if frame < 20 { (mel + 1) as f32 } else { 0.0 });
        let config = AugmentConfig { random_crop: true, ..Default::default() };
        let batch = windows(&[(clip.view(), 0)], 1, None, &config, &mut rng());
        assert_eq!(batch.clips.index_axis(Axis(0), 0), clip / 8.0);
    }

    #[test]
    fn a_random_window_keeps_the_sound_and_follows_the_generator() {
        let config = AugmentConfig { random_crop: true, time_stretch: 0.2, mel_shift: 1.0, ..Default::default() };
        let batch = cut(&config);
        assert_eq!(batch, cut(&config));
        for clip in batch.clips.outer_iter() {
            let loudest = clip.iter().fold(0f32, |a, b| a.max(*b));
            assert!((loudest - 1.0).abs() < 1e-6);
            let sounding = views::sounding(clip);
            assert!((14..=26).contains(&sounding.len()), "20 frames at 1/1.2 to 1.2 times: {sounding:?}");
        }
    }

    #[test]
    fn mixed_targets_add_up_to_1_and_the_first_class_leads() {
        type Mixer = fn(&mut Batch, f32, &mut Xoshiro256PlusPlus);
        let mixers: [Mixer; 2] = [between_class, mixup];
        for mix in mixers {
            let before = cut(&AugmentConfig::default());
            let mut batch = before.clone();
            mix(&mut batch, 1.0, &mut rng());
            assert_ne!(batch, before);
            for (class, target) in batch.targets.outer_iter().enumerate() {
                assert!((target.sum() - 1.0).abs() < 1e-6);
                assert!(target[class] >= 0.5);
            }
            assert!(batch.clips.iter().all(|power| (0.0..=1.000_001).contains(power)));
        }
    }

    #[test]
    fn two_sounds_of_one_level_keep_that_level_when_mixed() {
        // Waveforms r·x + (1 − r)·y over √(r² + (1 − r)²): unrelated sounds of power 1 have power 1 together.
        let mut batch = Batch { clips: Array3::ones((6, 4, 10)), targets: Array2::ones((6, 1)) };
        between_class(&mut batch, 1.0, &mut rng());
        assert!(batch.clips.iter().all(|power| (power - 1.0).abs() < 1e-6));
    }

    #[test]
    fn rolling_loses_nothing_and_gain_stays_in_its_range() {
        let before = cut(&AugmentConfig::default());
        let mut rolled = before.clone();
        roll(&mut rolled, &mut rng());
        assert_ne!(rolled, before);
        let mut louder = before.clone();
        gain(&mut louder, 6.0, &mut rng());
        equalize(&mut louder, 3.0, &mut rng());
        for clip in 0..3 {
            assert!((total(&rolled, clip) - total(&before, clip)).abs() < 1e-3);
            let change_db = 10.0 * (total(&louder, clip) / total(&before, clip)).log10();
            assert!(change_db != 0.0 && change_db.abs() <= 9.001, "{change_db}");
        }
    }

    #[test]
    fn masks_blank_whole_bands_and_whole_frames_no_wider_than_told() {
        let mut batch = Batch { clips: Array3::ones((50, 8, 40)), targets: Array2::ones((50, 1)) };
        mask(&mut batch, Axis(1), 1, 3, &mut rng());
        let blank = |line: ndarray::ArrayView1<f32>| line.iter().all(|value| *value == 0.0);
        let masked: Vec<usize> =
            batch.clips.outer_iter().map(|clip| clip.rows().into_iter().filter(|row| blank(*row)).count()).collect();
        assert_eq!((masked.iter().min(), masked.iter().max()), (Some(&0), Some(&3)));
        mask(&mut batch, Axis(2), 2, 5, &mut rng());
        let frames = batch.clips.outer_iter().map(|clip| clip.columns().into_iter().filter(|c| blank(*c)).count());
        assert!((6..=10).contains(&frames.max().unwrap()));
    }

    #[test]
    fn what_leaves_is_normalised() {
        let clips = clips();
        let labelled: Vec<_> = clips.iter().enumerate().map(|(class, clip)| (clip.view(), class)).collect();
        let config =
            AugmentConfig { random_crop: true, mix: Mix::BetweenClass, mix_probability: 1.0, ..Default::default() };
        let batch = augment(&labelled, 4, Some(50), &config, &FeatureConfig::default(), &mut rng());
        assert_eq!(batch.clips.dim(), (3, 8, 50));
        for clip in batch.clips.outer_iter() {
            assert!(clip.mean().unwrap().abs() < 1e-4);
            assert!((clip.std(0.0) - 1.0).abs() < 1e-3);
        }
    }
}
