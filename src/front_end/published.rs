//! The features of published networks, to their own numbers.

use std::borrow::Cow;

use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::front_end::fbank::{self, Fbank};
use crate::front_end::features::{FeatureConfig, FeatureExtractor};
use crate::front_end::mel::{MelNorm, MelScale};
use crate::front_end::spectrogram::{Padding, level_db, lift, max_power};

/// CED takes levels down to 120 dB below the loudest.
const CED_TOP_DB: f32 = 120.0;

/// The features of CED (Dinkel et al. 2023, <https://arxiv.org/abs/2308.11957>) as its `preprocessor_config.json` names them: an HTK
/// mel spectrogram without area norm, in dB relative to 1, at most 120 below the loudest. They are torchaudio's `MelSpectrogram` and
/// `AmplitudeToDB` of one recording at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CedFeatureConfig {
    /// Samples a second.
    pub sampling_rate: u32,
    /// Samples in a frame.
    pub n_fft: usize,
    /// Samples under the Hann window.
    pub win_size: usize,
    /// Samples from one frame to the next.
    pub hop_size: usize,
    /// Mel bands.
    pub feature_size: usize,
    /// Lower edge of the lowest band, in Hz.
    pub f_min: f32,
    /// Upper edge of the highest band, in Hz; `None` is the Nyquist frequency.
    pub f_max: Option<f32>,
    /// Whether frames are centred on their time, the recording mirrored at its ends; nothing else is known of CED.
    pub center: bool,
}

impl Default for CedFeatureConfig {
    fn default() -> Self {
        CedFeatureConfig {
            sampling_rate: 16_000,
            n_fft: 512,
            win_size: 512,
            hop_size: 160,
            feature_size: 64,
            f_min: 0.0,
            f_max: None,
            center: true,
        }
    }
}

/// Plans and scratch for [`CedFeatureConfig`]; one per thread.
pub struct CedFeatures {
    extractor: FeatureExtractor,
    min_samples: usize,
}

impl CedFeatures {
    /// Plans the transforms. Whatever is shorter than `min_frames` frames, the patches of the network, is followed by silence.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range.
    pub fn new(config: &CedFeatureConfig, min_frames: usize) -> Result<Self> {
        if !config.center {
            let (expected, found) = ("true, as in every published CED".into(), "false".into());
            return Err(Error::Config { field: "center", expected, found });
        }
        let features = FeatureConfig {
            sample_rate: config.sampling_rate,
            n_fft: config.n_fft,
            win_length: config.win_size,
            hop_length: config.hop_size,
            n_mels: config.feature_size,
            f_min: config.f_min,
            f_max: config.f_max,
            mel_scale: MelScale::Htk,
            mel_norm: MelNorm::None,
            padding: Padding::Reflect,
            top_db: CED_TOP_DB,
            ..FeatureConfig::default()
        };
        let least = features.padding.min_samples(features.n_fft);
        let min_samples = least.max(min_frames.saturating_sub(1) * features.hop_length);
        Ok(CedFeatures { extractor: FeatureExtractor::new(&features)?, min_samples })
    }

    /// How the spectrogram is made, in the crate's own words.
    pub fn config(&self) -> &FeatureConfig {
        self.extractor.config()
    }

    /// Seconds from one frame to the next.
    pub fn frame_s(&self) -> f64 {
        self.extractor.config().hop_length as f64 / f64::from(self.extractor.config().sample_rate)
    }

    /// Samples at the rate of the settings → `(n_mels, n_frames)`, in dB.
    ///
    /// # Errors
    /// [`Error::Signal`] when a value is not finite.
    pub fn extract(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        let mut mel = self.extractor.mel_power(&followed_by_silence(samples, self.min_samples))?;
        let floor_db = self.floor_db(loudest(&mel));
        self.to_db(&mut mel, floor_db);
        Ok(mel)
    }

    /// The fewest samples that are heard; fewer are followed by silence.
    pub(super) fn min_samples(&self) -> usize {
        self.min_samples
    }

    /// Frames before and behind a stretch of a recording that must be there, for those in it to be what they are in the whole.
    pub(super) fn margin(&self) -> usize {
        let FeatureConfig { n_fft, hop_length, .. } = self.config();
        (n_fft / 2).div_ceil(*hop_length)
    }

    /// Samples at the rate of the settings → power, `(n_mels, n_frames)`.
    ///
    /// # Errors
    /// [`Error::Signal`] when a value is not finite.
    pub(super) fn power(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        self.extractor.mel_power(samples)
    }

    /// The lowest level there is, of a recording with this power as its loudest.
    pub(super) fn floor_db(&self, loudest: f32) -> f32 {
        level_db(loudest, self.config().amin) - self.reference_db() - CED_TOP_DB
    }

    /// Power becomes levels, none below the floor; returns the lowest before that.
    pub(super) fn to_db(&self, power: &mut Array2<f32>, floor_db: f32) -> f32 {
        let (reference_db, amin) = (self.reference_db(), self.config().amin);
        power.as_slice_mut().map_or(f32::INFINITY, |values| lift(values, reference_db, amin, floor_db))
    }

    fn reference_db(&self) -> f32 {
        level_db(1.0, self.config().amin)
    }
}

/// The highest power there is; 0 where there is none.
pub(super) fn loudest(power: &Array2<f32>) -> f32 {
    power.as_slice().map_or(0.0, max_power)
}

