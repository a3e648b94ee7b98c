//! A folder that is filled beside its place and renamed into it in one step, or removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::atomic;
use crate::error::{Error, Result};

/// The folder being filled. Dropped before it is in its place, it is removed.
///
/// It is locked while its process lives, so that what dead processes left can be told and removed.
pub(crate) struct Staging {
    path: PathBuf,
    destination: PathBuf,
    /// Held open for its lock. `None` where folders cannot be locked.
    _lock: Option<File>,
    committed: bool,
}

impl Staging {
    /// Removes what dead runs left, and makes an empty folder beside `destination`, which must not be there or be empty.
    pub fn new(destination: &Path) -> Result<Self> {
        check_free(destination)?;
        Staging::to_replace(destination)
    }

    /// As [`Staging::new`], but `destination` may hold something, for [`Staging::replace`].
    pub fn to_replace(destination: &Path) -> Result<Self> {
        atomic::create_dir(parent_of(destination))?;
        remove_stale(destination);
        Staging::make(atomic::beside(destination), destination)
    }

    /// An empty folder inside `destination`, whose other contents stay, for [`Staging::move_files`].
    #[cfg(feature = "torch")]
    pub fn inside(destination: &Path) -> Result<Self> {
        atomic::create_dir(destination)?;
        let place = destination.join("staging");
        remove_stale(&place);
        Staging::make(atomic::beside(&place), destination)
    }

    fn make(path: PathBuf, destination: &Path) -> Result<Self> {
        loop {
            fs::create_dir(&path).map_err(Error::io("create folder", &path))?;
            let lock = File::open(&path).ok().filter(|folder| folder.lock().is_ok());
            // Between the two lines above, another process may have taken the folder for a dead one's.
            if path.is_dir() {
                return Ok(Staging { path, destination: destination.to_path_buf(), _lock: lock, committed: false });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Empties the folder for another try.
    #[cfg(feature = "download")]
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Error::io("read folder", &self.path))? {
            let path = entry.map_err(Error::io("read folder", &self.path))?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Renames the folder into its place.
    pub fn commit(mut self) -> Result<()> {
        fs::rename(&self.path, &self.destination).map_err(Error::io("create folder", &self.destination))?;
        self.committed = true;
        Ok(())
    }

    /// As [`Staging::commit`], but an older folder steps aside and is removed.
    pub fn replace(self) -> Result<()> {
        let destination = self.destination.clone();
        if !destination.exists() {
            return self.commit();
        }
        let name = destination.file_name().unwrap_or_default().to_string_lossy();
        let old = destination.with_file_name(format!(".{name}.{}.old.part", std::process::id()));
        // Held until the old folder is gone, so that no other process takes it for what a dead one left.
        let _lock = File::open(&destination).ok().filter(|folder| folder.lock().is_ok());
        fs::rename(&destination, &old).map_err(Error::io("replace", &destination))?;
        let committed = self.commit();
        // What fails here is put right by the next run, which removes what dead ones left; the first error is the one to tell.
        let _ = if committed.is_ok() { fs::remove_dir_all(&old) } else { fs::rename(&old, &destination) };
        committed
    }

    /// Renames files of these names into the destination, one after another.
    #[cfg(feature = "torch")]
    pub fn move_files(self, names: &[&str]) -> Result<()> {
        for name in names {
            let place = self.destination.join(name);
            fs::rename(self.path.join(name), &place).map_err(Error::io("write", &place))?;
        }
        Ok(())
    }

    /// The same error, naming paths where they would have been: the reader knows nothing of this folder.
    pub fn renamed(&self, error: Error) -> Error {
        let moved = |path: PathBuf| match path.strip_prefix(&self.path) {
            Ok(below) if below == Path::new("") => self.destination.clone(),
            Ok(below) => self.destination.join(below),
            Err(_) => path,
        };
        match error {
            Error::Io { action, path, source } => Error::Io { action, path: moved(path), source },
            Error::Table { path, line, expected, found } => Error::Table { path: moved(path), line, expected, found },
            Error::Dataset { root, expected, found, next } => {
                Error::Dataset { root: moved(root), expected, found, next }
            }
            other => other,
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            // The error that led here is the one to tell; what stays is removed by the next run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn parent_of(destination: &Path) -> &Path {
    match destination.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Refuses a place that holds anything but an empty folder.
fn check_free(destination: &Path) -> Result<()> {
    let found = match fs::symlink_metadata(destination) {
        Err(_) => return Ok(()),
        Ok(metadata) if !metadata.is_dir() => "a file or a link",
        Ok(_) => match fs::read_dir(destination).map_err(Error::io("read folder", destination))?.next() {
            None => return Ok(()),
            Some(_) => "a folder with something in it",
        },
    };
    Err(Error::Dataset {
        root: destination.to_path_buf(),
        expected: "no such folder yet, or an empty one".into(),
        found: found.into(),
        next: "Remove or rename it to fetch the data set anew.".into(),
    })
}

/// Removes the folders that dead runs left for this destination. Those that are locked belong to the living.
pub(crate) fn remove_stale(destination: &Path) {
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let Ok(entries) = fs::read_dir(parent_of(destination)) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let process = file_name.to_str().and_then(|file_name| {
            let id = file_name.strip_prefix('.')?.strip_prefix(&*name)?.strip_prefix('.')?.strip_suffix(".part")?;
            Some(id.strip_suffix(".old").unwrap_or(id))
        });
        let is_ours = process.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Some(_lock) = File::open(entry.path()).ok().filter(|folder| folder.try_lock().is_ok()) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
