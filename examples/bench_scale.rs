//! Our side of `bench/run.py scale`: one stage on a data set of many short recordings, its seconds and the most memory it took.
//!
//! usage: bench_scale FOLDER make N | FOLDER train CLIPS | FOLDER read CLIPS | FOLDER STAGE

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use audio_transformer::config::{ClipConfig, Config, DataConfig, DataSource, LongClips};
use audio_transformer::internals::dataset::metadata::{self, ProcessedClip};
use audio_transformer::internals::dataset::{acquire, verify};
use audio_transformer::internals::training::order::Shards;
use audio_transformer::{Dataset, audio, open_catalog, preprocess, train};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Classes, and recordings in a folder.
const CLASSES: usize = 50;
const PER_FOLDER: usize = 1000;
/// What is synthesised: 0.1 s at 16 kHz, of which every hundredth is touched by `change`.
const SAMPLE_RATE: u32 = 16_000;
const DURATION_S: f32 = 0.1;
const CHANGED: usize = 100;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, stage) = match &arguments[..] {
        [folder, stage] | [folder, stage, _] => (Path::new(folder), stage.as_str()),
        _ => return Err("usage: bench_scale FOLDER make N | FOLDER STAGE".into()),
    };
    let mut config = config(folder);
    let number = || -> Outcome<usize> { Ok(arguments.get(2).ok_or("how many?")?.parse()?) };
    match stage {
        "read" => {
            println!("{}", read(&config, number()?)?);
            return Ok(());
        }
        "mixing" => {
            println!("{}", mixing(&config)?);
            return Ok(());
        }
        "train" => {
            (config.train.max_clips, config.train.epochs, config.train.memory_mb) = (number()?, 1, 0);
            // A fifth of a million clips to score would be most of the time.
            config.train.validate = false;
        }
        _ => {}
    }
    let before = peak_mb()?;
    let started = Instant::now();
    let rows = match stage {
        "make" => make(folder, number()?)?,
        "change" => change(folder)?,
        "catalogue" => open_catalog(&config)?.clips.len(),
        "fingerprint" => {
            let catalog = open_catalog(&config)?;
            let n = catalog.clips.len();
            metadata::fingerprint(&catalog);
            n
        }
        "verify" => verify::survey(&open_catalog(&config)?)?.clips,
        "acquire" => acquire::acquire(&config)?.clips.len(),
        "preprocess" => {
            let report = preprocess(&config)?;
            eprintln!("{report}");
            report.spectrograms
        }
        "train" => {
            train(&config)?;
            config.train.max_clips
        }
        "dataset" => {
            let dataset = Dataset::open(&config)?;
            let split = dataset.split(&config.train)?;
            split.train.len() + split.validation.len() + split.test.len()
        }
        _ => return Err(format!("there is no stage {stage}").into()),
    };
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", json!({ "rows": rows, "seconds": seconds, "before_mb": before, "peak_mb": peak_mb()? }));
    Ok(())
}

/// How fast spectrograms are read at random places.
fn read(config: &Config, n: usize) -> Outcome<Value> {
    let dataset = Dataset::open(config)?;
    let mut order: Vec<usize> = (0..dataset.clips.len()).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(0));
    let started = Instant::now();
    let mut total = 0.0;
    for index in order.iter().take(n) {
        total += dataset.spectrogram(*index)?.values.sum();
    }
    Ok(json!({ "clips_per_s": n as f64 / started.elapsed().as_secs_f64(), "sum": total }))
}

