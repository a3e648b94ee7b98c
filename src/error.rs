//! The one error type of the crate: every variant names the thing, what was expected, what came, and the next step.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between a URL and a prediction.
///
/// `Debug` prints the same sentence as `Display`, because a notebook shows a failed `?` with `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file or folder.
    #[error("cannot {action} {}: {source}.{}", path.display(), io_hint(source))]
    Io {
        /// What was tried, as a verb: "read", "write", "create folder".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason as the system gives it.
        source: io::Error,
    },
    /// A setting is outside its range, or contradicts another.
    #[error("config: {field} should be {expected}, found {found}. Change it in the Config cell and run again.")]
    Config {
        /// The setting, as a path into the config: `features.n_mels`.
        field: &'static str,
        /// The accepted range.
        expected: String,
        /// The value it had.
        found: String,
    },
    /// A stage was run before the one that feeds it.
    #[error("{} is not there yet: run the stage \"{stage}\" first.", path.display())]
    StageMissing {
        /// The stage to run first, by its heading in the notebook.
        stage: &'static str,
        /// The file or folder that stage makes.
        path: PathBuf,
    },
    /// A download failed for good (after retries, where a retry could help).
    #[error("cannot download {url}: {reason}. {next}")]
    Download {
        /// The address.
        url: String,
        /// The status, the time-out, the broken connection.
        reason: String,
        /// What to do now.
        next: String,
    },
    /// An archive is damaged, or holds something that must not be unpacked.
    #[error(
        "archive {archive}, {place}: expected {expected}, found {found}. Nothing was unpacked; {}",
        archive_hint(archive)
    )]
    Archive {
        /// The archive's path or address.
        archive: String,
        /// The entry, or "as a whole".
        place: String,
        /// What a sound archive has there.
        expected: String,
        /// What this one has.
        found: String,
    },
    /// A file is not the audio it should be.
    #[error("audio file {}{}: expected {expected}, found {found}. Replace this file (`ffmpeg -i FILE new.wav` reads most formats), or remove it.", path.display(), at_byte(*offset))]
    Audio {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes, when known.
        offset: Option<u64>,
        /// What a readable file has there.
        expected: String,
        /// What this one has.
        found: String,
    },
    /// Samples that cannot be turned into features; the caller, which knows the file, wraps this with its name.
    #[error("signal: expected {expected}, found {found}.")]
    Signal {
        /// What the samples or their rate should be.
        expected: String,
        /// What they are.
        found: String,
    },
    /// A CSV table cannot be read as what it should be.
    #[error("table {}{}: expected {expected}, found {found}. Mend it there and save it as a CSV in UTF-8, or name another table.", path.display(), at_line(*line))]
    Table {
        /// The CSV file.
        path: PathBuf,
        /// The line, counted from 1 (the header), when known.
        line: Option<u64>,
        /// What the row should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A data set as a whole is incomplete or contradicts itself.
    #[error("data set {}: expected {expected}, found {found}. {next}", root.display())]
    Dataset {
        /// The folder of the data set.
        root: PathBuf,
        /// What a sound data set has.
        expected: String,
        /// What this one has.
        found: String,
        /// What to do now.
        next: String,
    },
    /// A processed feature file does not fit the settings it is read with.
    #[error("features {}: expected {expected}, found {found}. Run the stage \"Preprocess\" again.", path.display())]
    Features {
        /// The `.npy` file or the table that lists it.
        path: PathBuf,
        /// The shape, type or settings asked for.
        expected: String,
        /// Those of the file.
        found: String,
    },
    /// A checkpoint does not fit what it is used for.
    #[error("checkpoint {}: expected {expected}, found {found}. {next}", path.display())]
    Checkpoint {
        /// The `.safetensors` file.
        path: PathBuf,
        /// What was needed.
        expected: String,
        /// What the file holds.
        found: String,
        /// What to do now.
        next: String,
    },
    /// A record of training runs cannot be read.
    #[error("record {}, line {line}: expected a run and its predictions as JSON, found {found}. Take the file as it was released, or make it again: make five-folds.", path.display())]
    Record {
        /// The `.jsonl` file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        found: String,
    },
    /// Training cannot go on.
    #[error("training stopped at epoch {epoch}, step {step}, learning rate {learning_rate:e}: {reason}. {next}")]
    Training {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The optimiser step, counted from 1 over the whole run.
        step: usize,
        /// The learning rate of that step.
        learning_rate: f64,
        /// What was seen.
        reason: String,
        /// What to do now.
        next: String,
    },
    /// A run is asked for that trains already, in the background or in another program.
    #[error("training of {} is under way already: wait for it, or stop it first (`run.stop()`, or the other program).", checkpoint.display())]
    Busy {
        /// The checkpoint both would write.
        checkpoint: PathBuf,
    },
    /// Spectrograms would be replaced while another run reads them.
    #[error("spectrograms in {} are in use: another run trains on them or scores with them, and others would take their place. {next}", path.display())]
    InUse {
        /// The folder they lie in.
        path: PathBuf,
        /// What can be done.
        next: String,
    },
    /// A run was stopped before its last epoch.
    #[error("training of {} was stopped after epoch {epoch} of {epochs}: start it again with the same config and it goes on.", checkpoint.display())]
    Stopped {
        /// Where its weights are, if an epoch is done.
        checkpoint: PathBuf,
        /// The last whole epoch; 0 before the first.
        epoch: usize,
        /// Epochs of the whole run.
        epochs: usize,
    },
    /// One of several processes that train together cannot go on.
    #[error("process {rank} of {size}, {doing}: {reason}. {next}")]
    Process {
        /// The number of the process that says so, from 0.
        rank: usize,
        /// How many there are.
        size: usize,
        /// What it was doing.
        doing: String,
        /// What went wrong, with the number of the other process, if it was another.
        reason: String,
        /// What to do now.
        next: String,
    },
    /// A run in the background ended before its last epoch.
    #[error("{reason}")]
    Background {
        /// The error that ended it, in words.
        reason: String,
    },
    /// libtorch reported an error.
    #[cfg(feature = "torch")]
    #[error("libtorch, {action}: {source}")]
    Torch {
        /// What was being done.
        action: &'static str,
        /// libtorch's own words.
        source: tch::TchError,
    },
    /// The runtime of an exported network reported an error.
    #[cfg(feature = "onnx")]
    #[error("the exported network cannot run: {reason}.")]
    Onnx {
        /// Its own words.
        reason: String,
    },
    /// A picture could not be drawn.
    #[error("cannot draw {picture}: {reason}.")]
    Plot {
        /// The picture by name.
        picture: &'static str,
        /// The reason.
        reason: String,
    },
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// Wraps an I/O error with the verb and the path it belongs to, for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// The same error about a file that begins with so many bytes of something else.
    pub(crate) fn shifted(self, by: u64) -> Error {
        match self {
            Error::Audio { path, offset, expected, found } => {
                Error::Audio { path, offset: offset.map(|offset| offset + by), expected, found }
            }
            other => other,
        }
    }

    /// Names the file a signal came from.
    pub(crate) fn in_file(self, path: &Path) -> Error {
        match self {
            Error::Signal { expected, found } => Error::Audio { path: path.into(), offset: None, expected, found },
            other => other,
        }
    }
}

fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull => " Free some disk space and run again.",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            " Check the folder's permissions, or name another folder in the Config cell."
        }
        io::ErrorKind::NotFound => " Check the path.",
        _ => "",
    }
}

fn archive_hint(archive: &str) -> &'static str {
    match archive.contains("://") {
        true => "get the archive again from a source you trust.",
        false => "pack the recordings anew, for instance by `tar czf sounds.tar.gz sounds`, or name their folder.",
    }
}

fn at_byte(offset: Option<u64>) -> String {
    offset.map_or(String::new(), |offset| format!(" at byte {offset}"))
}

fn at_line(line: Option<u64>) -> String {
    line.map_or(String::new(), |line| format!(", line {line}"))
}
