//! A block in the terms of ONNX.

use super::block::{Attention, Block};
use crate::model::onnx::{Graph, Value};

impl Block {
    /// As [`Block::forward`] outside training: `n_first` of the tokens, or all.
    pub(crate) fn onnx(&self, graph: &mut Graph, name: &str, tokens: &Value, n_first: Option<i64>) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let normed = graph.layer_norm(&part("norm1"), &self.norm1, self.eps, tokens);
        let attended = self.attention.onnx(graph, &part("attention"), &normed, n_first);
        let kept = match n_first {
            Some(n_first) => graph.first(name, tokens, 1, n_first),
            None => tokens.clone(),
        };
        let tokens = graph.add(name, &kept, &attended);
        let normed = graph.layer_norm(&part("norm2"), &self.norm2, self.eps, &tokens);
        let hidden = graph.linear(&part("mlp.fc1"), &self.fc1, &normed);
        let hidden = graph.gelu(&part("mlp"), &hidden);
        let mlp = graph.linear(&part("mlp.fc2"), &self.fc2, &hidden);
        graph.add(name, &tokens, &mlp)
    }
}

impl Attention {
    fn onnx(&self, graph: &mut Graph, name: &str, tokens: &Value, n_first: Option<i64>) -> Value {
        let dim = self.qkv.ws.size()[1];
        let head_dim = dim / self.num_heads;
        let (query, keys_and_values) = match n_first {
            None => {
                let all = graph.linear(&format!("{name}.qkv"), &self.qkv, tokens);
                let [query, key, value] = graph.split(name, &all, 2, dim);
                (query, [key, value])
            }
            Some(n_first) => {
                let first = graph.first(name, tokens, 1, n_first);
                let (weight, bias) = self.rows(0, dim);
                let query = graph.affine(&format!("{name}.q"), &weight, bias.as_ref(), &first);
                let (weight, bias) = self.rows(dim, 2 * dim);
                let others = graph.affine(&format!("{name}.kv"), &weight, bias.as_ref(), tokens);
                (query, graph.split(name, &others, 2, dim))
            }
        };
        let mut heads = |part: &Value, axes: &[i64]| {
            let parts = graph.reshape(name, part, &[0, 0, self.num_heads, head_dim]);
            graph.transpose(name, &parts, axes)
        };
        let [key, value] = &keys_and_values;
        let query = heads(&query, &[0, 2, 1, 3]); // (B, heads, T, D / heads)
        let key = heads(key, &[0, 2, 3, 1]); // (B, heads, D / heads, T)
        let value = heads(value, &[0, 2, 1, 3]);
        let query = graph.scale(name, &query, (head_dim as f64).powf(-0.5));
        let weights = graph.matmul(name, &query, &key);
        let weights = graph.softmax(name, -1, &weights);
        let mixed = graph.matmul(name, &weights, &value);
        let mixed = graph.transpose(name, &mixed, &[0, 2, 1, 3]);
        let mixed = graph.reshape(name, &mixed, &[0, 0, dim]);
        graph.linear(&format!("{name}.proj"), &self.proj, &mixed)
    }
}
