//! The stages in their order on a small demo data set, as the notebook runs them.
#![cfg(feature = "torch")]

#[path = "support/demo_data.rs"]
mod demo_data;
#[path = "support/edited.rs"]
mod edited;

use std::fs;
use std::path::Path;

use audio_transformer::Error;
use audio_transformer::config::{Config, DataSource, LongClips, TrainConfig};
use audio_transformer::internals::dataset::acquire;
use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::dataset::preprocess;
use audio_transformer::internals::front_end::audio::{self, Waveform};
use audio_transformer::internals::results::evaluate;
use audio_transformer::internals::results::predict;
use audio_transformer::internals::training::history;
use audio_transformer::internals::training::paths;
use audio_transformer::internals::training::train;

fn config(dir: &Path) -> Config {
    Config {
        data: demo_data::data_under(dir),
        train: TrainConfig { epochs: 2, ..Default::default() },
        ..Default::default()
    }
}

#[test]
fn every_stage_follows_from_what_the_one_before_left_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());

    let missing = |result: Result<(), Error>, stage: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(&format!("run the stage \"{stage}\" first")), "{message}");
    };
    missing(preprocess::preprocess(&config).map(drop), "Download and verify");
    missing(train::train(&config).map(drop), "Preprocess");
    missing(evaluate::evaluate(&config).map(drop), "Preprocess");
    missing(predict::predict_folder(&config).map(drop), "Train");

    let catalog = acquire::acquire(&config).unwrap();
    assert_eq!(catalog.clips.len(), 50);
    assert_eq!(catalog.labels().len(), 10);

    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused, report.failed.len()), (50, 0, 0));
    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (0, 50), "a second run computes nothing");

    let report = train::train(&config).unwrap();
    assert_eq!(report.train_clips + report.validation_clips, 40, "the held-out fold is not touched");
    assert_eq!(history::read(&paths::history_path(&config)).unwrap(), report.history);

    let evaluation = evaluate::evaluate(&config).unwrap();
    assert_eq!(evaluation.clips.len(), 10);
    assert!(evaluation.clips.iter().all(|clip| clip.filename.starts_with("5-")));

    let empty = predict::predict_folder(&config).map(drop).unwrap_err().to_string();
    assert!(empty.contains("at least one audio file"), "{empty}");
    let examples = predict::copy_examples(&config, 4).unwrap();
    assert_eq!(examples.len(), 4);
    let result = predict::predict_folder(&config).unwrap();
    assert_eq!((result.predictions.len(), result.failed.len()), (4, 0));
    for prediction in &result.predictions {
        let total: f32 = prediction.ranked.iter().map(|(_, probability)| probability).sum();
        assert!((total - 1.0).abs() < 1e-4, "{total}");
        let scored = evaluation.clips.iter().find(|clip| prediction.path.ends_with(&clip.filename)).unwrap();
        let (label, probability) = &prediction.ranked[0];
        assert_eq!(*label, evaluation.labels[scored.predicted], "inference agrees with evaluation");
        assert!((probability - scored.probabilities[scored.predicted]).abs() < 1e-4);
    }
}

#[test]
fn the_same_seed_trains_the_same_weights_to_the_bit_and_another_seed_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    let mut weights_of = |name: &str, seed: u64| {
        config.train.run_name = name.into();
        config.train.seed = seed;
        let report = train::train(&config).unwrap();
        let bytes = fs::read(&report.checkpoint).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    let first = weights_of("a", 0);
    assert!(first == weights_of("b", 0));
    assert!(first != weights_of("c", 1));
}

#[test]
fn only_what_changed_is_preprocessed_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let catalog = acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();

    let clip = catalog.path(&catalog.clips[7]);
    let other = catalog.path(&catalog.clips[8]);
    fs::copy(&other, &clip).unwrap();
    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (1, 49), "a changed recording");

    fs::remove_file(config.data.processed_dir.join("1-0000-A-0.npy")).unwrap();
    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (1, 49), "a lost spectrogram");

    config.features.n_mels = 32;
    let stale = train::train(&config).map(drop).unwrap_err();
    assert!(matches!(stale, Error::Features { .. }), "{stale}");
    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (50, 0), "other settings");
}

#[test]
fn one_unreadable_recording_is_listed_and_does_not_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let catalog = acquire::acquire(&config).unwrap();
    fs::write(catalog.path(&catalog.clips[3]), b"no sound at all").unwrap();
    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.failed.len()), (49, 1));
    let message = report.to_string();
    assert!(message.contains(&catalog.clips[3].filename), "{message}");
}

#[test]
fn a_checkpoint_for_other_classes_or_another_held_out_fold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    train::train(&config).unwrap();

    config.train.test_fold = Some(1);
    let message = evaluate::evaluate(&config).map(drop).unwrap_err().to_string();
    assert!(message.contains("fold 1 held out, found 10 of its clips trained on"), "{message}");
    config.train.test_fold = None;

    let table = config.data.processed_dir.join("metadata.csv");
    let renamed = fs::read_to_string(&table).unwrap().replace("warble", "siren");
    fs::write(&table, renamed).unwrap();
    edited::as_written(&config.data.processed_dir);
    let message = evaluate::evaluate(&config).map(drop).unwrap_err().to_string();
    assert!(message.contains("siren") && message.contains("warble"), "{message}");
}

