//! What was made of one thing does not stand for another: spectrograms, networks and examples are told by what they came from.
#![cfg(feature = "torch")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use audio_transformer::audio::{Waveform, write_wav};
use audio_transformer::config::{ClipConfig, Config, DataConfig, DataSource, TrainConfig};
use audio_transformer::internals::dataset::metadata::{METADATA_FILE, Origin};
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{
    Classifier, Dataset, Error, Spectrogram, copy_examples, evaluate, predict_folder, preprocess, train,
};

/// A tone whose pitch tells which file it was written to first, all of one length.
fn tone(number: usize) -> Waveform {
    let step = 200.0 * (number + 1) as f32 * std::f32::consts::TAU / 8_000.0;
    Waveform { samples: (0..4_000).map(|n| 0.5 * (n as f32 * step).sin()).collect(), sample_rate: 8_000 }
}

/// Class folders of tones, all files of one size and one time of change, as archives leave them.
fn write_dataset(root: &Path, classes: &[&str], clips: usize) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for class in classes {
        fs::create_dir_all(root.join(class)).unwrap();
        for _ in 0..clips {
            let path = root.join(class).join(format!("{:03}.wav", paths.len()));
            write_wav(&path, &tone(paths.len())).unwrap();
            set_time(&path);
            paths.push(path);
        }
    }
    paths
}

fn set_time(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
}

fn swap(a: &Path, b: &Path) {
    let aside = a.with_extension("aside");
    fs::rename(a, &aside).unwrap();
    fs::rename(b, a).unwrap();
    fs::rename(&aside, b).unwrap();
}

/// A config on `root/<sounds>` with every other folder under `root`.
fn config(root: &Path, sounds: &str) -> Config {
    let data = DataConfig {
        source: DataSource::Folder(root.join(sounds)),
        metadata_path: None,
        raw_dir: root.join("raw"),
        processed_dir: root.join("processed"),
        test_dir: root.join("test"),
        models_dir: root.join("models"),
        ..Default::default()
    };
    let clip = ClipConfig { duration_s: 0.5, ..Default::default() };
    Config { data, clip, train: TrainConfig { epochs: 1, ..Default::default() }, ..Default::default() }
}

/// Every file's spectrogram, by name.
fn spectrograms(config: &Config) -> Vec<(String, Spectrogram)> {
    let dataset = Dataset::open(config).unwrap();
    let each = dataset.clips.iter().enumerate();
    each.map(|(index, clip)| (clip.filename.clone(), dataset.spectrogram(index).unwrap())).collect()
}

/// What preprocessing makes of the same recordings in a folder that nothing was in.
fn afresh(config: &Config) -> Vec<(String, Spectrogram)> {
    let mut fresh = config.clone();
    fresh.data.processed_dir = config.data.processed_dir.with_extension("fresh");
    let _ = fs::remove_dir_all(&fresh.data.processed_dir);
    preprocess(&fresh).unwrap();
    spectrograms(&fresh)
}

