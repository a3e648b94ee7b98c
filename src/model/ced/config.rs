//! The sizes of a CED.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the tokens become probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CedPooling {
    /// The mean of the tokens; the network's output is the sigmoid of the logits.
    #[default]
    Mean,
    /// The mean of the tokens; the network's output is the logits.
    Logit,
}

/// What a CED's `config.json` says of its shape. What it does not say has the default, as in `CedConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CedConfig {
    /// A published size: `ced-tiny`, `ced-mini`, `ced-small` or `ced-base`. Its width and heads hold, whatever else is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Numbers in a token.
    pub embed_dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads of a block.
    pub num_heads: usize,
    /// Width of a block's MLP over that of a token.
    pub mlp_ratio: f64,
    /// Whether queries, keys and values have a bias; no other network is known.
    pub qkv_bias: bool,
    /// Classes.
    pub outputdim: usize,
    /// How tokens become probabilities.
    pub pooling: CedPooling,
    /// Side of a patch.
    pub patch_size: usize,
    /// Steps from one patch to the next.
    pub patch_stride: usize,
    /// Frames heard at once; what is longer is heard piece by piece.
    pub target_length: usize,
    /// Mel bands.
    pub n_mels: usize,
    /// Whether the last piece is filled up with zeros; no other network is known.
    pub pad_last: bool,
    /// How often training leaves out the last block; those before it less often, in proportion.
    pub drop_path_rate: f64,
}

impl Default for CedConfig {
    fn default() -> Self {
        CedConfig {
            name: None,
            embed_dim: 768,
            depth: 12,
            num_heads: 12,
            mlp_ratio: 4.0,
            qkv_bias: true,
            outputdim: 527,
            pooling: CedPooling::Mean,
            patch_size: 16,
            patch_stride: 16,
            target_length: 1012,
            n_mels: 64,
            pad_last: true,
            drop_path_rate: 0.0,
        }
    }
}

impl CedConfig {
    /// The config with the width and heads of its name, where it has a published one.
    pub fn named(mut self) -> Self {
        let sizes = match self.name.as_deref() {
            Some("ced-tiny") => Some((192, 3)),
            Some("ced-mini") => Some((256, 4)),
            Some("ced-small") => Some((384, 6)),
            Some("ced-base") => Some((768, 12)),
            _ => None,
        };
        (self.embed_dim, self.num_heads) = sizes.unwrap_or((self.embed_dim, self.num_heads));
        self
    }

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
        check(of(self.embed_dim), "embed_dim", "from 1 to 4096", self.embed_dim.to_string())?;
        check((1..=256).contains(&self.depth), "depth", "from 1 to 256", self.depth.to_string())?;
        let heads = (1..=self.embed_dim).contains(&self.num_heads) && self.embed_dim.is_multiple_of(self.num_heads);
        check(heads, "num_heads", "a divisor of embed_dim", self.num_heads.to_string())?;
        let ratio = self.mlp_ratio >= 1.0 / self.embed_dim as f64 && self.mlp_ratio <= 64.0;
        check(ratio, "mlp_ratio", "above 0, up to 64", self.mlp_ratio.to_string())?;
        check(self.qkv_bias, "qkv_bias", "true, as in every published CED", self.qkv_bias.to_string())?;
        check((1..=1_000_000).contains(&self.outputdim), "outputdim", "from 1 to 1000000", self.outputdim.to_string())?;
        check((1..=256).contains(&self.patch_size), "patch_size", "from 1 to 256", self.patch_size.to_string())?;
        let beside = self.patch_stride == self.patch_size;
        check(beside, "patch_stride", "patch_size, as in every published CED", self.patch_stride.to_string())?;
        let length = (self.patch_size..=100_000).contains(&self.target_length);
        check(length, "target_length", "from patch_size to 100000", self.target_length.to_string())?;
        let mels = (self.patch_size..=4096).contains(&self.n_mels);
        check(mels, "n_mels", "from patch_size to 4096", self.n_mels.to_string())?;
        check(self.pad_last, "pad_last", "true, as in every published CED", self.pad_last.to_string())?;
        let dropped = (0.0..1.0).contains(&self.drop_path_rate);
        check(dropped, "drop_path_rate", "from 0 to below 1", self.drop_path_rate.to_string())
    }

    /// Numbers in the network; `None` when they cannot be counted.
    pub fn n_parameters(&self) -> Option<usize> {
        let (dim, (rows, columns)) = (self.embed_dim, self.grid());
        let hidden = (dim as f64 * self.mlp_ratio) as usize;
        let block = 4 * dim * dim + 2 * dim * hidden + 9 * dim + hidden;
        let ends = 4 * self.n_mels + dim * (self.patch_size.pow(2) + 1 + rows + columns + 4);
        let head = (dim + 1).checked_mul(self.outputdim)?;
        block.checked_mul(self.depth)?.checked_add(ends)?.checked_add(head)
    }

    /// Rows and columns of the positions: patches of [`CedConfig::target_length`] frames.
    pub fn grid(&self) -> (usize, usize) {
        (self.n_mels / self.patch_stride, self.target_length / self.patch_stride)
    }
}
