//! The mel filterbank: overlapping triangles that gather the bins of a power spectrum into bands as wide as the ear's.
//!
//! Formulas: M. Slaney, *Auditory Toolbox*, Technical Report 1998-010 (scale and area norm), and S. Young et al.,
//! *The HTK Book*, section "Filterbank Analysis" (HTK scale). The weights equal those of `librosa.filters.mel`.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How frequency maps to mel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MelScale {
    /// Linear below 1 kHz, logarithmic above (Auditory Toolbox; librosa's default).
    #[default]
    Slaney,
    /// `2595 · log10(1 + f / 700)` (HTK).
    Htk,
    /// `1127 · ln(1 + f / 700)`, and the triangles are straight over mel, not over Hz (Kaldi).
    Kaldi,
}

/// How each filter is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MelNorm {
    /// Each triangle has unit area over frequency in Hz, so that white noise gives every band the same level.
    #[default]
    Slaney,
    /// Each triangle peaks at 1.
    None,
}

/// Width of a mel below the break of the Slaney scale, in Hz.
const SLANEY_HZ_PER_MEL: f64 = 200.0 / 3.0;
/// The break of the Slaney scale, in Hz.
const SLANEY_BREAK_HZ: f64 = 1000.0;
/// The break of the Slaney scale, in mel: 15.
const SLANEY_BREAK_MEL: f64 = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL;
/// Above the break, 27 mel span the frequency ratio 6.4.
const SLANEY_LOG_RATIO: f64 = 6.4;
const SLANEY_LOG_MELS: f64 = 27.0;

/// Maps a frequency in Hz to mel.
pub fn hz_to_mel(freq_hz: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + freq_hz / 700.0).log10(),
        MelScale::Kaldi => 1127.0 * (1.0 + freq_hz / 700.0).ln(),
        MelScale::Slaney if freq_hz < SLANEY_BREAK_HZ => freq_hz / SLANEY_HZ_PER_MEL,
        MelScale::Slaney => {
            SLANEY_BREAK_MEL + (freq_hz / SLANEY_BREAK_HZ).ln() * SLANEY_LOG_MELS / SLANEY_LOG_RATIO.ln()
        }
    }
}

/// Maps mel to a frequency in Hz; the inverse of [`hz_to_mel`].
pub fn mel_to_hz(mel: f64, scale: MelScale) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        MelScale::Kaldi => 700.0 * ((mel / 1127.0).exp() - 1.0),
        MelScale::Slaney if mel < SLANEY_BREAK_MEL => mel * SLANEY_HZ_PER_MEL,
        MelScale::Slaney => {
            SLANEY_BREAK_HZ * ((mel - SLANEY_BREAK_MEL) * SLANEY_LOG_RATIO.ln() / SLANEY_LOG_MELS).exp()
        }
    }
}

/// A bank of triangular filters, each stored as the few bins it touches.
#[derive(Clone, Debug)]
pub struct MelFilterbank {
    n_bins: usize,
    center_freqs_hz: Vec<f32>,
    filters: Vec<Filter>,
    weights: Vec<f32>,
}

/// The bins `first_bin..first_bin + n_weights`, weighted by `weights[first_weight..][..n_weights]` of the bank.
#[derive(Clone, Copy, Debug)]
struct Filter {
    first_bin: usize,
    first_weight: usize,
    n_weights: usize,
}

