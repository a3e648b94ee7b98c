//! The released model answers before anything is downloaded or trained, and its sheet describes it.
#![cfg(feature = "torch")]

#[path = "support/sounds.rs"]
mod sounds;

use std::fs;
use std::path::Path;

use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::front_end::audio::Waveform;
use audio_transformer::internals::model::tensors::Precision;
use audio_transformer::internals::results::cross_validate::CrossValidation;
use audio_transformer::internals::results::export;
use audio_transformer::internals::results::predict::{Classifier, RELEASED};
use audio_transformer::internals::results::release::{Sheet, onnx_path, record_path};
use audio_transformer::internals::training::checkpoint::{self, Checkpoint};
use tch::Device;

const ESC10: [&str; 10] = [
    "chainsaw",
    "clock_tick",
    "crackling_fire",
    "crying_baby",
    "dog",
    "helicopter",
    "rain",
    "rooster",
    "sea_waves",
    "sneezing",
];

fn sheet() -> Sheet {
    serde_json::from_slice(&fs::read(Path::new(RELEASED).with_extension("json")).unwrap()).unwrap()
}

#[test]
fn it_answers_with_the_ten_classes_of_esc10() {
    let mut classifier = Classifier::released().unwrap();
    let prediction = classifier.predict(&demo::synthesize(0, 5, 1, 0, 0), Path::new("clicks")).unwrap();
    let mut labels: Vec<&str> = prediction.ranked.iter().map(|(label, _)| label.as_str()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ESC10);
    let total: f32 = prediction.ranked.iter().map(|(_, probability)| probability).sum();
    assert!((total - 1.0).abs() < 1e-4, "{total}");
}

#[test]
fn its_file_is_small_and_is_what_its_sheet_says() {
    assert!(fs::metadata(RELEASED).unwrap().len() <= 4_000_000);
    let (sheet, info) = (sheet(), checkpoint::load(Path::new(RELEASED), Device::Cpu).unwrap().info);
    assert_eq!(info.test_fold, sheet.released_fold);
    assert_eq!((info.train.seed, info.epoch), (sheet.seeds[0], sheet.settings.train.epochs));
    assert_eq!(info.model, sheet.settings.model);
    assert_eq!(info.model.n_parameters(info.labels.len()), Some(sheet.parameters));
}

#[test]
fn the_means_of_its_sheet_follow_from_the_folds() {
    let sheet = sheet();
    // Two seeds tell what chance does to a recipe.
    assert!(sheet.seeds.len() >= 2);
    let accuracies: Vec<&Vec<f64>> = sheet.fold_accuracies.iter().map(|seed| &seed.accuracies).collect();
    assert!(accuracies.iter().all(|folds| folds.len() == 5));
    let mean = |n_folds: usize| {
        let all: Vec<f64> = accuracies.iter().flat_map(|folds| folds[..n_folds].to_vec()).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    assert!((mean(4) - sheet.mean_accuracy).abs() < 1e-9);
    assert!((mean(5) - sheet.mean_accuracy_all).abs() < 1e-9);
    let words = fs::read_to_string(Path::new(RELEASED).with_extension("md")).unwrap();
    for share in [sheet.mean_accuracy, sheet.released_accuracy] {
        let percent = format!("{:.2} %", 100.0 * share);
        assert!(words.contains(&percent), "the data sheet does not say {percent}");
    }
}

#[test]
fn its_sheet_is_counted_from_the_record_of_all_runs() {
    let (sheet, record) = (sheet(), CrossValidation::load(&record_path(Path::new(RELEASED))).unwrap());
    assert_eq!(record.seeds(), sheet.seeds);
    for seed in &sheet.fold_accuracies {
        let folds: Vec<(u32, f64)> = (1..).zip(seed.accuracies.iter().copied()).collect();
        assert_eq!(record.accuracies(seed.seed), folds);
        // Every clip of ESC-10 is held out by one of the folds.
        let mut clips: Vec<String> =
            record.pooled(seed.seed).unwrap().clips.into_iter().map(|clip| clip.filename).collect();
        clips.sort_unstable();
        clips.dedup();
        assert_eq!(clips.len(), 400);
    }
    for run in &record.results {
        assert_eq!((run.evaluation.test_fold, run.evaluation.accuracy()), (run.fold, run.accuracy));
    }
}

/// Set, this test writes anew what it compares with.
const RENEW_VARIABLE: &str = "RENEW_GOLDEN";

#[test]
fn the_same_network_lies_beside_it_as_onnx() {
    let (dir, beside) = (tempfile::tempdir().unwrap(), onnx_path(Path::new(RELEASED)));
    let exported = dir.path().join("model.onnx");
    if std::env::var_os(RENEW_VARIABLE).is_some() {
        // The same weights, told as this version tells them.
        let Checkpoint { info, familiarity, vs, .. } = checkpoint::load(Path::new(RELEASED), Device::Cpu).unwrap();
        checkpoint::save(Path::new(RELEASED), &vs, &info, familiarity.as_ref(), Precision::Half).unwrap();
    }
    export::onnx(Path::new(RELEASED), &exported).unwrap();
    if std::env::var_os(RENEW_VARIABLE).is_some() {
        fs::copy(&exported, &beside).unwrap();
    }
    // Folding a batch norm into a convolution rounds as the processor does: the same to the last digits, not to the byte. On one with AVX-512
    // 98.8 % of the bytes were the same; of a network with other weights a twentieth would be. What it answers is held to further down.
    let (ours, shipped) = (fs::read(&exported).unwrap(), fs::read(&beside).unwrap());
    assert_eq!(ours.len(), shipped.len(), "RENEW_GOLDEN=1 cargo test --test released writes it anew");
    let same = ours.iter().zip(&shipped).filter(|(a, b)| a == b).count();
    assert!(same as f64 > 0.95 * ours.len() as f64, "{same} of {} bytes", ours.len());
}

/// What `tests/onnx.rs` holds the network without libtorch to: sounds by their numbers, and the answers of the one with it.
#[test]
fn its_answers_are_those_that_the_network_without_libtorch_is_held_to() {
    let mut classifier = Classifier::released().unwrap();
    let path = Path::new("tests/golden/onnx/answers.json");
    let mut answer = |sound: &Waveform| {
        let prediction = classifier.predict(sound, Path::new("sound")).unwrap();
        serde_json::json!({
            "labels": prediction.ranked.iter().map(|(label, _)| label).collect::<Vec<_>>(),
            "probabilities": prediction.ranked.iter().map(|(_, probability)| probability).collect::<Vec<_>>(),
            "windows": prediction.windows,
            "standing": prediction.standing.word(),
            "embedding": classifier.embedding(sound).unwrap(),
        })
    };
    let ours: Vec<serde_json::Value> = sounds::all().iter().map(&mut answer).collect();
    if std::env::var_os(RENEW_VARIABLE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_string(&ours).unwrap() + "\n").unwrap();
    }
    let golden: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(ours.len(), golden.len());
    for (ours, golden) in ours.iter().zip(&golden) {
        for key in ["labels", "windows", "standing"] {
            assert_eq!(ours[key], golden[key]);
        }
        assert!(sounds::difference(&ours["probabilities"], &golden["probabilities"]) < 1e-5);
        assert!(sounds::difference(&ours["embedding"], &golden["embedding"]) < 1e-4);
    }
}
