//! The Audio Spectrogram Transformer (Gong et al. 2021, <https://arxiv.org/abs/2104.01778>), as Hugging Face's
//! `ASTForAudioClassification` has it.

mod config;
mod network;
mod onnx;

pub use config::AstConfig;
pub use network::Ast;

use crate::model::names::Names;

/// Our parameters and theirs.
pub const NAMES: Names = &[
    ("patch_embed", &["audio_spectrogram_transformer.embeddings.patch_embeddings.projection"]),
    ("cls_token", &["audio_spectrogram_transformer.embeddings.cls_token"]),
    ("distillation_token", &["audio_spectrogram_transformer.embeddings.distillation_token"]),
    ("pos_embed", &["audio_spectrogram_transformer.embeddings.position_embeddings"]),
    ("blocks.{}.norm1", &["audio_spectrogram_transformer.encoder.layer.{}.layernorm_before"]),
    (
        "blocks.{}.attention.qkv",
        &[
            "audio_spectrogram_transformer.encoder.layer.{}.attention.attention.query",
            "audio_spectrogram_transformer.encoder.layer.{}.attention.attention.key",
            "audio_spectrogram_transformer.encoder.layer.{}.attention.attention.value",
        ],
    ),
    ("blocks.{}.attention.proj", &["audio_spectrogram_transformer.encoder.layer.{}.attention.output.dense"]),
    ("blocks.{}.norm2", &["audio_spectrogram_transformer.encoder.layer.{}.layernorm_after"]),
    ("blocks.{}.mlp.fc1", &["audio_spectrogram_transformer.encoder.layer.{}.intermediate.dense"]),
    ("blocks.{}.mlp.fc2", &["audio_spectrogram_transformer.encoder.layer.{}.output.dense"]),
    ("norm", &["audio_spectrogram_transformer.layernorm"]),
    ("head_norm", &["classifier.layernorm"]),
    ("head", &["classifier.dense"]),
];
