//! Short-time Fourier transform, power spectrum, decibels; framing, padding and scaling as librosa does them.

use std::sync::Arc;

use ndarray::Array2;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the frames at the two ends of a clip see beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Frames are centred on their time; silence lies beyond the ends (librosa's default, `pad_mode="constant"`).
    #[default]
    Zero,
    /// Frames are centred on their time; the clip is mirrored at its first and last sample.
    Reflect,
    /// Frames start at their time and lie wholly inside the clip (`center=False`).
    None,
}

impl Padding {
    /// Samples put before and after the clip.
    fn length(self, n_fft: usize) -> usize {
        match self {
            Padding::Zero | Padding::Reflect => n_fft / 2,
            Padding::None => 0,
        }
    }

    /// The least number of samples that give a frame.
    pub fn min_samples(self, n_fft: usize) -> usize {
        match self {
            Padding::Zero => 1,
            Padding::Reflect => n_fft / 2 + 1,
            Padding::None => n_fft,
        }
    }

    /// Number of frames of a clip; 0 when it is shorter than [`min_samples`](Self::min_samples).
    pub fn n_frames(self, n_samples: usize, n_fft: usize, hop_length: usize) -> usize {
        if n_samples < self.min_samples(n_fft) {
            return 0;
        }
        (n_samples + 2 * self.length(n_fft)).saturating_sub(n_fft) / hop_length + 1
    }
}

/// A planned short-time Fourier transform with its window and scratch; one per thread.
pub struct Stft {
    hop_length: usize,
    padding: Padding,
    window: Vec<f32>,
    plan: Arc<dyn RealToComplex<f32>>,
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Stft {
    /// Plans transforms of `n_fft` samples every `hop_length` samples, under a periodic Hann window of `win_length`
    /// samples centred in the frame.
    ///
    /// # Errors
    /// [`Error::Config`] unless `1 ≤ win_length ≤ n_fft` and `hop_length ≥ 1`.
    pub fn new(n_fft: usize, win_length: usize, hop_length: usize, padding: Padding) -> Result<Self> {
        if win_length == 0 || win_length > n_fft {
            return Err(Error::Config {
                field: "features.win_length",
                expected: format!("from 1 to n_fft ({n_fft})"),
                found: win_length.to_string(),
            });
        }
        if hop_length == 0 {
            return Err(Error::Config {
                field: "features.hop_length",
                expected: "at least 1".into(),
                found: "0".into(),
            });
        }
        let mut window = vec![0.0; n_fft];
        let before = (n_fft - win_length) / 2;
        for (i, value) in window[before..before + win_length].iter_mut().enumerate() {
            *value = hann(i, win_length) as f32;
        }
        let plan = RealFftPlanner::new().plan_fft_forward(n_fft);
        let (frame, spectrum, scratch) = (plan.make_input_vec(), plan.make_output_vec(), plan.make_scratch_vec());
        Ok(Self { hop_length, padding, window, plan, frame, spectrum, scratch })
    }

    /// Samples in a frame.
    pub fn n_fft(&self) -> usize {
        self.window.len()
    }

    /// Bins of a spectrum: `n_fft / 2 + 1`.
    pub fn n_bins(&self) -> usize {
        self.spectrum.len()
    }

    /// Number of frames of a clip.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        self.padding.n_frames(n_samples, self.n_fft(), self.hop_length)
    }

    /// The complex spectrogram, `(n_bins, n_frames)`.
    ///
    /// # Errors
    /// [`Error::Signal`] when the clip is too short for its padding.
    pub fn spectrum(&mut self, samples: &[f32]) -> Result<Array2<Complex<f32>>> {
        let mut all = Array2::zeros((self.n_bins(), self.n_frames(samples.len())));
        self.for_each_frame(samples, |i, spectrum| {
            for (value, &bin) in all.column_mut(i).iter_mut().zip(spectrum) {
                *value = bin;
            }
        })?;
        Ok(all)
    }

    /// The power spectrogram `|X|²`, `(n_bins, n_frames)`.
    ///
    /// # Errors
    /// [`Error::Signal`] when the clip is too short for its padding.
    pub fn power(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        Ok(self.spectrum(samples)?.mapv(|bin| bin.norm_sqr()))
    }

