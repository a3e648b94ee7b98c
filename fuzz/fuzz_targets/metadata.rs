//! Any text parses to rows that are written and read back the same, or to an error, in memory of its size, and without a panic.
#![no_main]

use std::path::Path;

use audio_transformer::internals::dataset::metadata;
use audio_transformer::Error;
use audio_transformer_fuzz::measured;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (parsed, peak) = measured(|| metadata::parse(bytes, Path::new("fuzzed")));
    assert!(peak <= (1 << 20) + 64 * bytes.len(), "{peak} bytes for a table of {}", bytes.len());
    match parsed {
        Ok(clips) => {
            assert!(clips.iter().all(|clip| Path::new(&clip.npy).components().count() == 1));
            let path = std::env::temp_dir().join(format!("metadata-{}.csv", std::process::id()));
            metadata::write(&path, &clips).unwrap();
            let back = metadata::read(&path).unwrap();
            // A start that is not a number is not equal to itself.
            assert_eq!(format!("{back:?}"), format!("{clips:?}"));
        }
        Err(error) => assert!(matches!(error, Error::Table { .. }), "{error}"),
    }
});
