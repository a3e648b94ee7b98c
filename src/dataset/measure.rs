//! What recordings are like: how long, how loud, up to which frequency.

use rayon::prelude::*;

use crate::dataset::catalog::Catalog;
use crate::files::hash::fnv1a;
use crate::front_end::audio::{self, Waveform};
use crate::front_end::spectrogram::{Padding, Stft};

/// The level of digital silence, in dBFS: that of a 24-bit recorder's least step, below which nothing is told apart.
pub const FLOOR_DBFS: f64 = -144.0;

/// The level of 10 ms that is no louder than the least step of 16 bits, in dBFS: where nothing is louder, there is nothing to hear.
pub const SILENCE_DBFS: f64 = -90.3;

/// Levels are taken over pieces of so many seconds.
const PIECE_S: f64 = 0.01;
/// A piece sounds that is no further than this below the loudest, in dB.
const SOUNDING_DB: f64 = 40.0;
/// A recording carries a frequency whose mean power is no further than this below its strongest, in dB: the depth of the features.
const CARRIED_DB: f32 = 80.0;
/// Samples of a spectrum that tells up to which frequency.
const N_FFT: usize = 512;
/// A sample this close to full scale counts as clipped.
const CLIPPED: f32 = 0.999;

/// One recording, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Its length in seconds.
    pub duration_s: f64,
    /// From the first to the last 10 ms that are no more than 40 dB below the loudest, in seconds.
    pub sounding_s: f64,
    /// Its root-mean-square level over its length, in dB relative to full scale; see [`rms_dbfs`].
    pub rms_dbfs: f64,
    /// Its rate, in Hz.
    pub sample_rate: u32,
    /// The highest frequency whose mean power is no more than 80 dB below that of its strongest, in Hz.
    pub bandwidth_hz: f64,
    /// The share of its samples at full scale.
    pub clipped: f64,
    /// Its mean over its root mean square.
    pub offset: f64,
    /// A hash of its samples: two recordings of one hash hold the same sound.
    pub samples_hash: u64,
}

impl Measured {
    /// Measures a recording.
    pub fn of(waveform: &Waveform) -> Self {
        let Waveform { samples, sample_rate } = waveform;
        let (piece, levels) = levels(waveform);
        let loudest = loudest(&levels);
        let sounds = |level: &f64| *level > FLOOR_DBFS && *level >= loudest - SOUNDING_DB;
        let (first, last) = (levels.iter().position(sounds), levels.iter().rposition(sounds));
        let pieces = first.zip(last).map_or(0, |(first, last)| last + 1 - first);
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let n = samples.len().max(1) as f64;
        let (mean, square) = samples.iter().fold((0.0, 0.0), |(sum, squares), &sample| {
            let sample = f64::from(sample);
            (sum + sample / n, squares + sample * sample / n)
        });
        Measured {
            duration_s: waveform.duration_s(),
            sounding_s: (pieces * piece).min(samples.len()) as f64 / f64::from(*sample_rate),
            rms_dbfs: rms_dbfs(samples),
            sample_rate: *sample_rate,
            bandwidth_hz: bandwidth_hz(waveform),
            clipped: samples.iter().filter(|sample| sample.abs() >= CLIPPED).count() as f64 / n,
            offset: if square > 0.0 { mean / square.sqrt() } else { 0.0 },
            samples_hash: fnv1a(&bytes),
        }
    }

    /// Whether there is nothing in it to hear.
    pub fn is_silent(&self) -> bool {
        self.sounding_s == 0.0
    }
}

/// The level of the loudest 10 ms of samples at a rate in Hz, in dBFS; see [`rms_dbfs`].
pub fn loudest_dbfs(samples: &[f32], sample_rate: u32) -> f64 {
    let mut loudness = Loudness::new(sample_rate);
    loudness.take(samples);
    loudness.loudest_dbfs()
}

/// [`loudest_dbfs`] of a recording that comes block by block.
pub struct Loudness {
    piece: usize,
    /// Less than a piece.
    held: Vec<f32>,
    loudest: f64,
}

impl Loudness {
    /// Of a recording at a rate in Hz.
    pub fn new(sample_rate: u32) -> Self {
        Loudness { piece: piece_len(sample_rate), held: Vec::new(), loudest: FLOOR_DBFS }
    }

    /// The next samples.
    pub fn take(&mut self, samples: &[f32]) {
        let fill = if self.held.is_empty() { 0 } else { (self.piece - self.held.len()).min(samples.len()) };
        self.held.extend_from_slice(&samples[..fill]);
        if self.held.len() == self.piece {
            self.loudest = self.loudest.max(rms_dbfs(&self.held));
            self.held.clear();
        }
        let pieces = samples[fill..].chunks_exact(self.piece);
        let rest = pieces.remainder();
        self.loudest = pieces.map(rms_dbfs).fold(self.loudest, f64::max);
        self.held.extend_from_slice(rest);
    }

    /// The level of the loudest piece, a last shorter one among them.
    pub fn loudest_dbfs(&self) -> f64 {
        if self.held.is_empty() { self.loudest } else { self.loudest.max(rms_dbfs(&self.held)) }
    }
}

