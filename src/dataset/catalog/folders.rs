//! Class folders: the label of a file is the folder it lies in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::clip::{Clip, number_by_name};
use super::folds;
use super::lists::{self, Lists};
use super::sources::source_of;
use super::splits;
use super::table;
use super::walk::{Faults, Walk, audio_files, has_extension};
use super::words::listed;
use crate::error::{Error, Result};
use crate::files::text::Shared;

/// A folder that is no class by its name.
const NOISE: &str = "_background_noise_";

/// What class folders hold.
pub(super) struct Found {
    pub clips: Vec<Clip>,
    /// What could not be looked into.
    pub unreadable: Faults,
    /// How the folders were understood, where that is not plain.
    pub notes: Vec<String>,
    /// Whether folds were made here.
    pub folds_made: bool,
}

/// The clips in class folders. Folders that are all called after folds or parts of a data set, as `train` and `test` or `fold1` to
/// `fold10`, and hold folders of their own, are its folds, and those inside them its classes.
pub(super) fn read(root: &Path) -> Result<Found> {
    let Walk { mut files, unreadable } = audio_files(root)?;
    let mut notes = Vec::new();
    notes.extend(without_noise(&mut files));
    let parts = parts(&files, root)?;
    let of_folder = match &parts {
        None => BTreeMap::new(),
        Some(parts) => {
            notes.extend(parts.note.clone());
            if !parts.folds.is_empty() {
                notes.push(format!(
                    "folders taken for folds, the folders in them for classes: {}",
                    splits::describe(&parts.folds)
                ));
            }
            parts.folds.clone()
        }
    };
    notes.extend(odd(root, &files, parts.is_some()));
    let lists = match &parts {
        None => lists::read(root, &files)?,
        Some(_) => Lists { notes: lists::passed_over(root), ..Lists::default() },
    };
    notes.extend(lists.notes);
    let are_listed = !lists.folds.is_empty();
    let mut shared = Shared::default();
    let clip = |filename: &String| {
        let (top, below) = filename.split_once('/')?;
        let fold = match are_listed {
            true => Some(*lists.folds.get(filename.as_str())?),
            false => of_folder.get(top).copied(),
        };
        let category = match &parts {
            None => top,
            // What lies in a part without a class folder has no class.
            Some(parts) => parts.with_classes.contains(top).then(|| below.split_once('/'))??.0,
        };
        let (filename, category, source) = (filename.clone(), shared.of(category), source_of(filename).into());
        Some(Clip { filename, fold: fold.unwrap_or(0), category, target: 0, further: Vec::new(), esc10: false, source })
    };
    let mut clips: Vec<Clip> = files.iter().filter_map(clip).collect();
    number_by_name(&mut clips);
    let num_classes = clips.iter().map(|clip| clip.target + 1).max().unwrap_or(0);
    if num_classes < 2 {
        return Err(Error::Dataset {
            root: root.to_path_buf(),
            expected:
                "meta/esc50.csv, a CSV with the columns filename and category, or one folder of audio files per class"
                    .into(),
            found: match clips.first() {
                Some(clip) => format!("audio of one class alone, {}", clip.category),
                None => "neither".into(),
            },
            next: "Put the audio files of each of two or more classes into a folder named after the class.".into(),
        });
    }
    let folds_made = of_folder.is_empty() && !are_listed;
    if folds_made {
        folds::assign(&mut clips, root)?;
    }
    Ok(Found { clips, unreadable, notes, folds_made })
}

/// Takes out what lies in the folder of noise that Speech Commands has beside its classes, to be mixed into them.
fn without_noise(files: &mut Vec<String>) -> Option<String> {
    let is_noise = |file: &String| file.split_once('/').is_some_and(|(top, _)| top == NOISE);
    let n = files.iter().filter(|file| is_noise(file)).count();
    files.retain(|file| !is_noise(file));
    (n > 0).then(|| {
        format!(
            "{n} recordings in {NOISE} are noise to mix in and no class, as in Speech Commands, and are left out; rename the folder if it is one"
        )
    })
}

/// Top folders that are parts of a data set, with the class folders in them.
struct Parts<'a> {
    with_classes: BTreeSet<&'a str>,
    /// Empty where one part alone has classes: then folds are made.
    folds: BTreeMap<&'a str, u32>,
    /// What has no class in them.
    note: Option<String>,
}

