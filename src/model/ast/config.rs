//! The sizes of an Audio Spectrogram Transformer.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What an AST's `config.json` says of its shape. What it does not say has the default, as in `ASTConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AstConfig {
    /// Numbers in a token.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Attention heads of a block.
    pub num_attention_heads: usize,
    /// Width of a block's MLP.
    pub intermediate_size: usize,
    /// The MLP's function; no other than `gelu` is known.
    pub hidden_act: String,
    /// Share of a token's numbers that training leaves out.
    pub hidden_dropout_prob: f64,
    /// Layer norm's epsilon.
    pub layer_norm_eps: f64,
    /// Side of a patch.
    pub patch_size: usize,
    /// Whether queries, keys and values have a bias; no other network is known.
    pub qkv_bias: bool,
    /// Bands from one patch to the next.
    pub frequency_stride: usize,
    /// Frames from one patch to the next.
    pub time_stride: usize,
    /// Frames heard at once.
    pub max_length: usize,
    /// Mel bands.
    pub num_mel_bins: usize,
}

impl Default for AstConfig {
    fn default() -> Self {
        AstConfig {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.0,
            layer_norm_eps: 1e-12,
            patch_size: 16,
            qkv_bias: true,
            frequency_stride: 10,
            time_stride: 10,
            max_length: 1024,
            num_mel_bins: 128,
        }
    }
}

impl AstConfig {
    /// Checks every size against its range.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let check = |holds: bool, field: &'static str, expected: &str, found: String| match holds {
            true => Ok(()),
            false => Err(Error::Config { field, expected: expected.into(), found }),
        };
        let of = |side: usize| (1..=4096).contains(&side);
        check(of(self.hidden_size), "hidden_size", "from 1 to 4096", self.hidden_size.to_string())?;
        let layers = (1..=256).contains(&self.num_hidden_layers);
        check(layers, "num_hidden_layers", "from 1 to 256", self.num_hidden_layers.to_string())?;
        let heads = self.num_attention_heads;
        let divides = (1..=self.hidden_size).contains(&heads) && self.hidden_size.is_multiple_of(heads);
        check(divides, "num_attention_heads", "a divisor of hidden_size", heads.to_string())?;
        let hidden = (1..=65_536).contains(&self.intermediate_size);
        check(hidden, "intermediate_size", "from 1 to 65536", self.intermediate_size.to_string())?;
        check(self.hidden_act == "gelu", "hidden_act", "gelu", self.hidden_act.clone())?;
        let dropout = (0.0..1.0).contains(&self.hidden_dropout_prob);
        check(dropout, "hidden_dropout_prob", "from 0 to below 1", self.hidden_dropout_prob.to_string())?;
        let eps = self.layer_norm_eps >= 0.0 && self.layer_norm_eps < 1.0;
        check(eps, "layer_norm_eps", "from 0 to below 1", self.layer_norm_eps.to_string())?;
        check(self.qkv_bias, "qkv_bias", "true", self.qkv_bias.to_string())?;
        check((1..=256).contains(&self.patch_size), "patch_size", "from 1 to 256", self.patch_size.to_string())?;
        check(of(self.frequency_stride), "frequency_stride", "from 1 to 4096", self.frequency_stride.to_string())?;
        check(of(self.time_stride), "time_stride", "from 1 to 4096", self.time_stride.to_string())?;
        let length = (self.patch_size..=100_000).contains(&self.max_length);
        check(length, "max_length", "from patch_size to 100000", self.max_length.to_string())?;
        let mels = (self.patch_size..=4096).contains(&self.num_mel_bins);
        check(mels, "num_mel_bins", "from patch_size to 4096", self.num_mel_bins.to_string())
    }

    /// Numbers in a network of so many classes; `None` when they cannot be counted.
    pub fn n_parameters(&self, num_classes: usize) -> Option<usize> {
        let (dim, hidden, (rows, columns)) = (self.hidden_size, self.intermediate_size, self.grid());
        let block = 4 * dim * dim + 2 * dim * hidden + 9 * dim + hidden;
        let ends = dim * (self.patch_size.pow(2) + 1 + 2 + 2 + rows * columns + 4);
        let head = (dim + 1).checked_mul(num_classes)?;
        block.checked_mul(self.num_hidden_layers)?.checked_add(ends)?.checked_add(head)
    }

    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        let patches = |length: usize, stride: usize| (length - self.patch_size) / stride + 1;
        (patches(self.num_mel_bins, self.frequency_stride), patches(self.max_length, self.time_stride))
    }
}
