//! What a finished run has come to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::training::calibration::Calibration;
use crate::training::history::EpochRecord;
use crate::training::words::untrained_warning;

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Where the weights are.
    pub checkpoint: PathBuf,
    /// A record per epoch; also on disk beside the checkpoint.
    pub history: Vec<EpochRecord>,
    /// A hash of all clips of the data set, trained on or not, with their labels, folds and sources: what is scored later must be split so.
    #[serde(default)]
    pub recordings: String,
    /// Clips trained on.
    pub train_clips: usize,
    /// Clips watched during training.
    pub validation_clips: usize,
    /// How sure the network may be, where recordings were kept out of its training to learn it from.
    pub calibration: Option<Calibration>,
    /// Classes of which not one clip was trained on.
    pub untrained: Vec<String>,
    /// Where it ran, in words.
    pub device: String,
    /// Time taken, reading the spectrograms included.
    pub elapsed: Duration,
}

impl fmt::Display for TrainingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epochs, clips, elapsed_s) = (self.history.len(), self.train_clips, self.elapsed.as_secs_f64());
        write!(f, "{epochs} epochs over {clips} clips in {elapsed_s:.1} s on {}; ", self.device)?;
        write!(f, "checkpoint {}", self.checkpoint.display())?;
        if let Some(calibration) = &self.calibration {
            write!(f, "\n{calibration}")?;
        }
        untrained_warning(&self.untrained).map_or(Ok(()), |warning| write!(f, "\n{warning}"))
    }
}
