//! Clips of the held-out fold, to try a network on where no recordings of one's own are at hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::folder::recordings;
use crate::config::Config;
use crate::dataset::acquire;
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};
use crate::files::{self, content, names};

/// Lists the recordings that [`copy_examples`] put into the folder, as JSON: names, and hashes of what they held.
const LIST_FILE: &str = ".examples.json";

/// Puts up to `n` clips of the held-out fold into `config.data.test_dir`, each of another class as far as there are classes,
/// unless recordings of your own lie there. Examples of an earlier call are replaced, unless something else stands under their name by
/// now. Returns what lies there then.
///
/// # Errors
/// [`Error::StageMissing`] before preprocessing, [`Error::Io`] when the folder cannot be written.
pub fn copy_examples(config: &Config, n: usize) -> Result<Vec<PathBuf>> {
    let dir = &config.data.test_dir;
    let dataset = Dataset::open(config)?;
    let catalog = acquire::open_catalog(config)?;
    let test = dataset.split(&config.train)?.test;
    remove_earlier(dir);
    let mut copied = BTreeMap::new();
    write_list(dir, &copied)?;
    let present = recordings(dir)?;
    if !present.is_empty() {
        return Ok(present);
    }
    let mut used = vec![false; dataset.labels.len()];
    for clip in test.into_iter().map(|index| &dataset.clips[index]) {
        if copied.len() == n || std::mem::replace(&mut used[clip.target], true) {
            continue;
        }
        let from = catalog.audio_dir.join(&clip.filename);
        let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
        let name = names::flat(&clip.filename, |name| copied.contains_key(name));
        copied.insert(name.clone(), content::hash_file(&from)?.to_string());
        write_list(dir, &copied)?;
        files::write_bytes(&dir.join(name), &bytes)?;
    }
    recordings(dir)
}

/// Removes the examples of an earlier call. A list that cannot be read names none.
fn remove_earlier(dir: &Path) {
    let list = fs::read(dir.join(LIST_FILE)).unwrap_or_default();
    let earlier: BTreeMap<String, String> = serde_json::from_slice(&list).unwrap_or_default();
    for (name, hash) in earlier.iter().filter(|(name, _)| !name.contains(['/', '\\'])) {
        let path = dir.join(name);
        if content::hash_file(&path).is_ok_and(|found| found.to_string() == *hash) {
            // One that stays is taken for a recording of one's own, and shown.
            let _ = fs::remove_file(path);
        }
    }
}

fn write_list(dir: &Path, copied: &BTreeMap<String, String>) -> Result<()> {
    let path = dir.join(LIST_FILE);
    let json = serde_json::to_vec_pretty(copied).map_err(|error| Error::io("write", &path)(error.into()))?;
    files::write_bytes(&path, &json)
}
