//! Claims about a person's own sounds: any folder, table or archive goes from the files to spectrograms.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::Error;
use audio_transformer::acquire::{acquire, open_catalog, root};
use audio_transformer::audio::{Waveform, wav_bytes};
use audio_transformer::config::{Config, DataConfig, DataSource};
use tempfile::TempDir;

/// A folder with stages of its own, and no data set yet.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        Case { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, source: DataSource) -> Config {
        let data = DataConfig {
            source,
            raw_dir: self.path("data/raw"),
            metadata_path: None,
            processed_dir: self.path("data/processed"),
            test_dir: self.path("data/test"),
            models_dir: self.path("data/models"),
            demo_clips_per_fold: 1,
            ..Default::default()
        };
        Config { data, ..Default::default() }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// A WAV of a tone.
fn tone(duration_s: f64, sample_rate: u32) -> Vec<u8> {
    let n_samples = (duration_s * f64::from(sample_rate)).round() as usize;
    let phase = |index: usize| index as f32 * 440.0 / sample_rate as f32 * std::f32::consts::TAU;
    let samples = (0..n_samples).map(|index| 0.5 * phase(index).sin()).collect();
    wav_bytes(&Waveform { samples, sample_rate }).unwrap()
}

fn demo_is_made(case: &Case) {
    let catalog = acquire(&case.config(DataSource::Demo)).unwrap();
    assert_eq!(catalog.clips.len(), 50);
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_table_may_list_part_of_a_folder_that_also_holds_the_demo() {
    let case = Case::new();
    demo_is_made(&case);
    for name in ["a", "b", "c", "unlisted"] {
        case.write(&format!("data/raw/mine/{name}.wav"), tone(0.2, 16_000));
    }
    case.write("data/raw/mine/broken.wav", "");
    let rows = "filename,category\nmine/a.wav,hum\nmine/b.wav,hum\nmine/c.wav,ring\nmine/broken.wav,ring\n";
    let table = case.write("my.csv", rows);
    let mut config = case.config(DataSource::Demo);
    config.data.metadata_path = Some(table);
    let catalog = acquire(&config).unwrap();
    assert_eq!(catalog.labels(), ["hum", "ring"]);
    assert_eq!(listing(&case.path("data/raw")), ["demo", "mine"]);
}

#[test]
fn every_address_and_archive_has_a_plain_folder_of_its_own() {
    let case = Case::new();
    let raw = case.path("data/raw");
    let names: Vec<String> = [
        "https://github.com/one/birds/archive/refs/heads/master.tar.gz",
        "https://github.com/two/birds/archive/refs/heads/master.tar.gz",
        "https://github.com/two/frogs/archive/refs/heads/master.tar.gz",
        "https://x.org/sets/download?id=1",
        "https://x.org/sets/download?id=2",
        "https://x.org/.tar.gz",
        "https://x.org/..",
        "https://x.org/a/..%2F..",
        "https://me:password@x.org",
        "https://x.org/demo.tar.gz",
        "https://x.org/ESC-50-master.tar.gz",
        "one/master.tar.gz",
        "two/master.tar.gz",
        ".tar.gz",
    ]
    .into_iter()
    .map(|source| {
        let root = root(&case.config(DataSource::parse(source)));
        assert_eq!(root.parent(), Some(raw.as_path()), "{source}");
        root.file_name().unwrap().to_str().unwrap().to_owned()
    })
    .collect();
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "{name} twice");
        assert!(!name.starts_with('.') && name != "demo" && name != "ESC-50-master", "{name}");
        assert!(!name.contains("password"), "{name}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(name.chars().all(is_plain), "{name}");
    }
    assert!(names[0].starts_with("birds-master-") && names[2].starts_with("frogs-master-"), "{names:?}");
    let again = root(&case.config(DataSource::parse("./one/master.tar.gz")));
    assert!(again.ends_with(&names[11]), "{again:?}");
}

#[test]
fn a_folder_that_is_not_there_is_told_with_what_dataset_may_be() {
    let case = Case::new();
    fs::create_dir_all(case.path("empty")).unwrap();
    let mut by_table = case.config(DataSource::Demo);
    by_table.data.metadata_path = Some(case.write("my.csv", "filename,category\na.wav,hum\nb.wav,ring\n"));
    let folder = |name| case.config(DataSource::Folder(case.path(name)));
    for (config, words) in [(folder("esc-50"), "esc-50"), (folder("empty"), "empty"), (by_table, "data/raw")] {
        for result in [acquire(&config), open_catalog(&config)] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Dataset { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains(words) && !message.contains("Download and verify"), "{message}");
            assert!(message.contains("demo, esc10, esc50, a folder, a .tar.gz archive or a URL"), "{message}");
        }
    }
}

#[test]
fn a_table_that_is_not_there_is_told_by_name() {
    let case = Case::new();
    case.write("data/raw/a.wav", tone(0.2, 16_000));
    let mut config = case.config(DataSource::Demo);
    config.data.metadata_path = Some(case.path("my.csv"));
    let error = acquire(&config).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("my.csv")), "{error}");
}

#[test]
fn an_empty_folder_in_raw_dir_counts_as_missing() {
    let case = Case::new();
    let config = case.config(DataSource::Esc50);
    fs::create_dir_all(case.path("data/raw/ESC-50-master")).unwrap();
    let error = open_catalog(&config).unwrap_err();
    assert!(matches!(error, Error::StageMissing { .. }), "{error}");
}
