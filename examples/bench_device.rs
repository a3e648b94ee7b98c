//! The same training on the processor and on CUDA: how fast, how good, and whether both read a network alike.
//!
//! bench_device [EPOCHS]     on the embedded data set, under target/bench-device; without a GPU the processor's half alone
//! bench_device logits       of one network on one batch, how far the GPU's are from the processor's, in single and in reduced precision
//! bench_device resume       how far the weights of a run that was stopped and went on are from those of one that was not

use std::error::Error;
use std::path::Path;

use audio_transformer::Error::Stopped;
use audio_transformer::config::{Config, DataConfig, DataSource, DeviceChoice, Preset};
use audio_transformer::internals::model::seed::with_seed;
use audio_transformer::internals::model::tiny_ast::TinyAst;
use audio_transformer::internals::results::evaluate::evaluate_checkpoint;
use audio_transformer::internals::training::autocast::{Bfloat16, autocast};
use audio_transformer::internals::training::train::train_observed;
use audio_transformer::internals::training::{checkpoint, device};
use audio_transformer::{EpochRecord, Observer, acquire, cuda_report, preprocess, train};
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

const HOME: &str = "target/bench-device";
const SINGLE: &str = "single";
const HALF: &str = "half";
const BFLOAT16: &str = "bfloat16";
const FORMATS: [&str; 3] = [SINGLE, HALF, BFLOAT16];

fn main() -> Result<(), Box<dyn Error>> {
    let word = std::env::args().nth(1);
    match word.as_deref() {
        Some("logits") => return logits(),
        Some("resume") => return resume(),
        _ => {}
    }
    let epochs: usize = word.map_or(Ok(20), |word| word.parse())?;
    println!("{}", cuda_report());
    let mut devices = vec![DeviceChoice::Cpu];
    if tch::Cuda::is_available() {
        devices.push(DeviceChoice::Cuda);
    }
    let data = data();
    println!(
        "| preset | device | precision | clips/s | loss of the last epoch | held-out fold | read on the other device |"
    );
    println!("|---|---|---|---|---|---|---|");
    for preset in [Preset::Quick, Preset::Good] {
        let mut config = Config { data: data.clone(), ..preset.settings() };
        (config.train.epochs, config.train.validate, config.train.resume) = (epochs, true, false);
        acquire(&config)?;
        preprocess(&config)?;
        for &device in &devices {
            for format in FORMATS {
                let mixed_precision = format != SINGLE;
                if mixed_precision && device == DeviceChoice::Cpu {
                    continue;
                }
                (config.train.device, config.train.mixed_precision) = (device, mixed_precision);
                config.train.run_name = format!("{preset:?}-{device:?}-{format}");
                let _bfloat16 = (format == BFLOAT16).then(|| Bfloat16::on(Device::Cuda(0)));
                let report = train(&config)?;
                // The first epoch has a device's own start in it.
                let later = &report.history[1..];
                let speed = later.iter().map(|epoch| epoch.clips_per_s).sum::<f64>() / later.len() as f64;
                let loss = report.history.last().map_or(f64::NAN, |epoch| epoch.train_loss);
                let own = evaluate_checkpoint(&config, &report.checkpoint)?;
                let mut drift: f32 = 0.0;
                for &other in devices.iter().filter(|other| **other != device) {
                    let mut elsewhere = config.clone();
                    elsewhere.train.device = other;
                    let theirs = evaluate_checkpoint(&elsewhere, &report.checkpoint)?;
                    for (a, b) in own.clips.iter().zip(&theirs.clips) {
                        let apart = a.probabilities.iter().zip(&b.probabilities).map(|(a, b)| (a - b).abs());
                        drift = apart.fold(drift, f32::max);
                    }
                }
                println!(
                    "| {preset:?} | {device:?} | {format} | {speed:.0} | {loss:.3} | {:.1} % | within {drift:.1e} |",
                    100.0 * own.accuracy()
                );
            }
        }
    }
    Ok(())
}

