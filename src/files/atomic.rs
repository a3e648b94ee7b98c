//! Files that appear whole or not at all: written beside their place, then renamed into it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Creates a folder and its parents.
///
/// # Errors
/// [`Error::Io`] when the system refuses.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create folder", path))
}

/// Writes a file beside `path` and renames it into place, so that a reader sees the old content or the new, never a half.
///
/// The parent folder is created when missing. On failure the half-written neighbour is removed and `path` stays as it was.
///
/// # Errors
/// [`Error::Io`] when the system refuses; whatever `write` returns.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    let beside = beside(path);
    let written = (|| {
        let file = File::create(&beside).map_err(Error::io("create", &beside))?;
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush().map_err(Error::io("write", path))?;
        fs::rename(&beside, path).map_err(Error::io("write", path))
    })();
    if written.is_err() {
        // The first error is the one to tell; a neighbour that cannot be removed is harmless.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The name a file or folder has while it is being made: hidden, in the same folder, of this process alone.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the system refuses.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |file| file.write_all(bytes).map_err(Error::io("write", path)))
}
