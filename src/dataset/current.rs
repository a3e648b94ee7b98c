//! Whether spectrograms are those of the recordings and labels as they are now.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::Config;
use crate::dataset::acquire;
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::metadata::{self, ProcessedClip};
use crate::error::{Error, Result};
use crate::files::content::{self, Digest};

/// A table that an older version left, or that was damaged, is made again like any other feature file.
fn stale(path: &Path, error: Error) -> Error {
    match error {
        Error::Table { line, expected, found, .. } => {
            let line = line.map_or(String::new(), |line| format!(" in line {line}"));
            Error::Features { path: path.into(), expected, found: format!("{found}{line}") }
        }
        other => other,
    }
}

/// The rows of the table of spectrograms.
///
/// # Errors
/// As [`metadata::read`], but [`Error::Features`] for a table that does not hold them.
pub(super) fn read_rows(path: &Path) -> Result<Vec<ProcessedClip>> {
    metadata::read(path).map_err(|error| stale(path, error))
}

/// Refuses spectrograms of a data set that is another one by now: files that were added or taken away, labels and folds that moved.
/// Returns where its recordings lie, if they are there.
///
/// # Errors
/// [`Error::Features`] with what differs; what reading the data set's own table reports.
pub(super) fn check_catalog(config: &Config, made_from: Option<&str>, path: &Path) -> Result<Option<PathBuf>> {
    let stale = |expected: String, found: String| Err(Error::Features { path: path.into(), expected, found });
    let Some(made_from) = made_from else {
        return stale("the spectrograms of a whole data set".into(), "those of a run that did not end".into());
    };
    if !acquire::is_there(config) {
        return Ok(None);
    }
    let catalog = acquire::open_catalog(config)?;
    if metadata::fingerprint(&catalog) != made_from {
        let (expected, found) = changed(&catalog, &read_rows(path)?);
        return stale(expected, found);
    }
    Ok(Some(catalog.audio_dir))
}

/// Refuses spectrograms of recordings that have changed since.
///
/// # Errors
/// [`Error::Features`] with the recording; [`Error::Io`] when it cannot be read.
pub(super) fn check_files(clips: &[ProcessedClip], audio_dir: &Path, path: &Path) -> Result<()> {
    // Windows of one recording follow each other.
    let of_recordings = clips.par_chunk_by(|one, next| one.filename == next.filename);
    let changed = of_recordings.map(|windows| -> Result<()> {
        let clip = &windows[0];
        let recording = audio_dir.join(&clip.filename);
        // Only a file that was touched is read.
        let touched = content::stamp(&recording).is_ok_and(|stamp| stamp != clip.file_stamp);
        if touched && content::hash_file(&recording)? != clip.file_xxh3 {
            let expected = format!("the sound that {} holds now", clip.filename);
            return Err(Error::Features { path: path.into(), expected, found: "another one".into() });
        }
        Ok(())
    });
    changed.find_first(Result::is_err).unwrap_or(Ok(()))
}

/// Refuses to go on without recordings that could not be read and are other ones now.
///
/// # Errors
/// [`Error::Features`] with the recording.
pub(super) fn check_left_out(left_out: &[(String, Option<Digest>)], audio_dir: &Path, path: &Path) -> Result<()> {
    let changed =
        |(filename, then): &&(String, Option<Digest>)| content::stamp(&audio_dir.join(filename)).ok() != *then;
    match left_out.iter().find(changed) {
        None => Ok(()),
        Some((filename, _)) => Err(Error::Features {
            path: path.into(),
            expected: format!("spectrograms of {filename}, whose file has changed since it could not be read"),
            found: "none".into(),
        }),
    }
}

/// In what the data set as it is differs from the spectrograms of it, as expected and found: files that came or went, else the first
/// clip that moved.
fn changed(catalog: &Catalog, clips: &[ProcessedClip]) -> (String, String) {
    let made: HashMap<&str, &ProcessedClip> = clips.iter().map(|clip| (clip.filename.as_str(), clip)).collect();
    for Clip { filename, category, .. } in &catalog.clips {
        if let Some(row) = made.get(filename.as_str()).filter(|row| row.category != *category) {
            return (format!("{filename} as {category:?}, as the data set has it now"), format!("{:?}", row.category));
        }
    }
    let there: HashSet<&str> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    let added = catalog.clips.iter().filter(|clip| !made.contains_key(clip.filename.as_str())).count();
    let gone = made.keys().filter(|filename| !there.contains(*filename)).count();
    let moved = catalog.clips.iter().filter_map(|clip| Some((clip, made.get(clip.filename.as_str())?)));
    match moved.into_iter().find(|(clip, row)| clip.fold != row.fold) {
        Some((Clip { filename, fold, .. }, row)) if added + gone == 0 => {
            (format!("{filename} in fold {fold}, as the data set has it now"), format!("fold {}", row.fold))
        }
        _ => {
            let expected = format!("the {} recordings of the data set as it is now", catalog.clips.len());
            (expected, format!("those of an earlier one: {gone} are gone since, {added} have no spectrogram"))
        }
    }
}
