//! The Audio Spectrogram Transformer against golden data of transformers: features, hidden states, logits, gradients.
#![cfg(all(feature = "download", feature = "torch"))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use audio_transformer::internals::model::ast::Ast;
use audio_transformer::internals::model::pretrained::{Architecture, End, Hearing, Pretrained};
use audio_transformer::published::{AstFeatureConfig, AstFeatures};
use tch::{Device, IndexOp, Kind, Tensor};

/// Each of transformers' two paths is rounded in its own way; ours is held to both.
const PATHS: [&str; 2] = ["torchaudio", "numpy"];
/// Recordings, where they come from and their seconds.
const CLIPS: [(&str, &str, f64); 4] = [
    ("chirp_0_3s", "chirp_2_3s", 0.3),
    ("dog_5s", "dog_5s", 5.0),
    ("surf_10s", "surf_10s", 10.0),
    ("chirp_12s", "chirp_12_5s", 12.0),
];

fn golden(name: &str) -> PathBuf {
    Path::new("tests/golden/ast").join(name)
}

fn wave(name: &str) -> Vec<f32> {
    Vec::try_from(Tensor::read_npy(format!("tests/golden/ced/wave_{name}.npy")).unwrap()).unwrap()
}

fn answers(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_npz(path).unwrap().into_iter().collect()
}

fn largest_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    (ours - theirs).abs().max().double_value(&[])
}

fn ast(network: &Pretrained) -> &Ast {
    match network.architecture() {
        Architecture::Ast(network) => network,
        other => panic!("{other:?}"),
    }
}

#[test]
fn features_are_those_of_transformers_by_either_path() {
    let mut extractor = AstFeatures::new(&AstFeatureConfig::default()).unwrap();
    for (name, source, seconds) in CLIPS {
        let n_samples = (seconds * 16_000.0) as usize;
        let ours = extractor.extract(&wave(source)[..n_samples]).unwrap();
        let ours = Tensor::from_slice(ours.as_slice().unwrap()).view([1024, 128]).slice(0, 0, 1024, 4);
        let theirs = answers(&golden(&format!("features_{name}.npz")));
        for path in PATHS {
            let difference = largest_difference(&ours, &theirs[path]);
            println!("{name}, {path}: {difference:.1e}");
            assert!(difference <= 1e-3, "{name}, {path}: {difference:e}");
        }
    }
}

fn check_states(network: &Pretrained, theirs: &BTreeMap<String, Tensor>, bound: f64) {
    let features = &theirs["features"];
    tch::no_grad(|| {
        let states = ast(network).hidden_states(features);
        for (i, state) in states.iter().enumerate() {
            let theirs = &theirs[&format!("hidden.{i}")];
            let difference = largest_difference(state, theirs);
            println!("layer {i}: {difference:.1e}");
            assert!(difference <= bound, "layer {i}: {difference:e}");
        }
        let pooled = network.embed(features, false);
        assert!(largest_difference(&pooled, &theirs["pooled"]) <= bound);
        let difference = largest_difference(&network.logits(&pooled), &theirs["logits"]);
        println!("logits: {difference:.1e}");
        assert!(difference <= bound, "logits: {difference:e}");
    });
}

#[test]
fn hidden_states_of_every_layer_and_logits_are_those_of_transformers() {
    let mut network = Pretrained::open(&golden("small"), Device::Cpu).unwrap();
    let theirs = answers(&golden("small.npz"));
    check_states(&network, &theirs, 1e-4);
    // From the waveform, by features of our own: the first 1.3 s, as there.
    let heard = network.hear(&wave("dog_5s")[..20_720]).unwrap();
    let difference = largest_difference(&network.logits(&heard.embedding()), &theirs["logits"]);
    println!("from the waveform: {difference:.1e}");
    assert!(difference <= 1e-3, "{difference:e}");
    assert_eq!((network.labels().len(), network.is_multi_label()), (7, false));
}

