//! The course of a training run, epoch by epoch, on disk as a CSV.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// One epoch; a row of `<run_name>-history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Mean cross-entropy over the training clips as they were trained on, in nats; where a clip may have several classes, of each by itself.
    pub train_loss: f64,
    /// Share of them whose most probable class at that moment was theirs, 0 to 1.
    pub train_accuracy: f64,
    /// The same mean over the validation fold after the epoch, if there is one.
    pub validation_loss: Option<f64>,
    /// Share of the validation fold whose most probable class after the epoch was theirs.
    pub validation_accuracy: Option<f64>,
    /// The optimiser's step size.
    pub learning_rate: f64,
    /// Training speed.
    pub clips_per_s: f64,
    /// Since the start of the run, in seconds.
    pub elapsed_s: f64,
    /// Epochs that the run was to have by then; a run with a time budget may correct it. 0 in histories from before it was kept.
    #[serde(default)]
    pub planned: usize,
    /// Steps that were not taken, because their gradient was no number in half precision.
    #[serde(default)]
    pub skipped_steps: usize,
}

/// The epoch with the lowest validation loss, the first of equal ones; `None` without a validation.
pub fn best_epoch(records: &[EpochRecord]) -> Option<usize> {
    let validated = records.iter().filter_map(|record| Some((record.epoch, record.validation_loss?)));
    validated.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(epoch, _)| epoch)
}

/// Writes a run's history, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub fn write(path: &Path, records: &[EpochRecord]) -> Result<()> {
    files::write_atomic(path, |file: &mut BufWriter<File>| {
        let mut writer = csv::Writer::from_writer(file);
        for record in records {
            writer.serialize(record).map_err(|error| Error::io("write", path)(error.into()))?;
        }
        writer.flush().map_err(Error::io("write", path))
    })
}

/// Reads a run's history.
///
/// # Errors
/// [`Error::StageMissing`] before the first epoch of the run, [`Error::Table`] with the line that is no epoch.
pub fn read(path: &Path) -> Result<Vec<EpochRecord>> {
    if !path.exists() {
        return Err(Error::StageMissing { stage: "Train", path: path.into() });
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    let rows = csv::Reader::from_reader(file).into_deserialize();
    rows.map(|row| {
        row.map_err(|error: csv::Error| Error::Table {
            path: path.into(),
            line: error.position().map(csv::Position::line),
            expected: "an epoch of a training run".into(),
            found: error.to_string(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_writing_and_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quick-history.csv");
        let record = |epoch: usize, validation: Option<f64>| EpochRecord {
            epoch,
            train_loss: 2.3,
            train_accuracy: 0.1,
            validation_loss: validation,
            validation_accuracy: validation,
            learning_rate: 1e-3,
            clips_per_s: 300.0,
            elapsed_s: 1.5,
            planned: 3,
            skipped_steps: 0,
        };
        let records = vec![record(1, Some(0.5)), record(2, None)];
        write(&path, &records).unwrap();
        assert_eq!(read(&path).unwrap(), records);
    }
}
