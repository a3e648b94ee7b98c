//! TinyAST's architecture.

use serde::{Deserialize, Serialize};

use super::check::check;
use crate::error::Result;

/// TinyAST's architecture: a Vision Transformer over patches, or over the feature map of a few convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TinyAstConfig {
    /// What the network sees at once: `(n_mels, n_frames)`.
    pub input_size: (usize, usize),
    /// How a clip of any length becomes inputs of that size.
    pub view: View,
    /// How an input becomes tokens.
    pub stem: Stem,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub num_heads: usize,
    /// Width of a block's MLP over `embed_dim`.
    pub mlp_ratio: usize,
    /// Dropout after the embedding, the attention and the MLP, 0 to 0.9.
    pub dropout: f64,
    /// Stochastic depth: how often the last block is skipped for a clip while training, 0 to 0.9; earlier blocks
    /// proportionally less (Huang et al. 2016).
    pub stochastic_depth: f64,
    /// How the tokens become one prediction.
    pub pooling: Pooling,
    /// Number of classes; `None` takes the data set's.
    pub num_classes: Option<usize>,
}

/// How a clip of any length becomes inputs of the network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// The whole clip, resized to the input.
    Whole,
    /// Windows as long as the input, spread over the sounding part of the clip; their predictions are averaged. While training,
    /// one window at a random place.
    Windows {
        /// Windows averaged for a prediction, 1 to 64.
        n_views: usize,
    },
}

/// How an input becomes tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stem {
    /// Square patches, each projected to a token (Dosovitskiy et al. 2021); they overlap when `stride < patch_size`.
    Patches {
        /// Side of a patch.
        patch_size: usize,
        /// From one patch to the next, at most `patch_size`.
        stride: usize,
    },
    /// Convolutions with batch norm and GELU (Xiao et al. 2021, "Early convolutions help transformers see better"). The first steps by
    /// `first_stride`, its kernel twice that less one; every later stage halves both sides with a 3 × 3 convolution and ends in a
    /// second one at its own size. Then `pool` neighbouring cells of the map become one token.
    Convolutions {
        /// Channels of the stages, one to five.
        channels: Vec<usize>,
        /// Rows (mel bands) and columns (frames) that the first convolution steps by.
        first_stride: (usize, usize),
        /// Rows and columns of the last map joined into a token.
        pool: (usize, usize),
    },
}

/// How the tokens become one prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pooling {
    /// A token of its own collects it (ViT).
    ClassToken,
    /// The mean of all tokens.
    Mean,
    /// A mean weighted by a learned score of each token.
    Attention,
}

impl Default for TinyAstConfig {
    /// The quick preset.
    fn default() -> Self {
        TinyAstConfig {
            input_size: (64, 64),
            view: View::Whole,
            stem: Stem::patches(8),
            embed_dim: 128,
            depth: 4,
            num_heads: 4,
            mlp_ratio: 2,
            dropout: 0.0,
            stochastic_depth: 0.0,
            pooling: Pooling::ClassToken,
            num_classes: None,
        }
    }
}

impl Stem {
    /// Patches side by side.
    pub fn patches(patch_size: usize) -> Self {
        Stem::Patches { patch_size, stride: patch_size }
    }
}