#[test]
fn the_loss_and_gradients_are_those_of_transformers() {
    let network = Pretrained::open(&golden("small"), Device::Cpu).unwrap();
    let theirs = answers(&golden("small.npz"));
    let logits = network.logits(&network.embed(&theirs["features"], true));
    let loss = logits.cross_entropy_for_logits(&Tensor::from_slice(&[3i64]));
    assert!((loss.double_value(&[]) - theirs["loss"].double_value(&[])).abs() <= 1e-4);
    loss.backward();
    let ours = network.variables().variables();
    let mut compared = 0;
    for (their_name, gradient) in &theirs {
        let Some(name) = their_name.strip_prefix("gradient.") else { continue };
        let (name, part) = our_name(name);
        let ours = ours[&name].grad();
        let ours = part.map_or(ours.shallow_clone(), |part| ours.chunk(3, 0).swap_remove(part));
        let difference = largest_difference(&ours, gradient) / gradient.abs().max().double_value(&[]);
        assert!(difference <= 1e-3, "{name}: {difference:e}");
        compared += 1;
    }
    assert_eq!(compared, 11);
}

/// Our name of one of their parameters, and which third of ours it is.
fn our_name(theirs: &str) -> (String, Option<usize>) {
    let name = theirs
        .replace("audio_spectrogram_transformer.", "")
        .replace("embeddings.patch_embeddings.projection", "patch_embed")
        .replace("embeddings.position_embeddings", "pos_embed")
        .replace("embeddings.", "")
        .replace("encoder.layer.", "blocks.")
        .replace("output.dense", "mlp.fc2")
        .replace("classifier.layernorm", "head_norm")
        .replace("classifier.dense", "head");
    let name = if name.starts_with("layernorm") { name.replace("layernorm", "norm") } else { name };
    for (part, kind) in ["query", "key", "value"].into_iter().enumerate() {
        if name.contains(kind) {
            return (name.replace(&format!("attention.attention.{kind}"), "attention.qkv"), Some(part));
        }
    }
    (name, None)
}

#[test]
fn of_a_shorter_input_the_positions_are_cut_from_the_middle() {
    let network = Pretrained::open(&golden("small"), Device::Cpu).unwrap();
    let theirs = answers(&golden("small.npz"));
    // 10 columns of patches, of which 4 are left: numbers 3 to 6.
    let short = theirs["features"].narrow(1, 0, 16 + 3 * 12);
    let tokens = tch::no_grad(|| ast(&network).hidden_states(&short).swap_remove(0));
    assert_eq!(tokens.size(), [1, 2 + 5 * 4, 48]);
    let positions = &network.variables().variables()["pos_embed"];
    // What the first patch of the second row is, without its position, does not depend on where it stands.
    let whole = &theirs["hidden.0"];
    let bare = whole.i((0, 2 + 10)) - positions.i((0, 2 + 10));
    let ours = tokens.i((0, 2 + 4)) - positions.i((0, 2 + 10 + 3));
    assert!(largest_difference(&ours, &bare) < 1e-5);
}

#[test]
fn a_long_recording_is_heard_in_windows_of_which_the_last_ends_with_it() {
    let mut network = Pretrained::open(&golden("small"), Device::Cpu).unwrap();
    let samples = wave("dog_5s");
    let heard = network.hear(&samples).unwrap();
    let seconds: Vec<String> = heard.pieces.iter().map(|(start, end)| format!("{start:.3} to {end:.3}")).collect();
    assert_eq!(seconds, ["0.000 to 1.295", "1.295 to 2.590", "2.590 to 3.885", "3.705 to 5.000"]);
    let last = network.hear(&samples[samples.len() - 20_720..]).unwrap();
    assert!(largest_difference(&heard.embeddings.narrow(0, 3, 1), &last.embeddings) < 1e-5);
    for n_samples in [0, 1, 399, 400] {
        let heard = network.hear(&samples[..n_samples]).unwrap();
        assert_eq!(network.probabilities(&heard.embedding()).isfinite().all().int64_value(&[]), 1);
    }
}

