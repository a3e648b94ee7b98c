//! Where the network listens, by attention rollout.

use tch::Tensor;
use tch::nn::Module;

use super::network::TinyAst;
use crate::model::transformer::{flow, shares};

impl TinyAst {
    /// How much of each place of the input goes into the prediction, by attention rollout: `(batch, 1, n_mels, n_frames)` →
    /// `(batch, rows, columns)` on [`token_grid`](crate::config::TinyAstConfig::token_grid), low bands first. The shares of
    /// an input add up to 1.
    ///
    /// The pooling decides whose attention counts: the class token's, every token's alike, or each token's by its weight.
    pub fn listened_to(&self, inputs: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let (tokens, rollout) = flow(&self.blocks, self.tokens(inputs, false));
            let pooled = self.pooling_weights(&self.norm.forward(&tokens)); // (B, 1, T)
            let shares = shares(&pooled, &rollout, i64::from(self.cls_token.is_some()));
            let (rows, columns) = self.config.token_grid();
            shares.view([-1, rows as i64, columns as i64])
        })
    }

    /// How much each of the last tokens `(batch, n_tokens, embed_dim)` counts in the pooled one: `(batch, 1, n_tokens)`.
    fn pooling_weights(&self, tokens: &Tensor) -> Tensor {
        let n_tokens = tokens.size()[1];
        let ones = tokens.select(2, 0).ones_like(); // (B, T)
        let weights = match &self.token_score {
            Some(score) => tokens.apply(score).squeeze_dim(2).softmax(1, None),
            None if self.cls_token.is_some() => {
                let _ = ones.narrow(1, 1, n_tokens - 1).zero_();
                ones
            }
            None => ones / n_tokens as f64,
        };
        weights.unsqueeze(1)
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, ModuleT};
    use tch::{Device, IndexOp, Kind};

    use super::*;
    use crate::config::{Pooling, Preset, Stem, TinyAstConfig};
    use crate::model::transformer::noise;

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        assert_eq!(a.size(), b.size());
        (a - b).abs().max().double_value(&[])
    }

    /// Freshly initialised attention is all but even; larger weights make it choose.
    fn sharpened(config: &TinyAstConfig) -> (nn::VarStore, TinyAst) {
        let vs = nn::VarStore::new(Device::Cpu);
        let model = TinyAst::new(vs.root(), config, 10, 3).unwrap();
        tch::no_grad(|| {
            for (name, mut variable) in vs.variables() {
                if name.ends_with("qkv.weight") || name.ends_with("token_score.weight") {
                    let _ = variable.g_mul_scalar_(8.0);
                }
            }
        });
        (vs, model)
    }

    fn architectures() -> Vec<TinyAstConfig> {
        let small = TinyAstConfig { depth: 2, ..Default::default() };
        vec![
            TinyAstConfig { depth: 2, ..Preset::Good.model() },
            TinyAstConfig { pooling: Pooling::Attention, stem: Stem::patches(16), ..small.clone() },
            small,
        ]
    }

    fn inputs(config: &TinyAstConfig) -> Tensor {
        noise(&[2, 1, config.input_size.0 as i64, config.input_size.1 as i64])
    }

    #[test]
    fn attention_rows_add_up_to_one_and_are_not_even() {
        let (_vs, model) = sharpened(&TinyAstConfig::default());
        let tokens = tch::no_grad(|| model.tokens(&inputs(model.config()), false));
        let weights = tch::no_grad(|| model.blocks[0].attention.weights(&model.blocks[0].norm1.forward(&tokens)));
        assert_eq!(weights.size(), [2, 4, 65, 65]);
        let sums = weights.sum_dim_intlist(-1i64, false, Kind::Float);
        assert!(difference(&sums, &sums.ones_like()) < 1e-5);
        assert!(weights.max().double_value(&[]) > 2.0 / 65.0);
    }

    #[test]
    fn a_block_computed_with_these_weights_is_the_block() {
        let (vs, model) = sharpened(&TinyAstConfig::default());
        let block = &model.blocks[1];
        let variables = vs.variables();
        let linear = |tokens: &Tensor, name: &str| {
            let [weight, bias] = ["weight", "bias"].map(|part| &variables[&format!("blocks.1.{name}.{part}")]);
            tokens.linear(weight, Some(bias))
        };
        tch::no_grad(|| {
            let tokens = model.tokens(&inputs(model.config()), false);
            let normed = block.norm1.forward(&tokens);
            let value = linear(&normed, "attention.qkv").narrow(2, 256, 128).view([2, 65, 4, 32]).transpose(1, 2);
            let mixed = block.attention.weights(&normed).matmul(&value).transpose(1, 2).reshape([2, 65, 128]);
            let attended = &tokens + linear(&mixed, "attention.proj");
            let norm2 = ["weight", "bias"].map(|part| &variables[&format!("blocks.1.norm2.{part}")]);
            let normed = attended.layer_norm([128], Some(norm2[0]), Some(norm2[1]), 1e-12, false);
            let expected = &attended + linear(&linear(&normed, "mlp.fc1").gelu("none"), "mlp.fc2");
            assert!(difference(&block.forward(&tokens, 65, false), &expected) < 1e-5);
        });
    }

    #[test]
    fn shares_lie_on_the_token_grid_and_add_up_to_one() {
        for config in architectures() {
            let (_vs, model) = sharpened(&config);
            let shares = model.listened_to(&inputs(&config));
            let (rows, columns) = config.token_grid();
            assert_eq!(shares.size(), [2, rows as i64, columns as i64]);
            assert!(shares.min().double_value(&[]) >= 0.0);
            let sums = shares.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
            assert!(difference(&sums, &sums.ones_like()) < 1e-5, "{config:?}");
        }
    }

    #[test]
    fn the_pooled_token_is_the_tokens_by_their_pooling_weights() {
        for config in architectures() {
            let (_vs, model) = sharpened(&config);
            tch::no_grad(|| {
                let mut tokens = model.tokens(&inputs(&config), false);
                for block in &model.blocks {
                    tokens = block.forward(&tokens, tokens.size()[1], false);
                }
                let tokens = model.norm.forward(&tokens);
                let weighted = model.pooling_weights(&tokens).matmul(&tokens).squeeze_dim(1);
                assert!(difference(&weighted, &model.embed(&inputs(&config), false)) < 1e-5, "{config:?}");
                assert!(difference(&weighted.apply(&model.head), &model.forward_t(&inputs(&config), false)) < 1e-4);
            });
        }
    }

    #[test]
    fn a_class_token_that_attends_to_one_patch_listens_to_its_place() {
        let config = TinyAstConfig { depth: 1, num_heads: 1, ..Default::default() };
        let (vs, model) = sharpened(&config);
        let mut variables = vs.variables();
        // Patches are silent, so a token is its position: the class token asks along the axis on which patch 19 alone answers.
        tch::no_grad(|| {
            for name in ["cls_token", "pos_embed", "blocks.0.attention.qkv.weight", "blocks.0.attention.qkv.bias"] {
                let _ = variables.get_mut(name).unwrap().zero_();
            }
            let positions = &variables["pos_embed"];
            let _ = positions.i((0, 0, 0)).fill_(1.0);
            let _ = positions.i((0, 1 + 19, 1)).fill_(1.0);
            let qkv = &variables["blocks.0.attention.qkv.weight"];
            let _ = qkv.i((0, 0)).fill_(10.0);
            let _ = qkv.i((128, 1)).fill_(10.0);
        });
        let shares = model.listened_to(&Tensor::zeros([1, 1, 64, 64], (Kind::Float, Device::Cpu)));
        assert!(shares.double_value(&[0, 2, 3]) > 0.9, "row 2, column 3 of 8 × 8 is patch 19: {shares}");
    }
}
