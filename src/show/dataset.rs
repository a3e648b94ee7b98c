//! The recordings, and what preprocessing and augmentation make of them.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::sound::{log_mel, mel_axes, sound};
use super::table::{no_such_clip, table};
use crate::config::{AugmentConfig, Config};
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::measure::{Measured, measure};
use crate::dataset::processed::Dataset;
use crate::error::Result;
use crate::front_end::audio::{self, Waveform};
use crate::front_end::features::{FeatureConfig, FeatureExtractor};
use crate::show::html::{self, Html};
use crate::show::plot::{self, MelAxes, Strip};
use crate::show::tables;
use crate::training::augment::augment;

/// What [`compare`] plays of a clip, in seconds.
const EXCERPT_S: f64 = 2.0;
/// And in samples at most: 270 kB of the notebook.
const EXCERPT_SAMPLES: f64 = 100_000.0;

/// One clip of the data set as waveform, mel spectrogram and player.
///
/// A file that cannot be read shows its reason instead, as preprocessing will list it.
///
/// # Errors
/// [`crate::error::Error::Config`] when there is no clip of that number or a setting is out of range.
pub fn clip(config: &Config, catalog: &Catalog, index: usize) -> Result<Html> {
    catalog.one_class_each()?;
    let clip = catalog.clips.get(index).ok_or_else(|| no_such_clip(index, catalog.clips.len()))?;
    let title = title_of(clip);
    match audio::read(&catalog.path(clip)) {
        Ok(waveform) => sound(&waveform, &config.features, &title),
        Err(error) => Ok(html::card(&title, &[Html::text(&error.to_string())])),
    }
}

/// The first readable clip of every class (at most 20) as small spectrograms side by side.
///
/// # Errors
/// [`crate::error::Error::Config`] for settings out of range.
pub fn classes(config: &Config, catalog: &Catalog) -> Result<Html> {
    catalog.one_class_each()?;
    let mut extractor = FeatureExtractor::new(&config.features)?;
    let mut tiles = Vec::new();
    for (target, label) in catalog.labels().iter().enumerate().take(20) {
        let mut of_class = catalog.clips.iter().filter(|clip| clip.target == target);
        let Some(waveform) = of_class.find_map(|clip| audio::read(&catalog.path(clip)).ok()) else { continue };
        tiles.push(tile(&mut extractor, &waveform, label)?);
    }
    let colors = format!("Colours: from −{} dB, dark, to 0 dB at the loudest of the clip.", config.features.top_db);
    Ok(html::grid(1, &[html::row(&tiles), Html::text(&colors)]))
}

/// A clip's mel spectrogram on the colours of all such tiles: from `−top_db` to 0 dB relative to the clip's maximum.
fn tile(extractor: &mut FeatureExtractor, waveform: &Waveform, title: &str) -> Result<Html> {
    let (spectrogram, axes) = log_mel(extractor, waveform)?;
    let axes = MelAxes { limits: Some((-extractor.config().top_db, 0.0)), ..axes };
    Ok(plot::mel_tile(spectrogram.view(), &axes, title)?.html())
}

/// How long and how loud the recordings of each class are: the lengths of the files, and their root-mean-square levels in dBFS, silence
/// in them included.
///
/// Every file is read, on all cores; those that cannot be read are counted.
///
/// # Errors
/// [`crate::error::Error::Plot`] when not one recording can be read.
pub fn overview(catalog: &Catalog) -> Result<Html> {
    catalog.one_class_each()?;
    let levels = measure(catalog);
    let of_class = |value: fn(&Measured) -> f64| -> Vec<Strip> {
        let strip = |(target, label): (usize, &String)| {
            let clips = catalog.clips.iter().zip(&levels).filter(|(clip, _)| clip.target == target);
            let values = clips.filter_map(|(_, level)| level.as_ref().map(value)).collect();
            Strip { label: label.clone(), values }
        };
        let strips = catalog.labels().iter().enumerate().map(strip).collect::<Vec<_>>();
        strips.into_iter().filter(|strip| !strip.values.is_empty()).collect()
    };
    let mut items = vec![
        plot::strips("length of the recordings", "length (s)", &of_class(|level| level.duration_s))?.html(),
        plot::strips("level of the recordings", "RMS level (dBFS)", &of_class(|level| level.rms_dbfs))?.html(),
    ];
    match levels.iter().filter(|level| level.is_none()).count() {
        0 => (),
        unread => items.push(Html::text(&format!("{unread} of {} recordings could not be read", levels.len()))),
    }
    Ok(html::row(&items))
}