fn data() -> DataConfig {
    let home = Path::new(HOME);
    DataConfig {
        source: DataSource::Demo,
        raw_dir: home.join("raw"),
        processed_dir: home.join("processed"),
        models_dir: home.join("models"),
        ..DataConfig::default()
    }
}

/// How far logits may be apart.
const APART: [(&str, f64); 3] = [(SINGLE, 1e-3), (HALF, 2e-2), (BFLOAT16, 2e-2)];

fn logits() -> Result<(), Box<dyn Error>> {
    let device = device::select(DeviceChoice::Auto)?;
    let mut told = Vec::new();
    for preset in [Preset::Quick, Preset::Good] {
        let (config, n_classes) = (preset.model(), 10);
        let (n_mels, n_frames) = (config.input_size.0 as i64, config.input_size.1 as i64);
        let inputs = with_seed(0, || Tensor::randn([16, 1, n_mels, n_frames], (Kind::Float, Device::Cpu)));
        let of = |device: Device, format: &str| -> Result<Tensor, Box<dyn Error>> {
            let vs = VarStore::new(device);
            let model = TinyAst::new(vs.root(), &config, n_classes, 0)?;
            let forward = || tch::no_grad(|| model.forward_t(&inputs.to_device(device), false));
            let _bfloat16 = (format == BFLOAT16).then(|| Bfloat16::on(device));
            let logits = if format == SINGLE { forward() } else { autocast(device, forward) };
            Ok(logits.to_device(Device::Cpu).to_kind(Kind::Float))
        };
        let expected = of(Device::Cpu, SINGLE)?;
        // Half precision is a card's: autocast on the processor computes in bfloat16.
        for (format, limit) in APART.into_iter().filter(|(format, _)| device != Device::Cpu || *format != HALF) {
            let apart = (of(device, format)? - &expected).abs().max().double_value(&[]);
            told.push(format!("{preset:?} in {format} {apart:.1e} ({limit:.0e})"));
            if apart.is_nan() || apart > limit {
                return Err(told.join(", ").into());
            }
        }
    }
    println!("{device:?}: {}", told.join(", "));
    Ok(())
}

/// Stops a run in its second epoch.
struct Stops(usize);

impl Observer for Stops {
    fn say(&mut self, _line: &str) {}

    fn epoch_ends(&mut self, _history: &[EpochRecord], _epochs: usize) {}

    fn epoch_begins(&mut self, epoch: usize, _epochs: usize, _n_clips: usize) {
        self.0 = epoch;
    }

    fn is_stopped(&self) -> bool {
        self.0 == 2
    }
}

fn resume() -> Result<(), Box<dyn Error>> {
    let device = if tch::Cuda::is_available() { DeviceChoice::Cuda } else { DeviceChoice::Cpu };
    let mut config = Config { data: data(), ..Preset::Good.settings() };
    (config.train.epochs, config.train.device, config.train.max_clips) = (2, device, 160);
    acquire(&config)?;
    preprocess(&config)?;
    let mut weights = Vec::new();
    for name in ["whole", "again", "stopped"] {
        (config.train.run_name, config.train.resume) = (name.into(), name == "stopped");
        if name == "stopped" && !matches!(train_observed(&config, &mut Stops(0)), Err(Stopped { .. })) {
            return Err("the run was not stopped".into());
        }
        let report = train(&config)?;
        weights.push(checkpoint::load(&report.checkpoint, Device::Cpu)?.vs.variables());
    }
    let apart = |other: usize| {
        let of = |(name, tensor): (&String, &Tensor)| (tensor - &weights[other][name]).abs().max().double_value(&[]);
        weights[0].iter().map(of).fold(0.0, f64::max)
    };
    println!("{device:?}: stopped and gone on {:.1e} apart; the same run once more {:.1e}", apart(2), apart(1));
    Ok(())
}
