//! Every setting a person would turn, as plain structs with defaults and one validation.

mod data;
mod model;
mod preset;
mod train;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use data::{DataConfig, DataSource, ESC50_URL};
pub use model::{Pooling, Stem, TinyAstConfig, View};
pub use preset::Preset;
pub use train::{AugmentConfig, DeviceChoice, Mix, Schedule, TrainConfig};

#[cfg(feature = "torch")]
pub(crate) use model::{Convolution, convolutions};

use crate::features::FeatureConfig;
use crate::{Error, Result};

/// The settings of the whole pipeline; every stage takes `&Config`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Which recordings, and the folders the stages read and write.
    pub data: DataConfig,
    /// The length every clip is brought to.
    pub clip: ClipConfig,
    /// The mel spectrogram.
    pub features: FeatureConfig,
    /// TinyAST.
    pub model: TinyAstConfig,
    /// Training and the split into folds.
    pub train: TrainConfig,
}

impl Config {
    /// Checks every setting against its range and against the others.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        self.clip.validate()?;
        self.features.validate()?;
        self.model.validate()?;
        // Only a clip that is resized may have another number of bands than the network.
        let (bands, n_mels) = (self.model.input_size.0, self.features.n_mels);
        let bands_fit = self.model.view == View::Whole || bands == n_mels;
        check("model.input_size", bands_fit, &format!("as many bands as features.n_mels ({n_mels})"), bands)?;
        self.train.validate()
    }
}

/// What becomes of a recording longer than one clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LongClips {
    /// Its first `duration_s` seconds are used.
    #[default]
    Crop,
    /// It becomes several clips, one after the other, the last one aligned with its end.
    Windows,
}

/// The length every clip is brought to; shorter ones are padded with silence at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Seconds, 0.1 to 60.
    pub duration_s: f32,
    /// What becomes of longer recordings.
    pub long_clips: LongClips,
}

impl Default for ClipConfig {
    fn default() -> Self {
        ClipConfig { duration_s: 5.0, long_clips: LongClips::Crop }
    }
}

impl ClipConfig {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Error::Config`] when it is out of range.
    pub fn validate(&self) -> Result<()> {
        check("clip.duration_s", (0.1..=60.0).contains(&self.duration_s), "0.1 to 60 seconds", self.duration_s)
    }

    /// The length of a clip in samples.
    pub fn n_samples(&self, sample_rate: u32) -> usize {
        (f64::from(self.duration_s) * f64::from(sample_rate)).round() as usize
    }
}

fn check(field: &'static str, fits: bool, expected: &str, found: impl fmt::Display) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::Config { field, expected: expected.to_owned(), found: found.to_string() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let config = Config::default();
        config.validate().unwrap();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }

    #[test]
    fn windows_have_the_bands_of_the_spectrogram() {
        let features = FeatureConfig { n_mels: 32, ..Default::default() };
        let config = Config { model: Preset::Good.model(), features, ..Default::default() };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("as many bands as features.n_mels (32), found 64"), "{message}");
        Config { model: Preset::Quick.model(), ..config }.validate().unwrap();
    }
}
