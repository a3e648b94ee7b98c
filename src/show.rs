//! What the notebook shows: each function turns what a stage returned into one value that displays itself.

use std::path::Path;

use ndarray::Array2;
use polars::prelude::{AnyValue, DataFrame};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::acquire::open_catalog;
use crate::audio::{self, Waveform};
use crate::augment::augment;
use crate::catalog::Catalog;
use crate::config::{Config, TinyAstConfig, View};
use crate::dataset::Dataset;
use crate::features::{FeatureConfig, FeatureExtractor};
use crate::history::{self, EpochRecord};
use crate::html::{self, Cell, Html};
use crate::metrics::{Evaluation, ScoredClip};
use crate::model::ModelSummary;
use crate::plot::{self, BarStyle, Curve, MelAxes, Picture};
use crate::predict::{Classifier, FolderPredictions, Prediction};
use crate::train::history_path;
use crate::{Error, Result, input, tables};

/// Rate of the players' sound, in Hz: enough for what the network hears, and a third of the original's size.
const PLAYER_RATE: u32 = 16_000;

/// Prediction cards shown at most; the table has them all.
const MAX_CARDS: usize = 12;

/// Cards of [`worst`] that have a player, which takes 200 kB of the notebook.
const WORST_PLAYERS: usize = 2;

/// Bins of the reliability diagram: few enough that each holds clips of a fold of some hundred.
const RELIABILITY_BINS: usize = 10;

/// A data frame as an HTML table; floating-point columns are rounded to `decimals`.
pub fn table(frame: &DataFrame, caption: &str, decimals: usize) -> Html {
    let columns = frame.columns();
    let headers: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    let cell = |value: AnyValue| match value {
        AnyValue::Null => Cell::Text("–".into()),
        AnyValue::Boolean(right) => {
            if right {
                Cell::Right("right".into())
            } else {
                Cell::Wrong("wrong".into())
            }
        }
        AnyValue::Float32(value) => Cell::number(f64::from(value), decimals),
        AnyValue::Float64(value) => Cell::number(value, decimals),
        AnyValue::String(text) => Cell::Text(text.into()),
        AnyValue::StringOwned(text) => Cell::Text(text.to_string()),
        number if number.dtype().is_primitive_numeric() => Cell::Number(number.to_string()),
        other => Cell::Text(other.to_string()),
    };
    let rows: Vec<Vec<Cell>> = (0..frame.height())
        .map(|row| columns.iter().map(|column| column.get(row).map_or(Cell::Text(String::new()), cell)).collect())
        .collect();
    html::table(&headers, &rows, caption)
}

/// A sound as waveform, mel spectrogram and player.
///
/// # Errors
/// [`Error::Signal`] for samples that are no sound, [`Error::Config`] for settings out of range.
pub fn sound(waveform: &Waveform, features: &FeatureConfig, title: &str) -> Result<Html> {
    let (spectrogram, axes) = log_mel(&mut FeatureExtractor::new(features)?, waveform)?;
    let pictures = [
        plot::waveform(&waveform.samples, waveform.sample_rate, title)?.html(),
        plot::mel_spectrogram(spectrogram.view(), &axes, title)?.html(),
    ];
    Ok(html::card("", &[html::row(&pictures), player(waveform, title)?]))
}

/// One clip of the data set as waveform, mel spectrogram and player.
///
/// A file that cannot be read shows its reason instead, as preprocessing will list it.
///
/// # Errors
/// [`Error::Config`] when there is no clip of that number or a setting is out of range.
pub fn clip(config: &Config, catalog: &Catalog, index: usize) -> Result<Html> {
    let Some(clip) = catalog.clips.get(index) else {
        let expected = format!("0 to {}", catalog.clips.len().saturating_sub(1));
        return Err(Error::Config { field: "clip number", expected, found: index.to_string() });
    };
    let title = format!("{} — {}, fold {}", clip.category, clip.filename, clip.fold);
    match audio::read(&catalog.path(clip)) {
        Ok(waveform) => sound(&waveform, &config.features, &title),
        Err(error) => Ok(html::card(&title, &[Html::text(&error.to_string())])),
    }
}

/// The first readable clip of every class (at most 20) as small spectrograms side by side.
///
/// # Errors
/// [`Error::Config`] for settings out of range.
pub fn classes(config: &Config, catalog: &Catalog) -> Result<Html> {
    let mut extractor = FeatureExtractor::new(&config.features)?;
    let mut tiles = Vec::new();
    for (target, label) in catalog.labels().iter().enumerate().take(20) {
        let mut of_class = catalog.clips.iter().filter(|clip| clip.target == target);
        let Some(waveform) = of_class.find_map(|clip| audio::read(&catalog.path(clip)).ok()) else { continue };
        let (spectrogram, axes) = log_mel(&mut extractor, &waveform)?;
        tiles.push(plot::mel_tile(spectrogram.view(), &axes, label)?.html());
    }
    Ok(html::row(&tiles))
}

