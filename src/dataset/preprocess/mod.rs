//! Recordings → normalised log-mel spectrograms on disk: one `.npy` per clip, or of very many recordings shards of them, and `metadata.csv`.

mod windows;
mod names;
mod recording;
mod shards;
mod cache;
mod spectrograms;
mod workers;
mod report;

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::path::Path;
use std::thread;
use std::time::Instant;

use crate::config::Config;
use crate::dataset::acquire;
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::in_use::{Asked, InUse, in_use};
use crate::dataset::metadata::{self, METADATA_FILE, Origin, ProcessedClip};
use crate::error::{Error, Result};
use crate::files::content;
use cache::Cache;
use recording::{Recording, Spectrogram, rows};
pub use report::PreprocessReport;
pub use windows::{Cutter, Windows, clips_of};

/// Runs the stage with one worker per core; only what changed since the last run is computed.
///
/// A recording that cannot be read is left out and listed in the report. What changed is told by what the files hold, never by their
/// names and times.
///
/// # Errors
/// [`Error::StageMissing`] before the data set is there, [`Error::Config`] for settings out of range, [`Error::Io`] when the
/// processed folder cannot be written, [`Error::Dataset`] when not one recording of a class could be read: the class would be missing
/// in all that follows.
pub fn preprocess(config: &Config) -> Result<PreprocessReport> {
    let n_workers = thread::available_parallelism().map_or(1, NonZero::get);
    preprocess_with(config, n_workers)
}

/// [`preprocess`] with a given number of workers.
///
/// # Errors
/// As [`preprocess`].
pub fn preprocess_with(config: &Config, n_workers: usize) -> Result<PreprocessReport> {
    config.validate()?;
    if let Some(warning) = config.features.warning()? {
        println!("warning: {warning}");
    }
    let catalog = acquire::open_catalog(config)?;
    let dir = &config.data.processed_dir;
    let started = Instant::now();
    let all = vec![true; catalog.clips.len()];
    let asked = InUse::to_write(dir)?;
    let known = Cache::open(dir, &Origin::new(config), &catalog, &all)?;
    let compared = started.elapsed();
    // Held until all is done.
    let _alone = match asked {
        Asked::Alone(alone) => alone,
        // Where nothing is to be done, others may go on.
        Asked::BesideReaders(beside) if is_finished(dir, config, &catalog, &known) => {
            let spectrograms = || known.recordings.iter().flatten().flat_map(|recording| &recording.spectrograms);
            let report = PreprocessReport {
                reused: known.recordings.iter().flatten().count(),
                spectrograms: spectrograms().count(),
                silent: known.recordings.iter().flatten().map(|recording| recording.n_silent).sum(),
                shards: shards_of(spectrograms()),
                compared,
                elapsed: started.elapsed(),
                ..Default::default()
            };
            drop(beside);
            return Ok(report);
        }
        Asked::BesideReaders(_) => return Err(in_use(dir)),
    };
    // A table beside new settings, of rows that were made with others, would be believed by the next run.
    if !Origin::read(dir).is_ok_and(|old| old.makes_the_same(&Origin::new(config))) {
        metadata::write(&dir.join(METADATA_FILE), std::iter::empty::<ProcessedClip>())?;
    }
    let (recordings, stale) = known.into_parts();
    // While spectrograms are being replaced, the table lists those alone that stay, and its origin says that it is not whole: an
    // interrupted run leaves no row that lies, and nothing to train on.
    Origin::new(config).write(dir)?;
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;
    let (done, n_jobs) = workers::run(config, &catalog, recordings, &all, "all", n_workers)?;
    let recordings = done.recordings;

    let mut report = PreprocessReport { reused: catalog.clips.len() - n_jobs, compared, ..Default::default() };
    let failed = done.failed.into_iter();
    report.failed = failed.map(|(index, error)| (catalog.clips[index].filename.clone(), error)).collect();
    report.computed = n_jobs - report.failed.len();
    report.silent = recordings.iter().flatten().map(|recording| recording.n_silent).sum();
    let spectrograms = || recordings.iter().flatten().flat_map(|recording| &recording.spectrograms);
    report.spectrograms = spectrograms().count();
    report.shards = shards_of(spectrograms());
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;
    Cache::remove_orphans(stale, dir, &recordings)?;
    check_classes(&catalog, &recordings, &report.failed)?;
    let left_out = report.failed.iter().map(|(filename, _)| {
        let stamp = content::stamp(&catalog.audio_dir.join(filename)).ok();
        (filename.clone(), stamp)
    });
    let origin = Origin {
        catalog: Some(metadata::fingerprint(&catalog)),
        table: Some(content::hash_file(&dir.join(METADATA_FILE))?),
        left_out: left_out.collect(),
        ..Origin::new(config)
    };
    origin.write(dir)?;
    report.elapsed = started.elapsed();
    Ok(report)
}

