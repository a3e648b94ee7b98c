//! Where a network listens: attention rollout (Abnar and Zuidema 2020, "Quantifying attention flow in transformers",
//! <https://arxiv.org/abs/2005.00928>).
//!
//! Training and inference use libtorch's fused attention, which keeps its weights to itself. Here they are computed one by one.

use tch::nn::Module;
use tch::{Kind, Tensor};

use super::block::{Attention, Block};

impl Attention {
    /// How much each token takes from each, softmax(Q Kᵀ / √d): `(batch, n_tokens, embed_dim)` →
    /// `(batch, num_heads, n_tokens, n_tokens)`, every row of which adds up to 1.
    pub(crate) fn weights(&self, tokens: &Tensor) -> Tensor {
        let (_, n_tokens, dim) = tokens.size3().unwrap_or_default();
        let head_dim = dim / self.num_heads;
        let parts = tokens.apply(&self.qkv).split(dim, 2);
        let heads = |part: &Tensor| part.view([-1, n_tokens, self.num_heads, head_dim]).transpose(1, 2);
        let (query, key) = (heads(&parts[0]), heads(&parts[1])); // (B, heads, T, D / heads)
        (query.matmul(&key.transpose(2, 3)) / (head_dim as f64).sqrt()).softmax(-1, Kind::Float)
    }
}

impl Block {
    /// The attention of the block to the tokens it gets, as the mean over heads: `(batch, n_tokens, n_tokens)`.
    fn attention_weights(&self, tokens: &Tensor) -> Tensor {
        self.attention.weights(&self.norm1.forward(tokens)).mean_dim(1i64, false, Kind::Float)
    }
}

/// Tokens `(batch, n_tokens, embed_dim)` through blocks: the last tokens, and how much of each first one is in each of them by
/// attention rollout, `(batch, n_tokens, n_tokens)`.
pub(crate) fn flow(blocks: &[Block], mut tokens: Tensor) -> (Tensor, Tensor) {
    let n_tokens = tokens.size()[1];
    let mut attention = Vec::with_capacity(blocks.len());
    for block in blocks {
        attention.push(block.attention_weights(&tokens));
        tokens = block.forward(&tokens, n_tokens, false);
    }
    (tokens, rollout(&attention))
}

/// How much of each place went into the pooled token: `pooled` `(batch, 1, n_tokens)` says how much of each last token did. The first
/// `n_own` tokens are no places of the input; the shares of the others `(batch, n_tokens − n_own)` add up to 1.
pub(crate) fn shares(pooled: &Tensor, rollout: &Tensor, n_own: i64) -> Tensor {
    let shares = pooled.matmul(rollout).squeeze_dim(1); // (B, T)
    let shares = shares.narrow(1, n_own, shares.size()[1] - n_own);
    &shares / shares.sum_dim_intlist(1i64, true, Kind::Float)
}

/// Attention `(batch, n_tokens, n_tokens)` of the blocks from first to last → how much of each first token is in each last one,
/// of the same shape, every row of which adds up to 1.
///
/// A block adds what it attends to to what was there, so half of each token counts as its own: A ↦ (A + I) / 2. Then the blocks'
/// matrices are multiplied. The MLPs and the values' sizes are left out; that is the method's approximation.
fn rollout(attention: &[Tensor]) -> Tensor {
    let mut blocks = attention.iter().map(|weights| {
        let identity = Tensor::eye(weights.size()[1], (Kind::Float, weights.device()));
        let mixed = weights + identity;
        &mixed / mixed.sum_dim_intlist(2i64, true, Kind::Float)
    });
    let Some(first) = blocks.next() else { return Tensor::zeros([0, 0, 0], (Kind::Float, tch::Device::Cpu)) };
    blocks.fold(first, |below, block| block.matmul(&below))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        assert_eq!(a.size(), b.size());
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn two_blocks_over_two_tokens_agree_with_a_rollout_by_hand() {
        let first = Tensor::from_slice(&[1f32, 0.0, 0.5, 0.5]).view([1, 2, 2]);
        let second = Tensor::from_slice(&[0f32, 1.0, 0.0, 1.0]).view([1, 2, 2]);
        // (A + I) / 2 is [1 0; ¼ ¾] and [½ ½; 0 1]; the second times the first:
        let expected = Tensor::from_slice(&[0.625f32, 0.375, 0.25, 0.75]).view([1, 2, 2]);
        assert!(difference(&rollout(&[first, second]), &expected) < 1e-7);
    }

    #[test]
    fn tokens_that_attend_to_themselves_alone_are_listened_to_alike() {
        let identity = Tensor::eye(4, (Kind::Float, Device::Cpu)).unsqueeze(0);
        let same = rollout(&[identity.copy(), identity.copy(), identity.copy()]);
        assert!(difference(&same, &identity) < 1e-7);
    }
}
