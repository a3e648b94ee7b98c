//! Laws that the mel filterbank, the spectrogram and the features obey on any sound.

use std::f64::consts::TAU;

use audio_transformer::internals::front_end::features::{FeatureConfig, FeatureExtractor, normalize};
use audio_transformer::internals::front_end::mel::{MelFilterbank, MelNorm, MelScale, hz_to_mel, mel_to_hz};
use audio_transformer::internals::front_end::spectrogram::{Padding, Stft, power_to_db};
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const SAMPLE_RATE: u32 = 16_000;

fn noise(n_samples: usize, seed: u64) -> Vec<f32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..n_samples).map(|_| (rng.next_u32() as f32 / u32::MAX as f32) - 0.5).collect()
}

fn tone(freq_hz: f32, n_samples: usize) -> Vec<f32> {
    (0..n_samples).map(|i| (TAU * f64::from(freq_hz) * i as f64 / f64::from(SAMPLE_RATE)).sin() as f32).collect()
}

fn extractor(config: &FeatureConfig) -> FeatureExtractor {
    FeatureExtractor::new(config).unwrap()
}

fn bank(n_fft: usize, n_mels: usize, scale: MelScale, norm: MelNorm) -> MelFilterbank {
    MelFilterbank::new(SAMPLE_RATE, n_fft, n_mels, 0.0, 8000.0, scale, norm).unwrap()
}

#[test]
fn mel_and_hz_are_inverse_and_rise_together() {
    for scale in [MelScale::Slaney, MelScale::Htk] {
        let mut last = -1.0;
        for i in 0..=2000 {
            let freq_hz = f64::from(i) * 12.0;
            let mel = hz_to_mel(freq_hz, scale);
            assert!(mel > last, "{scale:?} at {freq_hz} Hz");
            assert!((mel_to_hz(mel, scale) - freq_hz).abs() < 1e-8, "{scale:?} at {freq_hz} Hz");
            last = mel;
        }
    }
}

#[test]
fn a_thousand_hz_is_15_mel_in_slaneys_scale_and_1000_in_htks() {
    assert!((hz_to_mel(1000.0, MelScale::Slaney) - 15.0).abs() < 1e-12);
    assert!((hz_to_mel(6400.0, MelScale::Slaney) - 42.0).abs() < 1e-12);
    assert!((hz_to_mel(1000.0, MelScale::Htk) - 1000.0).abs() < 0.02);
}

#[test]
fn a_slaney_filter_has_unit_area_over_hz() {
    let n_fft = 16_384;
    let bank = bank(n_fft, 64, MelScale::Slaney, MelNorm::Slaney);
    for (i, filter) in bank.dense().rows().into_iter().enumerate() {
        let area = filter.sum() * SAMPLE_RATE as f32 / n_fft as f32;
        assert!((area - 1.0).abs() < 2e-3, "filter {i}: {area}");
    }
}

#[test]
fn filters_that_peak_at_one_cover_every_frequency_between_the_outer_centres_equally() {
    let bank = bank(4096, 40, MelScale::Htk, MelNorm::None);
    let centers = bank.center_freqs_hz();
    for (bin, column) in bank.dense().columns().into_iter().enumerate() {
        let freq_hz = bin as f32 * SAMPLE_RATE as f32 / 4096.0;
        if (centers[0]..centers[39]).contains(&freq_hz) {
            assert!((column.sum() - 1.0).abs() < 1e-5, "{freq_hz} Hz: {}", column.sum());
        }
    }
}

#[test]
fn the_sparse_filterbank_equals_its_dense_matrix() {
    for (n_fft, n_mels, scale, norm) in [
        (1024, 64, MelScale::Slaney, MelNorm::Slaney),
        (400, 80, MelScale::Htk, MelNorm::None),
        (255, 26, MelScale::Htk, MelNorm::Slaney),
        (256, 128, MelScale::Slaney, MelNorm::Slaney),
        (2, 1, MelScale::Slaney, MelNorm::Slaney),
    ] {
        let bank = bank(n_fft, n_mels, scale, norm);
        let power = noise(bank.n_bins(), 3).iter().map(|x| x * x).collect::<Vec<_>>();
        let mut sparse = vec![f32::NAN; n_mels];
        bank.apply(&power, &mut sparse);
        let dense = bank.dense().dot(&Array1::from(power));
        for (i, (sparse, dense)) in sparse.iter().zip(&dense).enumerate() {
            assert!((sparse - dense).abs() <= 1e-6 * dense.abs().max(1e-3), "band {i} of {n_mels}: {sparse}, {dense}");
        }
    }
}

