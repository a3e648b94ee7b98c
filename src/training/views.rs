//! Windows of a clip as long as the network's input, taken from where there is sound.
//!
//! Many recordings are a short sound in digital silence, and a window that lands there says nothing about the class.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::front_end::features::{FeatureConfig, normalize};
use crate::front_end::spectrogram::{max_power, power_to_db};

/// A frame sounds when one of its bands reaches this power relative to the clip's maximum: −60 dB.
const SOUNDING_POWER: f32 = 1e-6;

/// From the first sounding frame to behind the last; a silent clip counts as a whole.
pub fn sounding(power: ArrayView2<f32>) -> Range<usize> {
    let sounds = |frame: &usize| power.column(*frame).iter().any(|band| *band > SOUNDING_POWER);
    let n_frames = power.ncols();
    let first = (0..n_frames).find(sounds);
    let last = (0..n_frames).rev().find(sounds);
    first.zip(last).map_or(0..n_frames, |(first, last)| first..last + 1)
}

/// Where a window of `n_frames` frames may start: inside the sounding part, or, where that is shorter, around it.
pub fn starts(sounding: &Range<usize>, n_frames: f32) -> (f32, f32) {
    let (first, last) = (sounding.start as f32, sounding.end as f32 - n_frames);
    (first.min(last), first.max(last))
}

/// `n_views` windows, evenly spread: `(n_mels, n_frames)` each, as powers.
pub fn spread(power: ArrayView2<f32>, n_frames: usize, n_views: usize) -> Vec<Array2<f32>> {
    let window = |start: f32| {
        let mut window = Array2::zeros((power.nrows(), n_frames));
        copy_window(power, Place::at(start), window.view_mut());
        window
    };
    spread_starts(power, n_frames, n_views).into_iter().map(window).collect()
}

/// The frames of the clip at which the windows of [`spread`] start, whole numbers; a window may start before the clip does.
pub fn spread_starts(power: ArrayView2<f32>, n_frames: usize, n_views: usize) -> Vec<f32> {
    let (low, high) = starts(&sounding(power), n_frames as f32);
    let start = |view: usize| low + (high - low) * (view as f32 + 0.5) / n_views as f32;
    (0..n_views).map(|view| start(view).round()).collect()
}

/// Which part of a clip a window shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The frame of the clip it starts at.
    pub start: f32,
    /// Frames of the clip for each of its own.
    pub time_stretch: f32,
    /// Bands of the clip for each of its own.
    pub mel_stretch: f32,
    /// The band of the clip that its lowest shows.
    pub mel_start: f32,
}

impl Place {
    /// As it is, from a frame on.
    pub fn at(start: f32) -> Self {
        Place { start, time_stretch: 1.0, mel_stretch: 1.0, mel_start: 0.0 }
    }

    fn is_whole_cells(&self) -> bool {
        *self == Place::at(self.start.round())
    }
}

/// Fills `window`, which is zero, with a part of a clip, interpolating linearly. Beyond the clip lies silence, beyond the lowest and the
/// highest band what these hold.
pub fn copy_window(power: ArrayView2<f32>, place: Place, mut window: ArrayViewMut2<f32>) {
    let (n_mels, n_frames) = power.dim();
    if place.is_whole_cells() {
        let (start, end) = (place.start as isize, place.start as isize + window.ncols() as isize);
        let (from, to) = (start.max(0), end.min(n_frames as isize));
        if from < to {
            let within = (from - start) as usize..(to - start) as usize;
            window.slice_mut(s![.., within]).assign(&power.slice(s![.., from as usize..to as usize]));
        }
        return;
    }
    // A frame beyond the clip has weight 0; its number is any that exists.
    let column = |frame: isize| match usize::try_from(frame) {
        Ok(frame) if frame < n_frames => (frame, 1.0),
        _ => (0, 0.0),
    };
    let columns: Vec<_> = (0..window.ncols())
        .map(|frame| {
            let position = place.start + frame as f32 * place.time_stretch;
            let (left, between) = (position.floor(), position - position.floor());
            let ((left, left_weight), (right, right_weight)) = (column(left as isize), column(left as isize + 1));
            (left, right, left_weight * (1.0 - between), right_weight * between)
        })
        .collect();
    for (mel, mut row) in window.axis_iter_mut(Axis(0)).enumerate() {
        let band = (place.mel_start + mel as f32 * place.mel_stretch).clamp(0.0, (n_mels - 1) as f32);
        let (low, between) = (band.floor() as usize, band - band.floor());
        let (low, high) = (power.row(low), power.row((low + 1).min(n_mels - 1)));
        for (value, (left, right, left_weight, right_weight)) in row.iter_mut().zip(&columns) {
            let at = |frame: usize| low[frame] + between * (high[frame] - low[frame]);
            *value = left_weight * at(*left) + right_weight * at(*right);
        }
    }
}

/// Powers → what the network takes: decibels below the window's own maximum, mean 0 and deviation 1.
pub fn to_input(power: &mut Array2<f32>, features: &FeatureConfig) {
    if let Some(values) = power.as_slice_mut() {
        power_to_db(values, max_power(values), features.amin, Some(features.top_db));
    }
    normalize(power);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sound from frame 10 to 29 of 100.
    fn clip() -> Array2<f32> {
        Array2::from_shape_fn(
            (4, 100),
            |(mel, frame)| if (10..30).contains(&frame) { (mel + frame) as f32 } else { 0.0 },
        )
    }

    #[test]
    fn windows_lie_inside_the_sound_or_around_it() {
        let clip = clip();
        assert_eq!(sounding(clip.view()), 10..30);
        for window in spread(clip.view(), 8, 5) {
            assert!(window.iter().all(|power| *power > 0.0));
        }
        for window in spread(clip.view(), 40, 5) {
            assert_eq!(window.sum(), clip.sum(), "the whole sound is in the window");
        }
    }

    #[test]
    fn a_silent_clip_counts_as_a_whole() {
        assert_eq!(sounding(Array2::zeros((4, 50)).view()), 0..50);
    }

    #[test]
    fn an_interpolated_window_agrees_with_a_copied_one_where_nothing_is_between() {
        let clip = clip();
        let window = |place: Place| {
            let mut window = Array2::zeros((4, 40));
            copy_window(clip.view(), place, window.view_mut());
            window
        };
        let copied = window(Place::at(-5.0));
        // A step this small moves nothing by more than its own size, and takes the other path.
        let interpolated = window(Place { mel_start: 1e-6, ..Place::at(-5.0) });
        assert!((&copied - &interpolated).iter().all(|difference| difference.abs() < 1e-3));
        let shifted = window(Place { mel_start: -1.0, ..Place::at(-5.0) });
        assert_eq!(shifted.row(2), copied.row(1));
        let wide = window(Place { mel_stretch: 0.5, ..Place::at(-5.0) });
        assert_eq!(wide.row(2), copied.row(1));
        let stretched = window(Place { time_stretch: 0.5, ..Place::at(10.0) });
        assert_eq!(stretched[(0, 2)], clip[(0, 11)]);
        assert_eq!(stretched[(0, 1)], (clip[(0, 10)] + clip[(0, 11)]) / 2.0);
    }
}
