//! Waveform → normalised log-mel spectrogram, the input of the model.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::front_end::mel::{MelFilterbank, MelNorm, MelScale};
use crate::front_end::offset::without_offset;
use crate::front_end::resample::{Resampler, SAMPLE_RATES_HZ, check_samples};
use crate::front_end::spectrogram::{Padding, Stft, max_power, power_to_db};

/// The version of the numbers this module gives. It grows whenever the same input and settings would give others,
/// so that features cached on disk can tell that they are stale.
pub const FEATURE_VERSION: u32 = 2;

/// Added to the standard deviation when normalising, so that a silent clip gives zeros.
const STD_OFFSET: f64 = 1e-6;

/// Resamplers kept at once: more input rates than this in one data set and the oldest is planned again.
const MAX_RESAMPLERS: usize = 4;

/// Samples of room kept from clip to clip (a minute at 16 kHz, 4 MB); that of a longer clip is given back.
const KEPT_SAMPLES: usize = 960_000;

/// How a waveform becomes a log-mel spectrogram.
///
/// The defaults turn a 5 s clip into 64 bands × 313 frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureConfig {
    /// Rate everything is resampled to, in Hz (16,000: keeps the band up to 8 kHz).
    pub sample_rate: u32,
    /// Samples in a frame (1024: 64 ms at 16 kHz).
    pub n_fft: usize,
    /// Samples under the Hann window, at most `n_fft` (1024).
    pub win_length: usize,
    /// Samples from one frame to the next, at most `n_fft` (256: 16 ms at 16 kHz).
    pub hop_length: usize,
    /// Mel bands (64).
    pub n_mels: usize,
    /// Lower edge of the lowest band, in Hz (0).
    pub f_min: f32,
    /// Upper edge of the highest band, in Hz; `None` is the Nyquist frequency.
    pub f_max: Option<f32>,
    /// How frequency maps to mel.
    pub mel_scale: MelScale,
    /// How each mel filter is scaled.
    pub mel_norm: MelNorm,
    /// What the frames at the ends see beyond the clip.
    pub padding: Padding,
    /// Range below the clip's maximum, in dB (80); what lies deeper is lifted to it.
    pub top_db: f32,
    /// Least power, the floor under the logarithm (1e-10).
    pub amin: f32,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            n_fft: 1024,
            win_length: 1024,
            hop_length: 256,
            n_mels: 64,
            f_min: 0.0,
            f_max: None,
            mel_scale: MelScale::Slaney,
            mel_norm: MelNorm::Slaney,
            padding: Padding::Zero,
            top_db: 80.0,
            amin: 1e-10,
        }
    }
}

impl FeatureConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let check = |holds: bool, field: &'static str, expected: &str, found: &dyn std::fmt::Display| {
            if holds {
                Ok(())
            } else {
                Err(Error::Config { field, expected: expected.into(), found: found.to_string() })
            }
        };
        check(
            SAMPLE_RATES_HZ.contains(&self.sample_rate),
            "features.sample_rate",
            "from 1000 to 768000 Hz",
            &self.sample_rate,
        )?;
        check((2..=65_536).contains(&self.n_fft), "features.n_fft", "from 2 to 65536", &self.n_fft)?;
        check((1..=self.n_fft).contains(&self.win_length), "features.win_length", "from 1 to n_fft", &self.win_length)?;
        check((1..=self.n_fft).contains(&self.hop_length), "features.hop_length", "from 1 to n_fft", &self.hop_length)?;
        check((1..=4096).contains(&self.n_mels), "features.n_mels", "from 1 to 4096", &self.n_mels)?;
        let nyquist_hz = self.sample_rate as f32 / 2.0;
        let f_max_hz = self.f_max_hz();
        check(
            f_max_hz > 0.0 && f_max_hz <= nyquist_hz,
            "features.f_max",
            "above 0 Hz, up to half the sample rate",
            &f_max_hz,
        )?;
        check(self.f_min >= 0.0 && self.f_min < f_max_hz, "features.f_min", "from 0 Hz to below f_max", &self.f_min)?;
        check(self.top_db > 0.0 && self.top_db.is_finite(), "features.top_db", "above 0 dB, finite", &self.top_db)?;
        check(self.amin >= f32::MIN_POSITIVE && self.amin.is_finite(), "features.amin", "above 0, finite", &self.amin)
    }

    /// Upper edge of the highest band, in Hz.
    pub fn f_max_hz(&self) -> f32 {
        self.f_max.unwrap_or(self.sample_rate as f32 / 2.0)
    }

    /// Frames of a clip of `n_samples` samples at `sample_rate`; 0 when it is too short for its padding.
    pub fn n_frames(&self, n_samples: usize) -> usize {
        self.padding.n_frames(n_samples, self.n_fft, self.hop_length)
    }

    /// The mel filterbank of these settings.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range.
    pub fn filterbank(&self) -> Result<MelFilterbank> {
        self.validate()?;
        let (f_max, scale, norm) = (self.f_max_hz(), self.mel_scale, self.mel_norm);
        MelFilterbank::new(self.sample_rate, self.n_fft, self.n_mels, self.f_min, f_max, scale, norm)
    }

    /// What is legal but likely a mistake: mel bands too narrow to touch a bin, which are silent in every clip.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range.
    pub fn warning(&self) -> Result<Option<String>> {
        let empty = self.filterbank()?.empty_filters();
        Ok((!empty.is_empty()).then(|| {
            format!(
                "{} of {} mel bands touch no bin and are silent in every clip (the first is number {}): lower n_mels or raise n_fft.",
                empty.len(),
                self.n_mels,
                empty[0]
            )
        }))
    }
}

