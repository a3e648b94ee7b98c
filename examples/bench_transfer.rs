//! Our side of `bench/run.py transfer`: takes jobs as lines of JSON, answers each with a line of JSON.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::audio::{self, Waveform};
use audio_transformer::config::OptimizerChoice;
use audio_transformer::internals::training::flat_weights::FlatWeights;
use audio_transformer::internals::training::optim::Optimizer;
use audio_transformer::published::{AstFeatureConfig, AstFeatures};
use audio_transformer::{FeatureConfig, FeatureExtractor, Listener, Pretrained};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Reduction, Tensor};

const SAMPLE_RATE: u32 = 16_000;
const BATCH_SIZE: i64 = 16;
/// Frames of five seconds.
const N_FRAMES: i64 = 501;

#[derive(Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
enum Job {
    /// How many threads libtorch works with.
    Threads,
    /// Recording → probabilities, by a network that is open; with the recording decoded before where `decoded` says so.
    Predict { folder: PathBuf, recording: PathBuf, decoded: bool, times: usize },
    /// Decoded recording → features of AST.
    Features { recording: PathBuf, times: usize },
    /// Training steps of a CED.
    Steps { folder: PathBuf, n_steps: usize },
    /// Recordings → embeddings.
    Embed { folder: PathBuf, recordings: Vec<PathBuf> },
    /// The peak of memory with libtorch alone, with a network read, and after it has heard a recording at 16 kHz.
    Memory { folder: PathBuf, recording: PathBuf },
}

type Answer = Result<Value, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut bench = Bench::default();
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Job::Threads => json!({ "threads": tch::get_num_threads() }),
            Job::Predict { folder, recording, decoded, times } => bench.predict(&folder, &recording, decoded, times)?,
            Job::Features { recording, times } => bench.features(&recording, times)?,
            Job::Steps { folder, n_steps } => bench.steps(&folder, n_steps)?,
            Job::Embed { folder, recordings } => bench.embed(&folder, &recordings)?,
            Job::Memory { folder, recording } => memory(&folder, &recording)?,
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Bench {
    listeners: HashMap<PathBuf, Listener>,
    decoded: HashMap<PathBuf, Waveform>,
    run: Option<(Pretrained, FlatWeights, Optimizer)>,
}

impl Bench {
    fn decoded(&mut self, recording: &Path) -> Result<Waveform, Box<dyn Error>> {
        if let Some(known) = self.decoded.get(recording) {
            return Ok(known.clone());
        }
        let read = audio::read(recording)?;
        let mut resampler = FeatureExtractor::new(&FeatureConfig { sample_rate: SAMPLE_RATE, ..Default::default() })?;
        let samples = resampler.resample(&read.samples, read.sample_rate)?;
        let waveform = Waveform { samples, sample_rate: SAMPLE_RATE };
        self.decoded.insert(recording.into(), waveform.clone());
        Ok(waveform)
    }

    fn listener(&mut self, folder: &Path) -> Result<&mut Listener, Box<dyn Error>> {
        if !self.listeners.contains_key(folder) {
            self.listeners.insert(folder.into(), Listener::open(folder, Device::Cpu)?);
        }
        self.listeners.get_mut(folder).ok_or_else(|| "no such network".into())
    }

    fn predict(&mut self, folder: &Path, recording: &Path, decoded: bool, times: usize) -> Answer {
        let waveform = if decoded { Some(self.decoded(recording)?) } else { None };
        let listener = self.listener(folder)?;
        let started = Instant::now();
        let mut last = None;
        for _ in 0..times {
            last = Some(match &waveform {
                Some(waveform) => listener.predict(waveform, recording)?,
                None => listener.predict_file(recording)?,
            });
        }
        let seconds = started.elapsed().as_secs_f64() / times as f64;
        let ranked: HashMap<String, f32> = last.into_iter().flat_map(|prediction| prediction.ranked).collect();
        let first: Vec<f32> = listener.labels().iter().map(|label| ranked[label]).collect();
        Ok(json!({ "seconds": seconds, "first": first }))
    }

    fn features(&mut self, recording: &Path, times: usize) -> Answer {
        let waveform = self.decoded(recording)?;
        let mut extractor = AstFeatures::new(&AstFeatureConfig::default())?;
        let started = Instant::now();
        let mut last = None;
        for _ in 0..times {
            last = Some(extractor.extract(&waveform.samples)?);
        }
        let seconds = started.elapsed().as_secs_f64() / times as f64;
        let rows = last.iter().flat_map(|features| features.rows()).step_by(8);
        let first: Vec<f32> = rows.flatten().copied().collect();
        Ok(json!({ "seconds": seconds, "first": first }))
    }

    fn steps(&mut self, folder: &Path, n_steps: usize) -> Answer {
        if self.run.is_none() {
            let network = Pretrained::open(folder, Device::Cpu)?;
            let weights = FlatWeights::new(network.variables())?;
            let optimizer = Optimizer::new(&weights, OptimizerChoice::AdamW, 0.01);
            self.run = Some((network, weights, optimizer));
        }
        let (network, weights, optimizer) = self.run.as_mut().ok_or("no run")?;
        let n = BATCH_SIZE * 64 * N_FRAMES;
        let wave = (Tensor::arange(n, (Kind::Float, Device::Cpu)) * 0.37).sin() * 20.0 - 30.0;
        let inputs = wave.view([BATCH_SIZE, 64, N_FRAMES]);
        let targets = Tensor::arange(BATCH_SIZE, (Kind::Int64, Device::Cpu)).one_hot(527).to_kind(Kind::Float);
        let started = Instant::now();
        for _ in 0..n_steps {
            let logits = network.logits(&network.embed(&network.inputs(&inputs), true));
            let loss = logits.binary_cross_entropy_with_logits::<Tensor>(&targets, None, None, Reduction::Mean);
            let gradient = weights.gradient(&loss)?;
            optimizer.step(weights, &gradient, 1e-5);
            loss.double_value(&[]);
        }
        Ok(json!({ "seconds": started.elapsed().as_secs_f64() / n_steps as f64 }))
    }

    fn embed(&mut self, folder: &Path, recordings: &[PathBuf]) -> Answer {
        let listener = self.listener(folder)?;
        let started = Instant::now();
        for recording in recordings {
            listener.embedding(&audio::read(recording)?)?;
        }
        Ok(json!({ "seconds": started.elapsed().as_secs_f64() }))
    }
}

fn memory(folder: &Path, recording: &Path) -> Answer {
    let ones = || Tensor::ones([512, 512], (Kind::Float, Device::Cpu));
    drop(ones().matmul(&ones()));
    let alone = peak_bytes()?;
    let mut network = Pretrained::open(folder, Device::Cpu)?;
    // Mapped weights are read when they are used first.
    for values in network.variables().variables().values() {
        values.sum(Kind::Float).double_value(&[]);
    }
    let loaded = peak_bytes()?;
    network.hear(&audio::read(recording)?.samples)?;
    Ok(json!({ "alone": alone, "loaded": loaded, "heard": peak_bytes()? }))
}

/// The most memory this process has held so far.
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(1024 * peak.trim().trim_end_matches("kB").trim().parse::<u64>()?)
}
