//! Where the recordings lie that a table names.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::clip::Clip;
use super::walk::{AUDIO_EXTENSIONS, audio_files, has_extension};
use crate::error::Result;

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

/// Finds the recordings of clips in a folder: the folder that their names start from. It is the folder itself, or one of the usual ones in it,
/// that has most of them; where others lie elsewhere, names are changed to paths from the folder on.
///
/// # Errors
/// [`crate::error::Error::Io`] when the folder cannot be read.
pub(super) fn find(clips: &mut [Clip], root: &Path) -> Result<PathBuf> {
    let folders: Vec<&str> =
        [""].into_iter().chain(AUDIO_FOLDERS).filter(|folder| root.join(folder).is_dir()).collect();
    let has = |folder: &str, clip: &Clip| root.join(folder).join(&clip.filename).is_file();
    let n_files = |folder: &str| clips.par_iter().filter(|clip| has(folder, clip)).count();
    // Of folders with equally many the first.
    let home = match folders[..] {
        [only] => only,
        _ => folders.iter().copied().rev().max_by_key(|folder| n_files(folder)).unwrap_or(""),
    };
    let place = |clip: &Clip| match has(home, clip) {
        true => Some(home),
        false => folders.iter().copied().find(|folder| has(folder, clip)),
    };
    let places: Vec<Option<&str>> = clips.par_iter().map(place).collect();
    if places.iter().all(Option::is_some) && places.iter().flatten().all(|folder| *folder == home) {
        return Ok(root.join(home));
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
        return Ok(root.join(home));
    }
    // Some here, some there: every file by its path from the folder on.
    for (clip, filename) in clips.iter_mut().zip(found) {
        clip.filename = filename.unwrap_or(std::mem::take(&mut clip.filename));
    }
    Ok(root.to_path_buf())
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

/// A path without its extension.
pub(super) fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}
