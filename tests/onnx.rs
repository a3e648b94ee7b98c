//! The released network without libtorch says what it says with it, and files that are none of ours are told.
#![cfg(feature = "onnx")]

#[path = "support/sounds.rs"]
mod sounds;

use std::fs;
use std::path::Path;

use audio_transformer::audio::write_wav;
use audio_transformer::{Error, OnnxClassifier};
use serde_json::{Value, json};

const RELEASED: &str = "data/models/tinyast-esc10.onnx";

#[test]
fn every_sound_is_heard_as_with_libtorch() {
    // Written by `RENEW_GOLDEN=1 cargo test --test released`, which holds it to the network with libtorch.
    let golden: Vec<Value> = serde_json::from_slice(&fs::read("tests/golden/onnx/answers.json").unwrap()).unwrap();
    let mut classifier = OnnxClassifier::load(Path::new(RELEASED)).unwrap();
    let sounds = sounds::all();
    assert_eq!(golden.len(), sounds.len());
    for (sound, golden) in sounds.iter().zip(&golden) {
        let prediction = classifier.predict(sound, Path::new("sound")).unwrap();
        let (labels, probabilities): (Vec<_>, Vec<_>) = prediction.ranked.iter().cloned().unzip();
        assert_eq!(json!(labels), golden["labels"]);
        assert_eq!(
            (json!(prediction.windows), json!(prediction.standing.word())),
            (golden["windows"].clone(), golden["standing"].clone())
        );
        assert!(sounds::difference(&json!(probabilities), &golden["probabilities"]) < 1e-4);
        assert!(sounds::difference(&json!(classifier.embedding(sound).unwrap()), &golden["embedding"]) < 1e-3);
    }
}

#[test]
fn a_file_is_heard_as_its_samples_are() {
    let dir = tempfile::tempdir().unwrap();
    let (path, sound) = (dir.path().join("bell.wav"), &sounds::all()[0]);
    write_wav(&path, sound).unwrap();
    let mut classifier = OnnxClassifier::load(Path::new(RELEASED)).unwrap();
    let of_file = classifier.predict_file(&path).unwrap();
    assert_eq!(of_file.ranked[0].0, classifier.predict(sound, &path).unwrap().ranked[0].0);
    assert!(classifier.predict_file(&dir.path().join("none.wav")).is_err());
}

/// The entry of the metadata that ends an exported file.
const SEAL_LEN: usize = 42;

#[test]
fn a_damaged_or_strange_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    assert!(matches!(OnnxClassifier::load(&path), Err(Error::Io { .. })));
    let whole = fs::read(RELEASED).unwrap();
    let refused = |bytes: &[u8], why: &str| {
        fs::write(&path, bytes).unwrap();
        match OnnxClassifier::load(&path) {
            Err(Error::Checkpoint { path: named, .. }) => assert_eq!(named, path),
            Err(error) => panic!("{why}: {error}"),
            Ok(_) => panic!("{why}: taken"),
        }
    };
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length], "cut");
    }
    refused(b"no network", "text");
    // A bit that tipped over: in the graph, in the weights, in the hash.
    for place in [100, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        refused(&bytes, "a bit");
    }
    // Another word of the same length where the metadata say one, in a file without the hash, which would tell it first.
    let unsealed = &whole[..whole.len() - SEAL_LEN];
    fs::write(&path, unsealed).unwrap();
    assert!(OnnxClassifier::load(&path).is_ok());
    let with = |word: &str, other: &str| {
        let mut bytes = unsealed.to_vec();
        let is_word = |window: &[u8]| window == word.as_bytes();
        let place = bytes.windows(word.len()).rposition(is_word).unwrap();
        bytes[place..place + word.len()].copy_from_slice(other.as_bytes());
        bytes
    };
    refused(&with(r#""embed_dim":96"#, r#""embed_dim":92"#), "an embedding of another size");
    refused(&with(r#""n_mels":64"#, r#""n_mels":32"#), "other features");
    refused(&with("audio_transformer", "audio_transformed"), "another's network");
    refused(&with(r#""distances""#, r#""distancez""#), "nothing to compare with");
}

/// ALSA reads a file in place of a microphone, as fast as it is asked for.
#[test]
#[cfg(all(feature = "microphone", not(feature = "torch"), target_os = "linux"))]
fn the_program_names_what_the_microphone_hears() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let tests = std::env::current_exe().unwrap();
    let command = tests.ancestors().nth(2).unwrap().join("examples").join("predict");
    let dir = tempfile::tempdir().unwrap();
    let (heard, settings) = (dir.path().join("heard.raw"), dir.path().join("alsa.conf"));
    let noise = &sounds::all()[9];
    let samples = noise.samples.iter().cycle().take(60 * 48_000);
    fs::write(&heard, samples.flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let microphone = format!(
        "pcm.default {{ type file slave.pcm {{ type null }} file \"/dev/null\" infile \"{}\" format \"raw\" }}",
        heard.display()
    );
    fs::write(&settings, microphone).unwrap();
    let start = |settings: &Path| {
        let mut program = Command::new(&command);
        program.args(["--top", "1", "--microphone"]).env("ALSA_CONFIG_PATH", settings).current_dir(dir.path());
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut program = start(&settings);
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut said = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let whole = said.find(|said| said["duration_s"].as_f64().unwrap() >= 4.9).unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!((&whole["top"][0]["label"], &whole["duration_s"]), (&json!("rain"), &json!(5.0)));
    assert!(whole["file"].as_str().unwrap().starts_with("microphone 20"), "{whole}");
    // No microphone at all.
    fs::write(&settings, "").unwrap();
    let output = start(&settings).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("microphone"), "{output:?}");
}

/// The program that a machine without libtorch gets; cargo builds it for `cargo test`.
#[test]
#[cfg(not(feature = "torch"))]
fn the_program_answers_with_the_network_inside_it() {
    let tests = std::env::current_exe().unwrap();
    let command = tests.ancestors().nth(2).unwrap().join("examples").join("predict");
    let dir = tempfile::tempdir().unwrap();
    write_wav(&dir.path().join("noise.wav"), &sounds::all()[9]).unwrap();
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(&command).args(arguments).current_dir(dir.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (status, said, _) = run(&["noise.wav"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["file"], &said["top"][0]["label"]), (Some(0), &json!("noise.wav"), &json!("rain")));
    fs::copy(RELEASED, dir.path().join("same.ONNX")).unwrap();
    let (status, same, _) = run(&["--model", "same.ONNX", "noise.wav"]);
    assert_eq!((status, serde_json::from_str::<Value>(&same).unwrap()), (Some(0), said));
    for arguments in [["--model", "m.safetensors"], ["--teach", "sounds"], ["--model", "none.onnx"]] {
        let (status, _, reason) = run(&[&arguments[..], &["noise.wav"]].concat());
        assert_eq!(status, Some(2));
        assert!(reason.contains("without libtorch") || reason.contains("none.onnx"), "{reason}");
    }
}
