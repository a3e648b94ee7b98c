//! Any table of recordings reads to clips that stay in their folder and folds that keep sources whole, or to an error.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path};

use audio_transformer::Error;
use audio_transformer::internals::dataset::catalog::Catalog;
use audio_transformer_fuzz::measured;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let table = std::env::temp_dir().join(format!("catalog-{}.csv", std::process::id()));
    fs::write(&table, bytes).unwrap();
    let (read, peak) = measured(|| Catalog::from_csv(&table, Path::new("audio")));
    assert!(peak <= (1 << 20) + 256 * bytes.len(), "{peak} bytes for a table of {}", bytes.len());
    match read {
        Ok(catalog) => {
            let mut fold_of = HashMap::new();
            for clip in &catalog.clips {
                assert!(Path::new(&clip.filename).components().all(|part| matches!(part, Component::Normal(_))));
                assert!(clip.target < catalog.labels().len() && clip.fold > 0);
                assert_eq!(*fold_of.entry(&clip.source).or_insert(clip.fold), clip.fold, "{}", clip.source);
            }
        }
        Err(error) => assert!(matches!(error, Error::Table { .. } | Error::Dataset { .. }), "{error}"),
    }
});
