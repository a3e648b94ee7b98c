//! What the networks have in common: layers, the pre-norm transformer block, attention rollout.

mod layers;
mod block;
mod rollout;
mod onnx;

pub(crate) use block::{Block, BlockConfig};
#[cfg(test)]
pub(crate) use layers::noise;
pub(crate) use layers::{INIT_STDEV, ZEROS, layer_norm, linear, patches, weight_init};
pub(crate) use rollout::{flow, shares};