/// In how many shards these lie.
fn shards_of<'a>(spectrograms: impl Iterator<Item = &'a Spectrogram>) -> usize {
    spectrograms.filter(|one| one.row.is_some()).map(|one| &one.npy).collect::<HashSet<_>>().len()
}

/// Whether a run that ended left all there is to be made of a catalogue.
fn is_finished(dir: &Path, config: &Config, catalog: &Catalog, known: &Cache) -> bool {
    let made_from = Some(metadata::fingerprint(catalog));
    let Ok(old) = Origin::read(dir) else { return false };
    let left_out: HashMap<_, _> = old.left_out.iter().map(|(filename, stamp)| (filename.as_str(), *stamp)).collect();
    let is_done = |(clip, known): (&Clip, &Option<Recording>)| {
        known.is_some() || left_out.get(clip.filename.as_str()) == Some(&content::stamp(&catalog.path(clip)).ok())
    };
    old.makes_the_same(&Origin::new(config))
        && old.catalog == made_from
        && catalog.clips.iter().zip(&known.recordings).all(is_done)
}

/// The part of the stage that process `rank` of `size` has: shards, which [`preprocess`] takes up when all have done theirs. Where spectrograms
/// are not kept in shards there is nothing to do. Returns how many recordings were computed; one that cannot be read is left to
/// [`preprocess`], which tells it.
///
/// # Errors
/// As [`preprocess`].
pub fn preprocess_part(config: &Config, (rank, size): (usize, usize), n_workers: usize) -> Result<usize> {
    config.validate()?;
    let catalog = acquire::open_catalog(config)?;
    if !workers::in_shards(config, &catalog) {
        return Ok(0);
    }
    let is_ours = workers::part_of(config, &catalog, (rank, size));
    let known = Cache::open(&config.data.processed_dir, &Origin::new(config), &catalog, &is_ours)?;
    let name = format!("part{rank}");
    let (done, n_jobs) = workers::run(config, &catalog, known.recordings, &is_ours, &name, n_workers)?;
    Ok(n_jobs - done.failed.len())
}

/// Refuses a data set of which a whole class could not be read: its number would have no meaning, or the others would be told
/// from nothing.
fn check_classes(catalog: &Catalog, recordings: &[Option<Recording>], failed: &[(String, Error)]) -> Result<()> {
    let read: HashSet<&str> = catalog
        .clips
        .iter()
        .zip(recordings)
        .filter(|(_, recording)| recording.is_some())
        .map(|(clip, _)| &*clip.category)
        .collect();
    let Some(missing) = catalog.labels().into_iter().find(|label| !read.contains(label.as_str())) else {
        return Ok(());
    };
    let of_class: HashSet<&str> =
        catalog.clips.iter().filter(|clip| *clip.category == missing).map(|clip| clip.filename.as_str()).collect();
    let reason = failed.iter().find(|(filename, _)| of_class.contains(filename.as_str()));
    let reason = reason.map_or(String::new(), |(filename, error)| format!(", {filename} the first: {error}"));
    Err(Error::Dataset {
        root: catalog.audio_dir.clone(),
        expected: "a recording of every class that can be read".into(),
        found: format!("none of the {} of class {missing:?}{reason}", of_class.len()),
        next: "Replace these recordings, or take the class out of the data set, and run \"Preprocess\" again.".into(),
    })
}
