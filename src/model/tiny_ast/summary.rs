//! A network layer by layer, for people.

use std::fmt;

use tch::{Device, Tensor, nn};

use super::network::TinyAst;
use crate::config::{Pooling, Stem, TinyAstConfig, convolutions};
use crate::error::Result;

/// One line of a model summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// The layer as its parameters are named: `blocks.0.attention`.
    pub name: String,
    /// Shape of what it returns for a batch of one.
    pub output_shape: Vec<usize>,
    /// Trainable numbers in it.
    pub parameters: usize,
}

/// The layers of a TinyAST with their output shapes and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// From input to logits.
    pub layers: Vec<LayerSummary>,
    /// Trainable numbers in all.
    pub parameters: usize,
}

impl ModelSummary {
    /// Describes the network the config stands for.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] when the sizes do not fit together.
    pub fn new(config: &TinyAstConfig, num_classes: usize) -> Result<Self> {
        let vs = nn::VarStore::new(Device::Cpu);
        TinyAst::new(vs.root(), config, num_classes, 0)?;
        let mut variables = vs.variables();
        variables.retain(|_, variable| variable.requires_grad());
        let parameters_of = |prefix: &str| -> usize {
            let own = |name: &str| name == prefix || name.starts_with(&format!("{prefix}."));
            variables.iter().filter(|(name, _)| own(name)).map(|(_, tensor)| tensor.numel()).sum()
        };
        let (tokens, dim) = (config.n_tokens(), config.embed_dim);
        let (rows, columns) = config.token_grid();
        let mut layers = Vec::new();
        let mut add = |name: &str, output_shape: Vec<usize>, parameters: usize| {
            layers.push(LayerSummary { name: name.to_owned(), output_shape, parameters });
        };
        if let Stem::Convolutions { channels, first_stride, .. } = &config.stem {
            let (mut n_mels, mut n_frames) = config.input_size;
            for (i, layer) in convolutions(channels, *first_stride).into_iter().enumerate() {
                (n_mels, n_frames) = (n_mels.div_ceil(layer.stride.0), n_frames.div_ceil(layer.stride.1));
                let name = format!("stem.{i}");
                add(&name, vec![1, layer.to, n_mels, n_frames], parameters_of(&name));
            }
        }
        add("patch_embed", vec![1, rows * columns, dim], parameters_of("patch_embed"));
        let positions = if config.pooling == Pooling::ClassToken { "cls_token + pos_embed" } else { "pos_embed" };
        add(positions, vec![1, tokens, dim], parameters_of("cls_token") + parameters_of("pos_embed"));
        for block in 0..config.depth {
            for part in ["norm1", "attention", "norm2", "mlp"] {
                let name = format!("blocks.{block}.{part}");
                add(&name, vec![1, tokens, dim], parameters_of(&name));
            }
        }
        add("norm + pooling", vec![1, dim], parameters_of("norm") + parameters_of("token_score"));
        add("head", vec![1, num_classes], parameters_of("head"));
        Ok(ModelSummary { layers, parameters: variables.values().map(Tensor::numel).sum() })
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>16} {:>12}", "layer", "output shape", "parameters")?;
        for layer in &self.layers {
            writeln!(f, "{:<24} {:>16} {:>12}", layer.name, format!("{:?}", layer.output_shape), layer.parameters)?;
        }
        write!(f, "{:<24} {:>16} {:>12}", "total", "", self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn the_default_has_the_parameters_of_a_vit_of_its_size() {
        // 50 classes: patch 8·8·128 + 128, class token 128, positions 65·128, 4 blocks of 132,480, norm 256, head 6,450.
        let summary = ModelSummary::new(&TinyAstConfig::default(), 50).unwrap();
        assert_eq!(summary.parameters, 8_320 + 128 + 8_320 + 4 * 132_480 + 256 + 6_450);
    }

    #[test]
    fn the_layers_add_up_to_the_whole() {
        for preset in [Preset::Quick, Preset::Good] {
            let summary = ModelSummary::new(&preset.model(), 50).unwrap();
            assert_eq!(summary.layers.iter().map(|layer| layer.parameters).sum::<usize>(), summary.parameters);
        }
    }
}