fn stale<T>(result: Result<T, Error>) -> String {
    let Err(error) = result else { panic!("not refused") };
    assert!(matches!(error, Error::Features { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_file_that_took_anothers_name_gets_a_spectrogram_of_its_own_sound() {
    let dir = tempfile::tempdir().unwrap();
    let paths = write_dataset(&dir.path().join("sounds"), &["high", "low"], 4);
    let config = config(dir.path(), "sounds");
    assert_eq!(preprocess(&config).unwrap().computed, 8);

    swap(&paths[0], &paths[1]);
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (2, 6), "two that were swapped");
    assert_eq!(spectrograms(&config), afresh(&config));

    fs::remove_file(&paths[0]).unwrap();
    fs::rename(&paths[1], &paths[0]).unwrap();
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (1, 6), "001.wav renamed to 000.wav");
    assert_eq!(spectrograms(&config), afresh(&config));

    write_wav(&paths[2], &tone(77)).unwrap();
    set_time(&paths[2]);
    assert_eq!(preprocess(&config).unwrap().computed, 1, "another sound of the same size and time");
    assert_eq!(spectrograms(&config), afresh(&config));
}

#[test]
fn training_refuses_spectrograms_of_recordings_that_have_changed_since() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = dir.path().join("sounds");
    let paths = write_dataset(&sounds, &["high", "low"], 4);
    let config = config(dir.path(), "sounds");
    let renew = || preprocess(&config).map(drop).unwrap();
    renew();
    train(&config).unwrap();

    #[cfg(unix)]
    {
        swap(&paths[0], &paths[5]);
        let message = stale(train(&config));
        assert!(message.contains("000.wav") && message.contains("\"Preprocess\""), "{message}");
        swap(&paths[0], &paths[5]);
        train(&config).unwrap();
    }
    fs::write(&paths[0], fs::read(&paths[0]).unwrap()).unwrap();
    train(&config).expect("a file that was touched and holds what it held");

    let moved = sounds.join("high/005.wav");
    fs::rename(&paths[5], &moved).unwrap();
    stale(train(&config));
    renew();
    train(&config).unwrap();

    write_wav(&sounds.join("low/new.wav"), &tone(9)).unwrap();
    let message = stale(train(&config));
    assert!(message.contains("9 recordings") && message.contains("1 have no spectrogram"), "{message}");
    fs::remove_file(sounds.join("low/new.wav")).unwrap();
    train(&config).unwrap();

    fs::remove_dir_all(&sounds).unwrap();
    train(&config).expect("where the recordings are gone, the spectrograms stand alone");
}

#[test]
fn a_label_that_changed_in_the_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = dir.path().join("sounds");
    write_dataset(&sounds, &["audio"], 6);
    let table = |third: &str| {
        let classes = ["a", "b", third, "a", "b", "a"];
        let rows: String =
            classes.iter().enumerate().map(|(number, class)| format!("audio/{number:03}.wav,{class}\n")).collect();
        fs::write(sounds.join("metadata.csv"), format!("filename,category\n{rows}")).unwrap();
    };
    let config = config(dir.path(), "sounds");
    table("a");
    preprocess(&config).unwrap();
    table("b");
    let message = stale(Dataset::open(&config));
    assert!(message.contains("audio/002.wav as \"b\"") && message.contains("found \"a\""), "{message}");
}

#[test]
fn spectrograms_of_a_run_that_did_not_end_are_nothing_to_train_on() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"), &["high", "low"], 3);
    let config = config(dir.path(), "sounds");
    preprocess(&config).unwrap();
    Origin::new(&config).write(&config.data.processed_dir).unwrap();
    let message = stale(train(&config));
    assert!(message.contains("did not end"), "{message}");
    assert_eq!(preprocess(&config).unwrap().reused, 6, "what it had made is good");
    train(&config).unwrap();
}

#[test]
fn a_table_of_an_older_version_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"), &["high", "low"], 3);
    let config = config(dir.path(), "sounds");
    preprocess(&config).unwrap();
    let table = config.data.processed_dir.join(METADATA_FILE);
    let older = fs::read_to_string(&table).unwrap().replace("file_xxh3,file_stamp", "file_bytes,file_modified_ns");
    fs::write(&table, older).unwrap();
    stale(Dataset::open(&config));
    assert_eq!(preprocess(&config).unwrap().computed, 6);
    Dataset::open(&config).unwrap();
}

#[test]
fn a_class_of_which_nothing_can_be_read_ends_preprocessing_by_name() {
    for classes in [&["cat", "dog"][..], &["ant", "cat", "dog"]] {
        let dir = tempfile::tempdir().unwrap();
        let sounds = dir.path().join("sounds");
        let paths = write_dataset(&sounds, classes, 3);
        let config = config(dir.path(), "sounds");
        let broken: Vec<&PathBuf> = paths.iter().filter(|path| path.starts_with(sounds.join("cat"))).collect();
        for path in &broken {
            fs::write(path, b"RIFF and nothing more").unwrap();
        }
        let error = preprocess(&config).map(drop).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Dataset { .. }), "{error}");
        assert!(message.contains("none of the 3 of class \"cat\", cat/"), "{message}");
        stale(train(&config));
        write_wav(broken[0], &tone(50)).unwrap();
        preprocess(&config).unwrap();
        assert_eq!(Dataset::open(&config).unwrap().labels, classes);
    }
}