/// The features of the Audio Spectrogram Transformer as its `preprocessor_config.json` names them: [`Fbank`] of one recording, cut to
/// `max_length` frames or followed by zeros, and normalised by one mean and deviation for all recordings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AstFeatureConfig {
    /// Samples a second.
    pub sampling_rate: u32,
    /// Mel bands.
    pub num_mel_bins: usize,
    /// Frames of a recording.
    pub max_length: usize,
    /// Whether features are normalised.
    pub do_normalize: bool,
    /// Mean of the data set trained on.
    pub mean: f32,
    /// Standard deviation of the data set trained on; features are divided by twice as much.
    pub std: f32,
    /// What stands behind a short recording, before normalisation.
    pub padding_value: f32,
}

impl Default for AstFeatureConfig {
    fn default() -> Self {
        AstFeatureConfig {
            sampling_rate: fbank::SAMPLE_RATE,
            num_mel_bins: 128,
            max_length: 1024,
            do_normalize: true,
            // Of AudioSet.
            mean: -4.267_739_3,
            std: 4.568_997_4,
            padding_value: 0.0,
        }
    }
}

/// Plans and scratch for [`AstFeatureConfig`]; one per thread.
pub struct AstFeatures {
    config: AstFeatureConfig,
    fbank: Fbank,
}

impl AstFeatures {
    /// Plans the transforms.
    ///
    /// # Errors
    /// [`Error::Config`] for another rate than 16 kHz, and for a deviation that is not above 0.
    pub fn new(config: &AstFeatureConfig) -> Result<Self> {
        let unfit = |field, expected: &str, found: String| Error::Config { field, expected: expected.into(), found };
        if config.sampling_rate != fbank::SAMPLE_RATE {
            return Err(unfit("sampling_rate", "16000 Hz", config.sampling_rate.to_string()));
        }
        if !(config.std > 0.0 && config.std.is_finite() && config.mean.is_finite()) {
            return Err(unfit("std", "above 0, and the mean finite", format!("{}, mean {}", config.std, config.mean)));
        }
        Ok(AstFeatures { fbank: Fbank::new(config.num_mel_bins)?, config: config.clone() })
    }

    /// How the spectrogram is made, in the crate's own words, as far as these tell: for the axes of a picture.
    pub fn config(&self) -> FeatureConfig {
        FeatureConfig {
            sample_rate: fbank::SAMPLE_RATE,
            n_fft: fbank::N_FFT,
            win_length: fbank::WIN_LENGTH,
            hop_length: fbank::HOP_LENGTH,
            n_mels: self.config.num_mel_bins,
            f_min: fbank::F_MIN_HZ,
            mel_scale: MelScale::Kaldi,
            mel_norm: MelNorm::None,
            padding: Padding::None,
            ..FeatureConfig::default()
        }
    }

    /// The settings.
    pub fn settings(&self) -> &AstFeatureConfig {
        &self.config
    }

    /// What stands behind a short recording, as it is normalised.
    pub fn silence(&self) -> f64 {
        let AstFeatureConfig { padding_value, do_normalize, mean, std, .. } = self.config;
        f64::from(if do_normalize { (padding_value - mean) / (2.0 * std) } else { padding_value })
    }

    /// Samples that fill the frames of a recording.
    pub fn n_samples(&self) -> usize {
        fbank::WIN_LENGTH + self.config.max_length.saturating_sub(1) * fbank::HOP_LENGTH
    }

    /// Samples at 16 kHz → their levels in dB, `(n_mels, n_frames)`, of as many frames as there are.
    ///
    /// # Errors
    /// [`Error::Signal`] when a value is not finite.
    pub fn levels(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        let samples = followed_by_silence(samples, fbank::WIN_LENGTH);
        let log_power = self.fbank.extract(&samples[..samples.len().min(self.n_samples())])?;
        // Of the power's natural logarithm.
        Ok(log_power.t().mapv(|value| value * 10.0 / std::f32::consts::LN_10))
    }

    /// Samples at 16 kHz → `(max_length, n_mels)`.
    ///
    /// # Errors
    /// [`Error::Signal`] when a value is not finite.
    pub fn extract(&mut self, samples: &[f32]) -> Result<Array2<f32>> {
        let AstFeatureConfig { num_mel_bins, max_length, padding_value, .. } = self.config;
        let samples = followed_by_silence(samples, fbank::WIN_LENGTH);
        let features = self.fbank.extract(&samples[..samples.len().min(self.n_samples())])?;
        let mut padded = Array2::from_elem((max_length, num_mel_bins), padding_value);
        let n_frames = features.nrows().min(max_length);
        padded.slice_mut(s![..n_frames, ..]).assign(&features.slice(s![..n_frames, ..]));
        if self.config.do_normalize {
            let (mean, gain) = (self.config.mean, 2.0 * self.config.std);
            padded.mapv_inplace(|value| (value - mean) / gain);
        }
        Ok(padded)
    }
}

/// The samples, with zeros behind them where they are fewer.
fn followed_by_silence(samples: &[f32], min_samples: usize) -> Cow<'_, [f32]> {
    let mut samples = Cow::Borrowed(samples);
    if samples.len() < min_samples {
        samples.to_mut().resize(min_samples, 0.0);
    }
    samples
}