#[test]
fn a_filterbank_above_nyquist_has_empty_filters() {
    let bank = MelFilterbank::new(SAMPLE_RATE, 1024, 20, 0.0, 16_000.0, MelScale::Slaney, MelNorm::Slaney).unwrap();
    assert_eq!(bank.empty_filters().last(), Some(&19));
    assert!(bank.center_freqs_hz()[19] > 8000.0);
}

#[test]
fn a_spectrum_equals_the_sum_that_defines_it() {
    for (n_fft, win_length, hop_length) in [(16, 16, 4), (15, 9, 5), (32, 20, 32), (2, 2, 1), (60, 60, 7)] {
        for padding in [Padding::Zero, Padding::Reflect, Padding::None] {
            for n_samples in [n_fft / 2 + 1, n_fft, n_fft + 1, 3 * n_fft + 5] {
                let samples = noise(n_samples, n_fft as u64);
                let Ok(spectrum) = Stft::new(n_fft, win_length, hop_length, padding).unwrap().spectrum(&samples) else {
                    assert!(n_samples < padding.min_samples(n_fft));
                    continue;
                };
                let slow = slow_spectrum(&samples, n_fft, win_length, hop_length, padding);
                assert_eq!(spectrum.dim(), slow.dim(), "{n_fft} {padding:?} {n_samples}");
                for (fast, slow) in spectrum.iter().zip(&slow) {
                    let difference = (f64::from(fast.re) - slow.0).hypot(f64::from(fast.im) - slow.1);
                    assert!(difference < 1e-5, "{n_fft} {padding:?} {n_samples}: {difference:e}");
                }
            }
        }
    }
}

/// The transform by its definition, on a clip padded first, in 64 bits.
fn slow_spectrum(
    samples: &[f32],
    n_fft: usize,
    win_length: usize,
    hop_length: usize,
    padding: Padding,
) -> Array2<(f64, f64)> {
    let n = samples.len() as i64;
    let before = if padding == Padding::None { 0 } else { n_fft as i64 / 2 };
    let padded: Vec<f64> = (-before..n + before)
        .map(|i| {
            let mirrored = if i < 0 { -i } else { 2 * (n - 1) - i };
            match padding {
                _ if (0..n).contains(&i) => f64::from(samples[i as usize]),
                Padding::Reflect => f64::from(samples[mirrored as usize]),
                _ => 0.0,
            }
        })
        .collect();
    let window = |i: usize| match i.checked_sub((n_fft - win_length) / 2) {
        Some(j) if j < win_length => (std::f64::consts::PI * j as f64 / win_length as f64).sin().powi(2),
        _ => 0.0,
    };
    let n_frames = (padded.len() - n_fft) / hop_length + 1;
    Array2::from_shape_fn((n_fft / 2 + 1, n_frames), |(bin, frame)| {
        (0..n_fft).fold((0.0, 0.0), |(re, im), i| {
            let (sin, cos) = (TAU * (bin * i) as f64 / n_fft as f64).sin_cos();
            let value = window(i) * padded[frame * hop_length + i];
            (re + value * cos, im - value * sin)
        })
    })
}

#[test]
fn power_is_the_squared_magnitude() {
    let samples = noise(3000, 5);
    let mut stft = Stft::new(256, 256, 64, Padding::Reflect).unwrap();
    let (spectrum, power) = (stft.spectrum(&samples).unwrap(), stft.power(&samples).unwrap());
    assert!(spectrum.iter().zip(&power).all(|(bin, power)| (bin.norm_sqr() - power).abs() <= 1e-6 * power));
}

#[test]
fn a_tone_peaks_in_its_own_mel_band() {
    let config = FeatureConfig::default();
    let centers = config.filterbank().unwrap().center_freqs_hz().to_vec();
    let mut extractor = extractor(&config);
    for (band, &freq_hz) in centers.iter().enumerate() {
        let log_mel = extractor.log_mel_db(&tone(freq_hz, 16_000)).unwrap();
        let middle = log_mel.column(log_mel.ncols() / 2);
        let loudest = (0..config.n_mels).max_by(|&a, &b| middle[a].total_cmp(&middle[b]));
        assert_eq!(loudest, Some(band), "{freq_hz} Hz");
    }
}

#[test]
fn five_seconds_become_64_bands_by_313_frames_from_any_rate() {
    let config = FeatureConfig::default();
    assert_eq!(config.n_frames(5 * 16_000), 313);
    let mut extractor = extractor(&config);
    for rate in [16_000, 44_100, 48_000, 22_050, 8_000, 96_000, 11_025, 37_800] {
        assert_eq!(extractor.extract(&noise(5 * rate as usize, 1), rate).unwrap().values.dim(), (64, 313), "{rate} Hz");
    }
}