#[test]
fn a_processed_folder_that_cannot_be_made_stops_the_stage_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    acquire::acquire(&config).unwrap();
    let blocked = dir.path().join("a file");
    fs::write(&blocked, b"in the way").unwrap();
    config.data.processed_dir = blocked.join("processed");
    let error = preprocess::preprocess(&config).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("a file"), "{error}");
}

#[test]
fn a_network_trained_on_one_data_set_is_not_scored_on_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    train::train(&config).unwrap();
    config.data.source = DataSource::Folder(config.data.raw_dir.join("demo"));
    let stale = evaluate::evaluate(&config).map(drop).unwrap_err();
    assert!(matches!(stale, Error::Features { .. }), "spectrograms of another data set: {stale}");

    let processed = preprocess::preprocess(&config).unwrap();
    assert_eq!(processed.reused, 0, "another data set may hold other sounds under the same names");
    let missing = evaluate::evaluate(&config).map(drop).unwrap_err();
    assert!(
        matches!(missing, Error::StageMissing { stage: "Train", .. }),
        "its network has a name of its own: {missing}"
    );
}

#[test]
fn a_models_folder_that_cannot_be_written_is_told_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let blocked = dir.path().join("a file");
    fs::write(&blocked, b"in the way").unwrap();
    config.data.models_dir = blocked.join("models");
    let error = train::train(&config).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("a file"), "{error}");
}

#[test]
fn a_learning_rate_that_blows_up_stops_the_run_and_says_what_to_lower() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    config.train.learning_rate = 10.0;
    config.train.epochs = 200;
    let error = train::train(&config).map(drop).unwrap_err();
    assert!(matches!(error, Error::Training { .. }), "{error}");
    assert!(error.to_string().contains("Lower train.learning_rate"), "{error}");
}

#[test]
fn examples_make_room_for_those_of_another_fold_but_not_in_a_folder_with_recordings_of_your_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let catalog = acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    let names = |paths: Vec<std::path::PathBuf>| -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert!(names(predict::copy_examples(&config, 3).unwrap()).iter().all(|name| name.starts_with("5-")));
    config.train.test_fold = Some(2);
    assert!(names(predict::copy_examples(&config, 3).unwrap()).iter().all(|name| name.starts_with("2-")));

    let own = config.data.test_dir.join("doorbell.wav");
    fs::copy(catalog.path(&catalog.clips[0]), &own).unwrap();
    assert_eq!(names(predict::copy_examples(&config, 3).unwrap()), ["doorbell.wav"]);
    assert!(own.exists());
}

#[test]
fn an_unreadable_recording_in_the_test_folder_is_listed_and_the_others_are_classified() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    train::train(&config).unwrap();
    predict::copy_examples(&config, 2).unwrap();
    fs::write(config.data.test_dir.join("broken.wav"), b"RIFF").unwrap();
    let result = predict::predict_folder(&config).unwrap();
    assert_eq!((result.predictions.len(), result.failed.len()), (2, 1));
    assert!(result.failed[0].1.to_string().contains("broken.wav"));
}

#[test]
fn recordings_of_your_own_with_a_table_run_through_every_stage() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    // Three classes of three recordings each, at another rate and of other lengths than ESC-50's, beside the demo's folder.
    acquire::acquire(&config).unwrap();
    let mut table = String::from("filename,category\n");
    for (target, category) in ["hum", "bell", "crackle"].iter().enumerate() {
        for take in 0..3 {
            let sound = demo::synthesize(9, 4 + target, 1, take, 0);
            let samples = sound.samples[..60_000 + 70_000 * take].to_vec();
            let filename = format!("{category} {take}.wav");
            audio::write_wav(&config.data.raw_dir.join(&filename), &Waveform { samples, sample_rate: 16_000 }).unwrap();
            table.push_str(&format!("{filename},{category}\n"));
        }
    }
    let metadata_path = config.data.raw_dir.join("mine.csv");
    fs::write(&metadata_path, table).unwrap();
    config.data.metadata_path = Some(metadata_path);
    config.clip.long_clips = LongClips::Windows;

    acquire::acquire(&config).unwrap();
    let report = preprocess::preprocess(&config).unwrap();
    assert_eq!((report.computed, report.spectrograms), (9, 18), "3.8, 8.1 and 12.5 s give 1, 2 and 3 windows");
    let report = train::train(&config).unwrap();
    let checkpoint = report.checkpoint.file_name().unwrap().to_string_lossy().into_owned();
    assert!(checkpoint.starts_with("quick-raw-") && checkpoint.ends_with(".safetensors"), "{checkpoint}");
    let evaluation = evaluate::evaluate(&config).unwrap();
    assert_eq!(evaluation.clips.len(), 3, "a recording counts once, however many windows it has");
    predict::copy_examples(&config, 2).unwrap();
    for prediction in predict::predict_folder(&config).unwrap().predictions {
        let scored = evaluation.clips.iter().find(|clip| prediction.path.ends_with(&clip.filename)).unwrap();
        let difference = prediction.ranked[0].1 - scored.probabilities[scored.predicted];
        assert!(difference.abs() < 1e-4, "inference averages windows as evaluation does: {difference}");
    }
}
