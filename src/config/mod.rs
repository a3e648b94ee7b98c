//! Every setting a person would turn, as plain structs with defaults and one validation.

mod check;
mod clip;
mod data;
mod model;
mod train;
mod preset;
pub(crate) mod differences;

use serde::{Deserialize, Serialize};

use check::check;
pub use clip::{ClipConfig, LongClips};
pub(crate) use data::folder_of;
pub use data::{DataConfig, DataSource, ESC50_URL};
pub use model::{Pooling, Stem, TinyAstConfig, View};
pub use preset::Preset;
pub use train::{AugmentConfig, DeviceChoice, Mix, OptimizerChoice, Schedule, Start, TrainConfig};

#[cfg(feature = "torch")]
pub(crate) use model::{Convolution, convolutions};

use crate::error::Result;
use crate::front_end::features::FeatureConfig;

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
    /// [`crate::Error::Config`] with the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        self.data.validate()?;
        self.clip.validate()?;
        self.features.validate()?;
        self.model.validate()?;
        // Only a clip that is resized may have another number of bands than the network.
        let (bands, n_mels) = (self.model.input_size.0, self.features.n_mels);
        let bands_fit = self.model.view == View::Whole || bands == n_mels;
        check("model.input_size", bands_fit, &format!("as many bands as features.n_mels ({n_mels})"), bands)?;
        self.validate_start()?;
        self.train.validate()
    }

    /// Weights fit no other layers than those they are of.
    fn validate_start(&self) -> Result<()> {
        let layers = |model: &TinyAstConfig| {
            let TinyAstConfig { stem, embed_dim, depth, num_heads, mlp_ratio, pooling, .. } = model;
            format!(
                "{stem:?}, embed_dim {embed_dim}, depth {depth}, num_heads {num_heads}, mlp_ratio {mlp_ratio}, pooling {pooling:?}"
            )
        };
        let (wanted, found) = (layers(&Preset::Fitted.model()), layers(&self.model));
        let fits = self.train.start == Start::Fresh || found == wanted;
        let expected = format!("Fresh for a model of other layers than Preset::Fitted's ({wanted})");
        check("train.start", fits, &expected, format_args!("{:?} for {found}", self.train.start))
    }
}

impl Preset {
    /// All settings as the recipe has them.
    pub fn settings(self) -> Config {
        Config { model: self.model(), train: self.train(), ..Config::default() }
    }
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

    #[test]
    fn what_formulas_taught_is_for_the_layers_that_learned_it() {
        let mut config = Preset::Fitted.settings();
        config.train.start = Start::Formulas;
        config.validate().unwrap();
        // Neither longer windows nor other bands are other layers.
        (config.model.input_size, config.features.n_mels) = ((128, 256), 128);
        config.validate().unwrap();
        config.model.depth += 1;
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("train.start") && message.contains("depth 4"), "{message}");
        config.train.start = Start::Fresh;
        config.validate().unwrap();
    }
}
