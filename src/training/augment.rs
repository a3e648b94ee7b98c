//! What training does to clips so that a few hundred of them teach more: small functions on a batch, each of which can be looked
//! at by itself. Nothing here knows the network.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use rand::Rng;

use crate::config::{AugmentConfig, Mix};
use crate::front_end::features::FeatureConfig;
use crate::training::drawn::{Cut, Drawn, EQUALIZER_PLACES, Mixed};
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
    let shape = clips.first().map_or((0, 0), |(power, _)| power.dim());
    let (made, drawn) = draw(clips.len(), shape, 0..clips.len(), window, config, rng);
    let made: Vec<_> = made.into_iter().map(|clip| clips[clip]).collect();
    augment_drawn(&made, clips.len(), num_classes, window, &drawn, config, features)
}

/// Which clips a part of a batch is made of, its own first and behind them those that are mixed into it, and all that is random about them. It is
/// drawn for the whole batch, so that every part has the very numbers that it has there. A clip is `(n_mels, n_frames)`.
pub fn draw(
    n_clips: usize,
    (n_mels, n_frames): (usize, usize),
    part: Range<usize>,
    window: Option<usize>,
    config: &AugmentConfig,
    rng: &mut impl Rng,
) -> (Vec<usize>, Drawn) {
    Drawn::new((n_clips, n_mels, window.unwrap_or(n_frames)), config, rng).for_part(part)
}

/// What [`augment`] does, of what was drawn, to the clips of which it says that they are needed; the first `n_clips` of them come out.
pub fn augment_drawn(
    clips: &[(ArrayView2<f32>, usize)],
    n_clips: usize,
    num_classes: usize,
    window: Option<usize>,
    drawn: &Drawn,
    config: &AugmentConfig,
    features: &FeatureConfig,
) -> Batch {
    let mut batch = windows(clips, num_classes, window, &drawn.cuts);
    gain(&mut batch, &drawn.gains_db);
    equalize(&mut batch, &drawn.equalizers_db);
    if config.mix == Mix::BetweenClass {
        between_class(&mut batch, &drawn.mixing);
    }
    roll(&mut batch, &drawn.shifts);
    to_inputs(&mut batch, features);
    if config.mix == Mix::Mixup {
        mixup(&mut batch, &drawn.mixing);
    }
    // What was mixed into others has done its part.
    batch.clips.slice_axis_inplace(Axis(0), (..n_clips).into());
    batch.targets.slice_axis_inplace(Axis(0), (..n_clips).into());
    mask(&mut batch, Axis(1), &drawn.mel_masks);
    mask(&mut batch, Axis(2), &drawn.time_masks);
    batch
}

/// Cuts a window of `window` frames from every clip, at its place in the sound, faster or slower, its bands moved and spread. Without a `window`
/// the clip is shown whole, where it is. Every window is brought to a maximum of 1.
pub fn windows(clips: &[(ArrayView2<f32>, usize)], num_classes: usize, window: Option<usize>, cuts: &[Cut]) -> Batch {
    let (n_mels, all_frames) = clips.first().map_or((0, 0), |(power, _)| power.dim());
    let n_frames = window.unwrap_or(all_frames);
    let mut batch = Batch {
        clips: Array3::zeros((clips.len(), n_mels, n_frames)),
        targets: Array2::zeros((clips.len(), num_classes)),
    };
    for (i, ((power, target), cut)) in clips.iter().zip(cuts).enumerate() {
        batch.targets[(i, *target)] = 1.0;
        let Cut { within, time_stretch, mel_stretch, mel_start } = *cut;
        let shown = if window.is_some() { views::sounding(*power) } else { 0..all_frames };
        let (low, high) = starts(&shown, n_frames as f32 * time_stretch);
        let start = low + (high - low) * within;
        let start = if time_stretch == 1.0 { start.round() } else { start };
        let mut cut = batch.clips.index_axis_mut(Axis(0), i);
        copy_window(*power, Place { start, time_stretch, mel_stretch, mel_start }, cut.view_mut());
        let loudest = cut.iter().fold(f32::MIN_POSITIVE, |loudest, power| loudest.max(*power));
        cut.mapv_inplace(|power| power / loudest);
    }
    batch
}

/// Makes every clip louder or quieter.
pub fn gain(batch: &mut Batch, gains_db: &[f32]) {
    for (mut clip, gain_db) in batch.clips.outer_iter_mut().zip(gains_db) {
        let factor = 10f32.powf(gain_db / 10.0);
        clip.mapv_inplace(|power| power * factor);
    }
}

