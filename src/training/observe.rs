//! How a training run is followed and stopped while it goes on.

use std::fmt;
use std::time::Duration;

use crate::files::progress::{Progress, Unit};
use crate::training::history::EpochRecord;

/// The least time between two lines within an epoch: most epochs are over before it.
const WITHIN_EPOCH: Duration = Duration::from_secs(10);

/// Whoever follows a run. [`Console`] prints; a run in the background keeps quiet and takes notes.
pub trait Observer {
    /// A sentence about the run.
    fn say(&mut self, line: &str);

    /// The run will have so many epochs.
    fn plan(&mut self, _epochs: usize) {}

    /// An epoch of `n_clips` clips begins.
    fn epoch_begins(&mut self, _epoch: usize, _epochs: usize, _n_clips: usize) {}

    /// A step over `n_clips` clips is done.
    fn step_ends(&mut self, _n_clips: usize) {}

    /// An epoch is done, and on disk; the last record is its own.
    fn epoch_ends(&mut self, history: &[EpochRecord], epochs: usize);

    /// Asked before every step: whether the run should end here.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Says nothing: another process speaks.
pub struct Quiet;

impl Observer for Quiet {
    fn say(&mut self, _line: &str) {}

    fn epoch_ends(&mut self, _history: &[EpochRecord], _epochs: usize) {}
}

/// Prints a line per epoch, and within a long one how far it is.
#[derive(Default)]
pub struct Console {
    progress: Option<Progress>,
}

impl Observer for Console {
    fn say(&mut self, line: &str) {
        println!("{line}");
    }

    fn epoch_begins(&mut self, epoch: usize, epochs: usize, n_clips: usize) {
        let label = format!("epoch {epoch} of {epochs}");
        self.progress = Some(Progress::new(label, Unit::Items("clips"), Some(n_clips as u64)).every(WITHIN_EPOCH));
    }

    fn step_ends(&mut self, n_clips: usize) {
        if let Some(progress) = &mut self.progress {
            progress.add(n_clips as u64);
        }
    }

    fn epoch_ends(&mut self, history: &[EpochRecord], epochs: usize) {
        if let Some(progress) = self.progress.take() {
            progress.clear();
        }
        if let Some(last) = history.last() {
            println!("{}", EpochLine { last, epochs });
        }
    }
}

/// An epoch in a line: how far the run is, how well it does, how long it will take.
pub struct EpochLine<'a> {
    /// The epoch.
    pub last: &'a EpochRecord,
    /// Epochs of the whole run.
    pub epochs: usize,
}

impl fmt::Display for EpochLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EpochLine { last, epochs } = self;
        let left_s = last.elapsed_s / last.epoch as f64 * epochs.saturating_sub(last.epoch) as f64;
        write!(f, "epoch {} of {epochs} | loss {:.3}, ", last.epoch, last.train_loss)?;
        write!(f, "accuracy {:.1} %", 100.0 * last.train_accuracy)?;
        if let (Some(loss), Some(accuracy)) = (last.validation_loss, last.validation_accuracy) {
            write!(f, " | validation loss {loss:.3}, accuracy {:.1} %", 100.0 * accuracy)?;
        }
        write!(f, " | {:.0} clips/s, {left_s:.0} s left", last.clips_per_s)
    }
}