#[test]
fn a_class_without_a_clip_to_train_on_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = dir.path().join("sounds");
    write_dataset(&sounds, &["audio"], 6);
    let rows = ["a,1", "a,1", "a,2", "b,1", "b,2", "rare,2"].iter().enumerate();
    let rows: String = rows.map(|(number, row)| format!("audio/{number:03}.wav,{row}\n")).collect();
    fs::write(sounds.join("metadata.csv"), format!("filename,category,fold\n{rows}")).unwrap();
    let config = config(dir.path(), "sounds");
    preprocess(&config).unwrap();
    let report = train(&config).unwrap();
    assert_eq!(report.untrained, ["rare"]);
    assert!(report.to_string().contains("no clip to train on of \"rare\""), "{report}");
}

#[test]
fn two_folders_of_one_name_have_a_network_each() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("a/sounds"), &["bell", "drum"], 4);
    write_dataset(&dir.path().join("b/sounds"), &["cat", "dog"], 4);
    let (a, b) = (config(dir.path(), "a/sounds"), config(dir.path(), "b/sounds"));
    for config in [&a, &b] {
        preprocess(config).unwrap();
        train(config).unwrap();
    }
    assert_ne!(checkpoint_path(&a), checkpoint_path(&b));
    assert_eq!(Classifier::of_run(&a).unwrap().labels(), ["bell", "drum"]);
    assert_eq!(Classifier::of_run(&b).unwrap().labels(), ["cat", "dog"]);
    assert_eq!(evaluate(&b).unwrap().labels, ["cat", "dog"]);
    stale(evaluate(&a));

    fs::copy(checkpoint_path(&a), checkpoint_path(&b)).unwrap();
    let refused = |error: Error| {
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        error.to_string()
    };
    refused(Classifier::of_run(&b).map(drop).unwrap_err());
    refused(predict_folder(&b).map(drop).unwrap_err());
    refused(evaluate(&b).map(drop).unwrap_err());
}

#[test]
fn a_network_of_classes_that_the_data_set_no_longer_has_does_not_answer_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = dir.path().join("sounds");
    write_dataset(&sounds, &["cat", "dog"], 4);
    let config = config(dir.path(), "sounds");
    preprocess(&config).unwrap();
    train(&config).unwrap();
    Classifier::of_run(&config).unwrap();
    fs::rename(sounds.join("cat"), sounds.join("lynx")).unwrap();
    preprocess(&config).unwrap();
    let message = Classifier::of_run(&config).map(drop).unwrap_err().to_string();
    assert!(message.contains("lynx") && message.contains("cat") && message.contains("\"Train\""), "{message}");
}

#[test]
fn names_that_hold_line_breaks_and_slashes_neither_break_the_examples_nor_cost_a_recording() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = dir.path().join("sounds");
    write_dataset(&sounds, &["line\nmine.wav", "plain", "plain__a"], 4);
    let config = config(dir.path(), "sounds");
    preprocess(&config).unwrap();
    let first = copy_examples(&config, 3).unwrap();
    assert_eq!(first.len(), 3);
    fs::write(config.data.test_dir.join("mine.wav"), b"a recording of my own").unwrap();
    let lent = first.iter().find(|path| path.to_string_lossy().contains("plain__a")).unwrap();
    fs::write(lent, b"another of mine, under an example's name").unwrap();
    let second = copy_examples(&config, 3).unwrap();
    assert_eq!(second, [config.data.test_dir.join("mine.wav"), lent.clone()], "the examples made room for them");
}
