//! TinyAST against Hugging Face's `ViTForImageClassification`: the same weights give the same logits and gradients.
//! `tests/golden/model/make_golden.py` wrote the files.
#![cfg(feature = "torch")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::Error;
use audio_transformer::config::{Preset, Stem, TinyAstConfig};
use audio_transformer::internals::model::names;
use audio_transformer::internals::model::tiny_ast::{TinyAst, hugging_face};
use safetensors::SafeTensors;
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

const NUM_CLASSES: usize = 5;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model").join(name)
}

/// The shape of the golden network.
fn config() -> TinyAstConfig {
    TinyAstConfig {
        input_size: (24, 40),
        stem: Stem::patches(8),
        embed_dim: 32,
        depth: 2,
        num_heads: 4,
        mlp_ratio: 2,
        ..Default::default()
    }
}

fn fresh(config: &TinyAstConfig) -> (VarStore, TinyAst) {
    let vs = VarStore::new(Device::Cpu);
    let model = TinyAst::new(vs.root(), config, NUM_CLASSES, 0).unwrap();
    (vs, model)
}

/// The golden network, and the batch it was given: inputs, targets, logits.
fn loaded() -> (VarStore, TinyAst, [Tensor; 3]) {
    let (vs, model) = fresh(&config());
    hugging_face::load(&golden("vit.safetensors"), &vs).unwrap();
    let batch = Tensor::read_safetensors(golden("batch.safetensors")).unwrap();
    let named = |name: &str| batch.iter().find(|(own, _)| own == name).unwrap().1.shallow_clone();
    (vs, model, ["inputs", "targets", "logits"].map(named))
}

fn largest_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    (ours - theirs).abs().max().double_value(&[])
}

#[test]
fn the_logits_are_those_of_hugging_face() {
    let (_vs, model, [inputs, _, logits]) = loaded();
    for train in [false, true] {
        let difference = largest_difference(&tch::no_grad(|| model.forward_t(&inputs, train)), &logits);
        println!("largest difference of a logit: {difference:e}");
        assert!(difference < 1e-5, "{difference:e}");
    }
}

#[test]
fn the_gradients_are_those_of_hugging_face() {
    let (vs, model, [inputs, targets, _]) = loaded();
    model.forward_t(&inputs, true).cross_entropy_for_logits(&targets).backward();
    let bytes = fs::read(golden("gradients.safetensors")).unwrap();
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    let mut largest = 0.0f64;
    for (name, parameter) in vs.variables() {
        let gradient = names::stacked(&theirs, &names::names_of(hugging_face::NAMES, &name).unwrap()).unwrap();
        assert!(gradient.abs().max().double_value(&[]) > 1e-2, "{name}: a gradient too small to tell anything");
        let difference = largest_difference(&parameter.grad(), &gradient);
        assert!(difference < 1e-4, "{name}: {difference:e}");
        largest = largest.max(difference);
    }
    println!("largest difference of a gradient: {largest:e}");
}

#[test]
fn every_tensor_of_the_file_has_its_place_and_only_one() {
    let (vs, ..) = loaded();
    let names = vs.variables().into_keys().flat_map(|name| names::names_of(hugging_face::NAMES, &name).unwrap());
    let mut used: Vec<String> = names.collect();
    used.sort();
    let file = Tensor::read_safetensors(golden("vit.safetensors")).unwrap();
    let mut in_file: Vec<String> = file.into_iter().map(|(name, _)| name).collect();
    in_file.sort();
    assert_eq!(used, in_file);
    assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len());
}

/// What `load` says of the golden file after a change.
fn refusal(change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changed.safetensors");
    let mut tensors = Tensor::read_safetensors(golden("vit.safetensors")).unwrap();
    change(&mut tensors);
    Tensor::write_safetensors(&tensors, &path).unwrap();
    refused(&path, &config())
}

/// What `load` says of a file that does not fit.
fn refused(path: &Path, config: &TinyAstConfig) -> String {
    let (vs, _model) = fresh(config);
    let error = hugging_face::load(path, &vs).unwrap_err();
    assert!(matches!(&error, Error::Checkpoint { path: named, .. } if named == path), "{error}");
    error.to_string()
}

fn with(tensors: &mut [(String, Tensor)], name: &str, change: impl Fn(&Tensor) -> Tensor) {
    let (_, tensor) = tensors.iter_mut().find(|(own, _)| own == name).unwrap();
    *tensor = change(tensor).contiguous();
}

const KEY: &str = "vit.encoder.layer.1.attention.attention.key.weight";

#[test]
fn a_missing_tensor_is_named() {
    let message = refusal(|tensors| tensors.retain(|(name, _)| name != KEY));
    assert!(message.contains(&format!("missing {KEY}")), "{message}");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let message = refusal(|tensors| with(tensors, "classifier.weight", |head| head.narrow(0, 0, 4)));
    assert!(message.contains("classifier.weight as [4, 32] in place of [5, 32]"), "{message}");
    for unstackable in [|key: &Tensor| key.narrow(1, 0, 31), |key: &Tensor| key.sum(Kind::Float)] {
        let message = refusal(|tensors| with(tensors, KEY, unstackable));
        assert!(message.contains(&format!("{KEY} as [")) && message.contains("in place of [32, 32]"), "{message}");
    }
}

#[test]
fn a_tensor_of_another_type_is_named_with_it() {
    let message = refusal(|tensors| with(tensors, KEY, |key| key.to_kind(Kind::Double)));
    assert!(message.contains(&format!("{KEY} as F64")), "{message}");
}

#[test]
fn a_file_of_more_layers_than_the_network_has_is_refused() {
    let message = refused(&golden("vit.safetensors"), &TinyAstConfig { depth: 1, ..config() });
    assert!(message.contains("unexpected vit.encoder.layer.1."), "{message}");
}

#[test]
fn a_network_of_another_shape_is_refused() {
    let path = golden("vit.safetensors");
    let message = refused(&path, &TinyAstConfig { input_size: (40, 40), ..config() });
    assert!(message.contains("position_embeddings as [1, 16, 32] in place of [1, 26, 32]"), "{message}");
    let message = refused(&path, &TinyAstConfig { depth: 3, ..config() });
    assert!(message.contains("missing vit.encoder.layer.2."), "{message}");
    let TinyAstConfig { input_size, stem, .. } = Preset::Good.model();
    let message = refused(&path, &TinyAstConfig { input_size, stem, ..config() });
    assert!(message.contains("a name for stem."), "{message}");
}

#[test]
fn a_damaged_file_is_refused_wherever_it_is_cut() {
    let whole = fs::read(golden("vit.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.safetensors");
    for length in [0, 7, 8, 1000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let message = refused(&path, &config());
        assert!(message.contains("expected a whole safetensors file"), "cut to {length} bytes: {message}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (vs, _model) = fresh(&config());
    let error = hugging_face::load(Path::new("nowhere/vit.safetensors"), &vs).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("nowhere/vit.safetensors"), "{error}");
}
