//! Fetches a data set from a URL or an archive file into a folder that appears whole and verified, or not at all.

mod options;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::dataset::archive::{self, Failure, Limits, Unpacked};
use crate::dataset::catalog::Catalog;
use crate::dataset::unpacked;
use crate::dataset::verify::{ESC50_WAV, VerifyReport, survey, verify};
use crate::error::{Error, Result};
use crate::files::http::{self, Advice, Server};
use crate::files::progress::{Progress, Unit};
use crate::files::staging::Staging;
pub use options::DownloadOptions;

const ADVICE: Advice = Advice {
    try_later: "Check the network and run this stage again; or get the archive in another way and set DATASET to its path.",
    check_address: "Check the address; ESC-50 itself is also fetched from a mirror that ESC50_URL names.",
    explain: |_| None,
};

/// Where a data set's `.tar.gz` archive comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveSource {
    /// An `http://` or `https://` address.
    Url(String),
    /// A file on this machine.
    File(PathBuf),
}

impl From<&str> for ArchiveSource {
    /// Takes what starts with `http://` or `https://` for an address, anything else for a file.
    fn from(source: &str) -> Self {
        let lower = source.to_ascii_lowercase();
        if ["http://", "https://"].iter().any(|scheme| lower.starts_with(scheme)) {
            ArchiveSource::Url(source.into())
        } else {
            ArchiveSource::File(source.into())
        }
    }
}

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Bytes of the archive, as packed.
    pub archive_bytes: u64,
    /// Files unpacked.
    pub files: u64,
    /// Bytes of these files.
    pub unpacked_bytes: u64,
    /// From the first request to the folder in its place.
    pub duration: Duration,
    /// The data set as verified against its own table.
    pub report: VerifyReport,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (packed, unpacked) = (self.archive_bytes as f64 / 1e6, self.unpacked_bytes as f64 / 1e6);
        let duration_s = self.duration.as_secs_f64();
        write!(f, "{packed:.1} MB unpacked to {} files, {unpacked:.1} MB, in {duration_s:.1} s", self.files)
    }
}

/// Streams the archive through gzip and tar into a folder beside `destination`, verifies it there against its own table, and
/// renames it into place. Nothing of the archive is kept, and memory stays flat.
///
/// The archive's one top folder is stripped. A data set with `meta/esc50.csv` must be complete and hold WAVs as ESC-50
/// does; of any other, the report tells what cannot be read. Broken and stalled connections, 429 and 5xx are tried again:
/// where the server allows (a strong `ETag` and byte ranges), from where it stopped, else from the start. `HTTP_PROXY`,
/// `HTTPS_PROXY` and `NO_PROXY` are honoured; loopback addresses are reached directly. What dead runs left beside
/// `destination` is removed first.
///
/// # Errors
/// On any error `destination` is as it was. [`Error::Dataset`] when `destination` is there already and not an empty folder,
/// or the data set does not fit its table; [`Error::Download`] when the server fails; [`Error::Archive`] when the archive is
/// damaged or unsafe; [`Error::Table`] when its table is bad; [`Error::Io`] when the system refuses; [`Error::Config`] when
/// `attempts` is 0.
pub fn fetch_dataset(source: &ArchiveSource, destination: &Path, options: &DownloadOptions) -> Result<Fetched> {
    let started = Instant::now();
    if options.attempts == 0 {
        return Err(Error::Config { field: "download.attempts", expected: "1 or more".into(), found: "0".into() });
    }
    let staging = Staging::new(destination)?;
    let fetched = match source {
        ArchiveSource::Url(url) => download(url, &staging, options),
        ArchiveSource::File(path) => unpack_file(path, &staging, &options.limits),
    };
    let (archive_bytes, unpacked) = fetched.map_err(|error| staging.renamed(error))?;
    let report = check(staging.path()).map_err(|error| staging.renamed(error))?;
    // In the folder before it lies where it is looked for: a run that is killed leaves none without it.
    if let ArchiveSource::File(path) = source {
        unpacked::note_origin(path, staging.path())?;
    }
    staging.commit()?;
    Ok(Fetched {
        archive_bytes,
        files: unpacked.files,
        unpacked_bytes: unpacked.bytes,
        duration: started.elapsed(),
        report,
    })
}

fn check(root: &Path) -> Result<VerifyReport> {
    let catalog = Catalog::open(root)?;
    let is_esc50 = root.join("meta/esc50.csv").is_file();
    let report = if is_esc50 { verify(&catalog, Some(ESC50_WAV)) } else { survey(&catalog) };
    report.map_err(|error| match error {
        Error::Dataset { root, expected, found, .. } => {
            let next = "Nothing was unpacked; correct the archive, or get it again from a source you trust.".into();
            Error::Dataset { root, expected, found, next }
        }
        other => other,
    })
}

fn download(url: &str, staging: &Staging, options: &DownloadOptions) -> Result<(u64, Unpacked)> {
    let name = http::shown(url);
    let mut server = Server::new(url, None, &options.patience(), ADVICE)?;
    loop {
        let mut body = server.get()?;
        let failure = match archive::unpack(&mut body, &name, staging.path(), &options.limits) {
            Ok(unpacked) => return Ok((body.finish(), unpacked)),
            Err(failure) => failure,
        };
        match failure {
            Failure::Source(error) => {
                body.give_up().wait_to_retry(&http::reason(&error), Duration::ZERO)?;
            }
            Failure::Truncated(error) if body.may_be_cut() => {
                // A server that sends no length leaves no other sign of a broken connection.
                if body.give_up().wait_to_retry("the archive ended too early", Duration::ZERO).is_err() {
                    return Err(error);
                }
            }
            Failure::Truncated(error) | Failure::Final(error) => return Err(error),
        }
        staging.clear()?;
    }
}

fn unpack_file(path: &Path, staging: &Staging, limits: &Limits) -> Result<(u64, Unpacked)> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::Archive {
            archive: path.display().to_string(),
            place: "as a whole".into(),
            expected: "a .tar.gz archive".into(),
            found: "a folder or a device".into(),
        });
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut file = Counted { source: file, progress: Progress::new("unpack", Unit::Bytes, Some(metadata.len())) };
    let name = path.display().to_string();
    let unpacked = archive::unpack(&mut file, &name, staging.path(), limits).map_err(|failure| match failure {
        Failure::Source(error) => Error::io("read", path)(error),
        Failure::Truncated(error) | Failure::Final(error) => error,
    })?;
    let bytes = file.progress.done();
    file.progress.finish();
    Ok((bytes, unpacked))
}

/// A source whose bytes are told as progress.
struct Counted<R> {
    source: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.progress.add(length as u64);
        Ok(length)
    }
}