/// One clip of the data set three times: as it was recorded, with frequencies up to half its own rate; at the rate of the features;
/// and as training meets it once, augmented as the config says, mixing aside. The first two with players of the two loudest seconds.
///
/// # Errors
/// [`crate::error::Error::Config`] when there is no clip of that number or a setting is out of range; [`crate::error::Error::Audio`] when it
/// cannot be read.
pub fn compare(config: &Config, catalog: &Catalog, index: usize) -> Result<Html> {
    catalog.one_class_each()?;
    let clip = catalog.clips.get(index).ok_or_else(|| no_such_clip(index, catalog.clips.len()))?;
    let mut original = audio::read(&catalog.path(clip))?;
    original.samples.truncate(config.clip.n_samples(original.sample_rate));
    let features = &config.features;
    let mut extractor = FeatureExtractor::new(features)?;
    let samples = extractor.resample(&original.samples, original.sample_rate)?;
    let resampled = Waveform { samples, sample_rate: features.sample_rate };
    let name = |what: &str, rate: u32| format!("{what}, {} kHz", f64::from(rate) / 1000.0);
    let (before, after) = (name("recorded", original.sample_rate), name("resampled", resampled.sample_rate));
    let mut own = FeatureExtractor::new(&at_rate(features, original.sample_rate))?;

    let power = extractor.extract(&resampled.samples, resampled.sample_rate)?.power();
    let alone = AugmentConfig { mix_probability: 0.0, ..config.train.augment };
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(config.train.seed);
    let batch = augment(&[(power.view(), 0)], 1, config.model.window(), &alone, features, &mut rng);
    let augmented = batch.clips.index_axis(ndarray::Axis(0), 0);
    let axes = mel_axes(features, augmented.ncols(), "normalised level")?;
    let heard = loudest(&original, EXCERPT_S.min(EXCERPT_SAMPLES / f64::from(original.sample_rate)));
    let columns = [
        html::card("", &[tile(&mut own, &original, &before)?, excerpt(&original, heard, &before)?]),
        html::card("", &[tile(&mut extractor, &resampled, &after)?, excerpt(&resampled, heard, &after)?]),
        html::card("", &[plot::mel_tile(augmented, &axes, "augmented")?.html()]),
    ];
    let colors = format!(
        "Colours: from −{} dB, dark, to 0 dB at the loudest of the clip; augmented, over its own range.",
        features.top_db
    );
    Ok(html::card(&title_of(clip), &[html::row(&columns), Html::text(&colors)]))
}

fn title_of(clip: &Clip) -> String {
    format!("{} — {}, fold {}", clip.category, clip.filename, clip.fold)
}

/// Start and end in seconds of a stretch of at most `length_s` around the loudest sample.
fn loudest(waveform: &Waveform, length_s: f64) -> (f64, f64) {
    let samples = waveform.samples.iter().enumerate();
    let (peak, _) =
        samples.fold((0, 0f32), |peak, (i, sample)| if sample.abs() > peak.1 { (i, sample.abs()) } else { peak });
    let (at_s, duration_s) = (peak as f64 / f64::from(waveform.sample_rate), waveform.duration_s());
    let start_s = (at_s - length_s / 2.0).min(duration_s - length_s).max(0.0);
    (start_s, (start_s + length_s).min(duration_s))
}