/// The top folders, if two or more are called after folds or parts of a data set. What holds classes beside what does not, or files beside
/// class folders, would else become classes of these names: a network would learn to tell the training set from the test set.
fn parts<'a>(files: &'a [String], root: &Path) -> Result<Option<Parts<'a>>> {
    let mut tops: BTreeMap<&str, (Vec<&str>, usize)> = BTreeMap::new();
    for file in files {
        let Some((top, below)) = file.split_once('/') else { continue };
        let (flat, deep) = tops.entry(top).or_default();
        match below.contains('/') {
            true => *deep += 1,
            false => flat.push(file),
        }
    }
    let names: Vec<&str> = tops.keys().copied().collect();
    let plain = splits::plain(&names);
    let (splitting, beside): (Vec<_>, Vec<_>) = plain.iter().partition(|(_, plain)| splits::is_split(plain));
    if splitting.len() < 2 {
        return Ok(None);
    }
    let names_of = |some: &[&(&str, String)]| listed(some.iter().map(|(name, _)| *name));
    if !beside.is_empty() {
        let found = format!("{}, which split a data set, beside {}", names_of(&splitting), names_of(&beside));
        return Err(mixed_splits(found, root));
    }
    let with_classes: Vec<_> = splitting.iter().copied().filter(|(name, _)| tops[name].1 > 0).collect();
    if with_classes.is_empty() {
        let found = format!("{}, which split a data set and have no class folders in them", names_of(&splitting));
        return Err(mixed_splits(found, root));
    }
    let flat: Vec<&str> = tops.values().flat_map(|(flat, _)| flat.iter().copied()).collect();
    let note = flat.first().map(|first| {
        format!(
            "{} files lie in {} and in no class folder there, and are left out, as {first}",
            flat.len(),
            names_of(&splitting)
        )
    });
    let mut parts =
        Parts { with_classes: with_classes.iter().map(|(name, _)| *name).collect(), folds: BTreeMap::new(), note };
    if with_classes.len() > 1 {
        let plain_names: BTreeSet<&str> = with_classes.iter().map(|(_, plain)| plain.as_str()).collect();
        let numbered = splits::numbered(&plain_names).filter(|_| plain_names.len() == with_classes.len());
        let found = || {
            format!("folders that split a data set in several ways, {}, with folders in them", names_of(&with_classes))
        };
        let numbered = numbered.ok_or_else(|| mixed_splits(found(), root))?;
        parts.folds = with_classes.iter().map(|(name, plain)| (*name, numbered[plain.as_str()])).collect();
        if let Some(top) = with_classes.iter().find(|(name, _)| !tables_in(&root.join(name)).is_empty()) {
            let tables = listed(tables_in(&root.join(top.0)).iter().map(String::as_str));
            let found = format!(
                "{}, each a part of a data set with a table of its own, as {}/{tables}",
                names_of(&splitting),
                top.0
            );
            return Err(mixed_splits(found, root));
        }
    }
    Ok(Some(parts))
}

/// Folders that split a data set in a way that is not read.
fn mixed_splits(found: String, root: &Path) -> Error {
    Error::Dataset {
        root: root.to_path_buf(),
        expected: "one folder per class, or folders that are all folds or all parts of a data set, with class folders in them".into(),
        found,
        next: "Name one of them (its folders are then the classes), or write a metadata.csv with the columns filename, category and \
               fold."
            .into(),
    }
}

/// What of class folders may not be meant as it is read, in words.
fn odd(root: &Path, files: &[String], in_parts: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let folders = |folder: &Path| -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
        let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        let mut named: Vec<_> = named.filter(|(name, _)| !name.starts_with('.') && name != "__MACOSX").collect();
        named.sort();
        named
    };
    let tops: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
    let tops_on_disk = folders(root);
    let silent =
        || tops_on_disk.iter().map(|(name, _)| name.as_str()).filter(|name| !tops.contains(name) && *name != NOISE);
    if silent().next().is_some() {
        notes.push(format!("folders without a recording that is read: {}", listed(silent())));
    }
    for (name, path) in tops_on_disk.iter().filter(|(name, _)| tops.contains(name.as_str())) {
        for table in tables_in(path) {
            notes.push(format!("{name}/{table} lists recordings, and is not read: labels are the folders' names"));
        }
    }
    if !in_parts {
        notes.extend(inner_classes(files));
    }
    notes
}

/// Folders of one name that lie in several classes: they may be the classes, and those around them something else.
fn inner_classes(files: &[String]) -> Option<String> {
    let mut outer_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let mut parts = file.split('/');
        if let (Some(outer), Some(inner), Some(_)) = (parts.next(), parts.next(), parts.next()) {
            outer_of.entry(inner).or_default().insert(outer);
        }
    }
    let repeated: Vec<(&str, &BTreeSet<&str>)> =
        outer_of.iter().filter(|(_, outer)| outer.len() > 1).map(|(inner, outer)| (*inner, outer)).collect();
    if repeated.len() < 2 {
        return None;
    }
    let are_parts = repeated.iter().all(|(inner, _)| splits::is_split(inner));
    let outer: BTreeSet<&str> = repeated.iter().flat_map(|(_, outer)| outer.iter().copied()).collect();
    let (inner, outer) = (listed(repeated.iter().map(|(inner, _)| *inner)), listed(outer));
    if are_parts {
        return Some(format!(
            "folders {inner} lie in each of {outer} and are not read as folds, which are made anew; to keep them, put class folders into {inner}"
        ));
    }
    Some(format!(
        "folders {inner} lie in each of {outer}: these outer ones are the classes. If the inner ones are meant, name one outer folder, or write a \
         metadata.csv with the columns filename and category"
    ))
}

/// The tables directly in a folder whose columns list recordings.
fn tables_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| has_extension(path, &["csv", "tsv"]) && path.is_file() && table::has_columns(path);
    let names = entries.filter(is_one).filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