#[test]
fn a_recording_that_comes_in_blocks_is_heard_in_the_windows_of_the_whole() {
    const WINDOW: usize = 20_720;
    let mut network = Pretrained::open(&golden("small"), Device::Cpu).unwrap();
    let samples = wave("dog_5s");
    for n_samples in
        [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 159, WINDOW + 160, 2 * WINDOW, 2 * WINDOW + 1, 80_000]
    {
        let samples = &samples[..n_samples];
        let beyond = n_samples.saturating_sub(WINDOW);
        let last = if beyond < 160 { 0 } else { beyond };
        let starts: Vec<usize> = (0..last).step_by(WINDOW).chain([last]).collect();
        let alone = |network: &mut Pretrained, start: &usize| {
            network.hear(&samples[*start..n_samples.min(start + WINDOW)]).unwrap().embeddings
        };
        let expected: Vec<Tensor> = starts.iter().map(|start| alone(&mut network, start)).collect();
        for block in [1_000, 7_777, 160_000] {
            let mut hearing = Hearing::new(&network, None);
            samples.chunks(block).for_each(|block| hearing.take(&mut network, block).unwrap());
            let End::Heard(heard) = hearing.finish(&mut network).unwrap() else { panic!("an AST hears once") };
            let found: Vec<usize> = heard.pieces.iter().map(|(start, _)| (start * 16_000.0).round() as usize).collect();
            assert_eq!(found, starts, "{n_samples} samples");
            // Alone, or beside others in a batch: but for rounding.
            assert!(largest_difference(&heard.embeddings, &Tensor::cat(&expected, 0)) < 1e-5, "{n_samples} samples");
        }
    }
}

#[test]
fn shares_of_attention_lie_on_the_patches_and_add_up_to_one() {
    let network = Pretrained::open(&golden("small"), Device::Cpu).unwrap();
    let shares = ast(&network).listened_to(&answers(&golden("small.npz"))["features"]);
    assert_eq!(shares.size(), [1, 5, 10]);
    assert!((shares.sum(Kind::Float).double_value(&[]) - 1.0).abs() < 1e-5 && shares.min().double_value(&[]) >= 0.0);
}

/// `AST_FULL=DIR cargo test --test ast -- --ignored full`, behind `make_golden.py --full DIR`.
#[test]
#[ignore = "needs a network of 350 MB that tests/golden/ast/make_golden.py makes on request"]
fn a_network_of_full_size_answers_as_transformers() {
    let dir = PathBuf::from(std::env::var("AST_FULL").expect("AST_FULL: the folder of make_golden.py --full"));
    let network = Pretrained::open(&dir.join("full"), Device::Cpu).unwrap();
    check_states(&network, &answers(&dir.join("full.npz")), 1e-4);
}

/// With access to the hub: `cargo test --test ast -- --ignored published`. The figures are those of transformers' own tests.
#[test]
#[ignore = "fetches 350 MB from the hub"]
fn the_published_network_answers_as_published() {
    let hub = audio_transformer::hub::Hub::from_env();
    let mut network = Pretrained::named("hub:MIT/ast-finetuned-audioset-10-10-0.4593", &hub, Device::Cpu).unwrap();
    let path = std::env::var("AST_SOUND")
        .expect("AST_SOUND: sample_audio.flac of nielsr/audio-spectogram-transformer-checkpoint");
    let sound = audio_transformer::audio::read(Path::new(&path)).unwrap();
    assert_eq!(sound.sample_rate, 16_000);
    let heard = network.hear(&sound.samples).unwrap();
    let logits = network.logits(&heard.embedding());
    let first = Vec::<f32>::try_from(logits.i((0, ..3)).to_kind(Kind::Float)).unwrap();
    for (ours, theirs) in first.iter().zip([-0.8760, -7.0042, -8.6602]) {
        assert!((ours - theirs).abs() < 1e-3, "{first:?}");
    }
}