/// Colours every clip as another microphone or room would: bands are lifted and lowered along a line through heights at five places.
pub fn equalize(batch: &mut Batch, equalizers_db: &[[f32; EQUALIZER_PLACES]]) {
    for (mut clip, heights_db) in batch.clips.outer_iter_mut().zip(equalizers_db) {
        let step = (EQUALIZER_PLACES - 1) as f32 / clip.nrows().saturating_sub(1).max(1) as f32;
        for (mel, mut band) in clip.outer_iter_mut().enumerate() {
            let place = mel as f32 * step;
            let left = (place as usize).min(EQUALIZER_PLACES - 2);
            let height_db = heights_db[left] + (place - left as f32) * (heights_db[left + 1] - heights_db[left]);
            band *= 10f32.powf(height_db / 10.0);
        }
    }
}

/// Lets some clips sound together with another of the batch. With the ratio `r` from ½ to 1, waveforms would add up as
/// `r·x + (1 − r)·y` over `√(r² + (1 − r)²)`, powers of unrelated sounds as their squares; the target is `r` of one class and
/// `1 − r` of the other (Tokozume et al. 2018, equation 2).
pub fn between_class(batch: &mut Batch, mixing: &[Option<Mixed>]) {
    let square = |ratio: f32| ratio * ratio / (ratio * ratio + (1.0 - ratio) * (1.0 - ratio));
    combine(batch, mixing, square);
}

/// Averages some clips with another of the batch, `r` of one and `1 − r` of the other, targets alike.
pub fn mixup(batch: &mut Batch, mixing: &[Option<Mixed>]) {
    combine(batch, mixing, |ratio| ratio);
}

/// Adds `1 − weight(r)` of a partner to `weight(r)` of a clip.
fn combine(batch: &mut Batch, mixing: &[Option<Mixed>], weight: impl Fn(f32) -> f32) {
    let original = batch.clone();
    for (i, mixed) in mixing.iter().enumerate() {
        let Some(Mixed { partner, ratio }) = *mixed else { continue };
        let weight = weight(ratio);
        let mut clip = batch.clips.index_axis_mut(Axis(0), i);
        clip.zip_mut_with(&original.clips.index_axis(Axis(0), partner), |x, y| *x = weight * *x + (1.0 - weight) * y);
        let mut target = batch.targets.row_mut(i);
        target.zip_mut_with(&original.targets.row(partner), |x, y| *x = ratio * *x + (1.0 - ratio) * y);
    }
}

