//! Blocks through the frequency domain: transform, keep the bins that both rates have, weigh them, transform back at the other length.
//!
//! A block overlaps its neighbours by the length of the filter and gives only what no end of it has touched, so that blocks need nothing
//! of each other. Blocks much longer than the filter waste little.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::check::refused;
use crate::error::Result;

/// Aliases and images are this far below, in dB, as soxr's high quality has it.
const ATTENUATION_DB: f64 = 130.0;
/// Where the passband ends, as a share of the lower Nyquist frequency; at 1 the stopband begins. So wide that from 44.1 to 16 kHz the filter
/// reaches no farther than 441 samples to either side, after which both rates meet.
const PASSBAND: f64 = 0.9465;
/// Blocks have at least so many samples of the higher rate, and six times as many as the filter: short enough to stay in a processor's
/// second cache where the filter is.
const MIN_BLOCK: usize = 6_000;
/// The largest number of samples of either rate after which both meet again, for which transforms stay short.
const MAX_UNIT: usize = 1_024;

/// Whether rates whose samples meet again after so many of each are converted in blocks.
pub(super) fn suits(unit_in: usize, unit_out: usize) -> bool {
    unit_in.max(unit_out) <= MAX_UNIT
}

/// A conversion in blocks, with its buffers.
pub(super) struct OverlapSave {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Weight of every bin that is kept; it makes up for the transforms' lengths, too.
    weights: Vec<f32>,
    /// Samples of a block that its predecessor gives, before those that are new; at both rates.
    lead_in: usize,
    lead_out: usize,
    /// New samples per block, at both rates.
    hop_in: usize,
    hop_out: usize,
    input: Vec<f32>,
    bins_in: Vec<Complex<f32>>,
    bins_out: Vec<Complex<f32>>,
    output: Vec<f32>,
    scratch: Vec<Complex<f32>>,
}

impl OverlapSave {
    /// Plans the conversion of `unit_in` samples into `unit_out`.
    pub fn new(unit_in: usize, unit_out: usize) -> Self {
        let unit_high = unit_in.max(unit_out);
        let filter = lowpass(unit_high as f64 / unit_in.min(unit_out) as f64);
        // An even number of units makes both transforms of even length; a power of two keeps them fast.
        let n_units = MIN_BLOCK.max(6 * filter.len()).div_ceil(unit_high).next_power_of_two().max(2);
        let (n_in, n_out) = (n_units * unit_in, n_units * unit_out);
        let lead_units = (filter.len() / 2).div_ceil(unit_high);
        let weights = weights(&filter, n_in.max(n_out), n_in.min(n_out) / 2, n_in);
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(n_in), planner.plan_fft_inverse(n_out));
        let hop_units = n_units - 2 * lead_units;
        OverlapSave {
            input: forward.make_input_vec(),
            bins_in: forward.make_output_vec(),
            bins_out: inverse.make_input_vec(),
            output: inverse.make_output_vec(),
            scratch: vec![Complex::default(); forward.get_scratch_len().max(inverse.get_scratch_len())],
            forward,
            inverse,
            weights,
            lead_in: lead_units * unit_in,
            lead_out: lead_units * unit_out,
            hop_in: hop_units * unit_in,
            hop_out: hop_units * unit_out,
        }
    }

    /// Samples of the output that one block gives.
    pub fn block_len(&self) -> usize {
        self.hop_out
    }

    /// How many blocks the first `n_samples` of a longer sound are enough for.
    pub fn n_ready(&self, n_samples: usize) -> usize {
        (n_samples + self.lead_in + self.hop_in).saturating_sub(self.input.len()) / self.hop_in
    }

    /// The place of the first sample that block number `next` needs.
    pub fn first_needed(&self, next: usize) -> usize {
        (next * self.hop_in).saturating_sub(self.lead_in)
    }

    /// Fills `output` with what becomes of `samples` from block number `first` on; the first of them has the place `origin` in the sound, which
    /// no block needs samples before, and silence lies beyond both ends.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] when a transform refuses its buffers.
    pub fn convert(&mut self, samples: &[f32], origin: usize, first: usize, output: &mut [f32]) -> Result<()> {
        for (number, block) in output.chunks_mut(self.hop_out).enumerate() {
            // The block's first sample of the input, counted from `lead_in` before its start.
            let start = (first + number) * self.hop_in;
            let place = |at: usize| at.saturating_sub(self.lead_in).saturating_sub(origin).min(samples.len());
            let (from, to) = (place(start), place(start + self.input.len()));
            let before = (self.lead_in.saturating_sub(start)).min(self.input.len());
            self.input[..before].fill(0.0);
            self.input[before..before + to - from].copy_from_slice(&samples[from..to]);
            self.input[before + to - from..].fill(0.0);
            self.forward
                .process_with_scratch(&mut self.input, &mut self.bins_in, &mut self.scratch)
                .map_err(|error| refused(&error))?;
            for ((bin_out, bin_in), weight) in self.bins_out.iter_mut().zip(&self.bins_in).zip(&self.weights) {
                *bin_out = bin_in * *weight;
            }
            let kept = self.weights.len().min(self.bins_out.len());
            self.bins_out[kept..].fill(Complex::default());
            self.inverse
                .process_with_scratch(&mut self.bins_out, &mut self.output, &mut self.scratch)
                .map_err(|error| refused(&error))?;
            block.copy_from_slice(&self.output[self.lead_out..][..block.len()]);
        }
        Ok(())
    }
}

/// A symmetric lowpass at the higher of two rates, `ratio` times the lower: a sinc under Kaiser's window (Kaiser 1974), of odd length and
/// sum 1.
fn lowpass(ratio: f64) -> Vec<f64> {
    // Kaiser's formulas: the length from the width of the transition in radians, the window's parameter from the attenuation.
    let width = std::f64::consts::PI * (1.0 - PASSBAND) / ratio;
    let half = ((ATTENUATION_DB - 7.95) / (2.285 * width) / 2.0).ceil() as i64;
    let beta = 0.1102 * (ATTENUATION_DB - 8.7);
    let cutoff = (1.0 + PASSBAND) / 2.0 / ratio;
    let tap = |n: i64| {
        let (x, place) = (cutoff * n as f64, n as f64 / half as f64);
        let sinc = if n == 0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        sinc * bessel_i0(beta * (1.0 - place * place).max(0.0).sqrt())
    };
    let taps: Vec<f64> = (-half..=half).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|tap| tap / sum).collect()
}

/// The filter's weight in the first `n_bins` bins of a transform of `length` samples, divided by `n_in`, which a transform there and back
/// multiplies by. The filter is symmetric about sample 0, so that the weights are real and nothing is shifted.
fn weights(filter: &[f64], length: usize, n_bins: usize, n_in: usize) -> Vec<f32> {
    let half = filter.len() / 2;
    let forward = RealFftPlanner::<f64>::new().plan_fft_forward(length);
    let (mut taps, mut bins) = (forward.make_input_vec(), forward.make_output_vec());
    for (number, tap) in filter.iter().enumerate() {
        taps[(number + length - half) % length] = *tap;
    }
    // Both buffers are of the planner's own lengths.
    let _ = forward.process(&mut taps, &mut bins);
    bins.iter().take(n_bins).map(|bin| (bin.re / n_in as f64) as f32).collect()
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > 1e-17 * sum {
        term *= (x / (2.0 * n)).powi(2);
        sum += term;
        n += 1.0;
    }
    sum
}
