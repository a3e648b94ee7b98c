//! Class folders: the label of a file is the folder it lies in.

use std::path::Path;

use super::clip::{Clip, number_by_name, source_of};
use super::folds;
use super::walk::{Faults, Walk, audio_files};
use crate::error::{Error, Result};

/// Names that split a data set and label nothing, in lower case and without a number behind them.
const SPLITS: [&str; 12] = [
    "train",
    "training",
    "test",
    "testing",
    "val",
    "valid",
    "validation",
    "dev",
    "eval",
    "evaluation",
    "fold",
    "split",
];

/// The clips in class folders, and what could not be looked into.
pub(super) fn read(root: &Path) -> Result<(Vec<Clip>, Faults)> {
    let Walk { files, unreadable } = audio_files(root)?;
    refuse_splits(&files, root)?;
    let mut clips: Vec<Clip> = files
        .into_iter()
        .filter_map(|filename| {
            let category = filename.split_once('/')?.0.to_string();
            let source = source_of(&filename);
            Some(Clip { filename, fold: 0, category, target: 0, esc10: false, source })
        })
        .collect();
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
    folds::assign(&mut clips, root)?;
    Ok((clips, unreadable))
}

/// Refuses folders that are all called after parts of a data set and hold folders of their own: a network would learn to tell the
/// training set from the test set.
fn refuse_splits(files: &[String], root: &Path) -> Result<()> {
    let is_split = |name: &str| {
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || "-_ .".contains(c)).to_lowercase();
        SPLITS.contains(&plain.as_str())
    };
    let mut in_folders = files.iter().filter_map(|file| file.split_once('/')).peekable();
    if in_folders.peek().is_none() || !in_folders.all(|(top, below)| is_split(top) && below.contains('/')) {
        return Ok(());
    }
    let mut tops: Vec<&str> = files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
    tops.dedup();
    Err(Error::Dataset {
        root: root.to_path_buf(),
        expected: "one folder per class".into(),
        found: format!("folders that split a data set, {}, with folders in them", tops.join(", ")),
        next: "Name one of them (its folders are then the classes), or write a metadata.csv with the columns filename, category and \
               fold."
            .into(),
    })
}
