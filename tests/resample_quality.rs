//! Resampling measured with stepped tones, for every rate that people's files come in.

use std::f64::consts::TAU;

use audio_transformer::internals::front_end::resample::Resampler;

const TARGET_HZ: u32 = 16_000;
const RATES_HZ: [u32; 6] = [44_100, 48_000, 22_050, 8_000, 96_000, 11_025];
const AMPLITUDE: f64 = 0.5;
/// Passband: up to 0.9 × the lower Nyquist frequency.
const PASSBAND: f64 = 0.9;

fn tone(freq_hz: f64, sample_rate: u32, n_samples: usize) -> Vec<f32> {
    (0..n_samples)
        .map(|i| (AMPLITUDE * (TAU * freq_hz * i as f64 / f64::from(sample_rate) + 0.3).sin()) as f32)
        .collect()
}

/// A tone found in a signal: its amplitude, how late it is (in samples), and the RMS of all that is not the tone.
struct Fit {
    amplitude: f64,
    delay_samples: f64,
    residual_rms: f64,
}

/// Least-squares fit of a tone to the middle half of `samples`, against the phase that `tone` gives.
fn fit_tone(samples: &[f32], freq_hz: f64, sample_rate: u32) -> Fit {
    let middle = samples.len() / 4..samples.len() * 3 / 4;
    let omega = TAU * freq_hz / f64::from(sample_rate);
    // Normal equations of a · sin + b · cos.
    let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for i in middle.clone() {
        let (sin, cos) = (omega * i as f64 + 0.3).sin_cos();
        let y = f64::from(samples[i]);
        ss += sin * sin;
        sc += sin * cos;
        cc += cos * cos;
        ys += y * sin;
        yc += y * cos;
    }
    let determinant = ss * cc - sc * sc;
    let (a, b) = ((ys * cc - yc * sc) / determinant, (yc * ss - ys * sc) / determinant);
    let residual: f64 = middle
        .clone()
        .map(|i| {
            let (sin, cos) = (omega * i as f64 + 0.3).sin_cos();
            (f64::from(samples[i]) - a * sin - b * cos).powi(2)
        })
        .sum();
    Fit {
        amplitude: a.hypot(b),
        delay_samples: -b.atan2(a) / omega,
        residual_rms: (residual / middle.len() as f64).sqrt(),
    }
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// `n` frequencies from `low` to `high`, both ends among them.
fn steps(low: f64, high: f64, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| low + (high - low) * i as f64 / (n - 1) as f64)
}

#[test]
fn the_length_is_the_ceiling_of_the_exact_one() {
    for rate in RATES_HZ {
        let mut resampler = Resampler::new(rate, TARGET_HZ).unwrap();
        for n in [0, 1, 2, 3, 147, 440, 441, 442, 1000, 7777, 44_099, 44_100, 44_101] {
            let expected = (n as u64 * u64::from(TARGET_HZ)).div_ceil(u64::from(rate)) as usize;
            assert_eq!(resampler.process(&vec![0.1; n]).unwrap().len(), expected, "{n} samples at {rate} Hz");
        }
    }
}

#[test]
fn tones_in_the_passband_keep_level_and_time_and_leave_no_image() {
    for rate in RATES_HZ {
        let mut resampler = Resampler::new(rate, TARGET_HZ).unwrap();
        let edge_hz = PASSBAND * f64::from(rate.min(TARGET_HZ)) / 2.0;
        for freq_hz in steps(40.0, edge_hz, 60) {
            let output = resampler.process(&tone(freq_hz, rate, rate as usize)).unwrap();
            let fit = fit_tone(&output, freq_hz, TARGET_HZ);
            let ripple_db = db(fit.amplitude / AMPLITUDE);
            assert!(ripple_db.abs() <= 0.1, "{rate} Hz, tone {freq_hz:.1} Hz: gain {ripple_db:.3} dB");
            assert!(fit.delay_samples.abs() <= 1e-3, "{rate} Hz, tone {freq_hz:.1} Hz: late by {}", fit.delay_samples);
            let rest_db = db(fit.residual_rms / (AMPLITUDE / 2f64.sqrt()));
            assert!(rest_db <= -90.0, "{rate} Hz, tone {freq_hz:.1} Hz: images and noise at {rest_db:.1} dB");
        }
    }
}

#[test]
fn tones_that_cannot_be_kept_vanish() {
    for rate in RATES_HZ.into_iter().filter(|&rate| rate > TARGET_HZ) {
        let mut resampler = Resampler::new(rate, TARGET_HZ).unwrap();
        // From the very edge on; a clip's ends are cut off, because a tone that starts at once is a click there.
        for freq_hz in steps(f64::from(TARGET_HZ) / 2.0, f64::from(rate) / 2.0 - 20.0, 120) {
            let output = resampler.process(&tone(freq_hz, rate, rate as usize)).unwrap();
            let left_db = db(rms(&output[output.len() / 4..output.len() * 3 / 4]) / (AMPLITUDE / 2f64.sqrt()));
            assert!(left_db <= -90.0, "{rate} Hz, tone {freq_hz:.1} Hz: {left_db:.1} dB are left");
        }
    }
}

