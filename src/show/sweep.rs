//! Several runs beside each other, and the choice of a step size.

use super::training::histories;
use crate::config::Config;
use crate::config::differences::differences;
use crate::error::Result;
use crate::show::html::{self, Cell, Html};
use crate::show::plot::{self, Curve};
use crate::training::find_rate::RateTest;
use crate::training::history;
use crate::training::paths::history_path;
use crate::training::run::State;
use crate::training::sweep::Sweep;

/// The runs of a sweep as a table, how each stands and what is different in it, the lowest validation loss first; and the curves of those that
/// have an epoch, one over the other. The held-out fold has no part in it: choose by validation, and score once.
///
/// # Errors
/// [`crate::error::Error::Table`] for a damaged history.
pub fn sweep(sweep: &Sweep) -> Result<Html> {
    let (mut rows, mut shown): (Vec<(f64, Vec<Cell>)>, Vec<&Config>) = (Vec::new(), Vec::new());
    let base = &sweep.configs()[0];
    for (config, status) in sweep.configs().iter().zip(sweep.status()) {
        let (state, last) = match status {
            None => ("waits".to_owned(), None),
            Some(Err(reason)) => (format!("could not begin: {reason}"), None),
            Some(Ok(status)) => {
                let state = match status.state {
                    State::Running => "training".into(),
                    State::Stopped => "stopped".into(),
                    State::Finished => "finished".into(),
                    State::Failed(reason) => format!("failed: {reason}"),
                };
                (state, status.last)
            }
        };
        let mut epochs = String::new();
        let (mut loss, mut accuracy, mut seconds) = (None, None, String::new());
        if let Some(last) = last {
            let records = history::read(&history_path(config))?;
            let best = history::best_epoch(&records).unwrap_or(last.epoch);
            let record = records.iter().find(|record| record.epoch == best).unwrap_or(&last);
            (loss, accuracy) = (record.validation_loss, record.validation_accuracy);
            (epochs, seconds) = (last.epoch.to_string(), format!("{:.0}", last.elapsed_s));
            shown.push(config);
        }
        let number = |value: Option<f64>, scale: f64, digits: usize| {
            Cell::Number(value.map_or(String::new(), |value| format!("{:.digits$}", scale * value)))
        };
        let row = vec![
            Cell::Text(config.train.run_name.clone()),
            Cell::Prose(changes(base, config)),
            Cell::Prose(state),
            Cell::Number(epochs),
            number(loss, 1.0, 3),
            number(accuracy, 100.0, 1),
            Cell::Number(seconds),
        ];
        rows.push((loss.unwrap_or(f64::INFINITY), row));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(_, row)| row).collect();
    let heads =
        ["run", "what is different", "state", "epochs", "lowest validation loss", "accuracy there (%)", "seconds"];
    let table =
        html::table(&heads, &rows, "The held-out fold has no part in this: choose by validation, then score once.");
    let curves = if shown.is_empty() { Html::text("No epoch is done yet.") } else { histories(&shown)? };
    Ok(html::row(&[table, curves]))
}

/// The settings that are not those of the first run.
fn changes(base: &Config, config: &Config) -> String {
    let same_name = |config: &Config| {
        let mut config = config.clone();
        config.train.run_name.clear();
        (config.clip, config.features, config.model, config.train)
    };
    let ((clip, features, model, train), theirs) = (same_name(config), same_name(base));
    let found = [
        ("clip", differences(&clip, &theirs.0).0),
        ("features", differences(&features, &theirs.1).0),
        ("model", differences(&model, &theirs.2).0),
        ("train", differences(&train, &theirs.3).0),
    ];
    let found = found.iter().filter(|(_, fields)| !fields.is_empty());
    found
        .map(|(part, fields)| format!("{part}.{}", fields.replace(", ", &format!(", {part}."))))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The loss while the step size grew, over its logarithm, and the step size to begin with.
///
/// # Errors
/// [`crate::error::Error::Plot`] for a test without a step.
pub fn learning_rates(test: &RateTest) -> Result<Html> {
    let points: Vec<(f64, f64)> = test.points.iter().map(|(rate, loss)| (rate.log10(), *loss)).collect();
    let picture = plot::curves(
        "loss while the learning rate grows",
        "learning rate, power of ten",
        "cross-entropy (nats), smoothed",
        &[Curve::new("loss", points)],
    )?;
    Ok(html::row(&[picture.html(), Html::text(&test.to_string())]))
}
