//! What spectrograms are called.

use std::collections::HashSet;

use crate::dataset::catalog::{Catalog, Clip};
use crate::files::hash::fnv1a;

/// The longest name of a spectrogram, in bytes: file systems take 255, of which the extension and a window's number are kept free.
const MAX_NAME: usize = 200;

/// A `.npy` name without extension for every recording, unique in one flat folder whether or not it tells case apart.
///
/// It is the recording's path without its extension; where two would clash or one is too long, a digest is added.
pub(super) struct NpyNames {
    /// Hashes of the plain names that more than one recording would have.
    shared: HashSet<u64>,
}

impl NpyNames {
    pub fn new(catalog: &Catalog) -> Self {
        let mut hashes: Vec<u64> = catalog.clips.iter().map(|clip| Self::hash(&Self::plain(clip))).collect();
        hashes.sort_unstable();
        NpyNames { shared: hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect() }
    }

    pub fn of(&self, clip: &Clip) -> String {
        let plain = Self::plain(clip);
        if !plain.is_empty() && plain.len() <= MAX_NAME && !self.shared.contains(&Self::hash(&plain)) {
            return plain;
        }
        let short: String = plain.chars().take(MAX_NAME / 5).collect();
        format!("{short}~{:016x}", fnv1a(clip.filename.as_bytes()))
    }

    /// The path in one piece; `~` is for digests and the numbers of windows.
    fn plain(clip: &Clip) -> String {
        let stem = clip.filename.rsplit_once('.').map_or(clip.filename.as_str(), |(stem, _)| stem);
        stem.replace(['/', '\\'], "__").replace('~', "_").trim_start_matches('.').to_owned()
    }

    fn hash(plain: &str) -> u64 {
        fnv1a(plain.to_lowercase().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filenames: &[&str]) -> Vec<String> {
        let clip = |filename: &&str| Clip {
            filename: filename.to_string(),
            fold: 1,
            category: "a".into(),
            target: 0,
            further: Vec::new(),
            esc10: false,
            source: "s".into(),
        };
        let clips = filenames.iter().map(clip).collect();
        let catalog = Catalog { name: "test".into(), clips, ..Catalog::default() };
        let names = NpyNames::new(&catalog);
        catalog.clips.iter().map(|clip| names.of(clip)).collect()
    }

    #[test]
    fn a_spectrogram_is_named_as_its_recording() {
        assert_eq!(names(&["1-100032-A-0.wav", "dogs/loud.flac"]), ["1-100032-A-0", "dogs__loud"]);
    }

    #[test]
    fn no_two_recordings_share_a_name_even_where_case_does_not_count() {
        let long = format!("{}.wav", "x".repeat(250));
        let clashing = [
            "a/b.wav",
            "a__b.wav",
            "x/1.wav",
            "x/1.flac",
            "x/1.wav.mp3",
            "n.wav",
            "N.mp3",
            "n~1.wav",
            "n_1.wav",
            &long,
        ];
        let names = names(&clashing);
        let distinct: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), clashing.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= MAX_NAME));
    }
}
