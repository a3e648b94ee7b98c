//! What a run tells of itself in words.

use tch::Device;

use crate::dataset::split::Split;
use crate::training::device;
use crate::training::history::EpochRecord;

/// After this part of a run, a loss no further than this share below that of a network that knows nothing is told.
const STUCK_AFTER: usize = 4;
const STUCK: f64 = 0.02;

/// What is trained on, in a sentence.
pub(super) fn describe(split: &Split, device: Device, n_processes: usize) -> String {
    let validation = match split.validation_fold {
        Some(fold) => format!("{} of fold {fold} to validate on", split.validation.len()),
        None if !split.calibration.is_empty() => format!("{} kept back to calibrate on", split.calibration.len()),
        None => "none to validate on".into(),
    };
    let (n_clips, test_fold) = (split.train.len(), split.test_fold);
    let together = if n_processes > 1 { format!("{n_processes} processes, each on ") } else { String::new() };
    let device = device::describe(device);
    let choice = split.choice_fold.map_or(String::new(), |fold| format!(", fold {fold} left out to choose on"));
    format!("{n_clips} clips to train on, {validation}, fold {test_fold} held out{choice}; {together}{device}")
}

/// Whether the loss, after a part of the run, still stands where a network that gives every class the same probability has it.
pub(super) fn is_stuck(history: &[EpochRecord], epochs: usize, num_classes: usize) -> bool {
    history.len() >= (epochs / STUCK_AFTER).max(2) && learns_nothing(history, num_classes)
}

fn learns_nothing(history: &[EpochRecord], num_classes: usize) -> bool {
    let ignorant = (num_classes.max(2) as f64).ln();
    history.last().is_some_and(|last| last.train_loss >= (1.0 - STUCK) * ignorant)
}

pub(super) fn stuck(num_classes: usize) -> String {
    let ignorant = (num_classes.max(2) as f64).ln();
    format!(
        "warning: the loss still is that of a network that knows nothing, ln({num_classes}) = {ignorant:.2}. Settings that do not fit the \
         recordings are the likeliest reason: propose(Preset::Fitted, …) fits them; else another train.learning_rate."
    )
}

/// What to know of classes that were not trained on, if there are any.
pub(crate) fn untrained_warning(untrained: &[String]) -> Option<String> {
    (!untrained.is_empty()).then(|| {
        let names = untrained.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().join(", ");
        format!("warning: no clip to train on of {names}: add recordings, or hold out another fold (train.test_fold)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_stands_where_it_began_is_told() {
        let epoch = |train_loss| EpochRecord {
            epoch: 5,
            train_loss,
            train_accuracy: 0.1,
            validation_loss: None,
            validation_accuracy: None,
            learning_rate: 1e-3,
            clips_per_s: 100.0,
            elapsed_s: 1.0,
            planned: 20,
            skipped_steps: 0,
        };
        for (loss, nothing) in [(2.31, true), (2.29, true), (2.2, false), (0.1, false)] {
            assert_eq!(learns_nothing(&[epoch(loss)], 10), nothing, "{loss}");
        }
        assert!(stuck(10).contains("ln(10) = 2.30"));
    }
}
