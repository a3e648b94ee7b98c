//! Recordings → normalised log-mel spectrograms on disk: one `.npy` per clip, and `metadata.csv`.

mod windows;
mod names;
mod cache;
mod spectrograms;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::config::Config;
use crate::dataset::acquire;
use crate::dataset::catalog::Catalog;
use crate::dataset::metadata::{self, METADATA_FILE, Origin};
use crate::error::{Error, Result};
use crate::files::progress::{Progress, Unit};
use crate::front_end::features::FeatureExtractor;
use cache::{Cache, Recording, rows};
use names::NpyNames;
use spectrograms::process;
pub use windows::{Windows, clips_of};

/// What the stage did.
#[derive(Debug, Default)]
pub struct PreprocessReport {
    /// Recordings read and turned into spectrograms now.
    pub computed: usize,
    /// Recordings whose spectrograms were still good.
    pub reused: usize,
    /// Spectrograms in `metadata.csv`.
    pub spectrograms: usize,
    /// Windows of long recordings computed now that were left out because nothing sounds in them.
    pub silent: usize,
    /// Recordings left out, with the reason.
    pub failed: Vec<(String, Error)>,
    /// Time taken by telling what every recording holds; part of `elapsed`.
    pub compared: Duration,
    /// Time taken.
    pub elapsed: Duration,
}

impl fmt::Display for PreprocessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed_s = self.elapsed.as_secs_f64();
        write!(
            f,
            "{} spectrograms: {} recordings computed, {} reused, {} failed, in {elapsed_s:.1} s",
            self.spectrograms,
            self.computed,
            self.reused,
            self.failed.len()
        )?;
        if self.reused > 0 {
            write!(f, ", {:.2} s of it to compare what the files hold", self.compared.as_secs_f64())?;
        }
        if self.silent > 0 {
            write!(f, "\n  left out {} windows of long recordings in which nothing sounds", self.silent)?;
        }
        for (filename, error) in &self.failed {
            write!(f, "\n  left out {filename}: {error}")?;
        }
        Ok(())
    }
}

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
    let old = Cache::open(dir, &Origin::new(config))?;
    let known = catalog.clips.par_iter().map(|clip| old.still_good(dir, clip, &catalog.path(clip)));
    let recordings: Vec<_> = known.collect();
    let compared = started.elapsed();
    let jobs: Vec<usize> = (0..recordings.len()).filter(|index| recordings[*index].is_none()).collect();
    // While spectrograms are being replaced, the table lists those alone that stay, and its origin says that it is not whole: an
    // interrupted run leaves no row that lies, and nothing to train on.
    Origin::new(config).write(dir)?;
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;

    let progress = Progress::new("preprocess", Unit::Items("clips"), Some(jobs.len() as u64));
    let done = Mutex::new(Done { recordings, failed: BTreeMap::new(), progress });
    run_workers(config, &catalog, &jobs, n_workers, &done)?;
    let Done { recordings, failed, progress } = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !jobs.is_empty() {
        progress.finish();
    }

    let mut report = PreprocessReport { reused: catalog.clips.len() - jobs.len(), compared, ..Default::default() };
    report.failed = failed.into_iter().map(|(index, error)| (catalog.clips[index].filename.clone(), error)).collect();
    report.computed = jobs.len() - report.failed.len();
    report.silent = jobs.iter().filter_map(|index| Some(recordings[*index].as_ref()?.n_silent)).sum();
    report.spectrograms = recordings.iter().flatten().map(|recording| recording.spectrograms.len()).sum();
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;
    old.remove_orphans(dir, &recordings)?;
    check_classes(&catalog, &recordings, &report.failed)?;
    Origin { catalog: Some(metadata::fingerprint(&catalog)), ..Origin::new(config) }.write(dir)?;
    report.elapsed = started.elapsed();
    Ok(report)
}

/// Refuses a data set of which a whole class could not be read: its number would have no meaning, or the others would be told
/// from nothing.
fn check_classes(catalog: &Catalog, recordings: &[Option<Recording>], failed: &[(String, Error)]) -> Result<()> {
    let read: HashSet<&str> = catalog
        .clips
        .iter()
        .zip(recordings)
        .filter(|(_, recording)| recording.is_some())
        .map(|(clip, _)| clip.category.as_str())
        .collect();
    let Some(missing) = catalog.labels().into_iter().find(|label| !read.contains(label.as_str())) else {
        return Ok(());
    };
    let of_class: HashSet<&str> =
        catalog.clips.iter().filter(|clip| clip.category == missing).map(|clip| clip.filename.as_str()).collect();
    let reason = failed.iter().find(|(filename, _)| of_class.contains(filename.as_str()));
    let reason = reason.map_or(String::new(), |(filename, error)| format!(", {filename} the first: {error}"));
    Err(Error::Dataset {
        root: catalog.audio_dir.clone(),
        expected: "a recording of every class that can be read".into(),
        found: format!("none of the {} of class {missing:?}{reason}", of_class.len()),
        next: "Replace these recordings, or take the class out of the data set, and run \"Preprocess\" again.".into(),
    })
}

/// What the workers fill in, one entry per recording of the catalogue.
struct Done {
    recordings: Vec<Option<Recording>>,
    failed: BTreeMap<usize, Error>,
    progress: Progress,
}

/// Every worker owns an extractor and takes the next recording until none is left; a full disk or folder stops all.
fn run_workers(config: &Config, catalog: &Catalog, jobs: &[usize], n_workers: usize, done: &Mutex<Done>) -> Result<()> {
    let names = NpyNames::new(catalog);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        let mut extractor = FeatureExtractor::new(&config.features)?;
        while let Some(&index) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let clip = &catalog.clips[index];
            let outcome = process(config, &catalog.path(clip), &names.of(clip), &mut extractor);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(recording) => done.recordings[index] = Some(recording),
                Err(error) if cannot_write(&error) => {
                    next.store(jobs.len(), Ordering::Relaxed);
                    return Err(error);
                }
                Err(error) => _ = done.failed.insert(index, error),
            }
            done.progress.add(1);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..n_workers.clamp(1, jobs.len().max(1))).map(|_| scope.spawn(work)).collect();
        let mut joined = workers.into_iter().map(|worker| worker.join());
        joined.try_for_each(|worker| worker.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Whether an error lies in the processed folder, where the next recording would meet it again.
fn cannot_write(error: &Error) -> bool {
    matches!(error, Error::Io { action: "write" | "create" | "create folder", .. })
}
