//! The network: overlapping patches, a class and a distillation token, positions, blocks, the mean of the two tokens, logits.

use tch::nn::{self, Init, Module, Path};
use tch::{Kind, TchError, Tensor};

use super::config::AstConfig;
use crate::model::transformer::{Block, BlockConfig, flow, layer_norm, linear, patches, shares};

/// Tokens that are no place of the input: the class token and the distillation token.
pub(super) const N_OWN: i64 = 2;

/// An Audio Spectrogram Transformer.
#[derive(Debug)]
pub struct Ast {
    pub(super) config: AstConfig,
    pub(super) patch_embed: nn::Conv2D,
    pub(super) cls_token: Tensor,
    pub(super) distillation_token: Tensor,
    pub(super) pos_embed: Tensor,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: nn::LayerNorm,
    pub(super) head_norm: nn::LayerNorm,
    pub(super) head: nn::Linear,
    dropout: f64,
}

impl Ast {
    /// Builds the network under `vs`, its matrices as `ws_init` says; of sizes that [`AstConfig::validate`] has found sound.
    pub fn new(vs: &Path, config: &AstConfig, num_classes: usize, ws_init: Init) -> Self {
        let (dim, eps, dropout) = (config.hidden_size as i64, config.layer_norm_eps, config.hidden_dropout_prob);
        let (rows, columns) = config.grid();
        let (num_heads, hidden) = (config.num_attention_heads as i64, config.intermediate_size as i64);
        let blocks = BlockConfig { dim, num_heads, hidden, eps, dropout, ws_init };
        let stride = [config.frequency_stride as i64, config.time_stride as i64];
        Ast {
            config: config.clone(),
            patch_embed: patches(vs / "patch_embed", dim, config.patch_size as i64, stride, ws_init),
            cls_token: vs.var("cls_token", &[1, 1, dim], ws_init),
            distillation_token: vs.var("distillation_token", &[1, 1, dim], ws_init),
            pos_embed: vs.var("pos_embed", &[1, (rows * columns) as i64 + N_OWN, dim], ws_init),
            blocks: (0..config.num_hidden_layers).map(|i| Block::new(vs / "blocks" / i, &blocks, 0.0)).collect(),
            norm: layer_norm(vs / "norm", dim, eps),
            head_norm: layer_norm(vs / "head_norm", dim, eps),
            head: linear(vs / "head", dim, num_classes as i64, ws_init),
            dropout,
        }
    }

    /// The sizes.
    pub fn config(&self) -> &AstConfig {
        &self.config
    }

    /// Lets the network hear `n_frames` at once, no more than it does: its positions are cut, as the authors do it for shorter recordings.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn shorten(&mut self, n_frames: usize) -> Result<(), TchError> {
        let config = AstConfig { max_length: n_frames, ..self.config.clone() };
        let cut = tch::no_grad(|| self.positions(config.grid().1 as i64).copy());
        self.pos_embed.f_set_data(&cut)?;
        self.config = config;
        Ok(())
    }

    /// The positions of an input of so many columns of patches. Of fewer than the network has, they are cut from the middle, as the
    /// authors do it.
    fn positions(&self, columns: i64) -> Tensor {
        let (rows, own_columns) = self.config.grid();
        let (rows, own_columns) = (rows as i64, own_columns as i64);
        if columns == own_columns {
            return self.pos_embed.shallow_clone();
        }
        let dim = self.config.hidden_size as i64;
        let first = own_columns / 2 - columns / 2;
        let map = self.pos_embed.narrow(1, N_OWN, rows * own_columns).view([1, rows, own_columns, dim]);
        let cut = map.narrow(2, first, columns).reshape([1, rows * columns, dim]);
        Tensor::cat(&[self.pos_embed.narrow(1, 0, N_OWN), cut], 1)
    }

    /// Features `(batch, n_frames, n_mels)`, of `max_length` frames or fewer → tokens `(batch, n_tokens, embed_dim)`.
    fn tokens(&self, features: &Tensor, train: bool) -> Tensor {
        let map = self.patch_embed.forward(&features.unsqueeze(1).transpose(2, 3)); // (B, D, rows, columns)
        let columns = map.size()[3];
        let tokens = map.flatten(2, 3).transpose(1, 2);
        let once_each = tokens.narrow(1, 0, 1);
        let own = [&self.cls_token, &self.distillation_token].map(|token| token.expand_as(&once_each));
        (Tensor::cat(&[&own[0], &own[1], &tokens], 1) + self.positions(columns)).dropout(self.dropout, train)
    }

    /// The tokens before the first block and behind each, `depth + 1` times `(batch, n_tokens, embed_dim)`.
    pub fn hidden_states(&self, features: &Tensor) -> Vec<Tensor> {
        let mut states = vec![self.tokens(features, false)];
        for block in &self.blocks {
            let Some(tokens) = states.last() else { break };
            states.push(block.forward(tokens, tokens.size()[1], false));
        }
        states
    }

    /// What the head sees of each input: `(batch, n_frames, n_mels)` → `(batch, embed_dim)`.
    pub fn embed(&self, features: &Tensor, train: bool) -> Tensor {
        let mut tokens = self.tokens(features, train);
        let n_tokens = tokens.size()[1];
        for (i, block) in self.blocks.iter().enumerate() {
            // Of the last block's tokens nobody looks at the others.
            let last = i + 1 == self.blocks.len();
            tokens = block.forward(&tokens, if last { N_OWN } else { n_tokens }, train);
        }
        self.norm.forward(&tokens.narrow(1, 0, N_OWN)).mean_dim(1i64, false, Kind::Float)
    }

    /// What the last layer takes of embeddings, which it has normalised: `(batch, embed_dim)` → the same shape.
    pub fn head_input(&self, embeddings: &Tensor) -> Tensor {
        self.head_norm.forward(embeddings)
    }

    /// `(batch, embed_dim)` → `(batch, num_classes)`.
    pub fn logits(&self, embeddings: &Tensor) -> Tensor {
        self.head_input(embeddings).apply(&self.head)
    }

    /// How much of each place of the input goes into the two tokens, by attention rollout: `(batch, n_frames, n_mels)` →
    /// `(batch, rows, columns)`, low bands first. The shares of an input add up to 1.
    pub fn listened_to(&self, features: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let (tokens, rollout) = flow(&self.blocks, self.tokens(features, false));
            let (batch, n_tokens, _) = tokens.size3().unwrap_or_default();
            let pooled = Tensor::zeros([batch, 1, n_tokens], (Kind::Float, tokens.device()));
            let _ = pooled.narrow(2, 0, N_OWN).fill_(0.5);
            shares(&pooled, &rollout, N_OWN).view([batch, self.config.grid().0 as i64, -1])
        })
    }
}
