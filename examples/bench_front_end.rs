//! Our side of `bench/run.py front_end`: takes jobs as lines of JSON, answers each with seconds.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::features::{FeatureConfig, FeatureExtractor, normalize};
use audio_transformer::resample::Resampler;
use audio_transformer::spectrogram::{Stft, max_power, power_to_db};
use audio_transformer::{audio, npy};
use ndarray::Array1;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
enum Job {
    /// WAV → resampled → log-mel → normalised → `.npy`.
    Features { clips: Vec<PathBuf>, out: PathBuf },
    /// STFT and mel power of clips in memory at 16 kHz.
    Mel { clips: Vec<PathBuf> },
    /// Resampling of clips in memory.
    Resample { clips: Vec<PathBuf> },
    /// The steps of `Features`, each on its own clock; `stft_mel` holds the STFT and the filterbank, which share a loop.
    Steps { clips: Vec<PathBuf>, out: PathBuf },
    /// Resamples one `.npy` vector into another.
    ResampleNpy { input: PathBuf, from_hz: u32, to_hz: u32, output: PathBuf },
}

type Answer = Result<Value, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let config = FeatureConfig::default();
    let mut extractor = FeatureExtractor::new(&config)?;
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Job::Features { clips, out } => features(&mut extractor, &clips, &out)?,
            Job::Mel { clips } => mel(&mut extractor, &clips)?,
            Job::Resample { clips } => resample(config.sample_rate, &clips)?,
            Job::Steps { clips, out } => steps(&config, &mut extractor, &clips, &out)?,
            Job::ResampleNpy { input, from_hz, to_hz, output } => {
                let samples: Array1<f32> = ndarray_npy::read_npy(input)?;
                let resampled = Resampler::new(from_hz, to_hz)?.process(&samples.to_vec())?;
                ndarray_npy::write_npy(output, &Array1::from(resampled))?;
                json!({})
            }
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn features(extractor: &mut FeatureExtractor, clips: &[PathBuf], out: &Path) -> Answer {
    let start = Instant::now();
    for clip in clips {
        let waveform = audio::read(clip)?;
        let features = extractor.extract(&waveform.samples, waveform.sample_rate)?;
        npy::write_f32(&npy_path(out, clip), &features)?;
    }
    Ok(json!({ "seconds": start.elapsed().as_secs_f64() / clips.len() as f64 }))
}

fn mel(extractor: &mut FeatureExtractor, clips: &[PathBuf]) -> Answer {
    let mut resampled = Vec::with_capacity(clips.len());
    for clip in clips {
        let waveform = audio::read(clip)?;
        resampled.push(extractor.resample(&waveform.samples, waveform.sample_rate)?);
    }
    let start = Instant::now();
    for samples in &resampled {
        black_box(extractor.mel_power(samples)?);
    }
    Ok(json!({ "seconds": start.elapsed().as_secs_f64() / clips.len() as f64 }))
}

fn resample(sample_rate: u32, clips: &[PathBuf]) -> Answer {
    let waveforms = clips.iter().map(|clip| audio::read(clip)).collect::<Result<Vec<_>, _>>()?;
    let mut resampler = Resampler::new(waveforms[0].sample_rate, sample_rate)?;
    let mut resampled = Vec::new();
    let start = Instant::now();
    for waveform in &waveforms {
        resampler.process_into(&waveform.samples, &mut resampled)?;
        black_box(&resampled);
    }
    Ok(json!({ "seconds": start.elapsed().as_secs_f64() / clips.len() as f64 }))
}

fn steps(config: &FeatureConfig, extractor: &mut FeatureExtractor, clips: &[PathBuf], out: &Path) -> Answer {
    let mut stft = Stft::new(config.n_fft, config.win_length, config.hop_length, config.padding)?;
    let (mut resampler, mut samples) = (None::<(u32, Resampler)>, Vec::new());
    let [mut decode, mut resample, mut stft_alone, mut stft_mel, mut decibels, mut normal, mut write] = [0.0; 7];
    let (mut bytes_in, mut samples_in, mut samples_out, mut n_frames, mut bytes_out) = (0, 0, 0, 0, 0);
    for clip in clips {
        let waveform = timed(&mut decode, || audio::read(clip))?;
        if resampler.as_ref().is_none_or(|(rate, _)| *rate != waveform.sample_rate) {
            resampler = Some((waveform.sample_rate, Resampler::new(waveform.sample_rate, config.sample_rate)?));
        }
        if let Some((_, resampler)) = &mut resampler {
            timed(&mut resample, || resampler.process_into(&waveform.samples, &mut samples))?;
        }
        timed(&mut stft_alone, || stft.for_each_frame(&samples, |_, spectrum| _ = black_box(spectrum)))?;
        let mut features = timed(&mut stft_mel, || extractor.mel_power(&samples))?;
        let values = features.as_slice_mut().ok_or("mel power in another layout")?;
        timed(&mut decibels, || power_to_db(values, max_power(values), config.amin, Some(config.top_db)));
        timed(&mut normal, || normalize(&mut features));
        timed(&mut write, || npy::write_f32(&npy_path(out, clip), &features))?;
        bytes_in += std::fs::metadata(clip)?.len();
        bytes_out += std::fs::metadata(npy_path(out, clip))?.len();
        samples_in += waveform.samples.len();
        samples_out += samples.len();
        n_frames += features.ncols();
    }
    let n = clips.len();
    let seconds = |total: f64| total / n as f64;
    let fft_mflop = n_frames as f64 / n as f64 * fft_flop(config.n_fft) / 1e6;
    Ok(json!({
        "seconds": {
            "decode": seconds(decode),
            "resample": seconds(resample),
            "stft": seconds(stft_alone),
            "stft_mel": seconds(stft_mel),
            "decibels": seconds(decibels),
            "normalise": seconds(normal),
            "write": seconds(write),
        },
        "limit": {
            "decode": format!("{} kB read", bytes_in / n as u64 / 1000),
            "resample": format!("{} samples in, {} out", samples_in / n, samples_out / n),
            "stft": format!("{} real FFTs of {}: {fft_mflop:.1} Mflop", n_frames / n, config.n_fft),
            "mel": format!("{} bins to {} bands per frame", config.n_fft / 2 + 1, config.n_mels),
            "decibels": format!("{} logarithms", config.n_mels * n_frames / n),
            "normalise": format!("{} values, three passes", config.n_mels * n_frames / n),
            "write": format!("{} kB written, one file made and renamed", bytes_out / n as u64 / 1000),
        },
    }))
}

/// Operations of a real FFT by the usual count, `2.5 · n · log2(n)`.
fn fft_flop(n: usize) -> f64 {
    2.5 * n as f64 * (n as f64).log2()
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = black_box(work());
    *seconds += start.elapsed().as_secs_f64();
    result
}

fn npy_path(out: &Path, clip: &Path) -> PathBuf {
    out.join(clip.file_stem().unwrap_or_default()).with_extension("npy")
}
