//! Which archive of this machine a folder was unpacked from.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files::{self, content};

/// Beside the recordings of an archive of this machine: a hash of it, and what tells whether it was touched since.
const ORIGIN_FILE: &str = ".archive-xxh3";

/// Notes in a folder which archive was unpacked there.
///
/// # Errors
/// [`Error::Io`] when the archive cannot be read, or the folder not be written.
pub(crate) fn note_origin(archive: &Path, folder: &Path) -> Result<()> {
    // Before it is read: what is written to it meanwhile makes it another.
    let stamp = content::stamp(archive)?;
    let hash = content::hash_file(archive)?;
    files::write_bytes(&folder.join(ORIGIN_FILE), format!("{hash}\n{stamp}\n").as_bytes())
}

/// Refuses what was unpacked from another archive of this name. An archive that is gone by now, and a folder that says nothing of its own, are
/// taken as they are.
///
/// # Errors
/// [`Error::Dataset`] for what another archive held; [`Error::Io`] when this one cannot be read.
pub(crate) fn check_origin(archive: &Path, folder: &Path) -> Result<()> {
    let Ok(known) = fs::read_to_string(folder.join(ORIGIN_FILE)) else { return Ok(()) };
    let mut lines = known.lines();
    let (hash, stamp) = (lines.next().unwrap_or_default(), lines.next());
    // Only an archive that was touched is read.
    if !archive.is_file() || stamp == Some(content::stamp(archive)?.to_string().as_str()) {
        return Ok(());
    }
    if content::hash_file(archive)?.to_string() == hash {
        return note_origin(archive, folder);
    }
    Err(Error::Dataset {
        root: folder.into(),
        expected: format!("what {} holds", archive.display()),
        found: "what another archive of this name held".into(),
        next: "Move that folder away, and this one is unpacked in its place.".into(),
    })
}
