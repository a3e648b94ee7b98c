//! The embedded data set: synthesised sounds in the ESC-50 layout, so that the whole pipeline runs without a download.
//!
//! Ten classes differ the way real sounds do (pitch, its course over time, rhythm, noise colour), and each clip draws its
//! own pitch, rate, level, onset and background, so that a classifier has to generalise across folds. As in ESC-50, the
//! clips of one source share their character and their fold, and are told apart by their take.

use std::f32::consts::TAU;
use std::fs;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::files::staging::{self, Staging};
use crate::front_end::audio::{self, Waveform};

/// The rate of ESC-50's files, in Hz.
pub const SAMPLE_RATE: u32 = 44_100;
/// The length of ESC-50's files, in samples (5 s).
pub const N_SAMPLES: usize = 5 * SAMPLE_RATE as usize;
/// The folds of ESC-50.
const N_FOLDS: u32 = 5;
/// Raised whenever the same recipe would sound different, so that an older folder is made anew.
const VERSION: u32 = 1;

/// The classes, in the order of their targets, each with its voice.
const CLASSES: [(&str, Voice); 10] = [
    ("steady_tone", steady_tone),
    ("rising_chirp", rising_chirp),
    ("falling_chirp", falling_chirp),
    ("warble", warble),
    ("bell", bell),
    ("click_train", click_train),
    ("crackle", crackle),
    ("noise_burst", noise_burst),
    ("modulated_noise", modulated_noise),
    ("rumble", rumble),
];

type Rng = Xoshiro256PlusPlus;
/// Draws a sound's character from the source's generator and its details from the take's.
type Voice = fn(source: &mut Rng, take: &mut Rng) -> Vec<f32>;

/// What a folder of the demo data set was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Reaches every sample.
    pub seed: u64,
    /// Clips of each class in each of the five folds.
    pub clips_per_fold: usize,
    #[serde(default)]
    version: u32,
}

impl Recipe {
    /// A recipe of the current version.
    pub fn new(seed: u64, clips_per_fold: usize) -> Self {
        Recipe { seed, clips_per_fold, version: VERSION }
    }
}

/// One clip: 5 s at 44.1 kHz. `source` and `take` count from 0 within a class and fold.
pub fn synthesize(seed: u64, target: usize, fold: u32, source: usize, take: usize) -> Waveform {
    let key =
        |parts: &[u64]| parts.iter().fold(seed ^ 0x5eed, |key, part| key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part);
    let place = [target as u64, u64::from(fold), source as u64];
    let mut source_rng = Rng::seed_from_u64(key(&place));
    let mut take_rng = Rng::seed_from_u64(key(&[place[0], place[1], place[2], 1 + take as u64]));
    let (_, voice) = CLASSES[target % CLASSES.len()];
    let dry = voice(&mut source_rng, &mut take_rng);
    Waveform { samples: record(dry, &mut source_rng, &mut take_rng), sample_rate: SAMPLE_RATE }
}

