//! The network: batch norm over mel bands, patches, positions in time and in frequency, blocks, the mean token, logits.

use tch::nn::{self, Init, Module, Path};
use tch::{Kind, Tensor};

use super::config::CedConfig;
use crate::model::transformer::{Block, BlockConfig, flow, layer_norm, linear, patches, shares};

/// Layer norm's epsilon inside the network; that of the head's is PyTorch's default.
pub(super) const LAYER_NORM_EPS: f64 = 1e-6;
pub(super) const HEAD_NORM_EPS: f64 = 1e-5;
/// Batch norm's epsilon, PyTorch's default.
const BATCH_NORM_EPS: f64 = 1e-5;

/// A CED.
#[derive(Debug)]
pub struct Ced {
    pub(super) config: CedConfig,
    pub(super) init_bn: BandNorm,
    pub(super) patch_embed: nn::Conv2D,
    pub(super) time_pos_embed: Tensor,
    pub(super) freq_pos_embed: Tensor,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: nn::LayerNorm,
    pub(super) head_norm: nn::LayerNorm,
    pub(super) head: nn::Linear,
    /// The share of the columns of patches that training leaves out.
    dropped_columns: f64,
}

/// Batch norm over mel bands with the statistics of AudioSet. Training does not change them: a handful of recordings would be a poor
/// exchange for two million.
#[derive(Debug)]
pub(super) struct BandNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BandNorm {
    fn new(vs: Path, n_mels: i64) -> Self {
        BandNorm {
            weight: vs.ones("weight", &[n_mels]),
            bias: vs.zeros("bias", &[n_mels]),
            running_mean: vs.zeros_no_train("running_mean", &[n_mels]),
            running_var: vs.ones_no_train("running_var", &[n_mels]),
        }
    }

    /// `(batch, n_mels, n_frames)` → the same shape.
    fn forward(&self, features: &Tensor) -> Tensor {
        let (gain, shift) = self.gain_and_shift();
        features * gain + shift
    }

    /// What it multiplies with and adds, `(n_mels, 1)` each.
    pub(super) fn gain_and_shift(&self) -> (Tensor, Tensor) {
        let gain = &self.weight / (&self.running_var + BATCH_NORM_EPS).sqrt();
        let shift = &self.bias - &self.running_mean * &gain;
        (gain.unsqueeze(1), shift.unsqueeze(1))
    }
}

impl Ced {
    /// Builds the network under `vs`, its matrices as `ws_init` says; of sizes that [`CedConfig::validate`] has found sound.
    pub fn new(vs: &Path, config: &CedConfig, ws_init: Init) -> Self {
        let dim = config.embed_dim as i64;
        let (rows, columns) = config.grid();
        let blocks = BlockConfig {
            dim,
            num_heads: config.num_heads as i64,
            hidden: (dim as f64 * config.mlp_ratio) as i64,
            eps: LAYER_NORM_EPS,
            dropout: 0.0,
            ws_init,
        };
        let last = config.depth.saturating_sub(1).max(1) as f64;
        let skipped = |i: usize| config.drop_path_rate * i as f64 / last;
        let stride = [config.patch_stride as i64; 2];
        Ced {
            config: config.clone(),
            init_bn: BandNorm::new(vs / "init_bn", config.n_mels as i64),
            patch_embed: patches(vs / "patch_embed", dim, config.patch_size as i64, stride, ws_init),
            time_pos_embed: vs.var("time_pos_embed", &[1, dim, 1, columns as i64], ws_init),
            freq_pos_embed: vs.var("freq_pos_embed", &[1, dim, rows as i64, 1], ws_init),
            blocks: (0..config.depth).map(|i| Block::new(vs / "blocks" / i, &blocks, skipped(i))).collect(),
            norm: layer_norm(vs / "norm", dim, LAYER_NORM_EPS),
            head_norm: layer_norm(vs / "head_norm", dim, HEAD_NORM_EPS),
            head: linear(vs / "head", dim, config.outputdim as i64, ws_init),
            dropped_columns: 0.0,
        }
    }

