//! Claims about a person's own sounds: any folder, table or archive goes from the files to spectrograms.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::acquire::acquire;
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
