//! What a trained network says about itself, in whatever file it is.

use serde::{Deserialize, Serialize};

use crate::config::{TinyAstConfig, TrainConfig, View};
use crate::dataset::metadata::FeatureSettings;
use crate::front_end::features::FEATURE_VERSION;
use crate::training::calibration::Calibration;

/// The key of an exported file's metadata under which [`CheckpointInfo`] stands as JSON.
pub const INFO_KEY: &str = "audio_transformer";
/// The key of what a recording is compared with ([`Reference`](super::reference::Reference)), as JSON.
pub const FAMILIARITY_KEY: &str = "familiarity";
/// What an exported network gives, by name. The last is there where it knows how the recordings lie that it was trained on.
pub const OUTPUTS: [&str; 3] = ["logits", "embedding", "familiarity"];

/// What a checkpoint knows beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// The data set trained on, by name.
    pub dataset: String,
    /// Class names in the order of the logits.
    pub labels: Vec<String>,
    /// How a recording becomes a spectrogram; values are normalised per clip to zero mean and unit deviation.
    pub settings: FeatureSettings,
    /// The architecture.
    pub model: TinyAstConfig,
    /// How it was trained.
    pub train: TrainConfig,
    /// The fold held out.
    pub test_fold: u32,
    /// The recordings trained on and validated with, sorted: what must not be in a test.
    pub seen_sources: Vec<String>,
    /// Epochs completed.
    pub epoch: usize,
    /// What makes its probabilities come true as often as they say, where recordings were there to learn it from.
    #[serde(default)]
    pub calibration: Option<Calibration>,
}

impl CheckpointInfo {
    /// Reads it from JSON, and refuses what this version cannot follow.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn parse(json: &str) -> Result<Self, (String, String)> {
        let unfit = |expected: &str, found: &dyn ToString| Err((expected.to_owned(), found.to_string()));
        let info: Self = match serde_json::from_str(json) {
            Ok(info) => info,
            Err(error) => return unfit("a description this version reads", &error),
        };
        let settings = &info.settings;
        let sound = info.model.validate().and(settings.clip.validate()).and(settings.features.validate());
        if let Err(error) = sound {
            return unfit("settings in their range", &error);
        }
        if let Some(calibration) = info.calibration.as_ref().filter(|calibration| !calibration.is_sound()) {
            return unfit("a temperature from 0.1 to 10", &calibration.temperature);
        }
        if settings.feature_version != FEATURE_VERSION {
            return unfit(&format!("spectrograms of version {FEATURE_VERSION}"), &settings.feature_version);
        }
        let (n_mels, bands) = (settings.features.n_mels, info.model.input_size.0);
        if info.model.view != View::Whole && n_mels != bands {
            return unfit(&format!("spectrograms of {bands} mel bands"), &n_mels);
        }
        Ok(info)
    }
}