    /// The sizes.
    pub fn config(&self) -> &CedConfig {
        &self.config
    }

    /// Spectrograms in dB `(batch, n_mels, n_frames)` → pieces that the network hears at once, those of one recording after those of another:
    /// `(batch · n_pieces, n_mels, n_frames)`. There is one piece of up to `target_length` frames; of more frames each has as many, the last
    /// of them zeros where the recording has ended.
    ///
    /// The published code does the same to one recording. Of several at once it mixes the pieces up, and it drops the last one where it is
    /// whole; both are faults.
    pub fn pieces(&self, features: &Tensor) -> Tensor {
        let length = self.config.target_length as i64;
        let features = self.init_bn.forward(features);
        let (batch, n_mels, n_frames) = features.size3().unwrap_or_default();
        if n_frames <= length {
            return features;
        }
        let n_pieces = (n_frames as u64).div_ceil(length as u64) as i64;
        let padded = features.constant_pad_nd([0, n_pieces * length - n_frames]);
        padded.view([batch, n_mels, n_pieces, length]).transpose(1, 2).reshape([-1, n_mels, length])
    }

    /// Lets training leave out a share of the columns of patches, others in every batch, and the last block so often, those before it less
    /// often in proportion: less to hear, and less to learn by heart.
    pub fn leave_out(&mut self, columns: f64, last_block: f64) {
        self.dropped_columns = columns;
        let last = self.blocks.len().saturating_sub(1).max(1) as f64;
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.skip(last_block * i as f64 / last);
        }
    }

    fn tokens(&self, pieces: &Tensor, train: bool) -> Tensor {
        let map = self.patch_embed.forward(&pieces.unsqueeze(1)); // (B, D, rows, columns)
        let columns = map.size()[3];
        let mut map = map + self.time_pos_embed.narrow(3, 0, columns) + &self.freq_pos_embed;
        let kept = ((1.0 - self.dropped_columns) * columns as f64).round().max(1.0) as i64;
        if train && kept < columns {
            let order = Tensor::rand([columns], (Kind::Float, map.device())).argsort(0, false);
            map = map.index_select(3, &order.narrow(0, 0, kept));
        }
        map.flatten(2, 3).transpose(1, 2)
    }

    /// The last tokens of each piece, `(batch, n_tokens, embed_dim)`: the low band's from first to last, then those of the next.
    pub fn hidden(&self, pieces: &Tensor, train: bool) -> Tensor {
        let mut tokens = self.tokens(pieces, train);
        let n_tokens = tokens.size()[1];
        for block in &self.blocks {
            tokens = block.forward(&tokens, n_tokens, train);
        }
        self.norm.forward(&tokens)
    }

    /// What the head sees of each piece: `(batch, n_mels, n_frames)` → `(batch, embed_dim)`.
    pub fn embed(&self, pieces: &Tensor, train: bool) -> Tensor {
        self.hidden(pieces, train).mean_dim(1i64, false, Kind::Float)
    }

    /// What the last layer takes of embeddings, which it has normalised: `(batch, embed_dim)` → the same shape.
    pub fn head_input(&self, embeddings: &Tensor) -> Tensor {
        self.head_norm.forward(embeddings)
    }

    /// `(batch, embed_dim)` → `(batch, outputdim)`. What the head says of a recording in pieces is what it says of their mean.
    pub fn logits(&self, embeddings: &Tensor) -> Tensor {
        self.head_input(embeddings).apply(&self.head)
    }

    /// How much of each place of a piece goes into its mean token, by attention rollout: `(batch, n_mels, n_frames)` →
    /// `(batch, rows, columns)`, low bands first. The shares of a piece add up to 1.
    pub fn listened_to(&self, pieces: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let (tokens, rollout) = flow(&self.blocks, self.tokens(pieces, false));
            let (batch, n_tokens, _) = tokens.size3().unwrap_or_default();
            let pooled = Tensor::ones([batch, 1, n_tokens], (Kind::Float, tokens.device()));
            let rows = self.config.grid().0 as i64;
            shares(&pooled, &rollout, 0).view([batch, rows, -1])
        })
    }
}
