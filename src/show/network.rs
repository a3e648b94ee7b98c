//! What the network is, what it takes, and where in it it listens.

use ndarray::Array2;

use super::sound::mel_axes;
use super::table::no_such_clip;
use crate::config::{Config, TinyAstConfig, View};
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};
use crate::front_end::audio::Waveform;
use crate::model::tiny_ast::ModelSummary;
use crate::results::predict::Recognize;
use crate::show::html::{self, Cell, Html};
use crate::show::plot::{self, MelAxes, Picture};
use crate::training::input;

/// One processed clip as the network sees it, cut into what becomes a token each: patches, or what a cell of a convolutional stem's
/// last map stands for. Of a clip seen in windows, the first.
///
/// # Errors
/// [`Error::Config`] when there is no clip of that number or patches overlap; [`Error::Features`] when its file does not fit.
pub fn patches(config: &Config, index: usize) -> Result<Picture> {
    let dataset = Dataset::open(config)?;
    let clip = dataset.clips.get(index).ok_or_else(|| no_such_clip(index, dataset.clips.len()))?;
    let (n_mels, n_frames) = config.model.input_size;
    let features = &dataset.settings.features;
    let views = input::of_clip(&dataset.spectrogram(index)?, &config.model, features);
    let view = views.select(0, 0).flatten(0, 2);
    let values = Vec::<f32>::try_from(view).map_err(|source| Error::Torch { action: "reading an input", source })?;
    let image = Array2::from_shape_vec((n_mels, n_frames), values)
        .map_err(|error| Error::Plot { picture: "patches", reason: error.to_string() })?;
    let shown_frames = match config.model.view {
        View::Whole => clip.n_frames,
        View::Windows { .. } => n_frames,
    };
    let mut axes = mel_axes(features, shown_frames, "normalised level")?;
    axes.center_freqs_hz = resized(&axes.center_freqs_hz, n_mels);
    let (rows, columns) = config.model.token_grid();
    plot::patches(image.view(), (n_mels / rows, n_frames / columns), &axes)
}

/// Where the centres of bands lie when their number is changed to `n`, on straight lines between theirs.
fn resized(centers: &[f32], n: usize) -> Vec<f32> {
    let center = |i: usize| {
        let at = (i as f32 + 0.5) * centers.len() as f32 / n as f32 - 0.5;
        let below = (at.max(0.0) as usize).min(centers.len().saturating_sub(2));
        let above = (below + 1).min(centers.len() - 1);
        centers[below] + (at - below as f32) * (centers[above] - centers[below])
    };
    (0..n).map(center).collect()
}

/// Where in the first clip of a sound a network listens: the mel spectrogram, and over and under it how much each place counts in the
/// prediction, by attention rollout.
///
/// # Errors
/// [`Error::Signal`] for samples that are no sound, [`Error::Torch`] when the network cannot run.
pub fn attention(network: &mut impl Recognize, waveform: &Waveform, title: &str) -> Result<Picture> {
    let listening = network.locate(waveform)?;
    let axes = mel_axes(&listening.features, listening.levels.ncols(), "dB")?;
    let axes = MelAxes { limits: Some((-listening.features.top_db, 0.0)), ..axes };
    let (label, probability) = &listening.prediction;
    let title = format!("{title}: {label}, {:.0} %", 100.0 * probability);
    plot::attention(listening.levels.view(), &axes, listening.attention.view(), &title)
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
    let caption = format!("TinyAST for a batch of one, {} parameters in all", thousands(summary.parameters));
    Ok(html::table(&["layer", "output", "parameters"], &rows, &caption))
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
