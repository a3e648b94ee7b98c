//! The network: stem, tokens, transformer blocks, one pooled token, logits.

use tch::nn::{self, Module, ModuleT, Path};
use tch::{Kind, Tensor};

use super::stem::StemLayers;
use crate::config::{Pooling, TinyAstConfig};
use crate::error::Result;
use crate::model::seed::with_seed;
use crate::model::transformer::{Block, BlockConfig, layer_norm, linear, weight_init};

/// Layer norm's epsilon, as in Hugging Face's `ViTConfig`.
pub(crate) const LAYER_NORM_EPS: f64 = 1e-12;

/// The classifier: stem → tokens → transformer blocks → one pooled token → logits.
#[derive(Debug)]
pub struct TinyAst {
    pub(super) config: TinyAstConfig,
    pub(super) stem: StemLayers,
    pub(super) cls_token: Option<Tensor>,
    pub(super) pos_embed: Tensor,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: nn::LayerNorm,
    pub(super) token_score: Option<nn::Linear>,
    pub(super) head: nn::Linear,
}

impl TinyAst {
    /// Builds the network under `vs` with the fresh weights of a seed.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] when the sizes do not fit together.
    pub fn new(vs: Path, config: &TinyAstConfig, num_classes: usize, seed: u64) -> Result<Self> {
        config.validate()?;
        Ok(with_seed(seed, || Self::build(&vs, config, num_classes as i64)))
    }

    fn build(vs: &Path, config: &TinyAstConfig, num_classes: i64) -> Self {
        let dim = config.embed_dim as i64;
        let stem = StemLayers::new(vs, config);
        let class_token = config.pooling == Pooling::ClassToken;
        let last = config.depth.saturating_sub(1).max(1) as f64;
        let skipped = |i: usize| config.stochastic_depth * i as f64 / last;
        let blocks = BlockConfig {
            dim,
            num_heads: config.num_heads as i64,
            hidden: dim * config.mlp_ratio as i64,
            eps: LAYER_NORM_EPS,
            dropout: config.dropout,
            ws_init: weight_init(),
        };
        TinyAst {
            config: config.clone(),
            stem,
            cls_token: class_token.then(|| vs.var("cls_token", &[1, 1, dim], weight_init())),
            pos_embed: vs.var("pos_embed", &[1, config.n_tokens() as i64, dim], weight_init()),
            blocks: (0..config.depth).map(|i| Block::new(vs / "blocks" / i, &blocks, skipped(i))).collect(),
            norm: layer_norm(vs / "norm", dim, LAYER_NORM_EPS),
            token_score: (config.pooling == Pooling::Attention)
                .then(|| linear(vs / "token_score", dim, 1, weight_init())),
            head: linear(vs / "head", dim, num_classes, weight_init()),
        }
    }

    /// The architecture.
    pub fn config(&self) -> &TinyAstConfig {
        &self.config
    }

    /// Tokens `(batch, n_tokens, embed_dim)` → one per clip `(batch, embed_dim)`.
    pub(super) fn pool(&self, tokens: &Tensor) -> Tensor {
        match &self.token_score {
            Some(score) => (tokens * tokens.apply(score).softmax(1, None)).sum_dim_intlist(1i64, false, None),
            None if self.cls_token.is_some() => tokens.select(1, 0),
            None => tokens.mean_dim(1i64, false, None),
        }
    }
}

impl TinyAst {
    /// `(batch, 1, n_mels, n_frames)` → what the blocks take, `(batch, n_tokens, embed_dim)`.
    pub(super) fn tokens(&self, inputs: &Tensor, train: bool) -> Tensor {
        let mut tokens = self.stem.forward_t(inputs, train); // (B, n_patches, D)
        if let Some(cls) = &self.cls_token {
            // Once per clip. The size of the batch as a number would stay in a trace of this.
            tokens = Tensor::cat(&[cls.expand_as(&tokens.narrow(1, 0, 1)), tokens], 1); // (B, n_patches + 1, D)
        }
        (tokens + &self.pos_embed).dropout(self.config.dropout, train)
    }

