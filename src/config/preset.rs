//! The recipes the project stands for.

use super::data::{DataConfig, DataSource};
use super::model::{Pooling, Stem, TinyAstConfig, View};
use super::train::{AugmentConfig, Mix, OptimizerChoice, Schedule, Start, TrainConfig};

/// A recipe: an architecture and the training that suits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The good preset fitted to the recordings by [`crate::propose`] and to a time budget: for sounds of your own.
    Fitted,
    /// Seconds on a laptop: a plain Vision Transformer, 5 epochs of Adam. A demonstration.
    Quick,
    /// Some minutes for 320 clips: a convolutional stem, weights that know sounds made by formulas ([`Start::Formulas`]), Muon, augmentation. The one to
    /// judge the project by.
    Good,
}

/// The time budget of the fitted recipe before it knows the data.
const MINUTES: f64 = 5.0;

impl Preset {
    /// The recipe to begin with: fitted to a person's own recordings; of the demo, ESC-10 and ESC-50 the quick one.
    pub fn of(data: &DataConfig) -> Self {
        match (&data.metadata_path, &data.source) {
            (None, DataSource::Demo | DataSource::Esc10 | DataSource::Esc50) => Preset::Quick,
            _ => Preset::Fitted,
        }
    }

    /// The architecture.
    pub fn model(self) -> TinyAstConfig {
        match self {
            Preset::Quick => TinyAstConfig::default(),
            Preset::Good | Preset::Fitted => TinyAstConfig {
                input_size: (64, 320),
                view: View::Windows { n_views: 5 },
                stem: Stem::Convolutions { channels: vec![24, 48, 96], first_stride: (2, 4), pool: (2, 1) },
                embed_dim: 96,
                depth: 3,
                num_heads: 4,
                mlp_ratio: 2,
                dropout: 0.0,
                stochastic_depth: 0.1,
                pooling: Pooling::Mean,
                num_classes: None,
            },
        }
    }

    /// The training.
    pub fn train(self) -> TrainConfig {
        match self {
            Preset::Quick => TrainConfig::default(),
            Preset::Fitted => TrainConfig {
                run_name: "fitted".into(),
                minutes: Some(MINUTES),
                schedule: Schedule::Hold { warmup_steps: 50 },
                ..Preset::Good.train()
            },
            Preset::Good => TrainConfig {
                run_name: "good".into(),
                epochs: 180,
                batch_size: 32,
                start: Start::Formulas,
                optimizer: OptimizerChoice::Muon,
                learning_rate: 1e-3,
                schedule: Schedule::Cosine { warmup_steps: 50 },
                weight_decay: 0.05,
                max_grad_norm: Some(1.0),
                label_smoothing: 0.1,
                ema_decay: 0.99,
                augment: AugmentConfig {
                    random_crop: true,
                    mel_stretch: 0.15,
                    mel_shift: 4.0,
                    equalizer_db: 8.0,
                    mix: Mix::BetweenClass,
                    mix_probability: 0.5,
                    mel_masks: 1,
                    mel_mask_width: 12,
                    time_masks: 1,
                    time_mask_width: 24,
                    ..AugmentConfig::default()
                },
                max_clips: usize::MAX,
                validate: false,
                ..TrainConfig::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid_and_small() {
        for preset in [Preset::Quick, Preset::Good, Preset::Fitted] {
            preset.settings().validate().unwrap();
            let model = preset.model();
            assert!(model.n_parameters(10).unwrap() <= 2_000_000, "{preset:?}");
        }
    }
}
