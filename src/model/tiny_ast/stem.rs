//! From a spectrogram to tokens.

use tch::Tensor;
use tch::nn::{self, Init, Module, ModuleT, Path};

use crate::config::{Convolution, TinyAstConfig};
use crate::model::transformer::{ZEROS, weight_init};

/// A stem's layers: convolutions, if any, then the projection to tokens.
#[derive(Debug)]
pub(super) struct StemLayers {
    pub(super) convolutions: Vec<ConvNorm>,
    pub(super) projection: nn::Conv2D,
}

impl StemLayers {
    pub(super) fn new(vs: &Path, config: &TinyAstConfig) -> Self {
        let layers = config.convolutions().into_iter().enumerate();
        let convolutions = layers.map(|(i, layer)| ConvNorm::new(vs / "stem" / i, layer)).collect();
        let Convolution { from, to, kernel, stride } = config.projection();
        let projection = nn::ConvConfigND { bias: true, ..conv_config(pair(stride), [0; 2], weight_init()) };
        let projection = nn::conv(vs / "patch_embed", from as i64, to as i64, pair(kernel), projection);
        StemLayers { convolutions, projection }
    }
}

impl ModuleT for StemLayers {
    /// `(batch, 1, n_mels, n_frames)` → `(batch, n_patches, embed_dim)`, row by row of the map.
    fn forward_t(&self, inputs: &Tensor, train: bool) -> Tensor {
        // One channel may as well be called the last in memory. libtorch's convolutions keep that order, in which they are faster
        // on a CPU, and in which the tokens lie as the blocks take them.
        let (_, channels, n_mels, n_frames) = inputs.size4().unwrap_or_default();
        let mut map = inputs.reshape([-1, n_mels, n_frames, channels]).permute([0, 3, 1, 2]);
        for convolution in &self.convolutions {
            map = convolution.forward_t(&map, train);
        }
        self.projection.forward(&map).flatten(2, 3).transpose(1, 2)
    }
}

/// A convolution, batch norm, GELU.
#[derive(Debug)]
pub(super) struct ConvNorm {
    pub(super) conv: nn::Conv2D,
    pub(super) norm: nn::BatchNorm,
}

impl ConvNorm {
    fn new(vs: Path, layer: Convolution) -> Self {
        let Convolution { from, to, kernel, stride } = layer;
        // Variances survive a layer whose weights have variance 2 / fan-in (He et al. 2015).
        let stdev = (2.0 / (kernel.0 * kernel.1 * from) as f64).sqrt();
        let padding = pair((kernel.0 / 2, kernel.1 / 2));
        let conv = conv_config(pair(stride), padding, Init::Randn { mean: 0.0, stdev });
        let norm = nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() };
        ConvNorm {
            conv: nn::conv(&vs / "conv", from as i64, to as i64, pair(kernel), conv),
            norm: nn::batch_norm2d(&vs / "norm", to as i64, norm),
        }
    }
}

impl ModuleT for ConvNorm {
    fn forward_t(&self, map: &Tensor, train: bool) -> Tensor {
        map.apply(&self.conv).apply_t(&self.norm, train).gelu("none")
    }
}

fn pair((rows, columns): (usize, usize)) -> [i64; 2] {
    [rows as i64, columns as i64]
}

/// A convolution without bias, on zeros around its input.
fn conv_config(stride: [i64; 2], padding: [i64; 2], ws_init: Init) -> nn::ConvConfigND<[i64; 2]> {
    let padding_mode = nn::PaddingMode::Zeros;
    nn::ConvConfigND {
        stride,
        padding,
        dilation: [1; 2],
        groups: 1,
        bias: false,
        ws_init,
        bs_init: ZEROS,
        padding_mode,
    }
}
