//! What preprocessing leaves in its folder, whatever was there before and however many workers made it.

use std::fs;
use std::path::Path;

use audio_transformer::acquire;
use audio_transformer::config::{Config, DataConfig, DataSource, LongClips};
use audio_transformer::internals::dataset::measure::Measured;
use audio_transformer::internals::dataset::metadata::{self, METADATA_FILE, ProcessedClip};
use audio_transformer::internals::dataset::preprocess::preprocess_with;
use audio_transformer::internals::dataset::verify;
use audio_transformer::internals::front_end::audio::{self, Waveform};

/// Two classes of three noises each; clip `i` lasts `1 + i` seconds.
fn write_dataset(root: &Path) {
    for class in ["high", "low"] {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..3u32 {
            let samples = (0..(1 + i) * 8_000).map(|n| (n * n % 1_009) as f32 / 1_009.0 - 0.5).collect();
            audio::write_wav(&root.join(class).join(format!("{i}.wav")), &Waveform { samples, sample_rate: 8_000 })
                .unwrap();
        }
    }
}

fn config(dir: &Path, processed: &str) -> Config {
    let data = DataConfig {
        source: DataSource::Folder(dir.join("sounds")),
        metadata_path: None,
        processed_dir: dir.join(processed),
        ..Default::default()
    };
    let mut config = Config { data, ..Default::default() };
    config.clip.duration_s = 1.0;
    config.clip.long_clips = LongClips::Windows;
    config
}

fn table(config: &Config) -> Vec<ProcessedClip> {
    metadata::read(&config.data.processed_dir.join(METADATA_FILE)).unwrap()
}

fn npys(config: &Config) -> Vec<String> {
    let files = fs::read_dir(&config.data.processed_dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut npys: Vec<String> = names.filter(|name| name.ends_with(".npy")).collect();
    npys.sort();
    npys
}

#[test]
fn the_table_is_the_same_for_any_number_of_workers() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let (alone, together) = (config(dir.path(), "alone"), config(dir.path(), "together"));
    let report = preprocess_with(&alone, 1).unwrap();
    assert_eq!((report.computed, report.spectrograms), (6, 12));
    preprocess_with(&together, 4).unwrap();
    assert_eq!(table(&alone), table(&together));
    let places: Vec<_> = table(&alone).into_iter().map(|row| (row.filename, row.start_s)).collect();
    assert!(places.is_sorted_by(|a, b| a.0 < b.0 || a.0 == b.0 && a.1 < b.1), "{places:?}");
}

#[test]
fn a_second_run_reuses_every_window_and_leaves_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 2).unwrap();
    let first = table(&config);
    let report = preprocess_with(&config, 2).unwrap();
    assert_eq!((report.computed, report.reused, report.spectrograms), (0, 6, 12));
    assert_eq!(table(&config), first);
}

#[test]
fn a_recording_that_is_gone_takes_its_spectrograms_along() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 2).unwrap();
    assert_eq!(npys(&config).len(), 12);
    fs::remove_file(dir.path().join("sounds/low/2.wav")).unwrap();
    preprocess_with(&config, 2).unwrap();
    let mut listed: Vec<String> = table(&config).into_iter().map(|row| row.npy.to_string()).collect();
    listed.sort();
    assert_eq!(listed.len(), 9);
    assert_eq!(npys(&config), listed);
}

#[test]
fn a_broken_recording_is_listed_and_has_no_row() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    fs::write(dir.path().join("sounds/low/0.wav"), b"no sound at all").unwrap();
    let config = config(dir.path(), "processed");
    let report = preprocess_with(&config, 2).unwrap();
    assert_eq!((report.computed, report.reused, report.failed.len()), (5, 0, 1));
    assert_eq!(report.failed[0].0, "low/0.wav");
    assert!(table(&config).iter().all(|row| row.filename != "low/0.wav"));
}

#[test]
fn recordings_that_differ_in_their_extension_alone_have_spectrograms_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let sounds = dir.path().join("sounds");
    write_dataset(&sounds);
    fs::rename(sounds.join("low/2.wav"), sounds.join("low/1.flac")).unwrap();
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 2).unwrap();
    let mut listed: Vec<String> = table(&config).into_iter().map(|row| row.npy.to_string()).collect();
    listed.sort();
    assert_eq!(listed.len(), 12);
    assert_eq!(npys(&config), listed);
}

#[test]
fn a_table_that_is_damaged_within_a_recording_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 1).unwrap();
    let whole = table(&config);
    let path = config.data.processed_dir.join(METADATA_FILE);
    let text = fs::read_to_string(&path).unwrap();
    // The second of the three windows of `high/2.wav`.
    let line = text.lines().filter(|line| line.contains("high/2.wav")).nth(1).unwrap();
    fs::write(&path, text.replace(line, "damaged")).unwrap();
    assert_eq!(preprocess_with(&config, 1).unwrap().computed, 6);
    assert_eq!(table(&config), whole);
}

#[test]
fn a_recording_of_more_than_two_hours_is_one_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    // Noise, but for one minute of nothing.
    let n = (2 * 3_600 + 1_800) * 1_000;
    let samples =
        (0..n).map(|at: u32| if at / 60_000 == 40 { 0.0 } else { (at % 997 * at % 991) as f32 / 991.0 - 0.5 });
    let long = dir.path().join("sounds/high/long.wav");
    audio::write_wav(&long, &Waveform { samples: samples.collect(), sample_rate: 1_000 }).unwrap();
    assert!(audio::read(&long).unwrap_err().to_string().contains("2 hours"));
    let measured = Measured::of_file(&long).unwrap();
    assert_eq!((measured.duration_s, measured.sample_rate), (9_000.0, 1_000));

    let mut config = config(dir.path(), "processed");
    config.features.sample_rate = 1_000;
    config.clip.duration_s = 60.0;
    // By another name it is decoded to see what it is.
    fs::rename(&long, long.with_file_name("long.flac")).unwrap();
    let catalog = acquire(&config).unwrap();
    assert_eq!(verify::survey(&catalog).unwrap().faults, []);
    let report = preprocess_with(&config, 2).unwrap();
    assert_eq!((report.computed, report.failed.len(), report.silent), (7, 0, 1));
    let starts: Vec<f32> =
        table(&config).iter().filter(|row| row.filename == "high/long.flac").map(|row| row.start_s).collect();
    let expected: Vec<f32> = (0..150).filter(|at| *at != 40).map(|at| 60.0 * at as f32).collect();
    assert_eq!(starts, expected);
}