/// Makes the data set at `root` (`audio/*.wav`, `meta/esc50.csv`), unless it is there already from the same recipe.
///
/// The folder appears whole or not at all. One that was made here from another recipe is replaced; what an interrupted run
/// left beside it is removed. Returns whether it was made now.
///
/// # Errors
/// [`Error::Dataset`] when something else lies at `root`, which then stays as it is; [`Error::Io`] when the folder cannot be
/// written; [`Error::Config`] when `clips_per_fold` is 0 or above 100.
pub fn make(root: &Path, recipe: Recipe) -> Result<bool> {
    if !(1..=100).contains(&recipe.clips_per_fold) {
        let found = recipe.clips_per_fold.to_string();
        return Err(Error::Config { field: "data.demo_clips_per_fold", expected: "1 to 100".into(), found });
    }
    staging::remove_stale(root);
    let made_from = fs::read(root.join("recipe.json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let staging = match made_from {
        Some(made_from) if recipe == made_from => return Ok(false),
        Some(_) => Staging::to_replace(root)?,
        None => Staging::new(root).map_err(not_ours)?,
    };
    write_all(staging.path(), recipe).map_err(|error| staging.renamed(error))?;
    if made_from.is_some() {
        staging.replace()?
    } else {
        staging.commit()?
    }
    Ok(true)
}

/// Tells that a folder is in the way which only its owner may move.
fn not_ours(error: Error) -> Error {
    match error {
        Error::Dataset { root, found, .. } => {
            let expected =
                "a place for the demo data set: none yet, an empty folder, or one with its recipe.json".into();
            Error::Dataset { root, expected, found, next: "Move or rename what lies there.".into() }
        }
        other => other,
    }
}

fn write_all(root: &Path, recipe: Recipe) -> Result<()> {
    files::create_dir(&root.join("audio"))?;
    let mut table = String::from("filename,fold,target,category,esc10,src_file,take\n");
    let mut clips = Vec::new();
    for fold in 1..=N_FOLDS {
        for (target, (category, _)) in CLASSES.iter().enumerate() {
            for clip in 0..recipe.clips_per_fold {
                // Two takes of every source, as many of ESC-50's recordings gave several clips.
                let (source, take) = (clip / 2, clip % 2);
                let source_id = (target * N_FOLDS as usize + fold as usize - 1) * 100 + source;
                let letter = ["A", "B"][take];
                let filename = format!("{fold}-{source_id:04}-{letter}-{target}.wav");
                table.push_str(&format!("{filename},{fold},{target},{category},False,{source_id:04},{letter}\n"));
                clips.push((filename, target, fold, source, take));
            }
        }
    }
    clips.par_iter().try_for_each(|(filename, target, fold, source, take)| {
        let waveform = synthesize(recipe.seed, *target, *fold, *source, *take);
        audio::write_wav(&root.join("audio").join(filename), &waveform)
    })?;
    files::write_bytes(&root.join("meta/esc50.csv"), table.as_bytes())?;
    let readme = "Synthesised sounds in the ESC-50 layout, made by the audio_transformer crate. Not recordings.\n";
    files::write_bytes(&root.join("README.md"), readme.as_bytes())?;
    let json = serde_json::to_vec_pretty(&recipe).unwrap_or_default();
    files::write_bytes(&root.join("recipe.json"), &json)
}

/// Puts a dry sound into a clip as a field recorder would: a level, a noise floor, and silence around short sounds.
fn record(dry: Vec<f32>, source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let peak = dry.iter().fold(1e-9f32, |peak, sample| peak.max(sample.abs()));
    let gain = decibels(take.random_range(-18.0..-1.0)) / peak;
    let floor = decibels(source.random_range(-65.0..-40.0));
    let mut hiss = Colour::new(source.random_range(0.0..0.95));
    dry.iter().map(|sample| (gain * sample + floor * hiss.next(take)).clamp(-1.0, 1.0)).collect()
}

fn decibels(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

/// Log-uniform: every octave as likely as the next.
fn pitch_hz(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low * (high / low).powf(rng.random_range(0.0..1.0))
}

fn seconds(index: usize) -> f32 {
    index as f32 / SAMPLE_RATE as f32
}

/// Noise through a one-pole low-pass, scaled to about unit power; a `pole` of 0 is white, near 1 is brown.
struct Colour {
    pole: f32,
    state: f32,
}

impl Colour {
    fn new(pole: f32) -> Self {
        Colour { pole, state: 0.0 }
    }

    fn next(&mut self, rng: &mut Rng) -> f32 {
        // Uniform noise on [−1, 1] has a variance of 1/3.
        let white = rng.random_range(-1.0f32..1.0) * 3f32.sqrt();
        self.state = self.pole * self.state + (1.0 - self.pole * self.pole).sqrt() * white;
        self.state
    }
}

/// A sum of harmonics whose fundamental follows `freq_hz(t)`; each partial is half as loud as `brightness` allows.
fn harmonics(brightness: f32, n_partials: usize, freq_hz: impl Fn(f32) -> f32) -> Vec<f32> {
    let nyquist_hz = SAMPLE_RATE as f32 / 2.0;
    let mut phase = 0f32;
    (0..N_SAMPLES)
        .map(|index| {
            let freq_hz = freq_hz(seconds(index));
            phase = (phase + freq_hz / SAMPLE_RATE as f32).fract();
            let audible = (1..=n_partials).take_while(|n| *n as f32 * freq_hz < nyquist_hz);
            audible.map(|n| brightness.powi(n as i32 - 1) * (TAU * phase * n as f32).sin()).sum()
        })
        .collect()
}

/// Raises a sound at `onset_s` and lets it fall after `duration_s`, both within 20 ms.
fn gate(mut sound: Vec<f32>, onset_s: f32, duration_s: f32) -> Vec<f32> {
    let ramp_s = 0.02;
    for (index, sample) in sound.iter_mut().enumerate() {
        let t = seconds(index) - onset_s;
        *sample *= (t / ramp_s).clamp(0.0, 1.0) * ((duration_s - t) / ramp_s).clamp(0.0, 1.0);
    }
    sound
}

fn steady_tone(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let freq_hz = pitch_hz(source, 150.0, 3_000.0);
    let brightness = source.random_range(0.2..0.7);
    let detune = take.random_range(0.98..1.02);
    gate(harmonics(brightness, 8, |_| freq_hz * detune), take.random_range(0.0..1.0), take.random_range(2.0..4.5))
}

fn rising_chirp(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    sweeps(source, take, 1.0)
}

fn falling_chirp(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    sweeps(source, take, -1.0)
}

/// Repeated glides over one to three octaves, up or down.
fn sweeps(source: &mut Rng, take: &mut Rng, direction: f32) -> Vec<f32> {
    let octaves = source.random_range(1.0..3.0);
    let middle_hz = pitch_hz(source, 500.0, 1_800.0);
    let period_s = source.random_range(0.6..2.5);
    let offset = take.random_range(0.0..1.0f32);
    harmonics(source.random_range(0.1..0.5), 4, |t| {
        let progress = (t / period_s + offset).fract() - 0.5;
        middle_hz * (direction * octaves * progress).exp2()
    })
}

fn warble(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let centre_hz = pitch_hz(source, 400.0, 2_500.0);
    let depth_octaves = source.random_range(0.15..0.5);
    let rate_hz = source.random_range(2.0..7.0);
    let offset = take.random_range(0.0..TAU);
    harmonics(source.random_range(0.1..0.6), 5, |t| {
        centre_hz * (depth_octaves * (TAU * rate_hz * t + offset).sin()).exp2()
    })
}

/// Struck metal: inharmonic partials, the higher the faster gone.
fn bell(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let base_hz = pitch_hz(source, 300.0, 1_500.0);
    // Partials of a church bell relative to its prime: hum, prime, tierce, quint, nominal and above.
    let partials = [0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0].map(|ratio| ratio * source.random_range(0.98..1.02));
    let decay_s = source.random_range(0.4..1.5);
    let period_s = source.random_range(0.9..2.5);
    let onset_s = take.random_range(0.0..0.5);
    (0..N_SAMPLES)
        .map(|index| {
            let t = seconds(index) - onset_s;
            if t < 0.0 {
                return 0.0;
            }
            let since_strike = t % period_s;
            let partial =
                |ratio: &f32| (-since_strike * ratio / decay_s).exp() * (TAU * base_hz * ratio * since_strike).sin();
            partials.iter().map(partial).sum()
        })
        .collect()
}

/// Regular clicks, each a few milliseconds of ringing.
fn click_train(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let period_s = 1.0 / pitch_hz(source, 1.5, 9.0);
    let ring_hz = pitch_hz(source, 1_200.0, 6_000.0);
    let onset_s = take.random_range(0.0..period_s);
    let jitter = take.random_range(0.0..0.03);
    let mut sound = vec![0.0; N_SAMPLES];
    let mut at_s = onset_s;
    while at_s < 5.0 {
        ring(&mut sound, at_s, ring_hz, 0.004, 1.0);
        at_s += period_s * (1.0 + take.random_range(-1.0..1.0) * jitter);
    }
    sound
}

/// Sparse, irregular snaps of many sizes over a soft bed of noise, as of fire.
fn crackle(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let per_second = source.random_range(8.0..40.0f32);
    let mut bed = Colour::new(0.9);
    let mut sound: Vec<f32> = (0..N_SAMPLES).map(|_| 0.015 * bed.next(take)).collect();
    let mut at_s = 0.0;
    while at_s < 5.0 {
        // Exponential waiting times make a Poisson process.
        at_s += -take.random_range(1e-6..1.0f32).ln() / per_second;
        let size = take.random_range(0.0..1.0f32).powi(3);
        ring(&mut sound, at_s, pitch_hz(take, 800.0, 7_000.0), take.random_range(0.001..0.005), size);
    }
    sound
}

/// Adds a decaying ring at `at_s`.
fn ring(sound: &mut [f32], at_s: f32, freq_hz: f32, decay_s: f32, gain: f32) {
    let start = (at_s * SAMPLE_RATE as f32) as usize;
    let n_samples = (6.0 * decay_s * SAMPLE_RATE as f32) as usize;
    for (index, sample) in sound.iter_mut().skip(start).take(n_samples).enumerate() {
        let t = seconds(index);
        *sample += gain * (-t / decay_s).exp() * (TAU * freq_hz * t).sin();
    }
}

/// One to four bursts of noise with a sharp attack and a quick fall.
fn noise_burst(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let pole = source.random_range(0.0..0.8);
    let fall_s = source.random_range(0.05..0.25);
    let n_bursts = source.random_range(1..=4);
    let mut sound = vec![0.0; N_SAMPLES];
    for _ in 0..n_bursts {
        let start = (take.random_range(0.1..4.4) * SAMPLE_RATE as f32) as usize;
        let mut noise = Colour::new(pole);
        for (index, sample) in sound.iter_mut().skip(start).enumerate() {
            *sample += (-seconds(index) / fall_s).exp() * noise.next(take);
        }
    }
    sound
}

/// Continuous noise whose loudness swells and fades, as of waves.
fn modulated_noise(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let rate_hz = source.random_range(0.3..1.5);
    let depth = source.random_range(0.7..0.98);
    let mut noise = Colour::new(source.random_range(0.2..0.9));
    let offset = take.random_range(0.0..TAU);
    let swell = |t: f32| 1.0 - depth * (0.5 + 0.5 * (TAU * rate_hz * t + offset).sin());
    (0..N_SAMPLES).map(|index| swell(seconds(index)) * noise.next(take)).collect()
}

/// A low engine: dark noise, and a hum whose firing rate trembles.
fn rumble(source: &mut Rng, take: &mut Rng) -> Vec<f32> {
    let hum_hz = pitch_hz(source, 30.0, 90.0);
    let tremble_hz = source.random_range(0.5..3.0);
    let offset = take.random_range(0.0..TAU);
    let mut noise = Colour::new(0.985);
    let hum = harmonics(0.75, 10, |t| hum_hz * (1.0 + 0.02 * (TAU * tremble_hz * t + offset).sin()));
    hum.into_iter().map(|sample| 0.5 * sample + 0.8 * noise.next(take)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_samples_and_another_seed_others() {
        for target in 0..CLASSES.len() {
            let clip = synthesize(3, target, 1, 0, 0);
            assert_eq!(clip.samples.len(), N_SAMPLES);
            assert_eq!(clip.samples, synthesize(3, target, 1, 0, 0).samples);
            assert_ne!(clip.samples, synthesize(4, target, 1, 0, 0).samples);
            assert_ne!(clip.samples, synthesize(3, target, 1, 0, 1).samples, "takes differ");
            assert_ne!(clip.samples, synthesize(3, target, 2, 0, 0).samples, "folds differ");
        }
    }

    #[test]
    fn every_class_is_audible_and_within_full_scale() {
        for (target, (name, _)) in CLASSES.iter().enumerate() {
            for source in 0..4 {
                let samples = synthesize(0, target, 1, source, 0).samples;
                let peak = samples.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
                assert!((0.1..=1.0).contains(&peak), "{name}: peak {peak}");
            }
        }
    }

    #[test]
    fn a_folder_of_another_recipe_is_made_anew_and_one_of_the_same_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("demo");
        assert!(make(&root, Recipe::new(0, 1)).unwrap());
        assert_eq!(fs::read_dir(root.join("audio")).unwrap().count(), 50);
        assert!(!make(&root, Recipe::new(0, 1)).unwrap());
        assert!(make(&root, Recipe::new(1, 1)).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no staging folder is left");
    }

    #[test]
    fn a_folder_that_was_not_made_here_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("demo");
        fs::create_dir_all(root.join("birds")).unwrap();
        for recipe in [None, Some("flour, water, salt"), Some("{\"servings\": 4}")] {
            if let Some(recipe) = recipe {
                fs::write(root.join("recipe.json"), recipe).unwrap();
            }
            let error = make(&root, Recipe::new(0, 1)).unwrap_err();
            assert!(matches!(error, Error::Dataset { .. }), "{error}");
            assert!(error.to_string().contains("recipe.json"), "{error}");
            assert!(root.join("birds").is_dir());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make(dir.path(), Recipe::new(0, 1)).unwrap());
        assert!(dir.path().join("recipe.json").is_file());
    }

    #[test]
    fn what_an_interrupted_run_left_is_removed_even_when_nothing_is_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("demo");
        for _ in 0..2 {
            for left in [".demo.4000001.part", ".demo.4000001.old.part"] {
                fs::create_dir_all(dir.path().join(left).join("audio")).unwrap();
            }
            make(&root, Recipe::new(0, 1)).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn an_absurd_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make(&dir.path().join("demo"), Recipe::new(0, 0)).is_err());
    }
}
