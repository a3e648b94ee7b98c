//! What preprocessing leaves in its folder, whatever was there before and however many workers made it.

use std::fs;
use std::path::Path;

use audio_transformer::config::{Config, DataConfig, DataSource, LongClips};
use audio_transformer::internals::dataset::measure::Measured;
use audio_transformer::internals::dataset::metadata::{self, METADATA_FILE, ProcessedClip};
use audio_transformer::internals::dataset::preprocess::preprocess_with;
use audio_transformer::internals::dataset::verify;
use audio_transformer::internals::front_end::audio::{self, Waveform};
use audio_transformer::{Dataset, Error, acquire};

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

#[test]
fn a_run_that_ends_between_settings_and_table_leaves_no_row_of_other_settings() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 2).unwrap();
    // Settings that cannot be written stand for a run that is killed there.
    let settings = config.data.processed_dir.join("settings.json");
    fs::remove_file(&settings).unwrap();
    fs::create_dir(&settings).unwrap();
    let mut other = config.clone();
    other.features.f_min = 2_000.0;
    assert!(preprocess_with(&other, 2).is_err());
    assert_eq!(table(&config), []);
    fs::remove_dir(&settings).unwrap();
    assert_eq!(preprocess_with(&other, 2).unwrap().computed, 6);
}

#[test]
fn spectrograms_in_use_are_neither_replaced_nor_in_the_way_of_who_needs_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    fs::write(dir.path().join("sounds/low/broken.wav"), "RIFF and no more").unwrap();
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 2).unwrap();
    let lock = fs::File::options().write(true).open(config.data.processed_dir.join(".in-use.lock")).unwrap();
    lock.lock_shared().unwrap();
    let report = preprocess_with(&config, 2).unwrap();
    assert_eq!((report.computed, report.reused, report.spectrograms), (0, 6, 12));
    let mut other = config.clone();
    other.features.f_min = 2_000.0;
    let before = table(&config);
    assert!(matches!(preprocess_with(&other, 2), Err(Error::InUse { .. })));
    assert_eq!(table(&config), before);
    Dataset::open(&config).unwrap();
    lock.unlock().unwrap();
    assert_eq!(preprocess_with(&other, 2).unwrap().computed, 6);
    // Of two that write one waits.
    lock.lock().unwrap();
    let waiting = std::thread::spawn(move || preprocess_with(&config, 2).map(|report| report.computed));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!waiting.is_finished());
    lock.unlock().unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), 6);
}

#[test]
fn a_recording_that_was_left_out_and_is_another_one_now_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let broken = dir.path().join("sounds/low/broken.wav");
    fs::write(&broken, "RIFF and no more").unwrap();
    let config = config(dir.path(), "processed");
    assert_eq!(preprocess_with(&config, 2).unwrap().failed.len(), 1);
    assert_eq!(Dataset::open(&config).unwrap().clips.len(), 12);
    fs::copy(dir.path().join("sounds/low/0.wav"), &broken).unwrap();
    let message = Dataset::open(&config).unwrap_err().to_string();
    assert!(message.contains("low/broken.wav"), "{message}");
    preprocess_with(&config, 2).unwrap();
    assert_eq!(Dataset::open(&config).unwrap().clips.len(), 13);
}

#[test]
fn a_table_that_is_not_as_it_was_written_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let config = config(dir.path(), "processed");
    preprocess_with(&config, 2).unwrap();
    let path = config.data.processed_dir.join(METADATA_FILE);
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.trim_end().rsplit_once('\n').unwrap().0;
    for changed in [format!("{cut}\n"), whole.replace(",low,", ",high,")] {
        fs::write(&path, &changed).unwrap();
        let message = Dataset::open(&config).unwrap_err().to_string();
        assert!(message.contains("changed since"), "{message}");
    }
    fs::write(&path, &whole).unwrap();
    Dataset::open(&config).unwrap();
}

#[test]
fn spectrograms_that_are_not_as_they_were_written_are_refused_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    write_dataset(&dir.path().join("sounds"));
    let mut config = config(dir.path(), "processed");
    for shards_above in [usize::MAX, 0] {
        config.data.processed_dir = dir.path().join(format!("above-{shards_above}"));
        config.data.shards_above = shards_above;
        preprocess_with(&config, 2).unwrap();
        let dataset = Dataset::open(&config).unwrap();
        let whole: Vec<_> = (0..dataset.clips.len()).map(|index| dataset.spectrogram(index).unwrap().values).collect();
        let damaged: Vec<usize> = match shards_above {
            // One under the name of another, of the same length.
            usize::MAX => {
                let [a, b] = [0, 11].map(|index| config.data.processed_dir.join(&*dataset.clips[index].npy));
                let aside = dir.path().join("aside.npy");
                fs::rename(&a, &aside).unwrap();
                fs::rename(&b, &a).unwrap();
                fs::rename(&aside, &b).unwrap();
                vec![0, 11]
            }
            // A bit that tipped over.
            _ => {
                let (path, row) =
                    (config.data.processed_dir.join(&*dataset.clips[7].npy), dataset.clips[7].row.unwrap());
                let mut bytes = fs::read(&path).unwrap();
                bytes[128 + (row as usize + 1) * 4 * whole[7].len() - 4] ^= 1;
                fs::write(&path, bytes).unwrap();
                vec![7]
            }
        };
        for (index, values) in whole.iter().enumerate() {
            match dataset.spectrogram(index) {
                Ok(spectrogram) => assert!(spectrogram.values == values && !damaged.contains(&index)),
                Err(error) => {
                    let message = error.to_string();
                    assert!(
                        damaged.contains(&index) && message.contains("the values that preprocessing wrote"),
                        "{message}"
                    );
                }
            }
        }
        let report = preprocess_with(&config, 2).unwrap();
        assert_eq!((report.computed, report.reused), (damaged.len(), 6 - damaged.len()));
        let dataset = Dataset::open(&config).unwrap();
        for (index, values) in whole.iter().enumerate() {
            assert_eq!(dataset.spectrogram(index).unwrap().values, values);
        }
    }
}