/// Moves every clip along time by a number of frames; what leaves at one end comes in at the other.
pub fn roll(batch: &mut Batch, shifts: &[usize]) {
    let n_frames = batch.clips.len_of(Axis(2));
    for (mut clip, &shift) in batch.clips.outer_iter_mut().zip(shifts) {
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

/// Sets stretches of every clip to 0, the mean (Park et al. 2019, SpecAugment without warping). `axis` 1 masks mel bands, 2 time.
pub fn mask(batch: &mut Batch, axis: Axis, masks: &[Vec<Range<usize>>]) {
    for (mut clip, masks) in batch.clips.outer_iter_mut().zip(masks) {
        for masked in masks {
            clip.slice_axis_mut(Axis(axis.index() - 1), masked.clone().into()).fill(0.0);
        }
    }
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

    /// What is drawn for a batch of so many clips of 8 bands and 50 frames.
    fn drawn(n_clips: usize, config: &AugmentConfig) -> Drawn {
        Drawn::new((n_clips, 8, 50), config, &mut rng())
    }

    fn cut(config: &AugmentConfig) -> Batch {
        let clips = clips();
        let labelled: Vec<_> = clips.iter().enumerate().map(|(class, clip)| (clip.view(), class)).collect();
        windows(&labelled, 4, Some(50), &drawn(3, config).cuts)
    }

    /// Every clip with another, in a ratio of its own.
    fn mixed(n_clips: usize) -> Vec<Option<Mixed>> {
        let config = AugmentConfig { mix: Mix::Mixup, mix_probability: 1.0, ..Default::default() };
        drawn(n_clips, &config).mixing
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
        let Drawn { gains_db, equalizers_db, mixing, shifts, mel_masks, .. } = drawn(3, &AugmentConfig::default());
        let mut same = batch.clone();
        gain(&mut same, &gains_db);
        equalize(&mut same, &equalizers_db);
        between_class(&mut same, &mixing);
        roll(&mut same, &shifts);
        mask(&mut same, Axis(1), &mel_masks);
        assert_eq!(same, batch);
    }

    #[test]
    fn a_whole_clip_stays_where_it_is() {
        // Sound in the first fifth alone: a window would be placed around it.
        let clip = Array2::from_shape_fn((8, 100), |(mel, frame)| if frame < 20 { (mel + 1) as f32 } else { 0.0 });
        let config = AugmentConfig { random_crop: true, ..Default::default() };
        let batch = windows(&[(clip.view(), 0)], 1, None, &drawn(1, &config).cuts);
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
        type Mixer = fn(&mut Batch, &[Option<Mixed>]);
        let mixers: [Mixer; 2] = [between_class, mixup];
        for mix in mixers {
            let before = cut(&AugmentConfig::default());
            let mut batch = before.clone();
            mix(&mut batch, &mixed(3));
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
        between_class(&mut batch, &mixed(6));
        assert!(batch.clips.iter().all(|power| (power - 1.0).abs() < 1e-6));
    }

    #[test]
    fn rolling_loses_nothing_and_gain_stays_in_its_range() {
        let before = cut(&AugmentConfig::default());
        let mut rolled = before.clone();
        let config = AugmentConfig { time_roll: true, gain_db: 6.0, equalizer_db: 3.0, ..Default::default() };
        let Drawn { gains_db, equalizers_db, shifts, .. } = drawn(3, &config);
        roll(&mut rolled, &shifts);
        assert_ne!(rolled, before);
        let mut louder = before.clone();
        gain(&mut louder, &gains_db);
        equalize(&mut louder, &equalizers_db);
        for clip in 0..3 {
            assert!((total(&rolled, clip) - total(&before, clip)).abs() < 1e-3);
            let change_db = 10.0 * (total(&louder, clip) / total(&before, clip)).log10();
            assert!(change_db != 0.0 && change_db.abs() <= 9.001, "{change_db}");
        }
    }

    #[test]
    fn masks_blank_whole_bands_and_whole_frames_no_wider_than_told() {
        let mut batch = Batch { clips: Array3::ones((50, 8, 40)), targets: Array2::ones((50, 1)) };
        let config =
            AugmentConfig { mel_masks: 1, mel_mask_width: 3, time_masks: 2, time_mask_width: 5, ..Default::default() };
        let Drawn { mel_masks, time_masks, .. } = Drawn::new((50, 8, 40), &config, &mut rng());
        mask(&mut batch, Axis(1), &mel_masks);
        let blank = |line: ndarray::ArrayView1<f32>| line.iter().all(|value| *value == 0.0);
        let masked: Vec<usize> =
            batch.clips.outer_iter().map(|clip| clip.rows().into_iter().filter(|row| blank(*row)).count()).collect();
        assert_eq!((masked.iter().min(), masked.iter().max()), (Some(&0), Some(&3)));
        mask(&mut batch, Axis(2), &time_masks);
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

    #[test]
    fn parts_of_a_batch_are_its_very_numbers() {
        let clips: Vec<Array2<f32>> = (0..7).map(|i| &clips()[i % 3] * (1.0 + i as f32)).collect();
        let labelled: Vec<_> = clips.iter().enumerate().map(|(class, clip)| (clip.view(), class)).collect();
        for mix in [Mix::Off, Mix::BetweenClass, Mix::Mixup] {
            let config = AugmentConfig {
                random_crop: true,
                time_stretch: 0.2,
                mel_shift: 2.0,
                mel_stretch: 0.1,
                equalizer_db: 6.0,
                time_roll: true,
                gain_db: 6.0,
                mix,
                mix_probability: 0.7,
                mel_masks: 2,
                mel_mask_width: 3,
                time_masks: 1,
                time_mask_width: 9,
            };
            let features = FeatureConfig::default();
            let part = |part: Range<usize>| {
                let n_clips = part.len();
                let shape = labelled[0].0.dim();
                let (made, drawn) = draw(labelled.len(), shape, part, Some(50), &config, &mut rng());
                let made: Vec<_> = made.into_iter().map(|clip| labelled[clip]).collect();
                augment_drawn(&made, n_clips, 7, Some(50), &drawn, &config, &features)
            };
            let whole = augment(&labelled, 7, Some(50), &config, &features, &mut rng());
            for range in [0..7, 0..3, 3..7, 6..7] {
                let (part, range) = (part(range.clone()), s![range, .., ..]);
                assert_eq!(part.clips, whole.clips.slice(range));
            }
            assert_eq!(part(3..7).targets, whole.targets.slice(s![3..7, ..]));
        }
    }
}
