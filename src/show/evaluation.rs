//! How well the network does on clips it never saw.

use super::sound::{log_mel, player};
use super::table::{MAX_CARDS, table};
use crate::config::Config;
use crate::dataset::acquire::open_catalog;
use crate::error::Result;
use crate::front_end::audio::{self, Waveform};
use crate::front_end::features::FeatureExtractor;
use crate::results::embeddings::Embeddings;
use crate::results::metrics::{Evaluation, RELIABILITY_BINS, ScoredClip};
use crate::results::pca;
use crate::show::html::{self, Html};
use crate::show::plot::{self, BarStyle, Picture, PointGroup};
use crate::show::tables;

/// Cards of [`worst`] that have a player, which takes 200 kB of the notebook.
const WORST_PLAYERS: usize = 2;

/// `n` clips of the held-out fold: actual, predicted, and how sure the network was.
///
/// # Errors
/// As [`tables::scored`].
pub fn examples(evaluation: &Evaluation, n: usize) -> Result<Html> {
    let frame = tables::scored(&evaluation.examples(n), &evaluation.labels)?;
    let caption = format!("{} clips of fold {}, never trained on", frame.height(), evaluation.test_fold);
    Ok(table(&frame, &caption, 2))
}

/// The confusion matrix of the held-out fold.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is nothing to draw.
pub fn confusion(evaluation: &Evaluation) -> Result<Picture> {
    plot::confusion_matrix(evaluation.confusion().view(), &evaluation.labels)
}

/// The `n` most frequent mistakes: which class is taken for which, how often, and what share of its clips that is.
///
/// # Errors
/// As [`tables::confused`].
pub fn confused(evaluation: &Evaluation, n: usize) -> Result<Html> {
    let frame = tables::confused(evaluation, n)?;
    let caption = match frame.height() {
        0 => format!("no mistakes in fold {}", evaluation.test_fold),
        _ => format!(
            "classes taken for others most often, fold {}; share of the actual class's clips",
            evaluation.test_fold
        ),
    };
    Ok(table(&frame, &caption, 2))
}

/// The held-out clips as the head sees them, on the plane in which they lie furthest apart (PCA): a colour and a shape per class.
///
/// # Errors
/// [`crate::error::Error::Plot`] without clips, [`crate::error::Error::Torch`] for values that are not finite.
pub fn embedding_map(embeddings: &Embeddings) -> Result<Picture> {
    let values: Vec<Vec<f32>> = embeddings.clips.iter().map(|clip| clip.values.clone()).collect();
    let projection = pca::project(&values, 2)?;
    let mut groups: Vec<PointGroup> =
        embeddings.labels.iter().map(|label| PointGroup { label: label.clone(), points: Vec::new() }).collect();
    for (clip, point) in embeddings.clips.iter().zip(&projection.points) {
        groups[clip.actual].points.push((point[0], point[1]));
    }
    let axis =
        |i: usize| format!("component {} ({:.0} % of the variance)", i + 1, 100.0 * projection.variance_shares[i]);
    let title = format!("embeddings of fold {}", embeddings.test_fold);
    plot::scatter(&title, &axis(0), &axis(1), &groups)
}

/// The share of each class's held-out clips classified right, beside the share chance would get.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is nothing to draw.
pub fn recall(evaluation: &Evaluation) -> Result<Picture> {
    let (mut labels, mut values) = (Vec::new(), Vec::new());
    for (label, recall) in evaluation.labels.iter().zip(evaluation.recall()) {
        if let Some(recall) = recall {
            labels.push(label.clone());
            values.push(recall);
        }
    }
    let style = BarStyle {
        value_label: "clips right".into(),
        percent: true,
        reference: Some((1.0 / evaluation.labels.len().max(1) as f64, "chance".into())),
        highlight: None,
    };
    plot::bars(&format!("recall by class, fold {}", evaluation.test_fold), &labels, &values, &style)
}

/// Precision, recall and F1 of each class on the held-out fold.
///
/// # Errors
/// As [`tables::class_scores`].
pub fn class_scores(evaluation: &Evaluation) -> Result<Html> {
    let caption = format!("scores by class, fold {}: macro F1 {:.2}", evaluation.test_fold, evaluation.macro_f1());
    Ok(table(&tables::class_scores(evaluation)?, &caption, 2))
}

/// Whether the network is right as often as it says: accuracy in ten bins of confidence.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is nothing to draw.
pub fn reliability(evaluation: &Evaluation) -> Result<Picture> {
    plot::reliability(&evaluation.reliability(RELIABILITY_BINS))
}

/// A card for each of the `n` clips (at most twelve) with the highest loss: the recording as mel spectrogram, what it is and
/// what the network says; the first two with a player.
///
/// A recording that cannot be shown has the reason instead.
///
/// # Errors
/// As [`open_catalog`].
pub fn worst(config: &Config, evaluation: &Evaluation, n: usize) -> Result<Html> {
    let audio_dir = open_catalog(config)?.audio_dir;
    let mut cards = Vec::new();
    for (index, clip) in evaluation.worst(n.min(MAX_CARDS)).into_iter().enumerate() {
        let items = audio::read(&audio_dir.join(&clip.filename))
            .and_then(|waveform| worst_items(config, clip, &waveform, index < WORST_PLAYERS))
            .unwrap_or_else(|error| vec![Html::text(&error.to_string())]);
        let (actual, predicted) = (&evaluation.labels[clip.actual], &evaluation.labels[clip.predicted]);
        let says = format!("predicted {predicted} with {:.1} %, loss {:.2}", 100.0 * clip.confidence(), clip.loss());
        cards.push(html::card(&format!("{actual}: {says}"), &items));
    }
    Ok(html::row(&cards))
}

fn worst_items(config: &Config, clip: &ScoredClip, waveform: &Waveform, with_player: bool) -> Result<Vec<Html>> {
    let (spectrogram, axes) = log_mel(&mut FeatureExtractor::new(&config.features)?, waveform)?;
    let mut items = vec![plot::mel_spectrogram(spectrogram.view(), &axes, &clip.filename)?.html()];
    if with_player {
        items.push(player(waveform, "")?);
    }
    Ok(items)
}
