//! TinyAST in the terms of ONNX.

use tch::Tensor;

use super::network::{LAYER_NORM_EPS, TinyAst};
use super::stem::StemLayers;
use crate::config::TinyAstConfig;
use crate::model::onnx::{Graph, Input, Side, Value};

/// What the network makes of each input.
pub(crate) struct Stages {
    /// `(batch, num_classes)`.
    pub logits: Value,
    /// The mean token behind the first block, `(batch, embed_dim)`.
    pub early: Value,
    /// What the head sees, `(batch, embed_dim)`.
    pub late: Value,
}

impl TinyAst {
    /// `(batch, 1, n_mels, n_frames)`.
    pub(crate) fn onnx_input(&self) -> Input {
        let (n_mels, n_frames) = self.config.input_size;
        Input { name: "views", shape: vec![Side::Any("batch"), Side::Is(1), Side::Is(n_mels), Side::Is(n_frames)] }
    }

    /// The layers outside training, from views `(batch, 1, n_mels, n_frames)`.
    pub(crate) fn onnx(&self, graph: &mut Graph, views: &Value) -> Stages {
        let mut tokens = self.stem.onnx(graph, &self.config, views); // (B, n_patches, D)
        if let Some(cls) = &self.cls_token {
            let cls = graph.constant("cls_token", cls);
            let cls = graph.once_each("cls_token", &cls, &tokens);
            tokens = graph.concat("tokens", 1, &[&cls, &tokens]);
        }
        let positions = graph.constant("pos_embed", &self.pos_embed);
        tokens = graph.add("tokens", &tokens, &positions);
        let mut early = None;
        for (i, block) in self.blocks.iter().enumerate() {
            // What the network makes of an input early is the mean of all tokens behind the first block.
            let lone = self.cls_token.is_some() && i + 1 == self.blocks.len();
            tokens = block.onnx(graph, &format!("blocks.{i}"), &tokens, lone.then_some(1));
            early.get_or_insert_with(|| graph.mean("early", 1, &tokens));
        }
        let early = early.unwrap_or_else(|| graph.mean("early", 1, &tokens));
        let tokens = graph.layer_norm("norm", &self.norm, LAYER_NORM_EPS, &tokens);
        let late = self.onnx_pool(graph, &tokens);
        let logits = graph.linear("head", &self.head, &late);
        Stages { logits, early, late }
    }

    fn onnx_pool(&self, graph: &mut Graph, tokens: &Value) -> Value {
        match &self.token_score {
            Some(score) => {
                let scores = graph.linear("token_score", score, tokens);
                let shares = graph.softmax("token_score", 1, &scores);
                let weighed = graph.mul("pool", tokens, &shares);
                graph.sum("pool", 1, &weighed)
            }
            // A class token is the only one left, or the first.
            None if self.cls_token.is_some() => {
                let first = graph.first("pool", tokens, 1, 1);
                graph.mean("pool", 1, &first)
            }
            None => graph.mean("pool", 1, tokens),
        }
    }
}

impl StemLayers {
    fn onnx(&self, graph: &mut Graph, config: &TinyAstConfig, views: &Value) -> Value {
        let mut map = views.clone();
        for (i, (layer, shape)) in self.convolutions.iter().zip(config.convolutions()).enumerate() {
            let name = format!("stem.{i}");
            let (kernels, bias) = layer.as_one();
            let (rows, columns) = (shape.kernel.0 as i64 / 2, shape.kernel.1 as i64 / 2);
            let stride = [shape.stride.0 as i64, shape.stride.1 as i64];
            map = graph.conv(&name, (&kernels, Some(&bias)), stride, [rows, columns], &map);
            map = graph.gelu(&name, &map);
        }
        let stride = config.projection().stride;
        map = graph.patches("patch_embed", &self.projection, [stride.0 as i64, stride.1 as i64], &map);
        flat(graph, &map, config.embed_dim)
    }
}

/// A map `(batch, embed_dim, rows, columns)` as tokens, row by row.
fn flat(graph: &mut Graph, map: &Value, embed_dim: usize) -> Value {
    let tokens = graph.reshape("patch_embed", map, &[0, embed_dim as i64, -1]);
    graph.transpose("patch_embed", &tokens, &[0, 2, 1])
}

impl super::stem::ConvNorm {
    /// Convolution and batch norm as one convolution: kernels and biases.
    fn as_one(&self) -> (Tensor, Tensor) {
        let norm = &self.norm;
        let n = norm.running_var.size()[0];
        let ones = || Tensor::ones([n], (tch::Kind::Float, norm.running_var.device()));
        let gain = norm.ws.as_ref().map_or_else(ones, Tensor::shallow_clone) / (&norm.running_var + NORM_EPS).sqrt();
        let shift = norm.bs.as_ref().map_or_else(|| ones() * 0.0, Tensor::shallow_clone) - &norm.running_mean * &gain;
        (&self.conv.ws * gain.view([-1, 1, 1, 1]), shift)
    }
}

/// Batch norm's epsilon, PyTorch's default.
const NORM_EPS: f64 = 1e-5;
