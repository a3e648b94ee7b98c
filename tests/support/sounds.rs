//! Sounds of all kinds, by formula, that networks with and without libtorch have to hear alike.

use audio_transformer::audio::Waveform;
use audio_transformer::demo;
use serde_json::Value;

/// Every kind of the demo data, then: a long one of several windows, a short one, another rate, noise, silence.
pub fn all() -> Vec<Waveform> {
    let mut sounds: Vec<Waveform> = (0..6).map(|kind| demo::synthesize(3, kind, 1, 0, 0)).collect();
    let long: Vec<f32> = sounds.iter().take(3).flat_map(|sound| sound.samples.clone()).collect();
    let short = sounds[1].samples[..20_000].to_vec();
    let slow: Vec<f32> = sounds[2].samples.iter().step_by(4).copied().collect();
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    let noise: Vec<f32> = noise.take(160_000).map(|sample| 0.3 * sample).collect();
    sounds.extend([
        Waveform { samples: long, sample_rate: 44_100 },
        Waveform { samples: short, sample_rate: 44_100 },
        Waveform { samples: slow, sample_rate: 11_025 },
        Waveform { samples: noise, sample_rate: 32_000 },
        Waveform { samples: vec![0.0; 16_000], sample_rate: 16_000 },
    ]);
    sounds
}

/// The largest difference between two lists of numbers.
pub fn difference(ours: &Value, theirs: &Value) -> f64 {
    let numbers = |list: &Value| -> Vec<f64> { list.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect() };
    let (ours, theirs) = (numbers(ours), numbers(theirs));
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
