//! How training went.

use crate::Result;
use crate::config::Config;
use crate::history::{self, EpochRecord};
use crate::html::{self, Html};
use crate::plot::{self, Curve};
use crate::train::history_path;

/// Loss and accuracy of the config's run over the epochs, training and validation, as its history on disk has them.
///
/// # Errors
/// [`Error::StageMissing`] before training, [`Error::Table`] for a damaged history.
pub fn history(config: &Config) -> Result<Html> {
    let records = history::read(&history_path(config))?;
    let curve = |label: &str, value: &dyn Fn(&EpochRecord) -> Option<f64>| {
        let points = records.iter().filter_map(|record| Some((record.epoch as f64, value(record)?)));
        Curve::new(label, points.collect::<Vec<_>>())
    };
    let present = |curves: [Curve; 2]| curves.into_iter().filter(|curve| !curve.points.is_empty()).collect::<Vec<_>>();
    let loss = present([
        curve("training", &|record| Some(record.train_loss)),
        curve("validation", &|record| record.validation_loss),
    ]);
    let accuracy = present([
        curve("training", &|record| Some(100.0 * record.train_accuracy)),
        curve("validation", &|record| record.validation_accuracy.map(|share| 100.0 * share)),
    ]);
    let loss = plot::curves("loss", "epoch", "cross-entropy (nats)", &loss)?;
    let accuracy = plot::curves("accuracy", "epoch", "clips right (%)", &accuracy)?;
    Ok(html::row(&[loss.html(), accuracy.html()]))
}
