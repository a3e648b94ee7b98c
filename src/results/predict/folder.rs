//! A folder of recordings, classified one after another.

use std::path::{Path, PathBuf};

use super::classifier::Classifier;
use super::prediction::Prediction;
use crate::config::Config;
use crate::dataset::catalog::{Walk, audio_files, passed_over};
use crate::error::{Error, Result};
use crate::files::progress::Remaining;

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
    let walk = walk(dir)?;
    if walk.files.is_empty() && walk.unreadable.is_empty() {
        let expected = "at least one audio file".to_owned();
        let next = "Put recordings there, or call copy_examples to try clips of the held-out fold.".to_owned();
        return Err(Error::Dataset { root: dir.clone(), expected, found: "none".into(), next });
    }
    for name in passed_over(dir)? {
        println!("passed over {name}: this format is not read");
    }
    let mut result = FolderPredictions { predictions: Vec::new(), failed: Vec::new() };
    for (name, found) in walk.unreadable {
        let (path, expected) = (dir.join(name), "an entry that can be read".into());
        let error = Error::Audio { path: path.clone(), offset: None, expected, found };
        result.failed.push((path, error));
    }
    for path in walk.files.iter().map(|name| dir.join(name)) {
        let mut remaining = Remaining::start();
        let mut follow = |share: f64| {
            if let Some(words) = remaining.say(share) {
                println!("{}: {words}", path.display());
            }
            true
        };
        match classifier.predict_file_while(&path, &mut follow).map(|(prediction, _)| prediction) {
            Ok(prediction) => result.predictions.push(prediction),
            Err(error) => result.failed.push((path, error)),
        }
    }
    Ok(result)
}

/// The recordings in a folder, by name; none in one that is not there.
pub(super) fn recordings(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(walk(dir)?.files.iter().map(|name| dir.join(name)).collect())
}

/// What a folder holds; nothing where there is none.
fn walk(dir: &Path) -> Result<Walk> {
    if dir.exists() { audio_files(dir) } else { Ok(Walk::default()) }
}
