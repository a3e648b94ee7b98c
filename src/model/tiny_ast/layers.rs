//! How layers begin.

use tch::nn::{self, Init, Path};
#[cfg(test)]
use tch::{Kind, Tensor};

/// Layer norm's epsilon, as in Hugging Face's `ViTConfig`.
pub(crate) const LAYER_NORM_EPS: f64 = 1e-12;
/// Standard deviation of initial weights, as in Hugging Face's `ViTConfig` (`initializer_range`).
pub(crate) const INIT_STDEV: f64 = 0.02;

pub(super) const ZEROS: Init = Init::Const(0.0);

pub(super) fn weight_init() -> Init {
    Init::Randn { mean: 0.0, stdev: INIT_STDEV }
}

pub(super) fn linear(vs: Path, from: i64, to: i64) -> nn::Linear {
    nn::linear(vs, from, to, nn::LinearConfig { ws_init: weight_init(), bs_init: Some(ZEROS), bias: true })
}

pub(super) fn layer_norm(vs: Path, dim: i64) -> nn::LayerNorm {
    nn::layer_norm(vs, vec![dim], nn::LayerNormConfig { eps: LAYER_NORM_EPS, ..Default::default() })
}

/// Numbers without a pattern that leave libtorch's one generator to the tests that hold it.
#[cfg(test)]
pub(crate) fn noise(shape: &[i64]) -> Tensor {
    let n_values: i64 = shape.iter().product();
    (Tensor::arange(n_values, (Kind::Float, tch::Device::Cpu)).square() * 0.37).sin().view(shape)
}
