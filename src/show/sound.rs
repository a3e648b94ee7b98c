//! A sound to see and to hear.

use ndarray::Array2;

use crate::error::Result;
use crate::front_end::audio::Waveform;
use crate::front_end::features::{FeatureConfig, FeatureExtractor};
use crate::show::html::{self, Html};
use crate::show::plot::{self, MelAxes, Picture};

/// Rate of the players' sound, in Hz: enough for what the network hears, and a third of the original's size.
const PLAYER_RATE: u32 = 16_000;

/// A sound as waveform, mel spectrogram and player.
///
/// # Errors
/// [`crate::error::Error::Signal`] for samples that are no sound, [`crate::error::Error::Config`] for settings out of range.
pub fn sound(waveform: &Waveform, features: &FeatureConfig, title: &str) -> Result<Html> {
    let (spectrogram, axes) = log_mel(&mut FeatureExtractor::new(features)?, waveform)?;
    let pictures = [
        plot::waveform(&waveform.samples, waveform.sample_rate, title)?.html(),
        plot::mel_spectrogram(spectrogram.view(), &axes, title)?.html(),
    ];
    Ok(html::card("", &[html::row(&pictures), player(waveform, title)?]))
}

/// The mel filters: which frequencies each of the bins listens to.
///
/// # Errors
/// [`crate::error::Error::Config`] for settings out of range.
pub fn filterbank(features: &FeatureConfig) -> Result<Picture> {
    let bank = features.filterbank()?;
    let bin_hz = features.sample_rate as f32 / features.n_fft as f32;
    let freqs_hz: Vec<f32> = (0..=features.n_fft / 2).map(|bin| bin as f32 * bin_hz).collect();
    plot::filterbank(bank.dense().view(), &freqs_hz)
}

pub(super) fn player(waveform: &Waveform, caption: &str) -> Result<Html> {
    let features = FeatureConfig { sample_rate: PLAYER_RATE, ..Default::default() };
    let samples = FeatureExtractor::new(&features)?.resample(&waveform.samples, waveform.sample_rate)?;
    html::audio_player(&samples, PLAYER_RATE, caption)
}

/// The log-mel spectrogram in dB with its axes.
pub(super) fn log_mel(extractor: &mut FeatureExtractor, waveform: &Waveform) -> Result<(Array2<f32>, MelAxes)> {
    let mono = extractor.resample(&waveform.samples, waveform.sample_rate)?;
    let spectrogram = extractor.log_mel_db(&mono)?;
    let axes = mel_axes(extractor.config(), spectrogram.ncols(), "dB")?;
    Ok((spectrogram, axes))
}

pub(super) fn mel_axes(features: &FeatureConfig, n_frames: usize, unit: &str) -> Result<MelAxes> {
    let duration_s = n_frames as f64 * features.hop_length as f64 / f64::from(features.sample_rate);
    Ok(MelAxes::new(duration_s, features.filterbank()?.center_freqs_hz(), unit))
}