/// Turns waveforms into normalised log-mel spectrograms; plans and scratch are made once. One per thread.
pub struct FeatureExtractor {
    config: FeatureConfig,
    stft: Stft,
    filterbank: MelFilterbank,
    resamplers: Vec<(u32, Resampler)>,
    resampled: Vec<f32>,
    power: Vec<f32>,
    bands: Vec<f32>,
}

impl FeatureExtractor {
    /// Plans the transforms for these settings.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range.
    pub fn new(config: &FeatureConfig) -> Result<Self> {
        let filterbank = config.filterbank()?;
        let stft = Stft::new(config.n_fft, config.win_length, config.hop_length, config.padding)?;
        Ok(Self {
            power: vec![0.0; stft.n_bins()],
            bands: vec![0.0; filterbank.n_mels()],
            config: config.clone(),
            stft,
            filterbank,
            resamplers: Vec::new(),
            resampled: Vec::new(),
        })
    }

    /// The settings this extractor was made with.
    pub fn config(&self) -> &FeatureConfig {
        &self.config
    }

    /// Brings a recording, mono samples at `sample_rate` (Hz), to the rate of the settings, without a shift in time and without a constant
    /// offset, where it has one of a tenth of its level or more.
    ///
    /// # Errors
    /// [`Error::Signal`] when the rate is out of range, or a value not finite.
    pub fn resample(&mut self, samples: &[f32], sample_rate: u32) -> Result<Vec<f32>> {
        self.resampler(sample_rate)?.process(&without_offset(samples))
    }

    /// [`resample`](Self::resample) on all of rayon's threads, to the very same numbers.
    ///
    /// # Errors
    /// As [`resample`](Self::resample).
    pub fn resample_parallel(&mut self, samples: &[f32], sample_rate: u32) -> Result<Vec<f32>> {
        self.resampler(sample_rate)?.process_parallel(&without_offset(samples))
    }

    /// Lends the resampler from this rate to who converts block by block; [`FeatureExtractor::take_back`] spares the next one its planning.
    ///
    /// # Errors
    /// [`Error::Signal`] when the rate is out of range.
    pub fn lend_resampler(&mut self, sample_rate: u32) -> Result<Resampler> {
        self.resampler(sample_rate)?;
        let known = self.resamplers.iter().position(|(rate, _)| *rate == sample_rate);
        match known {
            Some(index) => Ok(self.resamplers.remove(index).1),
            None => Resampler::new(sample_rate, self.config.sample_rate),
        }
    }

    /// Keeps a resampler that was lent.
    pub fn take_back(&mut self, sample_rate: u32, resampler: Resampler) {
        if self.resamplers.len() < MAX_RESAMPLERS {
            self.resamplers.push((sample_rate, resampler));
        }
    }

    /// The resampler from this rate, planned when it is met first.
    fn resampler(&mut self, sample_rate: u32) -> Result<&mut Resampler> {
        let known = self.resamplers.iter().position(|(rate, _)| *rate == sample_rate);
        let index = match known {
            Some(index) => index,
            None => {
                let resampler = Resampler::new(sample_rate, self.config.sample_rate)?;
                if self.resamplers.len() == MAX_RESAMPLERS {
                    self.resamplers.remove(0);
                }
                self.resamplers.push((sample_rate, resampler));
                self.resamplers.len() - 1
            }
        };
        Ok(&mut self.resamplers[index].1)
    }

