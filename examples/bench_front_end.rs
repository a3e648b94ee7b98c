//! Our side of `bench/run.py front_end`: takes jobs as lines of JSON, answers each with seconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::internals::files::npy;
use audio_transformer::internals::front_end::audio;
use audio_transformer::internals::front_end::features::{FeatureConfig, FeatureExtractor, normalize};
use audio_transformer::internals::front_end::resample::Resampler;
use audio_transformer::internals::front_end::spectrogram::{Stft, max_power, power_to_db};
use ndarray::Array1;
use realfft::{FftError, RealFftPlanner};
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
        let features = extractor.extract(&waveform.samples, waveform.sample_rate)?.values;
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
    let mut clock = Clock::default();
    let (mut bytes_in, mut bytes_out, mut n_frames) = (0, 0, 0);
    let fft = RealFftPlanner::<f32>::new().plan_fft_forward(config.n_fft);
    let (mut frame, mut spectrum, mut scratch) = (fft.make_input_vec(), fft.make_output_vec(), fft.make_scratch_vec());
    let mut resample_flop = 0.0;
    for clip in clips {
        let waveform = clock.time("decode", || audio::read(clip))?;
        if resampler.as_ref().is_none_or(|(rate, _)| *rate != waveform.sample_rate) {
            resampler = Some((waveform.sample_rate, Resampler::new(waveform.sample_rate, config.sample_rate)?));
        }
        if let Some((_, resampler)) = &mut resampler {
            clock.time("resample", || resampler.process_into(&waveform.samples, &mut samples))?;
        }
        clock.time("stft", || stft.for_each_frame(&samples, |_, spectrum| _ = black_box(spectrum)))?;
        let mut features = clock.time("stft_mel", || extractor.mel_power(&samples))?;
        let values = features.as_slice_mut().ok_or("mel power in another layout")?;
        clock.time("decibels", || power_to_db(values, max_power(values), config.amin, Some(config.top_db)));
        clock.time("normalise", || normalize(&mut features));
        clock.time("write", || npy::write_f32(&npy_path(out, clip), &features))?;

        // What no program can do without: the bytes in and out, and the transforms alone on data in the nearest cache.
        clock.time("limit_decode", || std::fs::read(clip))?;
        clock.time("limit_stft", || {
            for _ in 0..features.ncols() {
                fft.process_with_scratch(&mut frame, &mut spectrum, &mut scratch)?;
            }
            Ok::<_, FftError>(())
        })?;
        let (written, plain) = (std::fs::read(npy_path(out, clip))?, npy_path(out, clip).with_extension("limit"));
        clock.time("limit_write", || std::fs::write(&plain, &written))?;

        bytes_in += std::fs::metadata(clip)?.len() as usize;
        bytes_out += written.len();
        n_frames += features.ncols();
        resample_flop += fft_flop(waveform.samples.len()) + fft_flop(samples.len());
    }
    let n = clips.len();
    let stft_flop = n_frames as f64 * fft_flop(config.n_fft);
    let seconds_per_flop = clock.0["limit_stft"] / stft_flop;
    clock.0.insert("limit_resample", resample_flop * seconds_per_flop);
    let seconds: BTreeMap<_, _> = clock.0.iter().map(|(step, total)| (step, total / n as f64)).collect();
    let mflop = |flop: f64| format!("{:.1} Mflop", flop / 1e6 / n as f64);
    Ok(json!({
        "seconds": seconds,
        "limit": {
            "decode": format!("read {} kB", bytes_in / n / 1000),
            "resample": format!("one FFT of the clip in, one out: {}", mflop(resample_flop)),
            "stft": format!("{} FFTs of {}: {}, {:.1} Gflop/s", n_frames / n, config.n_fft, mflop(stft_flop), 1e-9 / seconds_per_flop),
            "write": format!("write {} kB to a new file", bytes_out / n / 1000),
        },
    }))
}

/// Operations of a real FFT by the usual count, `2.5 · n · log2(n)`.
fn fft_flop(n: usize) -> f64 {
    2.5 * n as f64 * (n as f64).log2()
}

/// Seconds spent, by step.
#[derive(Default)]
struct Clock(BTreeMap<&'static str, f64>);

impl Clock {
    fn time<T>(&mut self, step: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = black_box(work());
        *self.0.entry(step).or_default() += start.elapsed().as_secs_f64();
        result
    }
}

fn npy_path(out: &Path, clip: &Path) -> PathBuf {
    out.join(clip.file_stem().unwrap_or_default()).with_extension("npy")
}
