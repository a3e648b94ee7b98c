//! An AST in the terms of ONNX.

use super::network::{Ast, N_OWN};
use crate::model::onnx::{Graph, Input, Side, Value};

impl Ast {
    /// `(batch, n_frames, n_mels)`.
    pub(crate) fn onnx_input(&self) -> Input {
        let (n_frames, n_mels) = (self.config.max_length, self.config.num_mel_bins);
        Input { name: "features", shape: vec![Side::Any("batch"), Side::Is(n_frames), Side::Is(n_mels)] }
    }

    /// The layers outside training, from features `(batch, n_frames, n_mels)`: logits `(batch, classes)`, and what the head sees,
    /// `(batch, embed_dim)`.
    pub(crate) fn onnx(&self, graph: &mut Graph, features: &Value) -> [Value; 2] {
        let (config, dim) = (&self.config, self.config.hidden_size as i64);
        let map = graph.transpose("features", features, &[0, 2, 1]);
        let map = graph.one_channel("features", &map);
        let stride = [config.frequency_stride as i64, config.time_stride as i64];
        let map = graph.patches("patch_embed", &self.patch_embed, stride, &map);
        let tokens = graph.reshape("patch_embed", &map, &[0, dim, -1]);
        let tokens = graph.transpose("patch_embed", &tokens, &[0, 2, 1]);
        let own =
            [("cls_token", &self.cls_token), ("distillation_token", &self.distillation_token)].map(|(name, token)| {
                let token = graph.constant(name, token);
                graph.once_each(name, &token, &tokens)
            });
        let tokens = graph.concat("tokens", 1, &[&own[0], &own[1], &tokens]);
        let positions = graph.constant("pos_embed", &self.pos_embed);
        let mut tokens = graph.add("tokens", &tokens, &positions);
        for (i, block) in self.blocks.iter().enumerate() {
            let last = i + 1 == self.blocks.len();
            tokens = block.onnx(graph, &format!("blocks.{i}"), &tokens, last.then_some(N_OWN));
        }
        let own = graph.first("tokens", &tokens, 1, N_OWN);
        let own = graph.layer_norm("norm", &self.norm, config.layer_norm_eps, &own);
        let embedding = graph.mean("embedding", 1, &own);
        let normed = graph.layer_norm("head_norm", &self.head_norm, config.layer_norm_eps, &embedding);
        [graph.linear("head", &self.head, &normed), embedding]
    }
}
