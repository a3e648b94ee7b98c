//! TinyAST: a pre-norm Vision Transformer over spectrogram patches, the architecture of Hugging Face's
//! `ViTForImageClassification` (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>) at a size a CPU trains in seconds.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use tch::nn::{self, Init, Module, ModuleT, Path};
use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::config::TinyAstConfig;

/// Layer norm's epsilon, as in Hugging Face's `ViTConfig`.
const LAYER_NORM_EPS: f64 = 1e-12;
/// Standard deviation of initial weights, as in Hugging Face's `ViTConfig` (`initializer_range`).
const INIT_STDEV: f64 = 0.02;

/// The classifier: patches → tokens → transformer blocks → class token → logits.
#[derive(Debug)]
pub struct TinyAst {
    config: TinyAstConfig,
    patch_embed: nn::Conv2D,
    cls_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: nn::LayerNorm,
    head: nn::Linear,
}

/// libtorch draws all random numbers of a process from one generator: networks built at the same time take turns, so that
/// each gets the weights of its seed.
static GENERATOR: Mutex<()> = Mutex::new(());

impl TinyAst {
    /// Builds the network under `vs` with the fresh weights of a seed.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the sizes do not fit together.
    pub fn new(vs: Path, config: &TinyAstConfig, num_classes: usize, seed: u64) -> Result<Self> {
        config.validate()?;
        let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(seed as i64);
        let dim = config.embed_dim as i64;
        let patch = config.patch_size as i64;
        let n_tokens = config.n_patches() as i64 + 1;
        let patch_config =
            nn::ConvConfig { stride: patch, ws_init: weight_init(), bs_init: ZEROS, ..Default::default() };
        Ok(TinyAst {
            config: config.clone(),
            patch_embed: nn::conv2d(&vs / "patch_embed", 1, dim, patch, patch_config),
            cls_token: vs.var("cls_token", &[1, 1, dim], weight_init()),
            pos_embed: vs.var("pos_embed", &[1, n_tokens, dim], weight_init()),
            blocks: (0..config.depth).map(|i| Block::new(&vs / "blocks" / i, config)).collect(),
            norm: layer_norm(&vs / "norm", dim),
            head: linear(&vs / "head", dim, num_classes as i64),
        })
    }
}

impl ModuleT for TinyAst {
    /// `(batch, 1, input_size, input_size)` → logits `(batch, num_classes)`.
    fn forward_t(&self, inputs: &Tensor, train: bool) -> Tensor {
        let batch = inputs.size()[0];
        let patches = self.patch_embed.forward(inputs).flatten(2, 3).transpose(1, 2); // (B, n_patches, D)
        let cls = self.cls_token.expand([batch, -1, -1], false); // (B, 1, D)
        let embedded = Tensor::cat(&[cls, patches], 1) + &self.pos_embed; // (B, n_patches + 1, D)
        let mut tokens = embedded.dropout(self.config.dropout, train);
        for block in &self.blocks {
            tokens = block.forward_t(&tokens, train);
        }
        self.norm.forward(&tokens.select(1, 0)).apply(&self.head)
    }
}

/// One pre-norm transformer block: attention, then an MLP, each added to the stream.
#[derive(Debug)]
struct Block {
    norm1: nn::LayerNorm,
    attention: Attention,
    norm2: nn::LayerNorm,
    fc1: nn::Linear,
    fc2: nn::Linear,
    dropout: f64,
}

impl Block {
    fn new(vs: Path, config: &TinyAstConfig) -> Self {
        let dim = config.embed_dim as i64;
        let hidden = dim * config.mlp_ratio as i64;
        Block {
            norm1: layer_norm(&vs / "norm1", dim),
            attention: Attention::new(&vs / "attention", config),
            norm2: layer_norm(&vs / "norm2", dim),
            fc1: linear(&vs / "mlp" / "fc1", dim, hidden),
            fc2: linear(&vs / "mlp" / "fc2", hidden, dim),
            dropout: config.dropout,
        }
    }
}

impl ModuleT for Block {
    fn forward_t(&self, tokens: &Tensor, train: bool) -> Tensor {
        let tokens = tokens + self.attention.forward_t(&self.norm1.forward(tokens), train);
        let hidden = self.norm2.forward(&tokens).apply(&self.fc1).gelu("none");
        let mlp = hidden.apply(&self.fc2).dropout(self.dropout, train);
        tokens + mlp
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
        let heads = tokens.apply(&self.qkv).view([batch, n_tokens, 3, self.num_heads, dim / self.num_heads]);
        let heads = heads.permute([2, 0, 3, 1, 4]); // (3, B, heads, T, D / heads)
        let (query, key, value) = (heads.select(0, 0), heads.select(0, 1), heads.select(0, 2));
        let dropout = if train { self.dropout } else { 0.0 };
        let mixed =
            Tensor::scaled_dot_product_attention::<Tensor>(&query, &key, &value, None, dropout, false, None, false);
        let mixed = mixed.transpose(1, 2).reshape([batch, n_tokens, dim]); // (B, T, D)
        mixed.apply(&self.proj).dropout(self.dropout, train)
    }
}

const ZEROS: Init = Init::Const(0.0);

fn weight_init() -> Init {
    Init::Randn { mean: 0.0, stdev: INIT_STDEV }
}

fn linear(vs: Path, from: i64, to: i64) -> nn::Linear {
    nn::linear(vs, from, to, nn::LinearConfig { ws_init: weight_init(), bs_init: Some(ZEROS), bias: true })
}