#[test]
fn images_of_tones_near_nyquist_vanish_going_up() {
    for rate in RATES_HZ.into_iter().filter(|&rate| rate < TARGET_HZ) {
        let mut resampler = Resampler::new(rate, TARGET_HZ).unwrap();
        let nyquist_hz = f64::from(rate) / 2.0;
        for freq_hz in steps(PASSBAND * nyquist_hz, nyquist_hz - 20.0, 60) {
            let output = resampler.process(&tone(freq_hz, rate, rate as usize)).unwrap();
            let image_db = db(fit_tone(&output, freq_hz, TARGET_HZ).residual_rms / (AMPLITUDE / 2f64.sqrt()));
            assert!(image_db <= -90.0, "{rate} Hz, tone {freq_hz:.1} Hz: images at {image_db:.1} dB");
        }
    }
}

#[test]
fn a_sound_is_not_shifted_in_time() {
    for rate in RATES_HZ {
        // A smooth pulse well inside every band, whose middle lies on no sample of either rate.
        let pulse = |sample_rate: u32, n: usize| -> Vec<f32> {
            let at = |i: usize| i as f64 / f64::from(sample_rate) - 0.123_456;
            (0..n).map(|i| ((-(at(i) / 0.002).powi(2)).exp() * (TAU * 800.0 * at(i)).cos()) as f32).collect()
        };
        let output = Resampler::new(rate, TARGET_HZ).unwrap().process(&pulse(rate, rate as usize / 2)).unwrap();
        let exact = pulse(TARGET_HZ, output.len());
        let correlation = |lag: i64| -> f64 {
            (0..output.len() as i64)
                .filter_map(|i| Some(output[i as usize] * exact.get(usize::try_from(i + lag).ok()?)?))
                .map(f64::from)
                .sum()
        };
        let best = (-50..=50).max_by(|&a, &b| correlation(a).total_cmp(&correlation(b)));
        assert_eq!(best, Some(0), "{rate} Hz");
    }
}

#[test]
fn a_clip_does_not_depend_on_the_one_before_it() {
    let mut resampler = Resampler::new(44_100, TARGET_HZ).unwrap();
    let clip = tone(440.0, 44_100, 5000);
    let first = resampler.process(&clip).unwrap();
    resampler.process(&tone(3000.0, 44_100, 11_113)).unwrap();
    assert_eq!(resampler.process(&clip).unwrap(), first);
}

#[test]
fn equal_rates_change_nothing() {
    let clip = tone(440.0, TARGET_HZ, 1000);
    assert_eq!(Resampler::new(TARGET_HZ, TARGET_HZ).unwrap().process(&clip).unwrap(), clip);
}

#[test]
fn rates_out_of_range_are_refused_by_name() {
    for (from_hz, to_hz) in [(0, 16_000), (999, 16_000), (u32::MAX, 16_000), (44_100, 0)] {
        let error = Resampler::new(from_hz, to_hz).err().unwrap().to_string();
        assert!(error.contains("from 1000 to 768000 Hz"), "{error}");
    }
}

#[test]
fn odd_rates_keep_level_and_time_too() {
    for rate in [16_001, 44_056, 37_800, 192_000, 15_999, 5_512] {
        let output = Resampler::new(rate, TARGET_HZ).unwrap().process(&tone(1000.0, rate, rate as usize)).unwrap();
        let fit = fit_tone(&output, 1000.0, TARGET_HZ);
        assert!(db(fit.amplitude / AMPLITUDE).abs() <= 0.1, "{rate} Hz");
        assert!(fit.delay_samples.abs() <= 1e-3, "{rate} Hz: late by {}", fit.delay_samples);
        assert!(db(fit.residual_rms / AMPLITUDE) <= -90.0, "{rate} Hz");
    }
}

#[test]
fn several_threads_give_the_numbers_of_one() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    for rate in RATES_HZ {
        let mut resampler = Resampler::new(rate, TARGET_HZ).unwrap();
        for n_samples in [0, 1, rate as usize / 7, 4 * rate as usize + 3, 23 * rate as usize] {
            let sound: Vec<f32> =
                (0..n_samples as u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32 / 4e9) - 0.5).collect();
            let parallel = pool.install(|| resampler.process_parallel(&sound)).unwrap();
            assert_eq!(parallel, resampler.process(&sound).unwrap(), "{n_samples} samples at {rate} Hz");
        }
    }
    let mut same_rate = Resampler::new(TARGET_HZ, TARGET_HZ).unwrap();
    assert_eq!(
        same_rate.process_parallel(&[0.5, f32::MIN]).unwrap_err().to_string(),
        same_rate.process(&[0.5, f32::MIN]).unwrap_err().to_string()
    );
    let not_finite = [vec![0.0; 300_000], vec![f32::NAN]].concat();
    let message = Resampler::new(44_100, TARGET_HZ).unwrap().process_parallel(&not_finite).unwrap_err().to_string();
    assert!(message.contains("NaN at sample 300000"), "{message}");
}
