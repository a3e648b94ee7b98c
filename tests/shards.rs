//! Spectrograms of very many recordings, many to a file: the same numbers as in a file each, through every change, mishap and stop.
#![cfg(feature = "torch")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::audio::{Waveform, write_wav};
use audio_transformer::config::{ClipConfig, Config, DataConfig, DataSource, LongClips, Preset, Start, TrainConfig};
use audio_transformer::internals::dataset::preprocess::preprocess_with;
use audio_transformer::{Dataset, Error, preprocess, preprocess_part, train};

const CLASSES: usize = 3;
const CLIPS: usize = 14;
/// Recordings of all classes.
const N: usize = CLASSES * CLIPS;

/// A tone in noise, another one for every number; each has a length of its own.
fn sound(number: usize) -> Waveform {
    let (hz, mut noise) = (150.0 + 90.0 * number as f32, number as u32 + 1);
    let samples = (0..32_000 + 997 * number).map(|n| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.4 * (n as f32 * hz * std::f32::consts::TAU / 16_000.0).sin() + 0.1 * (noise >> 8) as f32 / (1 << 24) as f32
    });
    Waveform { samples: samples.collect(), sample_rate: 16_000 }
}

fn path(root: &Path, number: usize) -> PathBuf {
    root.join("sounds").join(format!("class {}", number % CLASSES)).join(format!("{number:03}.wav"))
}

/// A data set whose spectrograms are kept in shards.
fn make(root: &Path) -> Config {
    for number in 0..N {
        fs::create_dir_all(path(root, number).parent().unwrap()).unwrap();
        write_wav(&path(root, number), &sound(number)).unwrap();
    }
    config(root, "processed", 0)
}

fn config(root: &Path, processed: &str, shards_above: usize) -> Config {
    let data = DataConfig {
        source: DataSource::Folder(root.join("sounds")),
        metadata_path: None,
        raw_dir: root.join("raw"),
        processed_dir: root.join(processed),
        models_dir: root.join("models"),
        shards_above,
        shard_mb: 1,
        ..Default::default()
    };
    let clip = ClipConfig { duration_s: 2.5, ..Default::default() };
    Config { data, clip, ..Config::default() }
}

/// The names of files in the processed folder that end so, hidden ones among them.
fn files(config: &Config, ending: &str) -> HashSet<String> {
    let entries = fs::read_dir(&config.data.processed_dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(ending)).collect()
}

/// What all clips are, in the order of the table.
fn contents(config: &Config) -> Vec<(String, String, u32, f32, Vec<f32>)> {
    let dataset = Dataset::open(config).unwrap();
    let of = |index: usize| {
        let clip = &dataset.clips[index];
        let values = dataset.spectrogram(index).unwrap().values.into_iter().collect();
        (clip.filename.clone(), clip.category.to_string(), clip.fold, clip.start_s, values)
    };
    (0..dataset.clips.len()).map(of).collect()
}

/// The same of spectrograms in files of their own.
fn in_files(root: &Path, config: &Config) -> Vec<(String, String, u32, f32, Vec<f32>)> {
    let folder = root.join("in files");
    let _ = fs::remove_dir_all(&folder);
    let data = DataConfig { processed_dir: folder, shards_above: usize::MAX, ..config.data.clone() };
    let config = Config { data, ..config.clone() };
    assert_eq!(preprocess(&config).unwrap().shards, 0);
    contents(&config)
}

#[test]
fn shards_hold_what_files_hold_and_a_second_run_computes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = make(dir.path());
    for long_clips in [LongClips::Crop, LongClips::Windows] {
        config.clip.long_clips = long_clips;
        let report = preprocess(&config).unwrap();
        assert_eq!((report.computed, report.reused, report.failed.len()), (N, 0, 0));
        assert!(report.shards >= 2 && report.to_string().contains("shards"), "{report}");
        assert_eq!(files(&config, ".npy").len(), report.shards, "shards of other settings are gone");
        assert_eq!((files(&config, ".csv").len(), files(&config, ".part").len()), (1, 0));
        assert!(contents(&config) == in_files(dir.path(), &config));
        let report = preprocess(&config).unwrap();
        assert_eq!((report.computed, report.reused), (0, N));
    }
}

