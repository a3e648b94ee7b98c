//! The recordings, and what preprocessing and augmentation make of them.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::sound::{log_mel, mel_axes, sound};
use super::table;
use crate::audio;
use crate::augment::augment;
use crate::catalog::Catalog;
use crate::config::{Config, View};
use crate::dataset::Dataset;
use crate::features::FeatureExtractor;
use crate::html::{self, Html};
use crate::{Error, Result, plot, tables};

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