    /// What the head sees of each input: `(batch, 1, n_mels, n_frames)` → `(batch, embed_dim)`.
    pub fn embed(&self, inputs: &Tensor, train: bool) -> Tensor {
        self.through(inputs, train, |_| ())
    }

    /// What the network makes of each input early and late: the mean token behind the first block, and what the head sees;
    /// `(batch, 1, n_mels, n_frames)` → `(batch, embed_dim)` each.
    fn early_and_late(&self, inputs: &Tensor) -> (Tensor, Tensor) {
        let mut means = Vec::with_capacity(self.blocks.len() + 1);
        let late = self.through(inputs, false, |tokens| means.push(tokens.mean_dim(1i64, false, None)));
        (means.swap_remove(1.min(self.blocks.len())), late)
    }

    fn through(&self, inputs: &Tensor, train: bool, mut see: impl FnMut(&Tensor)) -> Tensor {
        let mut tokens = self.tokens(inputs, train);
        let n_tokens = tokens.size()[1];
        see(&tokens);
        for (i, block) in self.blocks.iter().enumerate() {
            // Of the last block's tokens, a class token is the only one that is looked at.
            let lone = self.cls_token.is_some() && i + 1 == self.blocks.len();
            tokens = block.forward(&tokens, if lone { 1 } else { n_tokens }, train);
            see(&tokens);
        }
        self.pool(&self.norm.forward(&tokens))
    }
}

impl ModuleT for TinyAst {
    /// `(batch, 1, n_mels, n_frames)` → logits `(batch, num_classes)`.
    fn forward_t(&self, inputs: &Tensor, train: bool) -> Tensor {
        self.embed(inputs, train).apply(&self.head)
    }
}

/// Class probabilities `(batch, num_classes)` of inputs `(batch, 1, n_mels, n_frames)`, without gradients.
pub fn probabilities(model: &TinyAst, inputs: &Tensor) -> Tensor {
    tch::no_grad(|| model.forward_t(inputs, false).softmax(-1, Kind::Float))
}

/// The network's prediction on clips: the mean of their views' class probabilities, `(clips, num_classes)`. `inputs` are the views of one clip
/// after those of another, `(clips · n_views, 1, n_mels, n_frames)`.
pub fn predictions(model: &TinyAst, inputs: &Tensor) -> Tensor {
    mean_of_views(model, &probabilities(model, inputs))
}

/// What the head sees of clips, as the mean over their views, `(clips, embed_dim)`; `inputs` as for [`predictions`].
pub fn embeddings(model: &TinyAst, inputs: &Tensor) -> Tensor {
    tch::no_grad(|| mean_of_views(model, &model.embed(inputs, false)))
}

/// What the network makes of clips early and late, as the mean over their views, `(clips, 2 · embed_dim)`; `inputs` as for [`predictions`].
/// Behind the first block is still told apart what the classes did not need: together they know strange sounds better than either.
pub fn stages(model: &TinyAst, inputs: &Tensor) -> Tensor {
    judge(model, inputs).1
}

/// [`predictions`] and [`stages`] of clips by one pass through the network.
pub fn judge(model: &TinyAst, inputs: &Tensor) -> (Tensor, Tensor) {
    tch::no_grad(|| {
        let (early, late) = model.early_and_late(inputs);
        let probabilities = late.apply(&model.head).softmax(-1, Kind::Float);
        (mean_of_views(model, &probabilities), mean_of_views(model, &Tensor::cat(&[early, late], 1)))
    })
}

