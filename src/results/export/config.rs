//! The `config.json` beside exported weights.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{Convolution, Pooling};
use crate::model::tiny_ast::LAYER_NORM_EPS;
use crate::model::transformer::INIT_STDEV;
use crate::training::checkpoint::CheckpointInfo;

/// The architecture in the terms of Hugging Face's `ViTConfig`.
#[derive(Serialize)]
pub(super) struct ViTFile<'a> {
    architectures: [&'static str; 1],
    model_type: &'static str,
    image_size: (usize, usize),
    patch_size: usize,
    num_channels: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: &'static str,
    hidden_dropout_prob: f64,
    attention_probs_dropout_prob: f64,
    qkv_bias: bool,
    layer_norm_eps: f64,
    initializer_range: f64,
    id2label: BTreeMap<usize, &'a str>,
    label2id: BTreeMap<&'a str, usize>,
    audio_transformer: &'a CheckpointInfo,
}

impl<'a> ViTFile<'a> {
    pub(super) fn new(info: &'a CheckpointInfo) -> Self {
        let model = &info.model;
        let labels = || info.labels.iter().map(String::as_str);
        ViTFile {
            architectures: ["ViTForImageClassification"],
            model_type: "vit",
            image_size: model.input_size,
            patch_size: model.projection().kernel.0,
            num_channels: 1,
            hidden_size: model.embed_dim,
            num_hidden_layers: model.depth,
            num_attention_heads: model.num_heads,
            intermediate_size: model.embed_dim * model.mlp_ratio,
            hidden_act: "gelu",
            hidden_dropout_prob: model.dropout,
            attention_probs_dropout_prob: model.dropout,
            qkv_bias: true,
            layer_norm_eps: LAYER_NORM_EPS,
            initializer_range: INIT_STDEV,
            id2label: labels().enumerate().collect(),
            label2id: labels().zip(0..).collect(),
            audio_transformer: info,
        }
    }
}

/// The architecture in our own terms, layer by layer where a reader would have to work it out.
#[derive(Serialize)]
pub(super) struct TinyAstFile<'a> {
    architecture: &'static str,
    labels: &'a [String],
    network: Network,
    audio_transformer: &'a CheckpointInfo,
}

#[derive(Serialize)]
struct Network {
    input_size: (usize, usize),
    convolutions: Vec<Convolution>,
    projection: Convolution,
    n_tokens: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    mlp_ratio: usize,
    layer_norm_eps: f64,
    pooling: Pooling,
}

impl<'a> TinyAstFile<'a> {
    pub(super) fn new(info: &'a CheckpointInfo) -> Self {
        let model = &info.model;
        let network = Network {
            input_size: model.input_size,
            convolutions: model.convolutions(),
            projection: model.projection(),
            n_tokens: model.n_tokens(),
            embed_dim: model.embed_dim,
            depth: model.depth,
            num_heads: model.num_heads,
            mlp_ratio: model.mlp_ratio,
            layer_norm_eps: LAYER_NORM_EPS,
            pooling: model.pooling,
        };
        TinyAstFile { architecture: "TinyAst", labels: &info.labels, network, audio_transformer: info }
    }
}