/// A player of a stretch of a waveform at its own rate.
fn excerpt(waveform: &Waveform, (start_s, end_s): (f64, f64), caption: &str) -> Result<Html> {
    let sample = |at_s: f64| ((at_s * f64::from(waveform.sample_rate)).round() as usize).min(waveform.samples.len());
    let caption = format!("{caption}, from {start_s:.1} s");
    html::audio_player(&waveform.samples[sample(start_s)..sample(end_s)], waveform.sample_rate, &caption)
}

/// The same frames in seconds at another rate, with bands up to half of it.
fn at_rate(features: &FeatureConfig, sample_rate: u32) -> FeatureConfig {
    let samples = |n: usize| {
        let scaled = n as f64 * f64::from(sample_rate) / f64::from(features.sample_rate);
        (scaled.round() as usize).clamp(2, 65_536)
    };
    let (n_fft, win_length, hop_length) =
        (samples(features.n_fft), samples(features.win_length), samples(features.hop_length));
    FeatureConfig { sample_rate, n_fft, win_length, hop_length, f_max: None, ..features.clone() }
}

/// The first `n` rows of `metadata.csv`.
///
/// # Errors
/// As [`tables::spectrograms`].
pub fn metadata(dataset: &Dataset, n: usize) -> Result<Html> {
    let rows = tables::spectrograms(&dataset.clips[..n.min(dataset.clips.len())])?;
    Ok(table(&rows, "The first rows of metadata.csv", 0))
}

/// One training clip as it is, and as training meets it in five epochs: cut, warped, mixed, masked as the config says, with how much of
/// which class each holds.
///
/// # Errors
/// [`crate::error::Error::Config`] when there is no clip of that number; [`crate::error::Error::Features`] when a file does not fit.
pub fn augmented(config: &Config, index: usize) -> Result<Html> {
    let dataset = Dataset::open(config)?;
    let clip = dataset.clips.get(index).ok_or_else(|| no_such_clip(index, dataset.clips.len()))?;
    // Partners to mix with: the first clip of some other classes.
    let others = (0..dataset.labels.len()).filter(|target| *target != clip.target).take(3);
    let partners = others.filter_map(|target| dataset.clips.iter().position(|other| other.target == target));
    let indices: Vec<usize> = std::iter::once(index).chain(partners).collect();
    let powers = indices.iter().map(|index| Ok(dataset.spectrogram(*index)?.power())).collect::<Result<Vec<_>>>()?;
    let clips: Vec<_> =
        indices.iter().zip(&powers).map(|(i, power)| (power.view(), dataset.clips[*i].target)).collect();
    let (features, window) = (&dataset.settings.features, config.model.window());
    let axes = |n_frames: usize| mel_axes(features, n_frames, "normalised level");
    let whole = dataset.spectrogram(index)?.values;
    let mut tiles = vec![plot::mel_tile(whole.view(), &axes(whole.ncols())?, &clip.category)?.html()];
    for epoch in 1..=5 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(config.train.seed + epoch);
        let batch = augment(&clips, dataset.labels.len(), window, &config.train.augment, features, &mut rng);
        let shares = batch.targets.row(0).into_iter().zip(&dataset.labels).enumerate();
        let mixed_in = shares.filter(|(target, (share, _))| *target != clip.target && **share > 0.0);
        let added: String = mixed_in.map(|(_, (share, label))| format!(" + {:.0} % {label}", 100.0 * share)).collect();
        let title = if added.is_empty() { format!("epoch {epoch}") } else { format!("{epoch}{added}") };
        let view = batch.clips.index_axis(ndarray::Axis(0), 0);
        tiles.push(plot::mel_tile(view, &axes(view.ncols())?, &title)?.html());
    }
    Ok(html::row(&tiles))
}