    /// Mel power spectrogram, `(n_mels, n_frames)`, of samples at the rate of the settings.
    ///
    /// # Errors
    /// [`Error::Signal`] when the clip is too short for its padding, or holds values that are not finite.
    pub fn mel_power(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        check_samples(samples)?;
        let mut mel = Array2::zeros((self.config.n_mels, self.stft.n_frames(samples.len())));
        let Self { stft, filterbank, power, bands, .. } = self;
        stft.for_each_frame(samples, |i, spectrum| {
            for (value, bin) in power.iter_mut().zip(spectrum) {
                *value = bin.norm_sqr();
            }
            filterbank.apply(power, bands);
            for (value, band) in mel.column_mut(i).iter_mut().zip(bands.iter()) {
                *value = *band;
            }
        })?;
        Ok(mel)
    }

    /// Log-mel spectrogram, `(n_mels, n_frames)`, of samples at the rate of the settings, in dB: 0 at the clip's
    /// maximum, `−top_db` at the lowest. A silent clip is 0 everywhere.
    ///
    /// # Errors
    /// [`Error::Signal`] when the clip is too short for its padding, or holds values that are not finite.
    pub fn log_mel_db(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        let mut mel = self.mel_power(samples)?;
        if let Some(values) = mel.as_slice_mut() {
            power_to_db(values, max_power(values), self.config.amin, Some(self.config.top_db));
        }
        Ok(mel)
    }

    /// What preprocessing stores, `(n_mels, n_frames)`: resample, log-mel in dB, normalise per clip.
    ///
    /// # Errors
    /// [`Error::Signal`] when the rate is out of range, the clip too short, or a value not finite.
    pub fn extract(&mut self, samples: &[f32], sample_rate: u32) -> Result<Spectrogram> {
        let mut values = if sample_rate == self.config.sample_rate {
            self.log_mel_db(samples)?
        } else {
            let mut resampled = std::mem::take(&mut self.resampled);
            self.resampler(sample_rate)?.process_into(&without_offset(samples), &mut resampled)?;
            let log_mel = self.log_mel_db(&resampled);
            if resampled.capacity() <= KEPT_SAMPLES {
                self.resampled = resampled;
            }
            log_mel?
        };
        let scale = normalize(&mut values);
        Ok(Spectrogram { values, scale })
    }
}

/// A normalised log-mel spectrogram that remembers its decibels.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrogram {
    /// `(n_mels, n_frames)`, mean 0 and standard deviation 1.
    pub values: Array2<f32>,
    /// What was taken off and divided by.
    pub scale: Scale,
}

/// How decibels were normalised: `(x − mean_db) / std_db`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Their mean, in dB relative to the clip's maximum.
    pub mean_db: f32,
    /// Their standard deviation plus 1e-6, in dB.
    pub std_db: f32,
}

impl Spectrogram {
    /// Power relative to the clip's maximum, `(n_mels, n_frames)`: 1 at the loudest, `10^(−top_db / 10)` at the quietest.
    pub fn power(&self) -> Array2<f32> {
        // 10^(x / 10) = 2^(x · log2(10) / 10), and the base-2 exponential is the fast one.
        let (shift, gain) = (self.scale.mean_db, self.scale.std_db);
        self.values.mapv(|x| ((x * gain + shift) * (std::f32::consts::LOG2_10 / 10.0)).exp2())
    }
}

/// Shifts and scales to mean 0 and standard deviation 1 over the whole array: `(x − mean) / (std + 1e-6)`, with the
/// population's standard deviation. A constant array becomes zeros.
pub fn normalize(features: &mut Array2<f32>) -> Scale {
    let n = features.len().max(1) as f64;
    let mean = sum(features, |x| x) / n;
    let variance = sum(features, |x| (x - mean).powi(2)) / n;
    let std = variance.sqrt() + STD_OFFSET;
    let (shift, gain) = (mean as f32, (1.0 / std) as f32);
    features.mapv_inplace(|x| (x - shift) * gain);
    Scale { mean_db: shift, std_db: std as f32 }
}

/// Sums a function of all values, in eight sums at once so that no addition waits for the one before it.
fn sum(values: &Array2<f32>, term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let mut i = 0;
    values.iter().for_each(|&value| {
        sums[i % 8] += term(f64::from(value));
        i += 1;
    });
    sums.iter().sum()
}