#[test]
fn the_number_of_frames_is_known_before() {
    for padding in [Padding::Zero, Padding::Reflect, Padding::None] {
        let config =
            FeatureConfig { padding, n_fft: 64, win_length: 50, hop_length: 24, n_mels: 8, ..Default::default() };
        let mut extractor = extractor(&config);
        for n_samples in 0..200 {
            let n_frames = extractor.log_mel_db(&noise(n_samples, 2)).map_or(0, |log_mel| log_mel.ncols());
            assert_eq!(config.n_frames(n_samples), n_frames, "{n_samples} samples, {padding:?}");
        }
    }
}

#[test]
fn decibels_span_from_the_maximum_at_0_down_to_top_db() {
    let mut clip = noise(20_000, 9);
    clip[10_000..].iter_mut().for_each(|x| *x *= 1e-6);
    let config = FeatureConfig { top_db: 35.0, ..Default::default() };
    let log_mel = extractor(&config).log_mel_db(&clip).unwrap();
    let (low, high) = log_mel.iter().fold((0f32, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    assert_eq!((low, high), (-35.0, 0.0));
}

#[test]
fn decibels_follow_their_definition_over_the_whole_range_of_power() {
    let power: Vec<f32> = (-3800..=3800).map(|i| 10f32.powf(i as f32 / 100.0)).collect();
    let mut decibels = power.clone();
    power_to_db(&mut decibels, 1.0, f32::MIN_POSITIVE, None);
    for (power, decibels) in power.iter().zip(decibels) {
        let exact = 10.0 * f64::from(power.max(f32::MIN_POSITIVE)).log10();
        let rounding = 2e-7 * exact.abs();
        assert!((f64::from(decibels) - exact).abs() <= 1e-6 + rounding, "{power:e}: {decibels} and {exact}");
    }
}

#[test]
fn loudness_does_not_change_the_features() {
    let mut extractor = extractor(&FeatureConfig::default());
    let clip = noise(40_000, 4);
    let loud = extractor.extract(&clip, SAMPLE_RATE).unwrap();
    for gain in [0.3, 0.01] {
        let quiet = extractor.extract(&clip.iter().map(|x| x * gain).collect::<Vec<_>>(), SAMPLE_RATE).unwrap();
        let difference = (&loud.values - &quiet.values).iter().fold(0f32, |highest, x| highest.max(x.abs()));
        assert!(difference < 1e-4, "gain {gain}: {difference:e}");
    }
}

#[test]
fn features_have_mean_0_and_standard_deviation_1() {
    let features =
        extractor(&FeatureConfig::default()).extract(&noise(44_100, 8), 44_100).unwrap().values.mapv(f64::from);
    assert!(features.mean().unwrap().abs() < 1e-5, "{:?}", features.mean());
    assert!((features.std(0.0) - 1.0).abs() < 1e-5, "{}", features.std(0.0));
}

#[test]
fn a_silent_clip_gives_zeros() {
    let mut extractor = extractor(&FeatureConfig::default());
    for (clip, rate) in [(vec![0.0; 80_000], 16_000), (vec![0.0; 220_500], 44_100), (vec![-0.0; 1], 16_000)] {
        assert!(extractor.extract(&clip, rate).unwrap().values.iter().all(|&x| x == 0.0));
    }
}

#[test]
fn a_constant_array_normalises_to_zeros() {
    let mut constant = Array2::from_elem((64, 313), -79.123_45);
    normalize(&mut constant);
    assert!(constant.iter().all(|&x| x == 0.0));
}

#[test]
fn an_extractor_may_move_to_a_thread_of_its_own() {
    let clip = noise(20_000, 7);
    let mut here = extractor(&FeatureConfig::default());
    let expected = here.extract(&clip, 44_100).unwrap();
    let there = std::thread::spawn(move || here.extract(&clip, 44_100).unwrap()).join().unwrap();
    assert_eq!(there, expected);
}

#[test]
fn a_clip_does_not_depend_on_the_ones_before_it() {
    let config = FeatureConfig::default();
    let clip = noise(30_000, 6);
    let alone = extractor(&config).extract(&clip, 22_050).unwrap();
    let mut extractor = extractor(&config);
    for rate in (10..30).map(|k| k * 1000) {
        extractor.extract(&noise(20_000, u64::from(rate)), rate).unwrap();
    }
    assert_eq!(extractor.extract(&clip, 22_050).unwrap(), alone);
}

#[test]
fn samples_that_are_not_finite_are_refused() {
    let mut extractor = extractor(&FeatureConfig::default());
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        for rate in [16_000, 44_100] {
            let mut clip = noise(10_000, 1);
            clip[5_000] = poison;
            let error = extractor.extract(&clip, rate).unwrap_err().to_string();
            assert!(error.contains("finite"), "{error}");
        }
    }
}

#[test]
fn clips_too_short_for_their_padding_are_refused_with_the_length_they_need() {
    for (padding, enough) in [(Padding::Zero, 1), (Padding::Reflect, 513), (Padding::None, 1024)] {
        let mut extractor = extractor(&FeatureConfig { padding, ..Default::default() });
        let error = extractor.extract(&noise(enough - 1, 1), SAMPLE_RATE).unwrap_err().to_string();
        assert!(error.contains(&format!("at least {enough} samples")), "{error}");
        assert!(extractor.extract(&noise(enough, 1), SAMPLE_RATE).is_ok());
    }
}

#[test]
fn every_setting_out_of_range_is_refused_by_name() {
    let good = FeatureConfig::default;
    let cases = [
        (FeatureConfig { sample_rate: 0, ..good() }, "features.sample_rate"),
        (FeatureConfig { sample_rate: u32::MAX, ..good() }, "features.sample_rate"),
        (FeatureConfig { n_fft: 0, ..good() }, "features.n_fft"),
        (FeatureConfig { n_fft: usize::MAX, ..good() }, "features.n_fft"),
        (FeatureConfig { win_length: 0, ..good() }, "features.win_length"),
        (FeatureConfig { win_length: 1025, ..good() }, "features.win_length"),
        (FeatureConfig { hop_length: 0, ..good() }, "features.hop_length"),
        (FeatureConfig { n_mels: 0, ..good() }, "features.n_mels"),
        (FeatureConfig { n_mels: usize::MAX, ..good() }, "features.n_mels"),
        (FeatureConfig { f_max: Some(8001.0), ..good() }, "features.f_max"),
        (FeatureConfig { f_max: Some(f32::NAN), ..good() }, "features.f_max"),
        (FeatureConfig { f_min: -1.0, ..good() }, "features.f_min"),
        (FeatureConfig { f_min: f32::NAN, ..good() }, "features.f_min"),
        (FeatureConfig { f_min: 4000.0, f_max: Some(4000.0), ..good() }, "features.f_min"),
        (FeatureConfig { top_db: 0.0, ..good() }, "features.top_db"),
        (FeatureConfig { top_db: f32::INFINITY, ..good() }, "features.top_db"),
        (FeatureConfig { amin: 0.0, ..good() }, "features.amin"),
        (FeatureConfig { amin: f32::NAN, ..good() }, "features.amin"),
    ];
    good().validate().unwrap();
    for (config, field) in cases {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(&format!("{field} should be")), "{error}");
        assert!(FeatureExtractor::new(&config).is_err());
    }
}