    /// Hands the spectrum of each frame, `n_bins` values, to `visit` with the frame's number.
    ///
    /// # Errors
    /// [`Error::Signal`] when the clip is too short for its padding.
    pub fn for_each_frame(&mut self, samples: &[f32], mut visit: impl FnMut(usize, &[Complex<f32>])) -> Result<()> {
        let n_fft = self.n_fft();
        if samples.len() < self.padding.min_samples(n_fft) {
            return Err(Error::Signal {
                expected: format!(
                    "at least {} samples for n_fft {n_fft} with {:?} padding",
                    self.padding.min_samples(n_fft),
                    self.padding
                ),
                found: format!("{} samples", samples.len()),
            });
        }
        let before = self.padding.length(n_fft);
        for i in 0..self.n_frames(samples.len()) {
            let start = i * self.hop_length;
            match start.checked_sub(before).and_then(|first| samples.get(first..first + n_fft)) {
                Some(inside) => {
                    for ((value, sample), weight) in self.frame.iter_mut().zip(inside).zip(&self.window) {
                        *value = sample * weight;
                    }
                }
                None => {
                    for (offset, (value, weight)) in self.frame.iter_mut().zip(&self.window).enumerate() {
                        *value = padded_sample(samples, start + offset, before, self.padding) * weight;
                    }
                }
            }
            self.plan.process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch).map_err(
                |error| Error::Signal { expected: "buffers of the planned size".into(), found: error.to_string() },
            )?;
            visit(i, &self.spectrum);
        }
        Ok(())
    }
}

/// The sample at `index` of the clip with `before` samples of padding put before it.
fn padded_sample(samples: &[f32], index: usize, before: usize, padding: Padding) -> f32 {
    let inside = match index.checked_sub(before) {
        Some(inside) => inside,
        None if padding == Padding::Reflect => before - index,
        None => return 0.0,
    };
    let mirrored = || samples.get((2 * samples.len() - 2).checked_sub(inside)?);
    match samples.get(inside) {
        Some(&sample) => sample,
        None if padding == Padding::Reflect => mirrored().copied().unwrap_or(0.0),
        None => 0.0,
    }
}

/// The periodic Hann window, `0.5 − 0.5 · cos(2πi / length)`.
fn hann(i: usize, length: usize) -> f64 {
    0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / length as f64).cos()
}

/// Turns power into decibels in place: `10 · log10(max(amin, power) / max(amin, reference))`, then lifts everything
/// more than `top_db` below the highest value to that level (`librosa.power_to_db`). `amin` is a normal number above 0.
pub fn power_to_db(power: &mut [f32], reference: f32, amin: f32, top_db: Option<f32>) {
    let reference_db = level_db(reference, amin);
    let floor_db = top_db.map_or(f32::NEG_INFINITY, |top_db| level_db(max_power(power), amin) - reference_db - top_db);
    lift(power, reference_db, amin, floor_db);
}

/// `10 · log10(max(amin, power))`.
pub fn level_db(power: f32, amin: f32) -> f32 {
    DB_PER_OCTAVE * log2(amin.max(power))
}

/// Turns power into decibels in place, none below `floor_db`; returns the lowest of them before it was lifted there, infinite for none.
pub fn lift(power: &mut [f32], reference_db: f32, amin: f32, floor_db: f32) -> f32 {
    let mut lowest = f32::INFINITY;
    for value in power {
        let level = level_db(*value, amin) - reference_db;
        lowest = lowest.min(level);
        *value = level.max(floor_db);
    }
    lowest
}

/// The highest of some powers, none of which is negative; 0 when there are none.
pub fn max_power(power: &[f32]) -> f32 {
    // Bits of positive floats order like the floats, and integers have a maximum that the compiler takes over many at once.
    f32::from_bits(power.iter().map(|value| value.to_bits() as i32).fold(0, i32::max) as u32)
}

/// Decibels of a doubled power: `10 · log10(2)`.
const DB_PER_OCTAVE: f32 = 3.010_3;

/// Base-2 logarithm of a normal number above 0, within 1e-7 beside the rounding of the result. Unlike the one of the
/// standard library it has no branch, so that the compiler takes it over many values at once.
///
/// `x = m · 2^e` with `m` from √½ to √2; then `log2(m) = 2/ln 2 · artanh(t)` with `t = (m − 1) / (m + 1)`, by its power series
/// (Abramowitz and Stegun, 4.6.22), whose first term left out is below 5e-8.
pub(super) fn log2(x: f32) -> f32 {
    const SCALE: f32 = 2.0 * std::f32::consts::LOG2_E;
    let exponent = (x.to_bits() as i32 - std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let m = f32::from_bits((x.to_bits() as i32 - (exponent << 23)) as u32);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let series = 1.0 + t2 * (1.0 / 3.0 + t2 * (1.0 / 5.0 + t2 / 7.0));
    exponent as f32 + SCALE * t * series
}