#[test]
fn shards_are_cut_in_one_way_whoever_makes_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    let mut found = Vec::new();
    for workers in [1, 3] {
        preprocess_with(&config, workers).unwrap();
        found.push(files(&config, ".npy"));
        fs::remove_dir_all(&config.data.processed_dir).unwrap();
    }
    for rank in 0..3 {
        preprocess_part(&config, (rank, 3), 2).unwrap();
    }
    preprocess(&config).unwrap();
    assert!(found[0].len() > 8 && found.iter().all(|names| *names == files(&config, ".npy")), "{found:?}");
}

#[test]
fn only_what_changed_is_computed_and_a_shard_of_which_nothing_is_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    preprocess(&config).unwrap();
    let first = files(&config, ".npy");

    write_wav(&path(dir.path(), 7), &sound(100)).unwrap();
    fs::remove_file(path(dir.path(), 8)).unwrap();
    write_wav(&path(dir.path(), N), &sound(N)).unwrap();
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (2, N - 2));
    assert!(files(&config, ".npy").is_superset(&first));
    assert!(contents(&config) == in_files(dir.path(), &config));

    for number in (0..=N).filter(|number| *number != 8) {
        write_wav(&path(dir.path(), number), &sound(200 + number)).unwrap();
    }
    assert_eq!(preprocess(&config).unwrap().computed, N);
    assert!(files(&config, ".npy").is_disjoint(&first));
    assert!(contents(&config) == in_files(dir.path(), &config));
}

#[test]
fn a_data_set_grows_into_shards_and_shrinks_out_of_them() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let few = config(dir.path(), "processed", N);
    assert_eq!(preprocess(&few).unwrap().shards, 0);
    write_wav(&path(dir.path(), N), &sound(N)).unwrap();
    let report = preprocess(&few).unwrap();
    assert_eq!((report.computed, report.reused, report.shards), (1, N, 1));
    assert!(contents(&few) == in_files(dir.path(), &few), "some here, some there");
    fs::remove_file(path(dir.path(), 0)).unwrap();
    write_wav(&path(dir.path(), N), &sound(1)).unwrap();
    let report = preprocess(&few).unwrap();
    assert_eq!((report.computed, report.reused, report.shards), (1, N - 1, 0));
    assert!(contents(&few) == in_files(dir.path(), &few));
}

#[test]
fn what_a_run_left_that_did_not_end_is_taken_up_where_it_is_still_true() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    // Its second half was never begun.
    let computed = preprocess_part(&config, (0, 2), 2).unwrap();
    assert!((N / 3..=2 * N / 3).contains(&computed), "{computed}");
    assert!(matches!(Dataset::open(&config), Err(Error::StageMissing { .. })));
    fs::write(config.data.processed_dir.join("shard-notes.csv"), b"mine").unwrap();
    // A shard that was being written, and one that was not told of.
    fs::write(config.data.processed_dir.join(".shard-0123abcd-part0-0.npy.1.part"), b"half").unwrap();
    fs::write(config.data.processed_dir.join("shard-0123abcd-0.npy"), b"all").unwrap();
    // Of what is there one recording is another by now.
    let tables = files(&config, ".csv");
    let of_shard = tables.iter().find(|name| *name != "shard-notes.csv").unwrap();
    let table = fs::read_to_string(config.data.processed_dir.join(of_shard)).unwrap();
    let first = table.lines().nth(1).unwrap().split(',').nth(2).unwrap();
    write_wav(&dir.path().join("sounds").join(first), &sound(100)).unwrap();
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (N - computed + 1, computed - 1));
    assert_eq!((files(&config, ".csv").len(), files(&config, ".part").len()), (2, 0), "and what is no shard's");
    assert!(!files(&config, ".npy").contains("shard-0123abcd-0.npy"));
    assert!(contents(&config) == in_files(dir.path(), &config));
}

