//! A process that ends while it fills shards, however it ends, costs no recording that it was done with, and leaves nothing that could be taken for
//! whole.
#![cfg(all(unix, feature = "distributed"))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use audio_transformer::audio::{Waveform, write_wav};
use audio_transformer::config::{ClipConfig, Config, DataConfig, DataSource, DeviceChoice, TrainConfig};
use audio_transformer::{Dataset, preprocess};

/// Recordings, of two seconds each.
const N: usize = 600;

fn make(root: &Path) -> Config {
    for number in 0..N {
        let hz = 100.0 + number as f32;
        let samples = (0..32_000).map(|n| 0.5 * (n as f32 * hz * std::f32::consts::TAU / 16_000.0).sin()).collect();
        let path = root.join("sounds").join(format!("class {}", number % 3)).join(format!("{number:03}.wav"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_wav(&path, &Waveform { samples, sample_rate: 16_000 }).unwrap();
    }
    let data = DataConfig {
        source: DataSource::Folder(root.join("sounds")),
        metadata_path: None,
        raw_dir: root.join("raw"),
        processed_dir: root.join("processed"),
        models_dir: root.join("models"),
        shards_above: 0,
        shard_mb: 1,
        ..Default::default()
    };
    let clip = ClipConfig { duration_s: 2.0, ..Default::default() };
    let train = TrainConfig { epochs: 1, max_clips: 10, device: DeviceChoice::Cpu, ..Default::default() };
    Config { data, clip, train, ..Config::default() }
}

/// The program with its settings, behind words of a shell where there are some. For this test alone, `cargo build --example train --features
/// distributed` makes it.
fn command(root: &Path, config: &Config, before: &str) -> Command {
    let settings = root.join("settings.json");
    fs::write(&settings, serde_json::to_vec(config).unwrap()).unwrap();
    let tests = env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join("train");
    assert!(program.exists(), "{} is missing", program.display());
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("{before} exec \"$0\" \"$1\""),
        program.to_str().unwrap(),
        settings.to_str().unwrap(),
    ]);
    command.env("OMP_NUM_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// All files of the processed folder that count, with what they hold.
fn whole(processed: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let Ok(entries) = fs::read_dir(processed) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let counts = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
    paths.filter(counts).map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

fn shards(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<&PathBuf, &Vec<u8>> {
    files.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "npy")).collect()
}

#[test]
fn whoever_is_killed_loses_only_the_shards_that_were_not_full() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    let processed = &config.data.processed_dir;
    assert_eq!(preprocess(&config).unwrap().computed, N);
    let never_stopped = whole(processed);
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "it was always done before it was killed");
        fs::remove_dir_all(processed).unwrap();
        let mut child = command(dir.path(), &config, "").spawn().unwrap();
        // A shard counts once its table lies beside it.
        let is_table =
            |path: &PathBuf| path.to_string_lossy().contains("shard-") && path.extension().is_some_and(|e| e == "csv");
        while !whole(processed).keys().any(is_table) {
            assert!(child.try_wait().unwrap().is_none(), "it ended without a shard");
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if Dataset::open(&config).is_err() {
            break;
        }
    }
    let left = whole(processed);
    assert!(shards(&left).iter().all(|(path, bytes)| never_stopped.get(*path) == Some(*bytes)), "half a shard");
    let report = preprocess(&config).unwrap();
    assert!(report.reused > 0 && report.computed > 0 && report.reused + report.computed == N, "{report}");
    assert_eq!(shards(&whole(processed)), shards(&never_stopped));
}

#[test]
fn a_disk_that_is_full_is_told_and_leaves_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = make(dir.path());
    let processed = &config.data.processed_dir;
    // No file may grow beyond 512,000 bytes, half of a shard, whatever a block is to this shell; the signal that goes with it would be the end.
    for limit in ["ulimit -f 500;", "ulimit -f 1000;"] {
        let output = command(dir.path(), &config, &format!("trap '' XFSZ; {limit}")).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && words.contains("cannot write") && words.contains("shard"), "{words}");
        assert!(words.contains("File too large"), "{words}");
        let left: Vec<_> = fs::read_dir(processed).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        assert!(left.iter().all(|path| path.extension().is_none_or(|ending| ending != "part")), "{left:?}");
        assert!(Dataset::open(&config).is_err());
    }
    let report = preprocess(&config).unwrap();
    assert_eq!(report.reused + report.computed, N);
}