/// The first `n` rows of `metadata.csv`.
///
/// # Errors
/// As [`tables::spectrograms`].
pub fn metadata(dataset: &Dataset, n: usize) -> Result<Html> {
    let rows = tables::spectrograms(&dataset.clips)?.head(Some(n));
    Ok(table(&rows, "The first rows of metadata.csv", 0))
}

/// The mel filters: which frequencies each of the bins listens to.
///
/// # Errors
/// [`Error::Config`] for settings out of range.
pub fn filterbank(features: &FeatureConfig) -> Result<Picture> {
    let bank = features.filterbank()?;
    let bin_hz = features.sample_rate as f32 / features.n_fft as f32;
    let freqs_hz: Vec<f32> = (0..=features.n_fft / 2).map(|bin| bin as f32 * bin_hz).collect();
    plot::filterbank(bank.dense().view(), &freqs_hz)
}

/// One processed clip as the network sees it, cut into what becomes a token each: patches, or what a cell of a convolutional stem's
/// last map stands for. Of a clip seen in windows, the first.
///
/// # Errors
/// [`Error::Config`] when there is no clip of that number or patches overlap; [`Error::Features`] when its file does not fit.
pub fn patches(config: &Config, index: usize) -> Result<Picture> {
    let dataset = Dataset::open(config)?;
    if index >= dataset.clips.len() {
        let expected = format!("0 to {}", dataset.clips.len().saturating_sub(1));
        return Err(Error::Config { field: "clip number", expected, found: index.to_string() });
    }
    let (n_mels, n_frames) = config.model.input_size;
    let views = input::of_clip(&dataset.spectrogram(index)?, &config.model, &dataset.settings.features);
    let view = views.select(0, 0).flatten(0, 2);
    let values = Vec::<f32>::try_from(view).map_err(|source| Error::Torch { action: "reading an input", source })?;
    let image = Array2::from_shape_vec((n_mels, n_frames), values)
        .map_err(|error| Error::Plot { picture: "patches", reason: error.to_string() })?;
    let (rows, columns) = config.model.token_grid();
    plot::patches(image.view(), (n_mels / rows, n_frames / columns))
}

/// One training clip as it is, and as training meets it in five epochs: cut, warped, mixed, masked as the config says, with how much of
/// which class each holds.
///
/// # Errors
/// [`Error::Config`] when there is no clip of that number; [`Error::Features`] when a file does not fit.
pub fn augmented(config: &Config, index: usize) -> Result<Html> {
    let dataset = Dataset::open(config)?;
    let Some(clip) = dataset.clips.get(index) else {
        let expected = format!("0 to {}", dataset.clips.len().saturating_sub(1));
        return Err(Error::Config { field: "clip number", expected, found: index.to_string() });
    };
    // Partners to mix with: the first clip of some other classes.
    let others = (0..dataset.labels.len()).filter(|target| *target != clip.target).take(3);
    let partners = others.filter_map(|target| dataset.clips.iter().position(|other| other.target == target));
    let indices: Vec<usize> = std::iter::once(index).chain(partners).collect();
    let powers = indices.iter().map(|index| Ok(dataset.spectrogram(*index)?.power())).collect::<Result<Vec<_>>>()?;
    let clips: Vec<_> =
        indices.iter().zip(&powers).map(|(i, power)| (power.view(), dataset.clips[*i].target)).collect();
    let n_frames = match config.model.view {
        View::Whole => clip.n_frames,
        View::Windows { .. } => config.model.input_size.1,
    };
    let features = &dataset.settings.features;
    let axes = |n_frames: usize| mel_axes(features, n_frames, "normalised level");
    let whole = dataset.spectrogram(index)?.values;
    let mut tiles = vec![plot::mel_tile(whole.view(), &axes(whole.ncols())?, &clip.category)?.html()];
    for epoch in 1..=5 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(config.train.seed + epoch);
        let batch = augment(&clips, dataset.labels.len(), n_frames, &config.train.augment, features, &mut rng);
        let held = batch.targets.row(0).into_iter().zip(&dataset.labels).filter(|(share, _)| **share > 0.0);
        let names: Vec<String> = held.map(|(share, label)| format!("{:.0} % {label}", 100.0 * share)).collect();
        let view = batch.clips.index_axis(ndarray::Axis(0), 0);
        tiles.push(plot::mel_tile(view, &axes(n_frames)?, &names.join(", "))?.html());
    }
    Ok(html::row(&tiles))
}

