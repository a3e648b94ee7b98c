//! Metadata and results as polars data frames, to print, sort, filter and join.

use polars::df;
use polars::prelude::{Column, DataFrame, PolarsError};

use crate::dataset::catalog::Catalog;
use crate::dataset::metadata::ProcessedClip;
use crate::error::{Error, Result};
use crate::results::metrics::{ClassScore, Confusion, Evaluation, MultiLabelEvaluation, ScoredClip};
use crate::results::predict::{FolderPredictions, NONE_OF_THESE};

fn unfit(error: PolarsError) -> Error {
    Error::Plot { picture: "a table", reason: error.to_string() }
}

/// Clips per class and fold, a row per class: `category`, `fold 1`, `fold 2`, …, `clips`.
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn class_folds(catalog: &Catalog) -> Result<DataFrame> {
    let labels = catalog.labels();
    let count = |fits: &dyn Fn(u32) -> bool| -> Vec<u32> {
        let mut counts = vec![0; labels.len()];
        for clip in catalog.clips.iter().filter(|clip| fits(clip.fold)) {
            clip.classes().for_each(|(_, target)| counts[target] += 1);
        }
        counts
    };
    let mut columns = vec![Column::new("category".into(), labels.clone())];
    for fold in catalog.folds() {
        columns.push(Column::new(format!("fold {fold}").into(), count(&|other| other == fold)));
    }
    columns.push(Column::new("clips".into(), count(&|_| true)));
    DataFrame::new_infer_height(columns).map_err(unfit)
}

/// What preprocessing left, a row per spectrogram: the columns of `metadata.csv` a reader needs.
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn spectrograms(clips: &[ProcessedClip]) -> Result<DataFrame> {
    df!(
        "npy" => clips.iter().map(|clip| &*clip.npy).collect::<Vec<_>>(),
        "fold" => clips.iter().map(|clip| clip.fold).collect::<Vec<_>>(),
        "target" => clips.iter().map(|clip| clip.target as u64).collect::<Vec<_>>(),
        "category" => clips.iter().map(|clip| &*clip.category).collect::<Vec<_>>(),
        "n_mels" => clips.iter().map(|clip| clip.n_mels as u64).collect::<Vec<_>>(),
        "n_frames" => clips.iter().map(|clip| clip.n_frames as u64).collect::<Vec<_>>(),
    )
    .map_err(unfit)
}

/// Actual against predicted, a row per clip: `clip`, `actual`, `predicted`, `probability`, `right`.
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn scored(clips: &[&ScoredClip], labels: &[String]) -> Result<DataFrame> {
    df!(
        "clip" => clips.iter().map(|clip| clip.filename.as_str()).collect::<Vec<_>>(),
        "actual" => clips.iter().map(|clip| labels[clip.actual].as_str()).collect::<Vec<_>>(),
        "predicted" => clips.iter().map(|clip| labels[clip.predicted].as_str()).collect::<Vec<_>>(),
        "probability" => clips.iter().map(|clip| clip.probabilities[clip.predicted]).collect::<Vec<_>>(),
        "right" => clips.iter().map(|clip| clip.is_right()).collect::<Vec<_>>(),
    )
    .map_err(unfit)
}

/// The `n` most frequent mistakes, a row per pair of classes: `actual`, `predicted`, `clips`, `share` (of the actual class's clips).
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn confused(evaluation: &Evaluation, n: usize) -> Result<DataFrame> {
    let (mistakes, counts) = (evaluation.most_confused(n), evaluation.confusion());
    let label = |class: usize| evaluation.labels[class].as_str();
    let share = |mistake: &Confusion| mistake.clips as f64 / f64::from(counts.row(mistake.actual).sum());
    df!(
        "actual" => mistakes.iter().map(|mistake| label(mistake.actual)).collect::<Vec<_>>(),
        "predicted" => mistakes.iter().map(|mistake| label(mistake.predicted)).collect::<Vec<_>>(),
        "clips" => mistakes.iter().map(|mistake| mistake.clips as u64).collect::<Vec<_>>(),
        "share" => mistakes.iter().map(share).collect::<Vec<_>>(),
    )
    .map_err(unfit)
}

/// How well each class is found, a row per class: `category`, `clips`, `precision`, `recall`, `f1`; empty where undefined.
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn class_scores(evaluation: &Evaluation) -> Result<DataFrame> {
    let scores = evaluation.class_scores();
    let column = |value: fn(&ClassScore) -> Option<f64>| scores.iter().map(value).collect::<Vec<_>>();
    df!(
        "category" => scores.iter().map(|score| score.label.as_str()).collect::<Vec<_>>(),
        "clips" => scores.iter().map(|score| score.clips as u64).collect::<Vec<_>>(),
        "precision" => column(|score| score.precision),
        "recall" => column(|score| score.recall),
        "f1" => column(|score| score.f1),
    )
    .map_err(unfit)
}

/// How well each class is told from all others, a row per class: `category`, `clips`, `average_precision`; empty where undefined.
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn class_precisions(evaluation: &MultiLabelEvaluation) -> Result<DataFrame> {
    let classes = evaluation.class_precisions();
    df!(
        "category" => classes.iter().map(|class| class.label.as_str()).collect::<Vec<_>>(),
        "clips" => classes.iter().map(|class| class.clips as u64).collect::<Vec<_>>(),
        "average_precision" => classes.iter().map(|class| class.average_precision).collect::<Vec<_>>(),
    )
    .map_err(unfit)
}

/// The `k` most probable classes of every recording, a row each: `recording`, `standing` (`like` what was trained on, `unlike` it, `silent`, or
/// `unknown`), `rank`, `label`, `probability`. Of a recording that is unlike or silent the first row is [`NONE_OF_THESE`], of rank 0.
///
/// # Errors
/// [`Error::Plot`] when polars refuses the columns.
pub fn predictions(folder: &FolderPredictions, k: usize) -> Result<DataFrame> {
    let (mut recordings, mut standings, mut ranks) = (Vec::new(), Vec::new(), Vec::new());
    let (mut labels, mut values) = (Vec::new(), Vec::new());
    for prediction in &folder.predictions {
        let none = prediction.standing.is_none_of_these().then_some((0, NONE_OF_THESE, None));
        let ranked = prediction.ranked.iter().take(k).enumerate();
        let ranked = ranked.map(|(rank, (label, probability))| (rank as u32 + 1, label.as_str(), Some(*probability)));
        for (rank, label, probability) in none.into_iter().chain(ranked) {
            recordings.push(prediction.path.file_name().unwrap_or_default().to_string_lossy().into_owned());
            standings.push(prediction.standing.word());
            ranks.push(rank);
            labels.push(label);
            values.push(probability);
        }
    }
    df!(
        "recording" => recordings,
        "standing" => standings,
        "rank" => ranks,
        "label" => labels,
        "probability" => values
    )
    .map_err(unfit)
}
