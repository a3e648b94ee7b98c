//! CED, small transformers that know AudioSet's 527 classes (Dinkel et al. 2023, "CED: Consistent ensemble distillation for audio
//! tagging", <https://arxiv.org/abs/2308.11957>), as Hugging Face's `CedForAudioClassification` has them.

mod config;
mod network;
mod onnx;

pub use config::{CedConfig, CedPooling};
pub use network::Ced;

use crate::model::names::Names;

/// Our parameters and theirs.
pub const NAMES: Names = &[
    ("init_bn", &["encoder.init_bn"]),
    ("patch_embed", &["encoder.patch_embed.proj"]),
    ("time_pos_embed", &["encoder.time_pos_embed"]),
    ("freq_pos_embed", &["encoder.freq_pos_embed"]),
    ("blocks.{}.norm1", &["encoder.blocks.{}.norm1"]),
    ("blocks.{}.attention.qkv", &["encoder.blocks.{}.attn.qkv"]),
    ("blocks.{}.attention.proj", &["encoder.blocks.{}.attn.proj"]),
    ("blocks.{}.norm2", &["encoder.blocks.{}.norm2"]),
    ("blocks.{}.mlp.fc1", &["encoder.blocks.{}.mlp.fc1"]),
    ("blocks.{}.mlp.fc2", &["encoder.blocks.{}.mlp.fc2"]),
    ("norm", &["encoder.norm"]),
    ("head_norm", &["outputlayer.0"]),
    ("head", &["outputlayer.1"]),
];