/// The layers with their output shapes and parameters.
///
/// # Errors
/// [`Error::Config`] when the sizes do not fit together.
pub fn model(config: &TinyAstConfig, num_classes: usize) -> Result<Html> {
    let summary = ModelSummary::new(config, num_classes)?;
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for layer in &summary.layers {
        let shape = layer.output_shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        rows.push(vec![layer.name.as_str().into(), Cell::Number(shape), Cell::Number(thousands(layer.parameters))]);
    }
    rows.push(vec!["total".into(), Cell::Number(String::new()), Cell::Number(thousands(summary.parameters))]);
    Ok(html::table(&["layer", "output", "parameters"], &rows, "TinyAST, for a batch of one"))
}

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
/// [`Error::Plot`] when there is nothing to draw.
pub fn confusion(evaluation: &Evaluation) -> Result<Picture> {
    plot::confusion_matrix(evaluation.confusion().view(), &evaluation.labels)
}

/// The share of each class's held-out clips classified right, beside the share chance would get.
///
/// # Errors
/// [`Error::Plot`] when there is nothing to draw.
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
    plot::bars(&format!("accuracy by class, fold {}", evaluation.test_fold), &labels, &values, &style)
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
/// [`Error::Plot`] when there is nothing to draw.
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

/// What a network hears in a sound: its five most probable classes as bars, and a player.
///
/// # Errors
/// [`Error::Signal`] for samples that are no sound.
pub fn verdict(classifier: &mut Classifier, waveform: &Waveform, title: &str) -> Result<Html> {
    let prediction = classifier.predict(waveform, Path::new(title))?;
    card(&prediction, Some(waveform))
}

/// A card for each of the first twelve recordings: its five most probable classes as bars, and a player for the first
/// `n_players`.
///
/// # Errors
/// [`Error::Audio`] when a recording is gone.
pub fn predictions(folder: &FolderPredictions, n_players: usize) -> Result<Html> {
    let mut cards = Vec::new();
    for (index, prediction) in folder.predictions.iter().take(MAX_CARDS).enumerate() {
        let heard = if index < n_players { Some(audio::read(&prediction.path)?) } else { None };
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

fn card(prediction: &Prediction, heard: Option<&Waveform>) -> Result<Html> {
    let name = prediction.path.file_name().unwrap_or_default().to_string_lossy();
    let (labels, values): (Vec<String>, Vec<f64>) =
        prediction.ranked.iter().take(5).map(|(label, probability)| (label.clone(), f64::from(*probability))).unzip();
    let style = BarStyle { value_label: "probability".into(), percent: true, reference: None, highlight: None };
    let mut items = vec![plot::bars("five most probable classes", &labels, &values, &style)?.html()];
    if let Some(waveform) = heard {
        items.push(player(waveform, "")?);
    }
    Ok(html::card(&format!("{name} ({:.1} s)", prediction.duration_s), &items))
}

/// Every recording's most probable classes as one table.
///
/// # Errors
/// As [`tables::predictions`].
pub fn prediction_table(folder: &FolderPredictions, k: usize) -> Result<Html> {
    Ok(table(&tables::predictions(folder, k)?, "", 3))
}

fn player(waveform: &Waveform, caption: &str) -> Result<Html> {
    let features = FeatureConfig { sample_rate: PLAYER_RATE, ..Default::default() };
    let samples = FeatureExtractor::new(&features)?.resample(&waveform.samples, waveform.sample_rate)?;
    html::audio_player(&samples, PLAYER_RATE, caption)
}

/// The log-mel spectrogram in dB with its axes.
fn log_mel(extractor: &mut FeatureExtractor, waveform: &Waveform) -> Result<(Array2<f32>, MelAxes)> {
    let mono = extractor.resample(&waveform.samples, waveform.sample_rate)?;
    let spectrogram = extractor.log_mel_db(&mono)?;
    let axes = mel_axes(extractor.config(), spectrogram.ncols(), "dB")?;
    Ok((spectrogram, axes))
}

fn mel_axes(features: &FeatureConfig, n_frames: usize, unit: &str) -> Result<MelAxes> {
    let duration_s = n_frames as f64 * features.hop_length as f64 / f64::from(features.sample_rate);
    Ok(MelAxes::new(duration_s, features.filterbank()?.center_freqs_hz(), unit))
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
