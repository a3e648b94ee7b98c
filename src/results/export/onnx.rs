//! A network as one `.onnx` file.

use serde_json::json;

use crate::error::Result;
use crate::model::onnx::{Graph, Side, Weights};
use crate::model::pretrained::{Architecture, Pretrained};
use crate::training::checkpoint::Checkpoint;
use crate::training::described::{FAMILIARITY_KEY, INFO_KEY, OUTPUTS};
use crate::training::seal::seal;

/// The key of the labels, a list as JSON in the order of the logits.
const LABELS_KEY: &str = "labels";
/// The file of a checkpoint's network: views `(batch, 1, n_mels, n_frames)` → logits `(batch, classes)`, what the head sees
/// `(batch, embed_dim)` and, where the checkpoint knows how recordings like its own lie, whitened numbers `(batch, n)` to be compared with
/// the means in the metadata.
pub(super) fn of_checkpoint(network: &Checkpoint, weights: Weights) -> Result<Vec<u8>> {
    let Checkpoint { info, model, familiarity, .. } = network;
    let mut graph = Graph::new(weights);
    let views = graph.input(&model.onnx_input());
    let stages = model.onnx(&mut graph, &views);
    let rows = |n: usize| [Side::Any("batch"), Side::Is(n)];
    graph.output(OUTPUTS[0], &stages.logits, &rows(info.labels.len()));
    graph.output(OUTPUTS[1], &stages.late, &rows(info.model.embed_dim));
    let (told, labels) = (json!(info).to_string(), json!(info.labels).to_string());
    let mut about = vec![(INFO_KEY, told.as_str()), (LABELS_KEY, labels.as_str())];
    let reference = familiarity.as_ref().map(|familiarity| json!(familiarity.reference()).to_string());
    if let (Some(familiarity), Some(reference)) = (familiarity, &reference) {
        let white = familiarity.onnx(&mut graph, &stages.early, &stages.late);
        graph.output(OUTPUTS[2], &white, &rows(familiarity.reference().means.ncols()));
        about.push((FAMILIARITY_KEY, reference));
    }
    graph.into_file("TinyAst", &about).map(seal)
}

/// The file of a CED or an AST: its features `(batch, ..)` → logits `(batch, classes)` and what the head sees `(batch, embed_dim)`. The metadata holds
/// the labels and the two files that describe it to transformers.
pub(super) fn of_pretrained(network: &Pretrained, weights: Weights) -> Result<Vec<u8>> {
    let mut graph = Graph::new(weights);
    let (name, [logits, embedding]) = match network.architecture() {
        Architecture::Ced(ced) => {
            let features = graph.input(&ced.onnx_input());
            ("Ced", ced.onnx(&mut graph, &features))
        }
        Architecture::Ast(ast) => {
            let features = graph.input(&ast.onnx_input());
            ("Ast", ast.onnx(&mut graph, &features))
        }
    };
    let rows = |n: usize| [Side::Any("batch"), Side::Is(n)];
    graph.output(OUTPUTS[0], &logits, &rows(network.labels().len()));
    graph.output(OUTPUTS[1], &embedding, &rows(network.embed_dim() as usize));
    let (labels, [config, preprocessor]) = (json!(network.labels()).to_string(), network.descriptions_now());
    let about = [(LABELS_KEY, labels.as_str()), ("config", &config), ("preprocessor_config", &preprocessor)];
    graph.into_file(name, &about).map(seal)
}
