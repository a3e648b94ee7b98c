//! What recordings are like: how long, how loud, up to which frequency.

use std::path::Path;

use rayon::prelude::*;
use realfft::num_complex::Complex;

use crate::dataset::catalog::Catalog;
use crate::error::Result;
use crate::files::content::{Digest, Hashing};
use crate::front_end::audio::{self, Listen};
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
const CARRIED_DB: f64 = 80.0;
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
    pub samples: Digest,
}

impl Measured {
    /// Measures a file of any length.
    ///
    /// # Errors
    /// As [`audio::stream`].
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut hearing = Hearing(None);
        audio::stream_as_recorded(path, &mut hearing)?;
        Ok(hearing.0.unwrap_or_else(|| Measuring::new(1)).finish())
    }

    /// Whether there is nothing in it to hear.
    pub fn is_silent(&self) -> bool {
        self.sounding_s == 0.0
    }
}

/// A recording that is measured as it comes, in a few bytes for each 10 ms of it.
pub struct Measuring {
    sample_rate: u32,
    n: u64,
    pieces: Pieces,
    /// The level of each piece.
    levels: Vec<f32>,
    carried: Option<Carried>,
    sum: f64,
    squares: f64,
    n_clipped: u64,
    samples: Hashing,
}

impl Measuring {
    /// Begins with a recording at a rate in Hz.
    pub fn new(sample_rate: u32) -> Self {
        Measuring {
            sample_rate,
            n: 0,
            pieces: Pieces::new(sample_rate),
            levels: Vec::new(),
            carried: Carried::new().ok(),
            sum: 0.0,
            squares: 0.0,
            n_clipped: 0,
            samples: Hashing::default(),
        }
    }

    /// The next samples.
    pub fn take(&mut self, samples: &[f32]) {
        self.n += samples.len() as u64;
        self.pieces.take(samples, |level| self.levels.push(level as f32));
        if let Some(carried) = &mut self.carried {
            carried.take(samples);
        }
        let mut bytes = [0; 4096];
        for some in samples.chunks(bytes.len() / 4) {
            for (place, sample) in bytes.chunks_exact_mut(4).zip(some) {
                place.copy_from_slice(&sample.to_le_bytes());
                self.sum += f64::from(*sample);
                self.squares += f64::from(*sample).powi(2);
                self.n_clipped += u64::from(sample.abs() >= CLIPPED);
            }
            self.samples.take(&bytes[..4 * some.len()]);
        }
    }

    /// What the recording is like.
    pub fn finish(mut self) -> Measured {
        self.levels.extend(self.pieces.rest().map(|level| level as f32));
        let (floor, loudest) = (FLOOR_DBFS as f32, self.levels.iter().copied().fold(FLOOR_DBFS as f32, f32::max));
        let sounds = |level: &f32| *level > floor && *level >= loudest - SOUNDING_DB as f32;
        let (first, last) = (self.levels.iter().position(sounds), self.levels.iter().rposition(sounds));
        let sounding = first.zip(last).map_or(0, |(first, last)| ((last + 1 - first) * self.pieces.len) as u64);
        let (n, rate) = (self.n.max(1) as f64, f64::from(self.sample_rate));
        let (mean, square) = (self.sum / n, self.squares / n);
        Measured {
            duration_s: self.n as f64 / rate,
            sounding_s: sounding.min(self.n) as f64 / rate,
            rms_dbfs: dbfs(square),
            sample_rate: self.sample_rate,
            bandwidth_hz: self.carried.map_or(0.0, |carried| carried.up_to() * rate),
            clipped: self.n_clipped as f64 / n,
            offset: if square > 0.0 { mean / square.sqrt() } else { 0.0 },
            samples: self.samples.digest(),
        }
    }
}

/// Measures a file as it is read.
struct Hearing(Option<Measuring>);

impl Listen for Hearing {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        self.0 = Some(Measuring::new(sample_rate));
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        self.0.iter_mut().for_each(|measuring| measuring.take(samples));
        Ok(())
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
    pieces: Pieces,
    loudest: f64,
}

impl Loudness {
    /// Of a recording at a rate in Hz.
    pub fn new(sample_rate: u32) -> Self {
        Loudness { pieces: Pieces::new(sample_rate), loudest: FLOOR_DBFS }
    }

    /// The next samples.
    pub fn take(&mut self, samples: &[f32]) {
        self.pieces.take(samples, |level| self.loudest = self.loudest.max(level));
    }

    /// The level of the loudest piece, a last shorter one among them.
    pub fn loudest_dbfs(&self) -> f64 {
        self.pieces.rest().map_or(self.loudest, |level| self.loudest.max(level))
    }
}

/// The levels of 10 ms each, of samples that come block by block.
struct Pieces {
    len: usize,
    /// Less than a piece.
    held: Vec<f32>,
}

impl Pieces {
    fn new(sample_rate: u32) -> Self {
        Pieces { len: ((f64::from(sample_rate) * PIECE_S) as usize).max(1), held: Vec::new() }
    }

