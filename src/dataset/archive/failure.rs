//! Why an archive is not unpacked.

use std::io;

use crate::error::Error;

/// Why an archive could not be unpacked, by what may help.
pub(crate) enum Failure {
    /// Reading the source failed; the archive may be sound.
    Source(io::Error),
    /// The data ended too early, as a broken connection or a half copy leaves it.
    Truncated(Error),
    /// The archive is bad, or the folder cannot be written: another try ends the same.
    Final(Error),
}

/// An error about the archive, at an entry or as a whole.
pub(super) fn refuse(archive: &str, place: &str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Archive { archive: archive.into(), place: place.into(), expected: expected.into(), found: found.into() }
}