impl MelFilterbank {
    /// Lays `n_mels` triangles between `f_min` and `f_max` (Hz), their corners equally spaced in mel, over the
    /// `n_fft / 2 + 1` bins of a spectrum at `sample_rate` (Hz).
    ///
    /// # Errors
    /// [`Error::Config`] when a size is 0, or unless `0 ≤ f_min < f_max`, both finite.
    pub fn new(
        sample_rate: u32,
        n_fft: usize,
        n_mels: usize,
        f_min: f32,
        f_max: f32,
        scale: MelScale,
        norm: MelNorm,
    ) -> Result<Self> {
        for (field, size) in
            [("features.sample_rate", sample_rate as usize), ("features.n_fft", n_fft), ("features.n_mels", n_mels)]
        {
            if size == 0 {
                return Err(Error::Config { field, expected: "at least 1".into(), found: "0".into() });
            }
        }
        if !(f_min >= 0.0 && f_min < f_max && f_max.is_finite()) {
            return Err(Error::Config {
                field: "features.f_min",
                expected: "from 0 Hz to below f_max, which is finite".into(),
                found: format!("f_min {f_min} Hz, f_max {f_max} Hz"),
            });
        }
        let (mel_min, mel_max) = (hz_to_mel(f64::from(f_min), scale), hz_to_mel(f64::from(f_max), scale));
        let corner_hz = |i: usize| mel_to_hz(mel_min + (mel_max - mel_min) * i as f64 / (n_mels + 1) as f64, scale);
        let bin_hz = f64::from(sample_rate) / n_fft as f64;
        let n_bins = n_fft / 2 + 1;

        let mut bank = Self {
            n_bins,
            center_freqs_hz: (1..=n_mels).map(|i| corner_hz(i) as f32).collect(),
            filters: Vec::with_capacity(n_mels),
            weights: Vec::new(),
        };
        for i in 0..n_mels {
            let (left, center, right) = (corner_hz(i), corner_hz(i + 1), corner_hz(i + 2));
            let area_gain = match norm {
                MelNorm::Slaney => 2.0 / (right - left),
                MelNorm::None => 1.0,
            };
            // Where the triangle is straight.
            let along = |freq_hz: f64| match scale {
                MelScale::Kaldi => hz_to_mel(freq_hz, scale),
                MelScale::Htk | MelScale::Slaney => freq_hz,
            };
            let (foot, peak, end) = (along(left), along(center), along(right));
            let weight = |bin: usize| {
                let at = along(bin as f64 * bin_hz);
                ((at - foot) / (peak - foot)).min((end - at) / (end - peak))
            };
            let first_weight = bank.weights.len();
            let mut bins =
                (0..n_bins).skip_while(|&bin| weight(bin) <= 0.0).take_while(|&bin| weight(bin) > 0.0).peekable();
            let first_bin = bins.peek().copied().unwrap_or(0);
            bank.weights.extend(bins.map(|bin| (weight(bin) * area_gain) as f32));
            bank.filters.push(Filter { first_bin, first_weight, n_weights: bank.weights.len() - first_weight });
        }
        Ok(bank)
    }

    /// Number of filters.
    pub fn n_mels(&self) -> usize {
        self.filters.len()
    }

    /// Number of spectrum bins the bank expects: `n_fft / 2 + 1`.
    pub fn n_bins(&self) -> usize {
        self.n_bins
    }

    /// The peak of each triangle in Hz.
    pub fn center_freqs_hz(&self) -> &[f32] {
        &self.center_freqs_hz
    }

    /// The filters that fall between two bins and hence touch none: their band is always silent.
    ///
    /// They appear when `n_mels` is large for `n_fft`, or `f_max` lies above the Nyquist frequency.
    pub fn empty_filters(&self) -> Vec<usize> {
        (0..self.n_mels()).filter(|&i| self.filters[i].n_weights == 0).collect()
    }

    /// The bank as a dense matrix `(n_mels, n_fft / 2 + 1)`.
    pub fn dense(&self) -> Array2<f32> {
        let mut dense = Array2::zeros((self.n_mels(), self.n_bins));
        for (filter, mut row) in self.filters.iter().zip(dense.rows_mut()) {
            for (offset, &weight) in self.weights_of(filter).iter().enumerate() {
                row[filter.first_bin + offset] = weight;
            }
        }
        dense
    }

    /// Gathers one power spectrum (`n_fft / 2 + 1` bins) into `out` (`n_mels` bands).
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn apply(&self, power: &[f32], out: &mut [f32]) {
        assert_eq!((power.len(), out.len()), (self.n_bins, self.n_mels()), "bins and bands of the mel filterbank");
        for (filter, band) in self.filters.iter().zip(out) {
            let bins = &power[filter.first_bin..filter.first_bin + filter.n_weights];
            *band = dot(bins, self.weights_of(filter));
        }
    }

    fn weights_of(&self, filter: &Filter) -> &[f32] {
        &self.weights[filter.first_weight..filter.first_weight + filter.n_weights]
    }
}

/// Sum of products over two slices of one length, in four sums at once so that no addition waits for the one before it.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_quads, a_rest) = a.as_chunks::<4>();
    let (b_quads, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a_quads.iter().zip(b_quads) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}