#[test]
fn parts_of_several_processes_make_the_whole_and_those_of_other_settings_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    let mut other = config.clone();
    other.features.n_mels = 32;
    for rank in 0..3 {
        preprocess_part(&config, (rank, 3), 1).unwrap();
        preprocess_part(&other, (rank, 3), 1).unwrap();
    }
    assert_eq!(preprocess_part(&config, (1, 3), 1).unwrap(), 0, "a part that is there is not made again");
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (0, N));
    assert!(contents(&config) == in_files(dir.path(), &config));
    assert_eq!(preprocess(&other).unwrap().computed, N, "those were removed with all that is stale");
}

#[test]
fn a_recording_that_cannot_be_read_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = make(dir.path());
    config.clip.long_clips = LongClips::Windows;
    fs::write(path(dir.path(), 5), b"no sound").unwrap();
    // Broken off in its second window.
    let whole = fs::read(path(dir.path(), 20)).unwrap();
    fs::write(path(dir.path(), 20), &whole[..whole.len() - 3_001]).unwrap();
    let report = preprocess(&config).unwrap();
    assert!((1..=2).contains(&report.failed.len()) && report.to_string().contains("005.wav"), "{report}");
    let dataset = Dataset::open(&config).unwrap();
    let rows: HashSet<_> = dataset.clips.iter().map(|clip| (clip.npy.clone(), clip.row)).collect();
    assert_eq!(rows.len(), dataset.clips.len(), "a place for each");
    let bytes: u64 = files(&config, ".npy")
        .iter()
        .map(|name| fs::metadata(config.data.processed_dir.join(name)).unwrap().len() - 128)
        .sum();
    let clip = &dataset.clips[0];
    assert_eq!(bytes as usize, rows.len() * clip.n_mels * clip.n_frames * 4);
    assert!(contents(&config) == in_files(dir.path(), &config));
}

#[test]
fn a_shard_that_is_damaged_is_refused_by_name_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    preprocess(&config).unwrap();
    let name = files(&config, ".npy").into_iter().min().unwrap();
    let shard = config.data.processed_dir.join(&name);
    let whole = fs::read(&shard).unwrap();
    fs::write(&shard, &whole[..whole.len() - 1_000]).unwrap();
    let dataset = Dataset::open(&config).unwrap();
    let in_it = dataset.clips.iter().filter(|clip| *clip.npy == *name).count();
    let index = dataset.clips.iter().position(|clip| *clip.npy == *name).unwrap();
    let error = dataset.spectrogram(index).unwrap_err();
    assert!(matches!(error, Error::Features { .. }) && error.to_string().contains(&name), "{error}");
    // Training, too, ends with that name, whether the clips are read at once or as they are needed.
    for memory_mb in [0, 4096] {
        let train_config = TrainConfig { epochs: 1, memory_mb, ..Default::default() };
        let error = train(&Config { train: train_config, ..config.clone() }).unwrap_err();
        assert!(error.to_string().contains(&name), "{error}");
    }
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (in_it, N - in_it));
    assert!(contents(&config) == in_files(dir.path(), &config));
}

#[test]
fn training_from_disk_gives_the_same_bits_as_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    preprocess(&config).unwrap();
    for preset in [Preset::Quick, Preset::Good] {
        let weights = |memory_mb: usize, loader_threads: usize| {
            let mut config = Config { model: preset.model(), train: preset.train(), ..config.clone() };
            config.model.embed_dim = 16;
            config.model.depth = 1;
            config.model.num_heads = 2;
            config.train = TrainConfig { epochs: 2, memory_mb, loader_threads, ..config.train };
            (config.train.batch_size, config.train.start) = (8, Start::Fresh);
            fs::read(train(&config).unwrap().checkpoint).unwrap()
        };
        let in_memory = weights(4096, 0);
        let tensors = |bytes: &[u8]| bytes[8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize..].to_vec();
        for loader_threads in [0, 2] {
            assert!(tensors(&weights(0, loader_threads)) == tensors(&in_memory), "{preset:?}");
        }
    }
}
