//! The audio front end against librosa's answers, which `tests/golden/front_end/make_golden.py` wrote.

use std::path::PathBuf;

use audio_transformer::internals::front_end::features::{FeatureConfig, FeatureExtractor, normalize};
use audio_transformer::internals::front_end::mel::{MelFilterbank, MelNorm, MelScale};
use audio_transformer::internals::front_end::resample::Resampler;
use audio_transformer::internals::front_end::spectrogram::{Padding, Stft, power_to_db};
use ndarray::{Array1, Array2, Array3};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    clips: std::collections::BTreeMap<String, String>,
    mel_filters: Vec<MelCase>,
    stft: Vec<StftCase>,
    features: Vec<FeatureCase>,
    power_to_db: PowerToDbCases,
    resample: ResampleCase,
}

#[derive(Deserialize)]
struct MelCase {
    sample_rate: u32,
    n_fft: usize,
    n_mels: usize,
    f_min: f32,
    f_max: f32,
    mel_scale: MelScale,
    mel_norm: MelNorm,
    empty_filters: Vec<usize>,
    file: String,
}

#[derive(Deserialize)]
struct StftCase {
    clip: String,
    first_sample: usize,
    n_samples: usize,
    n_fft: usize,
    win_length: usize,
    hop_length: usize,
    padding: Padding,
    file: String,
}

#[derive(Deserialize)]
struct FeatureCase {
    clip: String,
    config: FeatureConfig,
    mel_power: String,
    log_mel_db: String,
    normalized: Option<String>,
}

#[derive(Deserialize)]
struct PowerToDbCases {
    power: String,
    cases: Vec<PowerToDbCase>,
}

#[derive(Deserialize)]
struct PowerToDbCase {
    #[serde(rename = "ref")]
    reference: Option<f32>,
    amin: f32,
    top_db: Option<f32>,
    file: String,
}

#[derive(Deserialize)]
struct ResampleCase {
    from_hz: u32,
    to_hz: u32,
    input: String,
    soxr_hq: String,
}

fn golden(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/front_end").join(file)
}

fn cases() -> Cases {
    serde_json::from_str(&std::fs::read_to_string(golden("cases.json")).unwrap()).unwrap()
}

fn vector(file: &str) -> Vec<f32> {
    ndarray_npy::read_npy::<_, Array1<f32>>(golden(file)).unwrap().to_vec()
}

fn matrix(file: &str) -> Array2<f32> {
    ndarray_npy::read_npy(golden(file)).unwrap()
}

/// Largest absolute difference of two arrays of one shape.
fn max_difference(ours: &Array2<f32>, theirs: &Array2<f32>) -> f32 {
    assert_eq!(ours.dim(), theirs.dim());
    assert!(ours.iter().all(|x| x.is_finite()));
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn max_abs(values: &Array2<f32>) -> f32 {
    values.iter().fold(0.0, |highest, x| highest.max(x.abs()))
}

#[test]
fn mel_filters_equal_librosas_to_a_millionth() {
    for case in cases().mel_filters {
        let MelCase { sample_rate, n_fft, n_mels, f_min, f_max, mel_scale, mel_norm, .. } = case;
        let bank = MelFilterbank::new(sample_rate, n_fft, n_mels, f_min, f_max, mel_scale, mel_norm).unwrap();
        let difference = max_difference(&bank.dense(), &matrix(&case.file));
        assert!(difference <= 1e-6, "{}: {difference:e}", case.file);
        assert_eq!(bank.empty_filters(), case.empty_filters, "{}", case.file);
    }
}

#[test]
fn spectra_equal_librosas_under_every_padding() {
    let cases = cases();
    for case in &cases.stft {
        let clip = vector(&cases.clips[&case.clip]);
        let samples = &clip[case.first_sample..case.first_sample + case.n_samples];
        let mut stft = Stft::new(case.n_fft, case.win_length, case.hop_length, case.padding).unwrap();
        let ours = stft.spectrum(samples).unwrap();
        let theirs: Array3<f32> = ndarray_npy::read_npy(golden(&case.file)).unwrap();
        assert_eq!([ours.nrows(), ours.ncols(), 2], theirs.shape(), "{}", case.file);
        let highest = theirs.iter().fold(0f32, |highest, x| highest.max(x.abs()));
        for ((bin, frame), value) in ours.indexed_iter() {
            let difference = (value.re - theirs[[bin, frame, 0]]).hypot(value.im - theirs[[bin, frame, 1]]);
            assert!(difference <= 1e-4 * highest, "{} bin {bin} frame {frame}: {difference:e}", case.file);
        }
    }
}

#[test]
fn mel_power_and_decibels_equal_librosas() {
    let cases = cases();
    for case in &cases.features {
        let clip = vector(&cases.clips[&case.clip]);
        let mut extractor = FeatureExtractor::new(&case.config).unwrap();

        let power = extractor.mel_power(&clip).unwrap();
        let theirs = matrix(&case.mel_power);
        let difference = max_difference(&power, &theirs);
        assert!(difference <= 1e-4 * max_abs(&theirs), "{}: {difference:e}", case.mel_power);

        // Every value lies within top_db ≤ 80 dB of the peak.
        let mut log_mel = extractor.log_mel_db(&clip).unwrap();
        let difference = max_difference(&log_mel, &matrix(&case.log_mel_db));
        assert!(difference <= 1e-3, "{}: {difference} dB", case.log_mel_db);

        if let Some(normalized) = &case.normalized {
            normalize(&mut log_mel);
            let difference = max_difference(&log_mel, &matrix(normalized));
            assert!(difference <= 1e-4, "{normalized}: {difference:e}");
        }
    }
}

#[test]
fn decibels_equal_librosas_for_any_reference_floor_and_range() {
    let cases = cases().power_to_db;
    let power = vector(&cases.power);
    for case in cases.cases {
        let mut ours = power.clone();
        let reference = case.reference.unwrap_or_else(|| power.iter().copied().fold(0.0, f32::max));
        power_to_db(&mut ours, reference, case.amin, case.top_db);
        for (i, (ours, theirs)) in ours.iter().zip(vector(&case.file)).enumerate() {
            assert!((ours - theirs).abs() <= 1e-4, "{} value {i}: {ours} and {theirs} dB", case.file);
        }
    }
}

#[test]
fn resampled_sound_equals_soxrs_where_that_is_flat() {
    let case = cases().resample;
    let theirs = vector(&case.soxr_hq);
    let ours = Resampler::new(case.from_hz, case.to_hz).unwrap().process(&vector(&case.input)).unwrap();
    assert_eq!(ours.len(), theirs.len());
    let highest = theirs.iter().fold(0f32, |highest, x| highest.max(x.abs()));
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() <= 1e-4 * highest, "sample {i}: {ours} and {theirs}");
    }
}
