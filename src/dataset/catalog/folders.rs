//! Class folders: the label of a file is the folder it lies in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::clip::{Clip, number_by_name, source_of};
use super::folds;
use super::splits;
use super::walk::{Faults, Walk, audio_files};
use crate::error::{Error, Result};
use crate::files::text::Shared;

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
    let Walk { files, unreadable } = audio_files(root)?;
    let (mut of_folder, mut notes) = (BTreeMap::new(), Vec::new());
    if let Some(tops) = split_folders(&files) {
        of_folder = splits::numbered(&tops).ok_or_else(|| mixed_splits(&tops, root))?;
        notes.push(format!(
            "folders taken for folds, the folders in them for classes: {}",
            splits::describe(&of_folder)
        ));
    }
    let mut shared = Shared::default();
    let clip = |filename: &String| {
        let (top, below) = filename.split_once('/')?;
        let fold = of_folder.get(top).copied();
        let category = if fold.is_some() { below.split_once('/')?.0 } else { top };
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
    let folds_made = of_folder.is_empty();
    if folds_made {
        folds::assign(&mut clips, root)?;
    }
    Ok(Found { clips, unreadable, notes, folds_made })
}

/// The top folders, if all are called after folds or parts of a data set and hold nothing but folders.
fn split_folders(files: &[String]) -> Option<BTreeSet<&str>> {
    let in_folders = || files.iter().filter_map(|file| file.split_once('/'));
    let tops: BTreeSet<&str> = in_folders().map(|(top, _)| top).collect();
    let split = tops.len() > 1 && tops.iter().all(|top| splits::is_split(top));
    (split && in_folders().all(|(_, below)| below.contains('/'))).then_some(tops)
}

/// Folders that split a data set in more than one way: a network would learn to tell the training set from the test set.
fn mixed_splits(tops: &BTreeSet<&str>, root: &Path) -> Error {
    let names = tops.iter().copied().collect::<Vec<_>>().join(", ");
    Error::Dataset {
        root: root.to_path_buf(),
        expected: "one folder per class, or folders that are all folds or all parts of a data set".into(),
        found: format!("folders that split a data set in several ways, {names}, with folders in them"),
        next: "Name one of them (its folders are then the classes), or write a metadata.csv with the columns filename, category and \
               fold."
            .into(),
    }
}
