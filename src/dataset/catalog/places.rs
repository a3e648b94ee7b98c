//! Where the recordings lie that a table names.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::clip::Clip;
use super::walk::{AUDIO_EXTENSIONS, audio_files, has_extension, stem};
use crate::error::{Error, Result};

/// Where the recordings of a table lie, if not beside it.
const AUDIO_FOLDERS: [&str; 6] = ["audio", "clips", "wav", "wavs", "sounds", "data"];

/// Gives clips that are named without an extension that of the one recording of their name in a folder. A name that would then stand there
/// twice stays as it is.
///
/// # Errors
/// [`crate::error::Error::Io`] when the folder cannot be read.
pub(super) fn complete_names(clips: &mut [Clip], folder: &Path) -> Result<()> {
    let is_bare = |clip: &Clip| !has_extension(Path::new(&clip.filename), &AUDIO_EXTENSIONS);
    if !folder.is_dir() || !clips.iter().any(|clip| is_bare(clip) && !folder.join(&clip.filename).is_file()) {
        return Ok(());
    }
    let files = audio_files(folder)?.files;
    let mut by_stem: HashMap<&str, Option<&str>> = HashMap::new();
    for file in &files {
        by_stem.entry(stem(file)).and_modify(|other| *other = None).or_insert(Some(file));
    }
    let named: HashSet<String> = clips.iter().map(|clip| clip.filename.clone()).collect();
    for clip in clips.iter_mut().filter(|clip| is_bare(clip)) {
        let file = by_stem.get(clip.filename.as_str()).copied().flatten();
        if let Some(file) = file.filter(|file| !named.contains(*file)) {
            clip.filename = file.to_owned();
        }
    }
    Ok(())
}

/// Where the recordings of a table were found.
pub(super) struct Found {
    /// The folder that their names start from.
    pub folder: PathBuf,
    /// Whatever of it is not as the table has it.
    pub notes: Vec<String>,
}

/// Finds the recordings of clips in a folder: the folder that their names start from. It is the folder itself, or one of the usual ones in it,
/// that has most of them; where others lie elsewhere, names are changed to paths from the folder on. A name that is found in several of the
/// other folders could be any of these, and is left as it is.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be read; [`Error::Dataset`] when two rows mean one file.
pub(super) fn find(clips: &mut [Clip], root: &Path) -> Result<Found> {
    let folders: Vec<&str> =
        [""].into_iter().chain(AUDIO_FOLDERS).filter(|folder| root.join(folder).is_dir()).collect();
    let has = |folder: &str, clip: &Clip| root.join(folder).join(&clip.filename).is_file();
    let n_files = |folder: &str| clips.par_iter().filter(|clip| has(folder, clip)).count();
    let mut notes = Vec::new();
    // Of folders with equally many the first.
    let home = match folders[..] {
        [only] => only,
        _ => {
            let counts: Vec<(&str, usize)> = folders.iter().map(|folder| (*folder, n_files(folder))).collect();
            let most = counts.iter().map(|(_, n)| *n).max().unwrap_or(0);
            let best: Vec<&str> =
                counts.iter().filter(|(_, n)| *n == most && *n > 0).map(|(folder, _)| *folder).collect();
            if let [taken, others @ ..] = &best[..]
                && !others.is_empty()
            {
                let called = |folder: &str| {
                    if folder.is_empty() { "the table's own folder".into() } else { format!("{folder}/") }
                };
                let others: Vec<String> = others.iter().map(|folder| called(folder)).collect();
                notes.push(format!(
                    "files of these names lie in {}, and in {}, too: the first are read",
                    called(taken),
                    others.join(", ")
                ));
            }
            best.first().copied().unwrap_or("")
        }
    };
    let place = |clip: &Clip| match has(home, clip) {
        true => Some(home),
        false => {
            let mut others = folders.iter().copied().filter(|folder| has(folder, clip));
            others.next().filter(|_| others.next().is_none())
        }
    };
    let places: Vec<Option<&str>> = clips.par_iter().map(place).collect();
    if places.iter().all(Option::is_some) && places.iter().flatten().all(|folder| *folder == home) {
        return Ok(Found { folder: root.join(home), notes });
    }
    // As it is written first, then in any case.
    let forms: [fn(&str) -> String; 2] = [|name| name.nfc().collect(), |name| name.to_lowercase().nfc().collect()];
    let by_end: Vec<_> = match places.iter().all(Option::is_some) {
        true => Vec::new(),
        false => {
            let files = audio_files(root)?.files;
            forms.into_iter().map(|form| (form, ends_of_paths(&files, form))).collect()
        }
    };
    let found = |clip: &Clip, place: Option<&str>| match place {
        Some("") => None,
        Some(folder) => Some(format!("{folder}/{}", clip.filename)),
        None => by_end.iter().find_map(|(form, by_end)| by_end.get(&form(&clip.filename)).cloned().flatten()),
    };
    let mut found: Vec<Option<String>> = clips.iter().zip(&places).map(|(clip, place)| found(clip, *place)).collect();
    // A file that two rows lead to is neither's by the end of its path alone: it would stand there twice, under two labels.
    let mut rows_of: HashMap<String, usize> = HashMap::new();
    for (clip, file) in clips.iter().zip(&found) {
        *rows_of.entry(file.clone().unwrap_or_else(|| clip.filename.clone())).or_default() += 1;
    }
    for (file, place) in found.iter_mut().zip(&places) {
        if place.is_none() && file.as_ref().is_some_and(|file| rows_of[file] > 1) {
            *file = None;
        }
    }
    let elsewhere = found.iter().zip(&places).any(|(found, place)| place.is_none() && found.is_some());
    if !elsewhere && places.iter().flatten().all(|folder| *folder == home) {
        return Ok(Found { folder: root.join(home), notes });
    }
    let deeper =
        || found.iter().zip(&places).zip(clips.iter()).filter(|((file, place), _)| place.is_none() && file.is_some());
    if let Some(((Some(file), _), clip)) = deeper().next() {
        let n = deeper().count();
        notes.push(format!(
            "{n} of {} files are found deeper than the table says, as {file} for {}",
            clips.len(),
            clip.filename
        ));
    }
    // Some here, some there: every file by its path from the folder on.
    for (clip, filename) in clips.iter_mut().zip(found) {
        clip.filename = filename.unwrap_or(std::mem::take(&mut clip.filename));
    }
    let mut names: Vec<&str> = clips.iter().map(|clip| clip.filename.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Dataset {
            root: root.to_path_buf(),
            expected: "every file once in its table".into(),
            found: format!("two rows that mean {}, one of them by another name", twice[0]),
            next: "Leave one of them in the table.".into(),
        });
    }
    Ok(Found { folder: root.to_path_buf(), notes })
}

/// The file whose path ends in a name, for every end of every path in a form, with its extension and without; `None` where several do.
fn ends_of_paths(files: &[String], form: fn(&str) -> String) -> HashMap<String, Option<String>> {
    let mut found: HashMap<String, Option<String>> = HashMap::new();
    for file in files {
        let formed = form(file);
        for path in [formed.as_str(), stem(&formed)] {
            let ends = path.match_indices('/').map(|(at, _)| &path[at + 1..]).chain([path]);
            for end in ends {
                found.entry(end.to_owned()).and_modify(|other| *other = None).or_insert_with(|| Some(file.clone()));
            }
        }
    }
    found
}
