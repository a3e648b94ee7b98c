//! Recordings that hold the same sound stay in one fold, where folds are made here.
//!
//! [`crate::acquire`] looks for them and keeps what it found beside the spectrograms; opening the data set then counts every group as one
//! source. What was found is of those very files: where one has changed since, it counts no more, and folds are those of the names alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::dataset::catalog::Catalog;
use crate::dataset::copies::{Copy, copies};
use crate::error::{Error, Result};
use crate::files::{self, content};

/// Beside the spectrograms.
const FILE: &str = "copies.json";

/// Groups of recordings that hold the same sound, by name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Found {
    /// A hash of the names and stamps of all files looked at.
    files: String,
    groups: Vec<Vec<String>>,
    /// See [`Copies::by_samples_alone`](crate::dataset::copies::Copies).
    #[serde(default)]
    by_samples_alone: bool,
}

/// Looks for recordings that hold the same sound, in a data set whose folds are made here, and keeps what it found. The recordings are read
/// only where one has changed since the last look.
///
/// # Errors
/// [`Error::Io`] when the result cannot be written.
pub(crate) fn look(config: &Config, catalog: &Catalog) -> Result<()> {
    if !catalog.folds_made || known(config, catalog).is_some() {
        return Ok(());
    }
    let copies = copies(catalog);
    let (files, groups) = (identity(catalog), groups(catalog, &copies.pairs));
    let found = Found { files, groups, by_samples_alone: copies.by_samples_alone };
    let path = path(config);
    files::create_dir(&config.data.processed_dir)?;
    let json = serde_json::to_vec_pretty(&found).map_err(|error| Error::io("write", &path)(error.into()))?;
    files::write_bytes(&path, &json)
}

/// The data set with the recordings that were found to hold the same sound in one fold, and a note that says so.
///
/// # Errors
/// As [`Catalog::keep_together`].
pub(crate) fn apply(config: &Config, mut catalog: Catalog) -> Result<Catalog> {
    if let Some(found) = known(config, &catalog) {
        let together = catalog.keep_together(found.groups)?;
        if found.by_samples_alone {
            let note = "so much sound that recordings share a fold for their very samples alone; name in a column `source` what belongs together";
            catalog.notes.push(note.into());
        }
        if let Some(first) = together.first() {
            let (n, first) = (together.iter().map(Vec::len).sum::<usize>(), first.join(" and "));
            catalog.notes.push(format!("{n} recordings hold the same sound as another and share its fold: {first}, …"));
        }
    }
    Ok(catalog)
}

fn path(config: &Config) -> PathBuf {
    config.data.processed_dir.join(FILE)
}

/// What was found in these very files.
fn known(config: &Config, catalog: &Catalog) -> Option<Found> {
    if !catalog.folds_made {
        return None;
    }
    let found: Found = serde_json::from_slice(&fs::read(path(config)).ok()?).ok()?;
    (found.files == identity(catalog)).then_some(found)
}

fn identity(catalog: &Catalog) -> String {
    let of = |clip| {
        let path = catalog.path(clip);
        [path.to_string_lossy().into_owned(), content::stamp(&path).unwrap_or_default().to_string()]
    };
    content::hash_texts(catalog.clips.iter().flat_map(of))
}

/// Pairs that share a recording make one group.
fn groups(catalog: &Catalog, pairs: &[Copy]) -> Vec<Vec<String>> {
    // Each recording points to an earlier one of its group, the first to itself.
    let mut earlier: Vec<usize> = (0..catalog.clips.len()).collect();
    fn first(earlier: &mut [usize], clip: usize) -> usize {
        let mut at = clip;
        while earlier[at] != at {
            earlier[at] = earlier[earlier[at]];
            at = earlier[at];
        }
        at
    }
    for Copy { clips: (a, b), .. } in pairs {
        let (a, b) = (first(&mut earlier, *a), first(&mut earlier, *b));
        earlier[a.max(b)] = a.min(b);
    }
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let paired: BTreeSet<usize> = pairs.iter().flat_map(|copy| [copy.clips.0, copy.clips.1]).collect();
    for clip in paired {
        groups.entry(first(&mut earlier, clip)).or_default().push(catalog.clips[clip].filename.clone());
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{DataConfig, DataSource};
    use crate::dataset::acquire::{acquire, open_catalog};
    use crate::dataset::demo;
    use crate::front_end::audio::{self, Waveform};

    fn folder(root: &Path) -> Config {
        for class in [7, 8] {
            for take in 0..6 {
                let sound = demo::synthesize(0, class, 1 + take % 5, take as usize, 0);
                let dir = root.join("sounds").join(format!("class {class}"));
                fs::create_dir_all(&dir).unwrap();
                audio::write_wav(&dir.join(format!("{take}.wav")), &sound).unwrap();
                if class == 8 && take == 0 {
                    // The same, quieter, under six other names: by chance they would not all be in one fold.
                    for copy in 0..6 {
                        let samples = sound.samples.iter().map(|sample| 0.5 * sample).collect();
                        let quieter = Waveform { samples, sample_rate: sound.sample_rate };
                        audio::write_wav(&dir.join(format!("copy {copy}.wav")), &quieter).unwrap();
                    }
                }
            }
        }
        let data = DataConfig {
            source: DataSource::Folder(root.join("sounds")),
            processed_dir: root.join("processed"),
            ..DataConfig::default()
        };
        Config { data, ..Config::default() }
    }

    fn folds_of_copies(catalog: &Catalog) -> Vec<u32> {
        let is_copy = |name: &str| name.contains("copy") || name == "class 8/0.wav";
        let mut folds: Vec<u32> =
            catalog.clips.iter().filter(|clip| is_copy(&clip.filename)).map(|clip| clip.fold).collect();
        folds.sort_unstable();
        folds.dedup();
        folds
    }

    #[test]
    fn copies_share_a_fold_once_the_data_set_was_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let config = folder(dir.path());
        assert!(folds_of_copies(&open_catalog(&config).unwrap()).len() > 1);
        let acquired = acquire(&config).unwrap();
        assert_eq!(folds_of_copies(&acquired).len(), 1);
        assert!(acquired.notes.iter().any(|note| note.contains("hold the same sound")), "{:?}", acquired.notes);
        let opened = open_catalog(&config).unwrap();
        assert_eq!(opened.clips, acquired.clips);
        assert_eq!(opened.folds().len(), 5);
    }

    #[test]
    fn what_was_found_counts_no_more_once_a_file_changed() {
        let dir = tempfile::tempdir().unwrap();
        let config = folder(dir.path());
        acquire(&config).unwrap();
        let sounds = dir.path().join("sounds/class 8");
        fs::remove_file(sounds.join("copy 0.wav")).unwrap();
        assert!(folds_of_copies(&open_catalog(&config).unwrap()).len() > 1);
        assert_eq!(folds_of_copies(&acquire(&config).unwrap()).len(), 1);
    }

    #[test]
    fn a_class_of_copies_keeps_its_sources() {
        let dir = tempfile::tempdir().unwrap();
        let config = folder(dir.path());
        let sounds = dir.path().join("sounds/class 8");
        (1..6).for_each(|take| fs::remove_file(sounds.join(format!("{take}.wav"))).unwrap());
        let catalog = acquire(&config).unwrap();
        assert!(folds_of_copies(&catalog).len() > 1, "all of the class would be in one fold");
        assert!(catalog.notes.is_empty(), "what was not done is not told: {:?}", catalog.notes);
    }
}
