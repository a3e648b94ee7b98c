//! One run at a time writes spectrograms into a folder, and none while another trains on them or scores with them: files are named after
//! recordings, and those of other settings would lie where these were.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::files;

const LOCK_FILE: &str = ".in-use.lock";
/// Between two looks whether the other run has ended.
const PATIENCE: Duration = Duration::from_millis(100);

/// Held while spectrograms are read or written. The system lets go of it when the process ends, however it ends.
pub(crate) struct InUse {
    _file: Option<File>,
}

/// What became of asking to write.
pub(crate) enum Asked {
    /// Nobody else has them.
    Alone(InUse),
    /// Others read them, and so may this one.
    BesideReaders(InUse),
}

impl InUse {
    /// For whoever reads; waits while another run writes. A folder that is not there, or a file system without locks, has none.
    #[cfg(feature = "torch")]
    pub(crate) fn to_read(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Ok(InUse { _file: None });
        }
        let Some(file) = open(dir) else { return Ok(InUse { _file: None }) };
        let mut told = false;
        while let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
            wait(dir, &mut told);
        }
        Ok(InUse { _file: Some(file) })
    }

    /// For whoever writes, if something is to be written; waits while another run writes.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made.
    pub(crate) fn to_write(dir: &Path) -> Result<Asked> {
        files::create_dir(dir)?;
        let Some(file) = open(dir) else { return Ok(Asked::Alone(InUse { _file: None })) };
        let mut told = false;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                _ => return Ok(Asked::Alone(InUse { _file: Some(file) })),
            }
            match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => wait(dir, &mut told),
                _ => return Ok(Asked::BesideReaders(InUse { _file: Some(file) })),
            }
        }
    }
}

/// What a run says that would write where others read.
pub(crate) fn in_use(dir: &Path) -> Error {
    Error::InUse {
        path: dir.to_path_buf(),
        next: "Wait until that run has ended, or stop it; or give this one a folder of its own (data.processed_dir)."
            .into(),
    }
}

fn open(dir: &Path) -> Option<File> {
    File::options().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE)).ok()
}

fn wait(dir: &Path, told: &mut bool) {
    if !std::mem::replace(told, true) {
        println!("waiting for another run that writes spectrograms into {}", dir.display());
    }
    thread::sleep(PATIENCE);
}