fn layer_norm(vs: Path, dim: i64) -> nn::LayerNorm {
    nn::layer_norm(vs, vec![dim], nn::LayerNormConfig { eps: LAYER_NORM_EPS, ..Default::default() })
}

/// One line of a model summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// The layer as its parameters are named: `blocks.0.attention`.
    pub name: String,
    /// Shape of what it returns for a batch of one.
    pub output_shape: Vec<usize>,
    /// Trainable numbers in it.
    pub parameters: usize,
}

/// The layers of a TinyAST with their output shapes and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// From input to logits.
    pub layers: Vec<LayerSummary>,
    /// Trainable numbers in all.
    pub parameters: usize,
}

impl ModelSummary {
    /// Describes the network the config stands for.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the sizes do not fit together.
    pub fn new(config: &TinyAstConfig, num_classes: usize) -> Result<Self> {
        let vs = nn::VarStore::new(Device::Cpu);
        TinyAst::new(vs.root(), config, num_classes, 0)?;
        let variables = vs.variables();
        let parameters_of = |prefix: &str| -> usize {
            let own = |name: &str| name == prefix || name.starts_with(&format!("{prefix}."));
            variables.iter().filter(|(name, _)| own(name)).map(|(_, tensor)| tensor.numel()).sum()
        };
        let (tokens, dim) = (config.n_patches() + 1, config.embed_dim);
        let mut layers = Vec::new();
        let mut add = |name: &str, output_shape: Vec<usize>, parameters: usize| {
            layers.push(LayerSummary { name: name.to_owned(), output_shape, parameters });
        };
        add("patch_embed", vec![1, tokens - 1, dim], parameters_of("patch_embed"));
        add("cls_token + pos_embed", vec![1, tokens, dim], parameters_of("cls_token") + parameters_of("pos_embed"));
        for block in 0..config.depth {
            for part in ["norm1", "attention", "norm2", "mlp"] {
                let name = format!("blocks.{block}.{part}");
                add(&name, vec![1, tokens, dim], parameters_of(&name));
            }
        }
        add("norm (class token)", vec![1, dim], parameters_of("norm"));
        add("head", vec![1, num_classes], parameters_of("head"));
        Ok(ModelSummary { layers, parameters: variables.values().map(Tensor::numel).sum() })
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>16} {:>12}", "layer", "output shape", "parameters")?;
        for layer in &self.layers {
            writeln!(f, "{:<24} {:>16} {:>12}", layer.name, format!("{:?}", layer.output_shape), layer.parameters)?;
        }
        write!(f, "{:<24} {:>16} {:>12}", "total", "", self.parameters)
    }
}

/// Class probabilities `(batch, num_classes)` of inputs `(batch, 1, input_size, input_size)`, without gradients.
pub fn probabilities(model: &TinyAst, inputs: &Tensor) -> Tensor {
    tch::no_grad(|| model.forward_t(inputs, false).softmax(-1, Kind::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(config: &TinyAstConfig) -> (nn::VarStore, TinyAst) {
        let vs = nn::VarStore::new(Device::Cpu);
        let model = TinyAst::new(vs.root(), config, 50, 7).unwrap();
        (vs, model)
    }

    #[test]
    fn the_default_has_the_parameters_of_a_vit_of_its_size() {
        // 50 classes: patch 8·8·128 + 128, class token 128, positions 65·128, 4 blocks of 132,480, norm 256, head 6,450.
        let summary = ModelSummary::new(&TinyAstConfig::default(), 50).unwrap();
        assert_eq!(summary.parameters, 8_320 + 128 + 8_320 + 4 * 132_480 + 256 + 6_450);
        assert_eq!(summary.layers.iter().map(|layer| layer.parameters).sum::<usize>(), summary.parameters);
    }

    #[test]
    fn logits_have_one_row_per_clip_and_do_not_depend_on_the_batch() {
        let (_vs, model) = model(&TinyAstConfig::default());
        let inputs = Tensor::randn([3, 1, 64, 64], (Kind::Float, Device::Cpu));
        let together = tch::no_grad(|| model.forward_t(&inputs, false));
        assert_eq!(together.size(), [3, 50]);
        let alone = tch::no_grad(|| model.forward_t(&inputs.narrow(0, 1, 1), false));
        let difference = (together.narrow(0, 1, 1) - alone).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn every_parameter_receives_a_gradient() {
        let (vs, model) = model(&TinyAstConfig { depth: 2, ..Default::default() });
        let inputs = Tensor::randn([2, 1, 64, 64], (Kind::Float, Device::Cpu));
        let targets = Tensor::from_slice(&[3i64, 11]);
        model.forward_t(&inputs, true).cross_entropy_for_logits(&targets).backward();
        for (name, parameter) in vs.variables() {
            let gradient = parameter.grad().abs().max().double_value(&[]);
            // A key's bias shifts all scores of a query alike, so softmax cancels it; the rest of `qkv.bias` must move.
            assert!(gradient > 0.0, "{name} has no gradient");
        }
    }

    #[test]
    fn the_order_of_patches_matters() {
        let (_vs, model) = model(&TinyAstConfig::default());
        let inputs = Tensor::randn([1, 1, 64, 64], (Kind::Float, Device::Cpu));
        let later = inputs.roll([8], [3]);
        let difference =
            tch::no_grad(|| (model.forward_t(&inputs, false) - model.forward_t(&later, false)).abs().max());
        assert!(difference.double_value(&[]) > 1e-6);
    }
}