/// How far the classes of 1,000 clips, one behind the other, are from those of all, in the order of an epoch and in that of a full shuffle; and how
/// much more often than by chance two clips of such a stretch are in one again in the next epoch.
fn mixing(config: &Config) -> Outcome<Value> {
    const STRETCH: usize = 1000;
    let dataset = Dataset::open(config)?;
    let n = dataset.clips.len();
    let mut numbers = HashMap::new();
    let number = |clip: &ProcessedClip| {
        let next = numbers.len() as u32;
        clip.row.map(|_| *numbers.entry(clip.npy.clone()).or_insert(next))
    };
    let shards =
        Shards::new(dataset.clips.iter().map(number).collect()).ok_or("too few shards to be read in groups")?;
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let mut epoch = |in_groups: bool| {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut rng);
        if in_groups {
            shards.group(&mut order, &mut rng);
        }
        order
    };
    let of_all = shares(&dataset, &(0..n).collect::<Vec<_>>());
    let distance = |order: &[usize]| {
        let stretches = order.chunks_exact(STRETCH);
        let count = stretches.len() as f64;
        let off =
            |clips: &[usize]| shares(&dataset, clips).iter().zip(&of_all).map(|(a, b)| (a - b).abs()).sum::<f64>();
        stretches.map(|clips| off(clips) / 2.0).sum::<f64>() / count
    };
    let (full, first, second) = (epoch(false), epoch(true), epoch(true));
    let mut stretch_of = vec![0; n];
    second.iter().enumerate().for_each(|(place, clip)| stretch_of[*clip] = place / STRETCH);
    let pairs = first.chunks_exact(STRETCH).flat_map(|clips| clips.windows(2));
    let again = pairs.clone().filter(|pair| stretch_of[pair[0]] == stretch_of[pair[1]]).count() as f64;
    let by_chance = pairs.count() as f64 * STRETCH as f64 / n as f64;
    let (grouped, full) = (distance(&first), distance(&full));
    Ok(json!({ "grouped": grouped, "full": full, "again": again / by_chance, "shards": numbers.len() }))
}

/// The share of each class among clips.
fn shares(dataset: &Dataset, clips: &[usize]) -> Vec<f64> {
    let mut shares = vec![0.0; dataset.labels.len()];
    clips.iter().for_each(|clip| shares[dataset.clips[*clip].target] += 1.0 / clips.len() as f64);
    shares
}

fn config(folder: &Path) -> Config {
    let data = DataConfig {
        source: DataSource::Table(folder.join("sounds/metadata.csv")),
        metadata_path: None,
        raw_dir: folder.join("raw"),
        processed_dir: folder.join("processed"),
        models_dir: folder.join("models"),
        // As many of them as a million clips of 5 s have of 256 MB.
        shard_mb: 6,
        ..DataConfig::default()
    };
    let clip = ClipConfig { duration_s: DURATION_S, long_clips: LongClips::Crop };
    Config { data, clip, ..Config::default() }
}

fn name(index: usize) -> String {
    format!("{:04}/recording {index:07}.wav", index / PER_FOLDER)
}

/// A tone in noise, as its number will have it: no two are alike.
fn sound(index: usize, take: u64) -> audio::Waveform {
    let mut state = (2 * index as u64 + take + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let hz = 200.0 + 100.0 * (index % CLASSES) as f32;
    let samples = (0..(SAMPLE_RATE as f32 * DURATION_S) as usize).map(|n| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        0.3 * (n as f32 * hz * std::f32::consts::TAU / SAMPLE_RATE as f32).sin() + 0.2 * noise
    });
    audio::Waveform { samples: samples.collect(), sample_rate: SAMPLE_RATE }
}

fn make(folder: &Path, n: usize) -> Outcome<usize> {
    let sounds = folder.join("sounds");
    for index in (0..n).step_by(PER_FOLDER) {
        fs::create_dir_all(sounds.join(name(index)).parent().ok_or("no folder")?)?;
    }
    (0..n).into_par_iter().try_for_each(|index| audio::write_wav(&sounds.join(name(index)), &sound(index, 0)))?;
    let mut table = BufWriter::new(fs::File::create(sounds.join("metadata.csv"))?);
    writeln!(table, "filename,category")?;
    for index in 0..n {
        writeln!(table, "{},class {}", name(index), index % CLASSES)?;
    }
    table.flush()?;
    Ok(n)
}

/// Puts other recordings in the place of some.
fn change(folder: &Path) -> Outcome<usize> {
    let exists = |index: &usize| folder.join("sounds").join(name(*index)).exists();
    let changed: Vec<usize> = (0..).step_by(CHANGED).take_while(exists).collect();
    // Another take each time.
    let take = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let one = |index: &usize| audio::write_wav(&folder.join("sounds").join(name(*index)), &sound(*index, take));
    changed.par_iter().try_for_each(one)?;
    Ok(changed.len())
}

/// `VmHWM`, which Linux tells in units of 1024 bytes (proc_pid_status(5)).
fn peak_mb() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? * 1024.0 / 1e6)
}
