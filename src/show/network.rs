//! What the network is, and what it takes.

use ndarray::Array2;

use crate::config::{Config, TinyAstConfig};
use crate::dataset::Dataset;
use crate::html::{self, Cell, Html};
use crate::model::ModelSummary;
use crate::plot::{self, Picture};
use crate::{Error, Result, input};

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
