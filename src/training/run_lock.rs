//! One training run at a time writes a checkpoint.

use std::fs::{File, TryLockError};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files;
use crate::training::paths::checkpoint_path;

/// Held while a run trains. The system lets go of it when the process ends, however it ends.
pub(crate) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of the config's run.
    ///
    /// # Errors
    /// [`Error::Busy`] when someone has it, [`Error::Io`] when the models folder cannot be written.
    pub(crate) fn take(config: &Config) -> Result<Self> {
        let checkpoint = checkpoint_path(config);
        if let Some(dir) = checkpoint.parent() {
            files::create_dir(dir)?;
        }
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        let path = checkpoint.with_file_name(format!(".{name}.lock"));
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { checkpoint }),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }
}
