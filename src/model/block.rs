//! One transformer block.

use tch::Tensor;
use tch::nn::{self, Module, ModuleT, Path};

use super::{layer_norm, linear};
use crate::config::TinyAstConfig;

/// One pre-norm transformer block: attention, then an MLP, each added to the stream.
#[derive(Debug)]
pub(super) struct Block {
    norm1: nn::LayerNorm,
    attention: Attention,
    norm2: nn::LayerNorm,
    fc1: nn::Linear,
    fc2: nn::Linear,
    dropout: f64,
    skipped: f64,
}

impl Block {
    /// A block that training leaves out for a clip with probability `skipped`.
    pub(super) fn new(vs: Path, config: &TinyAstConfig, skipped: f64) -> Self {
        let dim = config.embed_dim as i64;
        let hidden = dim * config.mlp_ratio as i64;
        Block {
            norm1: layer_norm(&vs / "norm1", dim),
            attention: Attention::new(&vs / "attention", config),
            norm2: layer_norm(&vs / "norm2", dim),
            fc1: linear(&vs / "mlp" / "fc1", dim, hidden),
            fc2: linear(&vs / "mlp" / "fc2", hidden, dim),
            dropout: config.dropout,
            skipped,
        }
    }

    /// Zero for some clips while training, and for the others as much more.
    fn sometimes(&self, branch: Tensor, train: bool) -> Tensor {
        if !train || self.skipped == 0.0 {
            return branch;
        }
        let kept = 1.0 - self.skipped;
        let mask = Tensor::empty([branch.size()[0], 1, 1], (branch.kind(), branch.device())).bernoulli_float_(kept);
        branch * (mask / kept)
    }
}

impl ModuleT for Block {
    fn forward_t(&self, tokens: &Tensor, train: bool) -> Tensor {
        let attended = self.attention.forward_t(&self.norm1.forward(tokens), train);
        let tokens = tokens + self.sometimes(attended, train);
        let hidden = self.norm2.forward(&tokens).apply(&self.fc1).gelu("none");
        let mlp = hidden.apply(&self.fc2).dropout(self.dropout, train);
        tokens + self.sometimes(mlp, train)
    }
}

/// Multi-head self-attention, its query, key and value projections held as one matrix.
#[derive(Debug)]
struct Attention {
    qkv: nn::Linear,
    proj: nn::Linear,
    num_heads: i64,
    dropout: f64,
}

impl Attention {
    fn new(vs: Path, config: &TinyAstConfig) -> Self {
        let dim = config.embed_dim as i64;
        Attention {
            qkv: linear(&vs / "qkv", dim, 3 * dim),
            proj: linear(&vs / "proj", dim, dim),
            num_heads: config.num_heads as i64,
            dropout: config.dropout,
        }
    }
}

impl ModuleT for Attention {
    fn forward_t(&self, tokens: &Tensor, train: bool) -> Tensor {
        let (batch, n_tokens, dim) = tokens.size3().unwrap_or_default();
        let parts = tokens.apply(&self.qkv).split(dim, 2);
        let heads = |part: &Tensor| part.view([batch, n_tokens, self.num_heads, dim / self.num_heads]).transpose(1, 2);
        let (query, key, value) = (heads(&parts[0]), heads(&parts[1]), heads(&parts[2])); // (B, heads, T, D / heads)
        let dropout = if train { self.dropout } else { 0.0 };
        let mixed =
            Tensor::scaled_dot_product_attention::<Tensor>(&query, &key, &value, None, dropout, false, None, false);
        let mixed = mixed.transpose(1, 2).reshape([batch, n_tokens, dim]); // (B, T, D)
        mixed.apply(&self.proj).dropout(self.dropout, train)
    }
}
