//! A CED in the terms of ONNX.

use super::network::{Ced, HEAD_NORM_EPS, LAYER_NORM_EPS};
use crate::model::onnx::{Graph, Input, Side, Value};

impl Ced {
    /// `(batch, n_mels, n_frames)`, of any number of frames up to `target_length`.
    pub(crate) fn onnx_input(&self) -> Input {
        let shape = vec![Side::Any("batch"), Side::Is(self.config.n_mels), Side::Any("n_frames")];
        Input { name: "features", shape }
    }

    /// The layers outside training, from features in dB `(batch, n_mels, n_frames)`, which batch norm over mel bands meets first: logits
    /// `(batch, classes)`, and what the head sees, `(batch, embed_dim)`.
    pub(crate) fn onnx(&self, graph: &mut Graph, features: &Value) -> [Value; 2] {
        let (config, dim) = (&self.config, self.config.embed_dim as i64);
        let (gain, shift) = self.init_bn.gain_and_shift();
        let gain = graph.constant("init_bn.gain", &gain);
        let shift = graph.constant("init_bn.shift", &shift);
        let map = graph.mul("init_bn", features, &gain);
        let map = graph.add("init_bn", &map, &shift);
        let map = graph.one_channel("init_bn", &map);
        let map = graph.patches("patch_embed", &self.patch_embed, [config.patch_stride as i64; 2], &map);
        let time = graph.constant("time_pos_embed", &self.time_pos_embed);
        let time = graph.first_as("time_pos_embed", &time, 3, &map);
        let map = graph.add("tokens", &map, &time);
        let frequency = graph.constant("freq_pos_embed", &self.freq_pos_embed);
        let map = graph.add("tokens", &map, &frequency);
        let tokens = graph.reshape("tokens", &map, &[0, dim, -1]);
        let mut tokens = graph.transpose("tokens", &tokens, &[0, 2, 1]);
        for (i, block) in self.blocks.iter().enumerate() {
            tokens = block.onnx(graph, &format!("blocks.{i}"), &tokens, None);
        }
        let tokens = graph.layer_norm("norm", &self.norm, LAYER_NORM_EPS, &tokens);
        let embedding = graph.mean("embedding", 1, &tokens);
        let normed = graph.layer_norm("head_norm", &self.head_norm, HEAD_NORM_EPS, &embedding);
        [graph.linear("head", &self.head, &normed), embedding]
    }
}
