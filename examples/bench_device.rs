//! The same training on the processor and on CUDA: how fast, how good, and whether both read a network alike.
//!
//! bench_device [EPOCHS]     on the embedded data set, under target/bench-device; without a GPU the processor's half alone

use std::error::Error;
use std::path::Path;

use audio_transformer::config::{Config, DataConfig, DataSource, DeviceChoice, Preset};
use audio_transformer::internals::results::evaluate::evaluate_checkpoint;
use audio_transformer::{acquire, cuda_report, preprocess, train};

const HOME: &str = "target/bench-device";

fn main() -> Result<(), Box<dyn Error>> {
    let epochs: usize = std::env::args().nth(1).map_or(Ok(20), |word| word.parse())?;
    println!("{}", cuda_report());
    let mut devices = vec![DeviceChoice::Cpu];
    if tch::Cuda::is_available() {
        devices.push(DeviceChoice::Cuda);
    }
    let home = Path::new(HOME);
    let data = DataConfig {
        source: DataSource::Demo,
        raw_dir: home.join("raw"),
        processed_dir: home.join("processed"),
        models_dir: home.join("models"),
        ..DataConfig::default()
    };
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
            for mixed_precision in [false, true] {
                if mixed_precision && device == DeviceChoice::Cpu {
                    continue;
                }
                (config.train.device, config.train.mixed_precision) = (device, mixed_precision);
                config.train.run_name = format!("{preset:?}-{device:?}-{mixed_precision}");
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
                    "| {preset:?} | {device:?} | {} | {speed:.0} | {loss:.3} | {:.1} % | within {drift:.1e} |",
                    if mixed_precision { "half" } else { "single" },
                    100.0 * own.accuracy()
                );
            }
        }
    }
    Ok(())
}
