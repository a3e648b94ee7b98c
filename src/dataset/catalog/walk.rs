//! The sound files of a folder: one entry that cannot be read does not end the search for the others.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

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

/// What could not be read, by its name, with the reason.
pub type Faults = Vec<(String, String)>;

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Files, as sorted `/`-separated paths relative to the folder.
    pub files: Vec<String>,
    /// Entries that could not be looked into or named, in the same form as far as they have one, with the reason.
    pub unreadable: Faults,
}

/// The audio files under `root` at any depth, told by their extension.
///
/// Hidden files and folders are passed over. Links are followed, to folders too, unless one leads back to a folder around it.
///
/// # Errors
/// [`Error::Io`] when `root` itself cannot be read; what cannot be read below it is listed.
pub fn audio_files(root: &Path) -> Result<Walk> {
    files_with(root, &AUDIO_EXTENSIONS)
}

/// The files under `root` that [`audio_files`] leaves out although their extension, of [`PASSED_OVER_EXTENSIONS`], names a
/// kind of sound file, in the same form.
///
/// # Errors
/// As [`audio_files`].
pub fn passed_over(root: &Path) -> Result<Vec<String>> {
    Ok(files_with(root, &PASSED_OVER_EXTENSIONS)?.files)
}

fn files_with(root: &Path, extensions: &[&str]) -> Result<Walk> {
    let mut walker = Walker { extensions, found: Walk::default(), around: Vec::new() };
    walker.folder(root, "").map_err(Error::io("read folder", root))?;
    let mut found = walker.found;
    found.files.sort_unstable();
    found.unreadable.sort_unstable();
    Ok(found)
}

struct Walker<'a> {
    extensions: &'a [&'a str],
    found: Walk,
    /// The folders around the one that is looked into, links resolved.
    around: Vec<PathBuf>,
}

impl Walker<'_> {
    /// Looks into a folder, whose path relative to the root is `prefix`, ended by `/`.
    fn folder(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        let entries = fs::read_dir(folder)?;
        self.around.push(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()));
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry, prefix),
                Err(error) => self.fail(format!("{prefix}…"), error.to_string()),
            }
        }
        self.around.pop();
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, prefix: &str) {
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            return;
        }
        let shown = format!("{prefix}{}", name.to_string_lossy());
        let is_wanted = has_extension(&path, self.extensions);
        // Follows links.
        let is_folder = match fs::metadata(&path) {
            // A pipe would be waited for, a device never ends.
            Ok(metadata) if is_wanted && !metadata.is_dir() && !metadata.is_file() => {
                return self.fail(shown, "neither a file nor a folder".into());
            }
            Ok(metadata) => metadata.is_dir(),
            Err(_) if !is_wanted && !entry.file_type().is_ok_and(|kind| kind.is_symlink()) => return,
            Err(error) => return self.fail(shown, told(&error)),
        };
        if !is_folder && !is_wanted {
            return;
        }
        let Some(name) = name.to_str() else {
            return self.fail(shown, "its name is not in UTF-8: rename it".into());
        };
        if !is_folder {
            return self.found.files.push(format!("{prefix}{name}"));
        }
        let around = path.canonicalize().is_ok_and(|path| self.around.contains(&path));
        let inner = match () {
            _ if around => Err("a link to a folder around it".into()),
            _ if self.around.len() > MAX_DEPTH => Err(format!("more than {MAX_DEPTH} folders deep")),
            _ => self.folder(&path, &format!("{prefix}{name}/")).map_err(|error| told(&error)),
        };
        if let Err(reason) = inner {
            self.fail(format!("{shown}/"), reason);
        }
    }

    fn fail(&mut self, shown: String, reason: String) {
        self.found.unreadable.push((shown, reason));
    }
}

/// A reason in a few words.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "a link to something that is not there".into(),
        io::ErrorKind::PermissionDenied => "no permission to read it".into(),
        _ => error.to_string(),
    }
}

/// Whether this is a file with an extension of [`AUDIO_EXTENSIONS`].
pub(crate) fn is_audio(path: &Path) -> bool {
    has_extension(path, &AUDIO_EXTENSIONS) && path.is_file()
}

/// A path without its extension.
pub(super) fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Whether a path's extension is one of these, in whatever case.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    extensions.contains(&extension.to_ascii_lowercase().as_str())
}