#[test]
fn settings_survive_json_and_unknown_ones_are_refused() {
    let config = FeatureConfig {
        f_max: Some(7600.0),
        mel_scale: MelScale::Htk,
        mel_norm: MelNorm::None,
        padding: Padding::Reflect,
        ..Default::default()
    };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<FeatureConfig>(&json).unwrap(), config);
    assert_eq!(serde_json::from_str::<FeatureConfig>("{}").unwrap(), FeatureConfig::default());
    assert!(serde_json::from_str::<FeatureConfig>(r#"{"n_mel": 64}"#).is_err());
}

#[test]
fn bands_that_touch_no_bin_are_warned_of() {
    assert_eq!(FeatureConfig::default().warning().unwrap(), None);
    let config = FeatureConfig { n_fft: 256, win_length: 256, hop_length: 64, n_mels: 96, ..Default::default() };
    let warning = config.warning().unwrap().unwrap();
    assert!(warning.contains("of 96 mel bands") && warning.contains("lower n_mels or raise n_fft"), "{warning}");
}

#[test]
fn a_recorders_offset_does_not_change_the_spectrogram() {
    let mut extractor = FeatureExtractor::new(&FeatureConfig::default()).unwrap();
    let sound: Vec<f32> = (0..44_100).map(|n| 0.1 * (n as f32 * 0.1).sin() * (n as f32 * 0.0007).cos()).collect();
    let mean = sound.iter().sum::<f32>() / sound.len() as f32;
    let sound: Vec<f32> = sound.iter().map(|sample| sample - mean).collect();
    let shifted: Vec<f32> = sound.iter().map(|sample| sample + 0.3).collect();
    for rate in [44_100, 16_000] {
        let mut levels = |samples: &[f32]| {
            let resampled = extractor.resample(samples, rate).unwrap();
            extractor.log_mel_db(&resampled).unwrap()
        };
        let worst = (&levels(&sound) - &levels(&shifted)).iter().map(|difference| difference.abs()).fold(0.0, f32::max);
        assert!(worst < 0.1, "{worst} dB at {rate} Hz");
    }
}
