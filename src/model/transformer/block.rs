//! One transformer block.

use tch::Tensor;
use tch::nn::{self, Init, Module, Path};

use super::layers::{layer_norm, linear};

/// The sizes of a block.
#[derive(Clone, Debug)]
pub(crate) struct BlockConfig {
    /// Numbers in a token.
    pub dim: i64,
    pub num_heads: i64,
    /// Width of the MLP.
    pub hidden: i64,
    /// Layer norm's epsilon.
    pub eps: f64,
    pub dropout: f64,
    /// How its matrices begin.
    pub ws_init: Init,
}

/// One pre-norm transformer block: attention, then an MLP, each added to the stream.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) norm1: nn::LayerNorm,
    pub(crate) attention: Attention,
    pub(super) norm2: nn::LayerNorm,
    pub(super) fc1: nn::Linear,
    pub(super) fc2: nn::Linear,
    /// Layer norm's epsilon.
    pub(super) eps: f64,
    dropout: f64,
    skipped: f64,
}

impl Block {
    /// A block that training leaves out for a clip with probability `skipped`.
    pub(crate) fn new(vs: Path, config: &BlockConfig, skipped: f64) -> Self {
        let &BlockConfig { dim, hidden, eps, ws_init, .. } = config;
        Block {
            norm1: layer_norm(&vs / "norm1", dim, eps),
            attention: Attention::new(&vs / "attention", config),
            norm2: layer_norm(&vs / "norm2", dim, eps),
            fc1: linear(&vs / "mlp" / "fc1", dim, hidden, ws_init),
            fc2: linear(&vs / "mlp" / "fc2", hidden, dim, ws_init),
            eps,
            dropout: config.dropout,
            skipped,
        }
    }

    /// Lets training leave the block out for a clip with another probability.
    pub(crate) fn skip(&mut self, probability: f64) {
        self.skipped = probability;
    }

    /// Tokens `(batch, n_tokens, embed_dim)` → the first `n_first` of them, `(batch, n_first, embed_dim)`: where nobody looks at the
    /// others, they need not be made.
    pub(crate) fn forward(&self, tokens: &Tensor, n_first: i64, train: bool) -> Tensor {
        let attended = self.attention.forward(&self.norm1.forward(tokens), n_first, train);
        let tokens = tokens.narrow(1, 0, n_first) + self.sometimes(attended, train);
        let hidden = self.norm2.forward(&tokens).apply(&self.fc1).gelu("none");
        let mlp = hidden.apply(&self.fc2).dropout(self.dropout, train);
        tokens + self.sometimes(mlp, train)
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

/// Multi-head self-attention, its query, key and value projections held as one matrix.
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) qkv: nn::Linear,
    pub(super) proj: nn::Linear,
    pub(crate) num_heads: i64,
    dropout: f64,
}

impl Attention {
    fn new(vs: Path, config: &BlockConfig) -> Self {
        let dim = config.dim;
        Attention {
            qkv: linear(&vs / "qkv", dim, 3 * dim, config.ws_init),
            proj: linear(&vs / "proj", dim, dim, config.ws_init),
            num_heads: config.num_heads,
            dropout: config.dropout,
        }
    }

    /// What the first `n_first` tokens take from all. No shape names the size of the batch: a trace of this would hold it for ever.
    fn forward(&self, tokens: &Tensor, n_first: i64, train: bool) -> Tensor {
        let (_, n_tokens, dim) = tokens.size3().unwrap_or_default();
        let parts = if n_first == n_tokens {
            tokens.apply(&self.qkv).split(dim, 2)
        } else {
            let mut parts = vec![self.project(&tokens.narrow(1, 0, n_first), 0, dim)];
            parts.extend(self.project(tokens, dim, 2 * dim).split(dim, 2));
            parts
        };
        let heads = |part: &Tensor, n: i64| part.view([-1, n, self.num_heads, dim / self.num_heads]).transpose(1, 2);
        let query = heads(&parts[0], n_first); // (B, heads, n_first, D / heads)
        let (key, value) = (heads(&parts[1], n_tokens), heads(&parts[2], n_tokens)); // (B, heads, T, D / heads)
        let dropout = if train { self.dropout } else { 0.0 };
        let mixed =
            Tensor::scaled_dot_product_attention::<Tensor>(&query, &key, &value, None, dropout, false, None, false);
        let mixed = mixed.transpose(1, 2).reshape([-1, n_first, dim]); // (B, n_first, D)
        mixed.apply(&self.proj).dropout(self.dropout, train)
    }

    /// Some of the rows of `qkv`: the first third are the query's, then come the key's and the value's.
    fn project(&self, tokens: &Tensor, row: i64, n_rows: i64) -> Tensor {
        let (weight, bias) = self.rows(row, n_rows);
        tokens.linear(&weight, bias.as_ref())
    }

    pub(super) fn rows(&self, row: i64, n_rows: i64) -> (Tensor, Option<Tensor>) {
        let bias = self.qkv.bs.as_ref().map(|bias| bias.narrow(0, row, n_rows));
        (self.qkv.ws.narrow(0, row, n_rows), bias)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::layers::{noise, weight_init};
    use super::*;

    #[test]
    fn some_tokens_are_the_same_whether_the_others_are_made_or_not() {
        let vs = nn::VarStore::new(Device::Cpu);
        let ws_init = weight_init();
        let config = BlockConfig { dim: 128, num_heads: 4, hidden: 256, eps: 1e-12, dropout: 0.0, ws_init };
        let block = Block::new(vs.root(), &config, 0.0);
        let tokens = noise(&[2, 5, 128]);
        let (all, first) = tch::no_grad(|| (block.forward(&tokens, 5, false), block.forward(&tokens, 1, false)));
        let difference = (all.narrow(1, 0, 1) - first).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{difference}");
    }
}
