//! Any bytes parse to an array of exactly their size or to an error, in memory of that size, and without a panic.
#![no_main]

use std::path::Path;

use audio_transformer::internals::files::npy;
use audio_transformer_fuzz::measured;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (parsed, peak) = measured(|| npy::parse_f32(bytes, None, Path::new("fuzzed")));
    if let Ok(array) = &parsed {
        assert!(array.len() * 4 < bytes.len());
        assert!(array.iter().all(|value| value.is_finite()));
        let (rows, columns) = array.dim();
        assert!(npy::parse_f32(bytes, Some((rows, columns + 1)), Path::new("fuzzed")).is_err());
    }
    assert!(peak <= (1 << 20) + 4 * bytes.len(), "{peak} bytes for a file of {}", bytes.len());
});