impl TinyAstConfig {
    /// Checks every setting against its range and against the others.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] with the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        let (n_mels, n_frames) = self.input_size;
        let sides = 8..=4096;
        let input_fits = sides.contains(&n_mels) && sides.contains(&n_frames);
        check("model.input_size", input_fits, "8 to 4096 each", format_args!("({n_mels}, {n_frames})"))?;
        if let View::Windows { n_views } = self.view {
            check("model.view.n_views", (1..=64).contains(&n_views), "1 to 64", n_views)?;
        }
        self.validate_stem()?;
        check("model.embed_dim", (1..=4096).contains(&self.embed_dim), "1 to 4096", self.embed_dim)?;
        check("model.depth", (1..=64).contains(&self.depth), "1 to 64", self.depth)?;
        let heads_fit = self.num_heads > 0 && self.embed_dim.is_multiple_of(self.num_heads);
        let divisor = format!("a divisor of embed_dim ({})", self.embed_dim);
        check("model.num_heads", heads_fit, &divisor, self.num_heads)?;
        check("model.mlp_ratio", (1..=16).contains(&self.mlp_ratio), "1 to 16", self.mlp_ratio)?;
        check("model.dropout", (0.0..=0.9).contains(&self.dropout), "0 to 0.9", self.dropout)?;
        let depth_fits = (0.0..=0.9).contains(&self.stochastic_depth);
        check("model.stochastic_depth", depth_fits, "0 to 0.9", self.stochastic_depth)?;
        let classes_fit = self.num_classes.is_none_or(|n| (1..=100_000).contains(&n));
        check("model.num_classes", classes_fit, "1 to 100000, or None", self.num_classes.unwrap_or(0))
    }

    fn validate_stem(&self) -> Result<()> {
        let (n_mels, n_frames) = self.input_size;
        match &self.stem {
            Stem::Patches { patch_size, stride } => {
                let expected = format!("1 to the shorter side of input_size ({})", n_mels.min(n_frames));
                let patch_fits = (1..=n_mels.min(n_frames)).contains(patch_size);
                check("model.stem.patch_size", patch_fits, &expected, patch_size)?;
                let expected = format!("1 to patch_size ({patch_size})");
                check("model.stem.stride", (1..=*patch_size).contains(stride), &expected, stride)?;
                // What no patch covers would be lost.
                let covered = [n_mels, n_frames].iter().all(|side| (side - patch_size).is_multiple_of(*stride));
                let expected =
                    format!("a stride that ends patches of {patch_size} with the input ({n_mels}, {n_frames})");
                check("model.stem.stride", covered, &expected, stride)
            }
            Stem::Convolutions { channels, first_stride, pool } => {
                let sizes_fit = (1..=5).contains(&channels.len()) && channels.iter().all(|n| (1..=2048).contains(n));
                check(
                    "model.stem.channels",
                    sizes_fit,
                    "one to five numbers of 1 to 2048",
                    format_args!("{channels:?}"),
                )?;
                let steps_fit = [first_stride.0, first_stride.1].iter().all(|side| (1..=16).contains(side));
                check("model.stem.first_stride", steps_fit, "1 to 16 each", format_args!("{first_stride:?}"))?;
                let map = last_map(self.input_size, channels, *first_stride);
                let pool_fits =
                    pool.0 > 0 && pool.1 > 0 && map.0.is_multiple_of(pool.0) && map.1.is_multiple_of(pool.1);
                check(
                    "model.stem.pool",
                    pool_fits,
                    &format!("divisors of the map's sides {map:?}"),
                    format_args!("{pool:?}"),
                )
            }
        }
    }

    /// Rows and columns of the map of tokens: mel bands × time.
    pub fn token_grid(&self) -> (usize, usize) {
        let (n_mels, n_frames) = self.input_size;
        match &self.stem {
            Stem::Patches { patch_size, stride } => {
                let along = |side: usize| (side.saturating_sub(*patch_size)) / stride + 1;
                (along(n_mels), along(n_frames))
            }
            Stem::Convolutions { channels, first_stride, pool } => {
                let (rows, columns) = last_map(self.input_size, channels, *first_stride);
                (rows / pool.0, columns / pool.1)
            }
        }
    }

    /// Frames of the window that training cuts from a clip; `None` where the network takes the clip whole.
    pub fn window(&self) -> Option<usize> {
        match self.view {
            View::Whole => None,
            View::Windows { .. } => Some(self.input_size.1),
        }
    }

    /// How many inputs a clip becomes when it is judged.
    pub fn n_views(&self) -> usize {
        match self.view {
            View::Whole => 1,
            View::Windows { n_views } => n_views,
        }
    }

    /// The convolutions before the tokens, in their order.
    pub(crate) fn convolutions(&self) -> Vec<Convolution> {
        match &self.stem {
            Stem::Patches { .. } => Vec::new(),
            Stem::Convolutions { channels, first_stride, .. } => convolutions(channels, *first_stride),
        }
    }

    /// The convolution that makes tokens, of patches or of the last map.
    pub(crate) fn projection(&self) -> Convolution {
        let (from, kernel, stride) = match &self.stem {
            Stem::Patches { patch_size, stride } => (1, (*patch_size, *patch_size), (*stride, *stride)),
            Stem::Convolutions { channels, pool, .. } => (channels.last().copied().unwrap_or(1), *pool, *pool),
        };
        Convolution { from, to: self.embed_dim, kernel, stride }
    }

    /// Tokens in a sequence, a class token included.
    pub fn n_tokens(&self) -> usize {
        let (rows, columns) = self.token_grid();
        rows * columns + usize::from(self.pooling == Pooling::ClassToken)
    }

    /// How many trainable numbers this architecture has, or `None` when the number overflows.
    pub fn n_parameters(&self, num_classes: usize) -> Option<usize> {
        let dim = self.embed_dim;
        let linear = |from: usize, to: usize| from.checked_mul(to)?.checked_add(to);
        let taps = |layer: &Convolution| layer.kernel.0.checked_mul(layer.kernel.1)?.checked_mul(layer.from);
        let mut parts = Vec::new();
        for layer in self.convolutions() {
            parts.push(taps(&layer)?.checked_mul(layer.to)?.checked_add(2 * layer.to)?);
        }
        parts.push(linear(taps(&self.projection())?, dim)?);
        parts.push(self.n_tokens().checked_mul(dim)?);
        match self.pooling {
            Pooling::ClassToken => parts.push(dim),
            Pooling::Mean => (),
            Pooling::Attention => parts.push(linear(dim, 1)?),
        }
        let hidden = dim.checked_mul(self.mlp_ratio)?;
        let norms = dim.checked_mul(4)?;
        let block =
            [linear(dim, dim.checked_mul(3)?)?, linear(dim, dim)?, linear(dim, hidden)?, linear(hidden, dim)?, norms];
        let block = block.iter().try_fold(0usize, |sum, part| sum.checked_add(*part))?;
        parts.extend([block.checked_mul(self.depth)?, dim.checked_mul(2)?, linear(dim, num_classes)?]);
        parts.iter().try_fold(0usize, |sum, part| sum.checked_add(*part))
    }

    /// How many numbers a file of its weights holds: the trainable ones, and the running statistics of batch norms.
    pub fn n_stored(&self, num_classes: usize) -> Option<usize> {
        let statistics = self.convolutions().iter().map(|layer| 2 * layer.to).sum();
        self.n_parameters(num_classes)?.checked_add(statistics)
    }
}

