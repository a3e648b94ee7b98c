//! How training went.

use crate::config::Config;
use crate::error::Result;
use crate::show::html::{self, Html};
use crate::show::plot::{self, Curve};
use crate::training::history::{self, EpochRecord};
use crate::training::paths::history_path;

/// A quantity of an epoch, where the run has it.
type Quantity = fn(&EpochRecord) -> Option<f64>;

const TRAIN_LOSS: Quantity = |record| Some(record.train_loss);
const VALIDATION_LOSS: Quantity = |record| record.validation_loss;
const TRAIN_ACCURACY: Quantity = |record| Some(100.0 * record.train_accuracy);
const VALIDATION_ACCURACY: Quantity = |record| record.validation_accuracy.map(|share| 100.0 * share);
const LEARNING_RATE: Quantity = |record| Some(record.learning_rate);

const LOSS_LABEL: &str = "cross-entropy (nats)";
const ACCURACY_LABEL: &str = "clips right (%)";

/// Loss and accuracy of the config's run over the epochs, training and validation, and its learning rate, as its history on disk has
/// them.
///
/// # Errors
/// [`crate::error::Error::StageMissing`] before training, [`crate::error::Error::Table`] for a damaged history.
pub fn history(config: &Config) -> Result<Html> {
    let records = history::read(&history_path(config))?;
    let both = |training: Quantity, validation: Quantity| {
        vec![curve("training", &records, training), curve("validation", &records, validation)]
    };
    chart_row([
        ("loss", LOSS_LABEL, both(TRAIN_LOSS, VALIDATION_LOSS)),
        ("accuracy", ACCURACY_LABEL, both(TRAIN_ACCURACY, VALIDATION_ACCURACY)),
        ("learning rate", "learning rate", vec![curve("learning rate", &records, LEARNING_RATE)]),
    ])
}

/// Several runs over the same epochs, each under its `run_name`: losses, accuracies and learning rates.
///
/// # Errors
/// As [`history()`], for the first run that has none; [`crate::error::Error::Plot`] without runs.
pub fn histories(runs: &[&Config]) -> Result<Html> {
    let read = |config: &&Config| Ok((config.train.run_name.clone(), history::read(&history_path(config))?));
    let runs: Vec<(String, Vec<EpochRecord>)> = runs.iter().map(read).collect::<Result<_>>()?;
    let each = |quantity: Quantity| runs.iter().map(|(name, records)| curve(name, records, quantity)).collect();
    chart_row([
        ("training loss", LOSS_LABEL, each(TRAIN_LOSS)),
        ("validation loss", LOSS_LABEL, each(VALIDATION_LOSS)),
        ("training accuracy", ACCURACY_LABEL, each(TRAIN_ACCURACY)),
        ("validation accuracy", ACCURACY_LABEL, each(VALIDATION_ACCURACY)),
        ("learning rate", "learning rate", each(LEARNING_RATE)),
    ])
}

fn curve(label: &str, records: &[EpochRecord], quantity: Quantity) -> Curve {
    let points = records.iter().filter_map(|record| Some((record.epoch as f64, quantity(record)?)));
    Curve::new(label, points.collect::<Vec<_>>())
}

/// Charts side by side, without the curves that have no point, and without the charts that have no curve unless all lack them.
fn chart_row<const N: usize>(charts: [(&str, &str, Vec<Curve>); N]) -> Result<Html> {
    let mut shown = Vec::new();
    for (i, (title, y_label, mut curves)) in charts.into_iter().enumerate() {
        curves.retain(|curve| !curve.points.is_empty());
        // The first chart has every epoch there is: without any, drawing it says so.
        if i == 0 || !curves.is_empty() {
            shown.push(plot::curves(title, "epoch", y_label, &curves)?.html());
        }
    }
    Ok(html::row(&shown))
}