/// Samples in 10 ms.
fn piece_len(sample_rate: u32) -> usize {
    ((f64::from(sample_rate) * PIECE_S) as usize).max(1)
}

/// Samples in 10 ms, and the level of every such piece.
fn levels(waveform: &Waveform) -> (usize, Vec<f64>) {
    let piece = piece_len(waveform.sample_rate);
    (piece, waveform.samples.chunks(piece).map(rms_dbfs).collect())
}

fn loudest(levels: &[f64]) -> f64 {
    levels.iter().fold(FLOOR_DBFS, |loudest, level| loudest.max(*level))
}

/// The highest frequency that a recording carries; 0 of silence.
fn bandwidth_hz(waveform: &Waveform) -> f64 {
    let Ok(mut stft) = Stft::new(N_FFT, N_FFT, N_FFT, Padding::Zero) else { return 0.0 };
    let mut power = vec![0.0f32; stft.n_bins()];
    let summed = stft.for_each_frame(&waveform.samples, |_, spectrum| {
        power.iter_mut().zip(spectrum).for_each(|(sum, bin)| *sum += bin.norm_sqr());
    });
    let strongest = power.iter().fold(0.0f32, |most, bin| most.max(*bin));
    if summed.is_err() || strongest <= 0.0 {
        return 0.0;
    }
    let least = strongest * 10f32.powf(-CARRIED_DB / 10.0);
    let highest = power.iter().rposition(|bin| *bin >= least).unwrap_or(0);
    (highest + 1).min(N_FFT / 2) as f64 / N_FFT as f64 * f64::from(waveform.sample_rate)
}

/// 10 log₁₀ of the mean square of samples in [−1, 1], at least [`FLOOR_DBFS`]. A square wave from −1 to 1 has 0 dBFS, a sine of the
/// same peak −3.
pub fn rms_dbfs(samples: &[f32]) -> f64 {
    let squares: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    (10.0 * (squares / samples.len().max(1) as f64).log10()).max(FLOOR_DBFS)
}

/// Measures every recording of a data set as it lies on disk, on all cores; `None` for one that cannot be read.
pub fn measure(catalog: &Catalog) -> Vec<Option<Measured>> {
    let of = |clip| Some(Measured::of(&audio::read(&catalog.path(clip)).ok()?));
    catalog.clips.par_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_scale_square_wave_is_at_zero_a_sine_three_below_and_half_of_it_six_lower() {
        let square: Vec<f32> = (0..1000).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let sine = |peak: f32| -> Vec<f32> {
            (0..1000).map(|i| peak * (i as f32 * std::f32::consts::TAU / 100.0).sin()).collect()
        };
        for (samples, expected) in [(square, 0.0), (sine(1.0), -3.0103), (sine(0.5), -9.0309)] {
            assert!((rms_dbfs(&samples) - expected).abs() < 1e-3, "{}", rms_dbfs(&samples));
        }
    }

    #[test]
    fn block_by_block_a_recording_is_as_loud() {
        let samples: Vec<f32> =
            (0..1_234).map(|n| ((n * 37 % 101) as f32 / 101.0) * if n < 700 { 0.1 } else { 0.7 }).collect();
        let whole = loudest(&levels(&Waveform { samples: samples.clone(), sample_rate: 8_000 }).1);
        for block in [1, 7, 80, 81, 500, 5_000] {
            let mut loudness = Loudness::new(8_000);
            samples.chunks(block).for_each(|samples| loudness.take(samples));
            assert_eq!(loudness.loudest_dbfs(), whole, "blocks of {block}");
        }
    }

    #[test]
    fn a_recording_is_measured() {
        // Half a second of 3 kHz at 16 kHz between silences, in a file of two seconds.
        let mut samples = vec![0.0f32; 32_000];
        for (n, sample) in samples[8_000..16_000].iter_mut().enumerate() {
            // Without an edge, which would be a click.
            let envelope = (n as f32 * std::f32::consts::PI / 8_000.0).sin().powi(2);
            *sample = 0.5 * envelope * (n as f32 * std::f32::consts::TAU * 3_000.0 / 16_000.0).sin();
        }
        let found = Measured::of(&Waveform { samples: samples.clone(), sample_rate: 16_000 });
        assert!((0.4..0.5).contains(&found.sounding_s) && found.duration_s == 2.0, "{found:?}");
        assert!((2_900.0..3_300.0).contains(&found.bandwidth_hz), "{found:?}");
        assert_eq!((found.clipped, found.is_silent()), (0.0, false));
        let lifted =
            Measured::of(&Waveform { samples: samples.iter().map(|x| x + 0.4).collect(), sample_rate: 16_000 });
        assert!(lifted.offset > 0.7 && lifted.samples_hash != found.samples_hash);
        let silent = Measured::of(&Waveform { samples: vec![0.0; 100], sample_rate: 16_000 });
        assert!(silent.is_silent() && silent.bandwidth_hz == 0.0);
    }

    #[test]
    fn silence_is_at_the_floor() {
        assert_eq!((rms_dbfs(&[0.0; 100]), rms_dbfs(&[])), (FLOOR_DBFS, FLOOR_DBFS));
    }
}
