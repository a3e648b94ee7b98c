//! Class folders: the label of a file is the folder it lies in.

use std::fs;
use std::path::Path;

use super::clip::{Clip, number_by_name, source_of};
use super::folds;
use crate::error::{Error, Result};

/// File extensions taken for audio, in lower case. What is inside decides later how a file is decoded.
pub const AUDIO_EXTENSIONS: [&str; 9] = ["wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "m4a", "aac"];

/// Extensions of other sound files, in lower case. They are left out of class folders, because hardly any of these formats
/// is read here; [`passed_over`] tells where they are.
pub const PASSED_OVER_EXTENSIONS: [&str; 21] = [
    "aif", "aiff", "aifc", "wma", "mp4", "webm", "mka", "caf", "amr", "3gp", "ac3", "ape", "wv", "au", "snd", "mp2",
    "spx", "w64", "rf64", "mpc", "ra",
];

/// How deep a folder is searched: far deeper than people file sounds, and a bound on what a hostile tree can cost.
const MAX_DEPTH: usize = 16;

pub(super) fn read(root: &Path) -> Result<Vec<Clip>> {
    let mut clips: Vec<Clip> = audio_files(root)?
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
    Ok(clips)
}

/// The audio files under `root` at any depth, told by their extension, as sorted `/`-separated paths relative to it.
///
/// Hidden files and folders are passed over, and links to folders are not followed.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read; [`Error::Dataset`] when a file name is not UTF-8.
pub fn audio_files(root: &Path) -> Result<Vec<String>> {
    files_with(root, &AUDIO_EXTENSIONS)
}

/// The files under `root` that [`audio_files`] leaves out although their extension, of [`PASSED_OVER_EXTENSIONS`], names a
/// kind of sound file, in the same form.
///
/// # Errors
/// As [`audio_files`].
pub fn passed_over(root: &Path) -> Result<Vec<String>> {
    files_with(root, &PASSED_OVER_EXTENSIONS)
}

fn files_with(root: &Path, extensions: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    walk(root, "", 0, &|path| has_extension(path, extensions), &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    is_wanted: &impl Fn(&Path) -> bool,
    found: &mut Vec<String>,
) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read folder", folder))? {
        let entry = entry.map_err(Error::io("read folder", folder))?;
        let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::Dataset {
                root: folder.to_path_buf(),
                expected: "file names in UTF-8".into(),
                found: format!("{name:?}"),
                next: "Rename this file.".into(),
            });
        };
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), &format!("{prefix}{name}/"), depth + 1, is_wanted, found)?;
        } else if is_wanted(&entry.path()) {
            found.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Whether this is a file with an extension of [`AUDIO_EXTENSIONS`].
pub(crate) fn is_audio(path: &Path) -> bool {
    has_extension(path, &AUDIO_EXTENSIONS)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    extensions.contains(&extension.to_ascii_lowercase().as_str()) && path.is_file()
}
