//! What the network hears in recordings.

use std::path::Path;

use super::sound::player;
use super::table::{MAX_CARDS, table};
use crate::error::{Error, Result};
use crate::front_end::audio::{self, Waveform};
use crate::results::predict::{Event, FolderPredictions, NONE_OF_THESE, Prediction, Recognize};
use crate::show::html::{self, Cell, Html};
use crate::show::plot::{self, BarStyle, Picture};
use crate::show::tables;
use crate::transfer::{Answer, Nearness};

/// Classes that a row of answers names.
const NEAREST: usize = 3;

/// What a network hears in a sound: its five most probable classes as bars, of a sound longer than a clip also in its course, and a
/// player.
///
/// # Errors
/// [`crate::error::Error::Signal`] for samples that are no sound.
pub fn prediction(network: &mut impl Recognize, waveform: &Waveform, title: &str) -> Result<Html> {
    let prediction = network.recognize(waveform, Path::new(title))?;
    card(&prediction, Some(waveform))
}

/// As [`prediction`], without a player: for a sound that can be heard elsewhere.
///
/// # Errors
/// As [`prediction`].
pub fn tags(network: &mut impl Recognize, waveform: &Waveform, title: &str) -> Result<Html> {
    card(&network.recognize(waveform, Path::new(title))?, None)
}

/// A card for each of the first twelve recordings: its five most probable classes as bars, of a recording longer than a clip also in
/// its course, and a player for the first `n_players`.
///
/// # Errors
/// [`crate::error::Error::Audio`] when a recording is gone.
pub fn predictions(folder: &FolderPredictions, n_players: usize) -> Result<Html> {
    let mut cards = Vec::new();
    for (index, prediction) in folder.predictions.iter().take(MAX_CARDS).enumerate() {
        let heard = match index < n_players {
            // One that was heard, and is too long to be held, has no player.
            true => audio::read(&prediction.path).map(Some).or_else(|error| match error {
                Error::Audio { .. } => Ok(None),
                other => Err(other),
            })?,
            false => None,
        };
        cards.push(card(prediction, heard.as_ref())?);
    }
    let failed: Vec<Vec<Cell>> = folder
        .failed
        .iter()
        .map(|(path, error)| vec![path.display().to_string().into(), error.to_string().into()])
        .collect();
    if !failed.is_empty() {
        cards.push(html::table(&["file", "reason"], &failed, "left out"));
    }
    Ok(html::row(&cards))
}

/// What a network that was taught makes of recordings: a row for each, with its nearest classes.
pub fn answers(answers: &[Answer]) -> Html {
    let rows: Vec<Vec<Cell>> = answers
        .iter()
        .map(|answer| {
            let file = answer.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let near = |class: &Nearness| {
                let sure =
                    class.probability.map_or(String::new(), |probability| format!(", {:.0} %", 100.0 * probability));
                format!("{} ({:.2}{sure})", class.label, class.distance)
            };
            let nearest = answer.classes.iter().take(NEAREST).map(near).collect::<Vec<_>>().join(", ");
            vec![file.into(), answer.name.clone().into(), Cell::Prose(nearest)]
        })
        .collect();
    html::table(&["recording", "what it is", "nearest classes (distance, what the class's head says)"], &rows, "")
}

fn card(prediction: &Prediction, heard: Option<&Waveform>) -> Result<Html> {
    let name = prediction.path.file_name().unwrap_or_default().to_string_lossy();
    let (labels, values): (Vec<String>, Vec<f64>) =
        prediction.ranked.iter().take(5).map(|(label, probability)| (label.clone(), f64::from(*probability))).unzip();
    let style = BarStyle { value_label: "probability".into(), percent: true, reference: None, highlight: None };
    let mut items = Vec::new();
    if prediction.standing.is_none_of_these() {
        let warning = format!("{NONE_OF_THESE}: {}. The bars show what comes nearest.", prediction.standing);
        items.push(Html::text(&warning));
    }
    items.push(plot::bars("five most probable classes", &labels, &values, &style)?.html());
    if prediction.timeline.len() > 1 {
        items.push(timeline(prediction, labels)?.html());
    }
    if let Some(waveform) = heard {
        items.push(player(waveform, "")?);
    }
    Ok(html::card(&format!("{name} ({:.1} s)", prediction.duration_s), &items))
}

/// A class is heard in a window from this probability on.
const HEARD: f32 = 0.5;

/// The probabilities of `labels`, the most probable classes of a recording, window by window, underlined where one is heard; of windows that are silent, or unlike what the
/// network was trained on, that they are none of these.
fn timeline(prediction: &Prediction, mut labels: Vec<String>) -> Result<Picture> {
    let n_classes = labels.len();
    let has_none = prediction.timeline.iter().any(|window| window.standing.is_none_of_these());
    if has_none {
        labels.push(NONE_OF_THESE.into());
    }
    let rows: Vec<Vec<f32>> = prediction
        .timeline
        .iter()
        .map(|window| {
            let mut row = vec![0.0; labels.len()];
            match window.standing.is_none_of_these() {
                true => row[n_classes] = 1.0,
                false => row[..n_classes].copy_from_slice(&window.probabilities[..n_classes]),
            }
            row
        })
        .collect();
    let windows: Vec<(f64, f64, &[f32])> = prediction
        .timeline
        .iter()
        .zip(&rows)
        .map(|(window, row)| (window.start_s, window.end_s, row.as_slice()))
        .collect();
    let number = |event: &Event| labels[..n_classes].iter().position(|label| *label == event.label);
    let events = prediction.events(HEARD);
    let events: Vec<(f64, f64, usize)> =
        events.iter().filter_map(|event| Some((event.start_s, event.end_s, number(event)?))).collect();
    plot::timeline("in the course of the recording", &labels, &windows, &events)
}

/// Every recording's most probable classes as one table.
///
/// # Errors
/// As [`tables::predictions`].
pub fn prediction_table(folder: &FolderPredictions, k: usize) -> Result<Html> {
    Ok(table(&tables::predictions(folder, k)?, "", 3))
}
