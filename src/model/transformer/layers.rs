//! How layers begin.

use tch::nn::{self, Init, Path};
#[cfg(test)]
use tch::{Kind, Tensor};

/// Standard deviation of initial weights, as in Hugging Face's `ViTConfig` (`initializer_range`).
pub(crate) const INIT_STDEV: f64 = 0.02;

pub(crate) const ZEROS: Init = Init::Const(0.0);

/// Fresh weights.
pub(crate) fn weight_init() -> Init {
    Init::Randn { mean: 0.0, stdev: INIT_STDEV }
}

pub(crate) fn linear(vs: Path, from: i64, to: i64, ws_init: Init) -> nn::Linear {
    nn::linear(vs, from, to, nn::LinearConfig { ws_init, bs_init: Some(ZEROS), bias: true })
}

pub(crate) fn layer_norm(vs: Path, dim: i64, eps: f64) -> nn::LayerNorm {
    nn::layer_norm(vs, vec![dim], nn::LayerNormConfig { eps, ..Default::default() })
}

/// A convolution whose kernels lie side by side or overlap, as a projection of patches to tokens.
pub(crate) fn patches(vs: Path, to: i64, kernel: i64, stride: [i64; 2], ws_init: Init) -> nn::Conv2D {
    let config = nn::ConvConfigND {
        stride,
        padding: [0; 2],
        dilation: [1; 2],
        groups: 1,
        bias: true,
        ws_init,
        bs_init: ZEROS,
        padding_mode: nn::PaddingMode::Zeros,
    };
    nn::conv(vs, 1, to, [kernel; 2], config)
}

/// Numbers without a pattern that leave libtorch's one generator to the tests that hold it.
#[cfg(test)]
pub(crate) fn noise(shape: &[i64]) -> Tensor {
    let n_values: i64 = shape.iter().product();
    (Tensor::arange(n_values, (Kind::Float, tch::Device::Cpu)).square() * 0.37).sin().view(shape)
}
