//! A folder of recordings, classified one after another.

use std::fs;
use std::path::{Path, PathBuf};

use super::classifier::{Classifier, Prediction};
use crate::config::Config;
use crate::dataset::acquire;
use crate::dataset::catalog::{audio_files, passed_over};
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};
use crate::files;

/// Lists the recordings that [`copy_examples`] put into the folder, a name a line.
const EXAMPLES_FILE: &str = ".examples.txt";

/// The predictions for a folder.
#[derive(Debug)]
pub struct FolderPredictions {
    /// A prediction per readable recording, by name.
    pub predictions: Vec<Prediction>,
    /// Recordings that could not be read, with the reason.
    pub failed: Vec<(PathBuf, Error)>,
}

/// Classifies every audio file under `config.data.test_dir` with the checkpoint of the config's run.
///
/// A file that cannot be read is listed and does not end the run.
///
/// # Errors
/// [`Error::StageMissing`] before training, [`Error::Checkpoint`] for a damaged checkpoint, [`Error::Dataset`] when the folder
/// holds no audio file.
pub fn predict_folder(config: &Config) -> Result<FolderPredictions> {
    let mut classifier = Classifier::of_run(config)?;
    let dir = &config.data.test_dir;
    let paths = recordings(dir)?;
    if paths.is_empty() {
        let expected = "at least one audio file".to_owned();
        let next = "Put recordings there, or call copy_examples to try clips of the held-out fold.".to_owned();
        return Err(Error::Dataset { root: dir.clone(), expected, found: "none".into(), next });
    }
    for name in passed_over(dir)? {
        println!("passed over {name}: this format is not read");
    }
    let mut result = FolderPredictions { predictions: Vec::new(), failed: Vec::new() };
    for path in paths {
        match classifier.predict_file(&path) {
            Ok(prediction) => result.predictions.push(prediction),
            Err(error) => result.failed.push((path, error)),
        }
    }
    Ok(result)
}

/// Puts up to `n` clips of the held-out fold into `config.data.test_dir`, each of another class as far as there are classes,
/// unless recordings of your own lie there. Examples of an earlier call are replaced. Returns what lies there then.
///
/// # Errors
/// [`Error::StageMissing`] before preprocessing, [`Error::Io`] when the folder cannot be written.
pub fn copy_examples(config: &Config, n: usize) -> Result<Vec<PathBuf>> {
    let dir = &config.data.test_dir;
    let dataset = Dataset::open(config)?;
    let catalog = acquire::open_catalog(config)?;
    let test = dataset.split(&config.train)?.test;
    let list = dir.join(EXAMPLES_FILE);
    for name in fs::read_to_string(&list).unwrap_or_default().lines().filter(|name| !name.contains(['/', '\\'])) {
        // One that is gone already is as good as removed.
        let _ = fs::remove_file(dir.join(name));
    }
    files::write_bytes(&list, b"")?;
    let present = recordings(dir)?;
    if !present.is_empty() {
        return Ok(present);
    }
    let mut used = vec![false; dataset.labels.len()];
    let mut names = Vec::new();
    for clip in test.into_iter().map(|index| &dataset.clips[index]) {
        if names.len() == n || std::mem::replace(&mut used[clip.target], true) {
            continue;
        }
        let name = clip.filename.replace('/', "__");
        let from = catalog.audio_dir.join(&clip.filename);
        let bytes = fs::read(&from).map_err(Error::io("read", &from))?;
        names.push(name.clone());
        files::write_bytes(&list, names.join("\n").as_bytes())?;
        files::write_bytes(&dir.join(name), &bytes)?;
    }
    recordings(dir)
}

fn recordings(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    Ok(audio_files(dir)?.iter().map(|name| dir.join(name)).collect())
}