/// One convolution of a stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Convolution {
    pub from: usize,
    pub to: usize,
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
}

/// The convolutions of a stem in their order.
pub(crate) fn convolutions(channels: &[usize], first_stride: (usize, usize)) -> Vec<Convolution> {
    let mut all: Vec<Convolution> = Vec::new();
    for &to in channels {
        match all.last() {
            None => {
                let kernel = (2 * first_stride.0 - 1, 2 * first_stride.1 - 1);
                all.push(Convolution { from: 1, to, kernel, stride: first_stride });
            }
            Some(last) => {
                let halving = Convolution { from: last.to, to, kernel: (3, 3), stride: (2, 2) };
                all.extend([halving, Convolution { from: to, stride: (1, 1), ..halving }]);
            }
        }
    }
    all
}

/// Rows and columns after all convolutions of a stem, each of which is padded and rounds up.
fn last_map(input_size: (usize, usize), channels: &[usize], first_stride: (usize, usize)) -> (usize, usize) {
    let strides = convolutions(channels, first_stride).into_iter().map(|layer| layer.stride);
    strides.fold(input_size, |map, stride| (map.0.div_ceil(stride.0), map.1.div_ceil(stride.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_that_does_not_fit_its_input_is_named() {
        let message = |stem: Stem| TinyAstConfig { stem, ..Default::default() }.validate().unwrap_err().to_string();
        assert!(message(Stem::patches(7)).contains("model.stem.stride"), "{}", message(Stem::patches(7)));
        assert!(message(Stem::patches(65)).contains("1 to the shorter side of input_size (64), found 65"));
        assert!(message(Stem::Patches { patch_size: 8, stride: 9 }).contains("1 to patch_size (8), found 9"));
        let wide = Stem::Convolutions { channels: vec![8, 8, 8], first_stride: (2, 2), pool: (3, 1) };
        assert!(message(wide).contains("divisors of the map's sides (8, 8), found (3, 1)"));
        assert!(
            message(Stem::Convolutions { channels: vec![], first_stride: (2, 2), pool: (1, 1) })
                .contains("model.stem.channels")
        );
    }

    #[test]
    fn overlapping_patches_and_convolutions_tell_their_tokens() {
        let tokens = |stem: Stem| TinyAstConfig { stem, pooling: Pooling::Mean, ..Default::default() }.n_tokens();
        assert_eq!(tokens(Stem::patches(8)), 64);
        assert_eq!(tokens(Stem::Patches { patch_size: 16, stride: 8 }), 49);
        assert_eq!(tokens(Stem::Convolutions { channels: vec![8, 16, 32], first_stride: (2, 4), pool: (2, 1) }), 16);
    }
}
