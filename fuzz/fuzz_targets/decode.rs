//! Any bytes decode to finite samples or to an error, in memory that the samples account for, and without a panic.
#![no_main]

use std::path::Path;
use std::sync::Once;

use audio_transformer::internals::front_end::audio::{self, MAX_FRAMES, SAMPLE_RATES};
use audio_transformer_fuzz::measured;
use libfuzzer_sys::fuzz_target;

/// Buffers, tables and blocks of the decoders, in bytes.
const OVERHEAD: usize = 32 << 20;

static TOLD: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // `decode` turns a decoder's panic into an error. With this variable set they are told and passed over, to find the others.
    TOLD.call_once(|| {
        if std::env::var_os("PASS_OVER_PANICS").is_some() {
            std::panic::set_hook(Box::new(|panic| eprintln!("PANIC {panic}")));
        }
    });
    let (decoded, peak) = measured(|| audio::decode(bytes, Path::new("fuzzed")));
    let n_frames = match &decoded {
        Ok(waveform) => {
            assert!(SAMPLE_RATES.contains(&waveform.sample_rate));
            assert!(!waveform.samples.is_empty() && waveform.samples.len() <= MAX_FRAMES);
            assert!(waveform.samples.iter().all(|sample| sample.is_finite()));
            waveform.samples.len()
        }
        Err(_) => MAX_FRAMES,
    };
    // Samples are four bytes; a growing vector holds its old half and its new double.
    assert!(peak <= OVERHEAD + 12 * n_frames, "{peak} bytes for {n_frames} frames");
});