    fn take(&mut self, samples: &[f32], mut tell: impl FnMut(f64)) {
        let fill = if self.held.is_empty() { 0 } else { (self.len - self.held.len()).min(samples.len()) };
        self.held.extend_from_slice(&samples[..fill]);
        if self.held.len() == self.len {
            tell(rms_dbfs(&self.held));
            self.held.clear();
        }
        let pieces = samples[fill..].chunks_exact(self.len);
        let rest = pieces.remainder();
        pieces.for_each(|piece| tell(rms_dbfs(piece)));
        self.held.extend_from_slice(rest);
    }

    /// The level of a last, shorter piece.
    fn rest(&self) -> Option<f64> {
        (!self.held.is_empty()).then(|| rms_dbfs(&self.held))
    }
}

/// The mean power of each frequency, of samples that come block by block.
struct Carried {
    stft: Stft,
    power: Vec<f64>,
    /// Samples of the frame that is not whole yet.
    held: Vec<f32>,
}

impl Carried {
    fn new() -> Result<Self> {
        let stft = Stft::new(N_FFT, N_FFT, N_FFT, Padding::None)?;
        // Frames are centred: half of the first lies before the recording.
        Ok(Carried { power: vec![0.0; stft.n_bins()], stft, held: vec![0.0; N_FFT / 2] })
    }

    fn take(&mut self, samples: &[f32]) {
        self.held.extend_from_slice(samples);
        let whole = self.held.len() / N_FFT * N_FFT;
        if whole > 0 {
            let power = &mut self.power;
            let add = |_, spectrum: &[Complex<f32>]| {
                power.iter_mut().zip(spectrum).for_each(|(sum, bin)| *sum += f64::from(bin.norm_sqr()));
            };
            // Long enough for a frame: nothing can be wrong with them.
            let _ = self.stft.for_each_frame(&self.held[..whole], add);
            self.held.drain(..whole);
        }
    }

    /// The highest frequency that is carried, as a share of the rate; 0 of silence.
    fn up_to(mut self) -> f64 {
        self.take(&[0.0; N_FFT / 2]);
        let strongest = self.power.iter().copied().fold(0.0, f64::max);
        if strongest <= 0.0 {
            return 0.0;
        }
        let least = strongest * 10f64.powf(-CARRIED_DB / 10.0);
        let highest = self.power.iter().rposition(|bin| *bin >= least).unwrap_or(0);
        (highest + 1).min(N_FFT / 2) as f64 / N_FFT as f64
    }
}

/// 10 log₁₀ of the mean square of samples in [−1, 1], at least [`FLOOR_DBFS`]. A square wave from −1 to 1 has 0 dBFS, a sine of the
/// same peak −3.
pub fn rms_dbfs(samples: &[f32]) -> f64 {
    let squares: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    dbfs(squares / samples.len().max(1) as f64)
}

fn dbfs(mean_square: f64) -> f64 {
    (10.0 * mean_square.log10()).max(FLOOR_DBFS)
}

/// Measures every recording of a data set as it lies on disk, on all cores; `None` for one that cannot be read.
pub fn measure(catalog: &Catalog) -> Vec<Option<Measured>> {
    catalog.clips.par_iter().map(|clip| Measured::of_file(&catalog.path(clip)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front_end::audio::Waveform;

    fn measured(waveform: &Waveform) -> Measured {
        let mut measuring = Measuring::new(waveform.sample_rate);
        measuring.take(&waveform.samples);
        measuring.finish()
    }

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
    fn block_by_block_a_recording_is_the_same() {
        let samples: Vec<f32> =
            (0..3_234).map(|n| ((n * 37 % 101) as f32 / 101.0) * if n < 700 { 0.1 } else { 0.7 }).collect();
        let whole = measured(&Waveform { samples: samples.clone(), sample_rate: 8_000 });
        let loudest = samples.chunks(80).map(rms_dbfs).fold(FLOOR_DBFS, f64::max);
        for block in [1, 7, 80, 81, 500, 5_000] {
            let (mut loudness, mut measuring) = (Loudness::new(8_000), Measuring::new(8_000));
            samples.chunks(block).for_each(|samples| {
                loudness.take(samples);
                measuring.take(samples);
            });
            assert_eq!(loudness.loudest_dbfs(), loudest, "blocks of {block}");
            assert_eq!(measuring.finish(), whole, "blocks of {block}");
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
        let found = measured(&Waveform { samples: samples.clone(), sample_rate: 16_000 });
        assert!((0.4..0.5).contains(&found.sounding_s) && found.duration_s == 2.0, "{found:?}");
        assert!((2_900.0..3_300.0).contains(&found.bandwidth_hz), "{found:?}");
        assert_eq!((found.clipped, found.is_silent()), (0.0, false));
        let lifted = measured(&Waveform { samples: samples.iter().map(|x| x + 0.4).collect(), sample_rate: 16_000 });
        assert!(lifted.offset > 0.7 && lifted.samples != found.samples);
        let silent = measured(&Waveform { samples: vec![0.0; 100], sample_rate: 16_000 });
        assert!(silent.is_silent() && silent.bandwidth_hz == 0.0);
    }

    #[test]
    fn silence_is_at_the_floor() {
        assert_eq!((rms_dbfs(&[0.0; 100]), rms_dbfs(&[])), (FLOOR_DBFS, FLOOR_DBFS));
    }
}
