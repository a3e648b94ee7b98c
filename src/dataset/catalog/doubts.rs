//! What recordings and folders say against the table that lists them.

use std::collections::BTreeSet;
use std::path::Path;

use super::clip::Clip;
use super::table::RowSpans;
use crate::error::{Error, Result};
use crate::front_end::audio;

/// How far a file's length may lie from what its row says: what an encoder pads, and rounding.
const SLACK_S: f64 = 0.1;
const SLACK: f64 = 0.02;

/// Makes sure that rows that are called parts of files are whole files, cut already; says so.
///
/// # Errors
/// [`Error::Table`] where most of those looked at are not as long as their files: the whole file would get the label of a part.
pub(super) fn parts_of_files(clips: &[Clip], audio_dir: &Path, csv: &Path, spans: &RowSpans) -> Result<String> {
    let measured = spans.rows.iter().filter_map(|(clip, row_s)| {
        let clip = clips.get(*clip)?;
        Some((clip, *row_s, audio::read(&audio_dir.join(&clip.filename)).ok()?.duration_s()))
    });
    let measured: Vec<(&Clip, f64, f64)> = measured.collect();
    // Not the other way round: what is no number is another length, too.
    let is_whole = |row_s: f64, file_s: f64| (file_s - row_s).abs() <= SLACK_S + SLACK * file_s;
    let other: Vec<_> = measured.iter().filter(|(_, row_s, file_s)| !is_whole(*row_s, *file_s)).collect();
    let columns = &spans.columns;
    match other.first() {
        Some((clip, row_s, file_s)) if 2 * other.len() > measured.len() => {
            let told = if row_s.is_finite() { format!("{row_s:.2} s of it") } else { "a part of it".into() };
            Err(Error::Table {
                path: csv.to_path_buf(),
                line: None,
                expected: format!(
                    "a label for each whole file; where files are cut already, or their labels hold for all of them, leave the columns {columns} out"
                ),
                found: format!(
                    "rows that are parts of files: {} lasts {file_s:.2} s, its row is {told}",
                    clip.filename
                ),
            })
        }
        _ => Ok(format!("{columns} are not read: every file counts as a whole")),
    }
}

/// Clips that lie in a folder called after another class than theirs, in words.
pub(super) fn other_folders(clips: &[Clip], csv: &Path) -> Option<String> {
    let classes: BTreeSet<&str> = clips.iter().flat_map(|clip| clip.classes().map(|(name, _)| name)).collect();
    let contradicts = |clip: &&Clip| {
        let folder = clip.filename.rsplit('/').nth(1);
        folder.is_some_and(|folder| classes.contains(folder) && !clip.classes().any(|(name, _)| name == folder))
    };
    let first = clips.iter().find(contradicts)?;
    let n = clips.iter().filter(contradicts).count();
    let table = csv.file_name().unwrap_or_default().to_string_lossy();
    Some(format!(
        "labels are those of {table}; {n} of {} files lie in a folder called after another class, as {}, which is {}",
        clips.len(),
        first.filename,
        first.category
    ))
}