/// `(clips · n_views, n)` → `(clips, n)`.
fn mean_of_views(model: &TinyAst, each: &Tensor) -> Tensor {
    each.view([-1, model.config.n_views() as i64, each.size()[1]]).mean_dim(1i64, false, Kind::Float)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::config::{Preset, Stem};
    use crate::model::transformer::noise;

    fn model(config: &TinyAstConfig) -> (nn::VarStore, TinyAst) {
        let vs = nn::VarStore::new(Device::Cpu);
        let model = TinyAst::new(vs.root(), config, 50, 7).unwrap();
        (vs, model)
    }

    /// The presets, overlapping patches, and every pooling.
    fn architectures() -> Vec<TinyAstConfig> {
        let small = TinyAstConfig { depth: 2, ..Default::default() };
        let overlapping = Stem::Patches { patch_size: 16, stride: 8 };
        vec![
            TinyAstConfig { depth: 2, ..Preset::Good.model() },
            TinyAstConfig { pooling: Pooling::Attention, stem: overlapping, ..small.clone() },
            TinyAstConfig { pooling: Pooling::Mean, input_size: (64, 128), ..small.clone() },
            small,
        ]
    }

    fn inputs(n: i64, config: &TinyAstConfig) -> Tensor {
        let (n_mels, n_frames) = config.input_size;
        noise(&[n, 1, n_mels as i64, n_frames as i64])
    }

    #[test]
    fn logits_have_one_row_per_clip_and_do_not_depend_on_the_batch() {
        for config in architectures() {
            let (_vs, model) = model(&config);
            let inputs = inputs(3, &config);
            let together = tch::no_grad(|| model.forward_t(&inputs, false));
            assert_eq!(together.size(), [3, 50]);
            let alone = tch::no_grad(|| model.forward_t(&inputs.narrow(0, 1, 1), false));
            let difference = (together.narrow(0, 1, 1) - alone).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{difference}");
        }
    }

    #[test]
    fn one_pass_says_what_two_say() {
        for config in architectures() {
            let (_vs, model) = model(&config);
            let inputs = inputs(2 * config.n_views() as i64, &config);
            let (said, seen) = judge(&model, &inputs);
            assert_eq!(said, predictions(&model, &inputs));
            let dim = config.embed_dim as i64;
            assert_eq!(seen.narrow(1, dim, dim), embeddings(&model, &inputs));
        }
    }

    #[test]
    fn every_parameter_receives_a_gradient() {
        for config in architectures() {
            let (vs, model) = model(&config);
            let targets = Tensor::from_slice(&[3i64, 11, 7]);
            let logits = with_seed(0, || model.forward_t(&inputs(3, &config), true));
            logits.cross_entropy_for_logits(&targets).backward();
            for (name, parameter) in vs.variables().into_iter().filter(|(_, variable)| variable.requires_grad()) {
                // A constant added to all scores of a softmax cancels: the bias of the score that weighs tokens does nothing.
                // (A key's bias does nothing either, but it is a part of `qkv.bias`, whose rest must move.)
                if name != "token_score.bias" {
                    assert!(parameter.grad().abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
                }
            }
        }
    }

    #[test]
    fn the_order_of_patches_matters() {
        for config in architectures() {
            let (_vs, model) = model(&config);
            let inputs = inputs(1, &config);
            let later = inputs.roll([8], [3]);
            let difference =
                tch::no_grad(|| (model.forward_t(&inputs, false) - model.forward_t(&later, false)).abs().max());
            assert!(difference.double_value(&[]) > 1e-6);
        }
    }

    #[test]
    fn the_number_of_parameters_is_known_without_building_the_network() {
        for config in architectures() {
            let (vs, _) = model(&config);
            let built: usize = vs.trainable_variables().iter().map(Tensor::numel).sum();
            assert_eq!(config.n_parameters(50), Some(built), "{config:?}");
        }
    }

    #[test]
    fn stochastic_depth_follows_the_seed_and_rests_outside_training() {
        let config = TinyAstConfig { stochastic_depth: 0.8, ..Default::default() };
        let (_vs, model) = model(&config);
        let inputs = inputs(4, &config);
        let trained = |seed: u64| tch::no_grad(|| with_seed(seed, || model.forward_t(&inputs, true)));
        assert_eq!(trained(1), trained(1));
        assert_ne!(trained(1), trained(2));
        let calm = |seed: u64| tch::no_grad(|| with_seed(seed, || model.forward_t(&inputs, false)));
        assert_eq!(calm(1), calm(2));
    }
}
