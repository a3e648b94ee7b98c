//! Kaldi's log-mel filterbank features, as the Audio Spectrogram Transformer takes them (Gong et al. 2021,
//! <https://arxiv.org/abs/2104.01778>): frames of 25 ms every 10 ms, each freed of its offset, pre-emphasised and windowed by itself.

use std::sync::Arc;

use ndarray::Array2;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::error::{Error, Result};
use crate::front_end::mel::{MelFilterbank, MelNorm, MelScale};
use crate::front_end::resample::check_samples;
use crate::front_end::spectrogram::log2;

/// Samples a second.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples in a frame: 25 ms at 16 kHz.
pub const WIN_LENGTH: usize = 400;
/// Samples from one frame to the next: 10 ms at 16 kHz.
pub const HOP_LENGTH: usize = 160;
/// Samples the transform takes: the next power of two above the frame.
pub(super) const N_FFT: usize = 512;
/// Lower edge of the lowest band, in Hz.
pub(super) const F_MIN_HZ: f32 = 20.0;
/// How much of a sample is taken off the next one.
const PREEMPHASIS: f64 = 0.97;
/// Plans and scratch for features of mono samples at 16 kHz; one per thread.
pub struct Fbank {
    filterbank: MelFilterbank,
    window: Vec<f64>,
    plan: Arc<dyn RealToComplex<f64>>,
    frame: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl Fbank {
    /// Lays `n_mels` bands between 20 Hz and 8 kHz.
    ///
    /// # Errors
    /// [`Error::Config`] when there are none.
    pub fn new(n_mels: usize) -> Result<Self> {
        let nyquist_hz = SAMPLE_RATE as f32 / 2.0;
        let (scale, norm) = (MelScale::Kaldi, MelNorm::None);
        let filterbank = MelFilterbank::new(SAMPLE_RATE, N_FFT, n_mels, F_MIN_HZ, nyquist_hz, scale, norm)?;
        // Symmetric: it ends on the zero it begins with.
        let angle = |i: usize| std::f64::consts::TAU * i as f64 / (WIN_LENGTH - 1) as f64;
        let window = (0..WIN_LENGTH).map(|i| 0.5 - 0.5 * angle(i).cos()).collect();
        let plan = RealFftPlanner::new().plan_fft_forward(N_FFT);
        let (frame, spectrum, scratch) = (plan.make_input_vec(), plan.make_output_vec(), plan.make_scratch_vec());
        Ok(Self { filterbank, window, plan, frame, spectrum, scratch })
    }

    /// Frames that lie wholly inside so many samples.
    pub fn n_frames(n_samples: usize) -> usize {
        n_samples.checked_sub(WIN_LENGTH).map_or(0, |rest| rest / HOP_LENGTH + 1)
    }

    /// The natural logarithm of each band's power, `(n_frames, n_mels)`; of a power below 2⁻²³, the distance from 1 to the next 32-bit
    /// number, that of it.
    ///
    /// # Errors
    /// [`Error::Signal`] when there is less than a frame of samples, or a value is not finite.
    pub fn extract(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        check_samples(samples)?;
        let n_frames = Self::n_frames(samples.len());
        if n_frames == 0 {
            let (expected, found) = (format!("at least {WIN_LENGTH} samples"), samples.len().to_string());
            return Err(Error::Signal { expected, found });
        }
        let n_mels = self.filterbank.n_mels();
        let mut features = Array2::zeros((n_frames, n_mels));
        let (mut power, mut bands) = (vec![0.0; N_FFT / 2 + 1], vec![0.0; n_mels]);
        for (i, mut row) in features.rows_mut().into_iter().enumerate() {
            self.load_frame(&samples[i * HOP_LENGTH..][..WIN_LENGTH]);
            let transformed = self.plan.process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch);
            transformed.map_err(|error| Error::Signal {
                expected: "buffers of the planned size".into(),
                found: error.to_string(),
            })?;
            // Between the transform, whose rounding a logarithm of quiet bands would show, and the sums, 32 bits do.
            for (value, bin) in power.iter_mut().zip(&self.spectrum) {
                *value = bin.norm_sqr() as f32;
            }
            self.filterbank.apply(&power, &mut bands);
            for (value, band) in row.iter_mut().zip(&bands) {
                *value = log2(band.max(f32::EPSILON)) * std::f32::consts::LN_2;
            }
        }
        Ok(features)
    }

    /// A frame without its mean, each sample less 0.97 of the one before (the first: of itself), under the window; then zeros.
    fn load_frame(&mut self, samples: &[f32]) {
        let sums = samples.chunks(8).fold([0.0; 8], |mut sums, chunk| {
            sums.iter_mut().zip(chunk).for_each(|(sum, sample)| *sum += f64::from(*sample));
            sums
        });
        let mean = sums.iter().sum::<f64>() / samples.len() as f64;
        // (x − mean) − 0.97 · (before − mean).
        let offset = (1.0 - PREEMPHASIS) * mean;
        let emphasised = |before: f32, sample: f32| f64::from(sample) - PREEMPHASIS * f64::from(before) - offset;
        if let (Some(value), Some(sample), Some(weight)) =
            (self.frame.first_mut(), samples.first(), self.window.first())
        {
            *value = emphasised(*sample, *sample) * weight;
        }
        let pairs = samples.iter().zip(&samples[1..]).zip(&self.window[1..]);
        for (value, ((before, sample), weight)) in self.frame[1..].iter_mut().zip(pairs) {
            *value = emphasised(*before, *sample) * weight;
        }
        // The transform leaves its own numbers behind the frame.
        self.frame[samples.len()..].fill(0.0);
    }
}
