//! TinyAST: a pre-norm Vision Transformer over a spectrogram. With plain patches and a class token it is the architecture of
//! Hugging Face's `ViTForImageClassification` (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>), at a size a CPU
//! trains in seconds.

mod stem;
mod network;
mod rollout;
mod onnx;
mod summary;
pub mod hugging_face;

pub(crate) use network::LAYER_NORM_EPS;
#[cfg(test)]
pub(crate) use network::probabilities;
pub use network::{TinyAst, embeddings, judge, predictions, stages};
pub use summary::{LayerSummary, ModelSummary};
