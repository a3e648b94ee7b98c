//! Weights of Hugging Face's `ViTForImageClassification` in a TinyAST of the same shape, and back.

use std::path::Path;

use tch::nn::VarStore;

use crate::config::{Pooling, Stem, TinyAstConfig};
use crate::error::Result;
use crate::model::names::Names;
use crate::model::weights;

/// Our parameters and theirs, as `save_pretrained` of transformers 4 and 5 writes them.
pub const NAMES: Names = &[
    ("patch_embed", &["vit.embeddings.patch_embeddings.projection"]),
    ("cls_token", &["vit.embeddings.cls_token"]),
    ("pos_embed", &["vit.embeddings.position_embeddings"]),
    ("blocks.{}.norm1", &["vit.encoder.layer.{}.layernorm_before"]),
    (
        "blocks.{}.attention.qkv",
        &[
            "vit.encoder.layer.{}.attention.attention.query",
            "vit.encoder.layer.{}.attention.attention.key",
            "vit.encoder.layer.{}.attention.attention.value",
        ],
    ),
    ("blocks.{}.attention.proj", &["vit.encoder.layer.{}.attention.output.dense"]),
    ("blocks.{}.norm2", &["vit.encoder.layer.{}.layernorm_after"]),
    ("blocks.{}.mlp.fc1", &["vit.encoder.layer.{}.intermediate.dense"]),
    ("blocks.{}.mlp.fc2", &["vit.encoder.layer.{}.output.dense"]),
    ("norm", &["vit.layernorm"]),
    ("head", &["classifier"]),
];

/// Whether a network is one of theirs: patches side by side, and a class token.
pub fn fits(config: &TinyAstConfig) -> bool {
    let side_by_side = matches!(config.stem, Stem::Patches { patch_size, stride } if patch_size == stride);
    side_by_side && config.pooling == Pooling::ClassToken
}

/// Copies a file's weights into a network with plain patches and a class token.
///
/// # Errors
/// [`crate::error::Error::Io`] when the file cannot be read; [`crate::error::Error::Checkpoint`] when it is damaged or does not fit
/// the network, with the tensors that are missing, in excess and of another shape.
pub fn load(path: &Path, vs: &VarStore) -> Result<()> {
    let next = "Save a ViTForImageClassification, and name a TinyAstConfig of its shape.";
    weights::copy(path, vs, NAMES, next)
}
