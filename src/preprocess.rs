//! Recordings → normalised log-mel spectrograms on disk: one `.npy` per clip, and `metadata.csv`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use crate::acquire;
use crate::audio::{self, Waveform};
use crate::catalog::{Catalog, Clip};
use crate::config::{ClipConfig, Config, LongClips};
use crate::features::FeatureExtractor;
use crate::metadata::{self, FeatureSettings, METADATA_FILE, ProcessedClip};
use crate::npy;
use crate::progress::{Progress, Unit};
use crate::{Error, Result};

/// What the stage did.
#[derive(Debug)]
pub struct PreprocessReport {
    /// Recordings read and turned into spectrograms now.
    pub computed: usize,
    /// Recordings whose spectrograms were still good.
    pub reused: usize,
    /// Spectrograms in `metadata.csv`.
    pub spectrograms: usize,
    /// Recordings left out, with the reason.
    pub failed: Vec<(String, Error)>,
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
        for (filename, error) in &self.failed {
            write!(f, "\n  left out {filename}: {error}")?;
        }
        Ok(())
    }
}

/// Runs the stage with one worker per core; only what changed since the last run is computed.
///
/// A recording that cannot be read is left out and listed in the report.
///
/// # Errors
/// [`Error::StageMissing`] before the data set is there, [`Error::Config`] for settings out of range, [`Error::Io`] when the
/// processed folder cannot be written, [`Error::Dataset`] when not one recording could be read.
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
    let settings = FeatureSettings::new(&config.clip, &config.features);
    let old = Cache::open(dir, &settings)?;
    settings.write(dir)?;

    let names = npy_names(&catalog);
    let jobs: Vec<(&Clip, &str)> = catalog.clips.iter().zip(names.iter().map(String::as_str)).collect();
    let progress = Progress::new("preprocess", Unit::Items("clips"), Some(jobs.len() as u64));
    let (outcomes, elapsed) = run_workers(config, &catalog, &old, &jobs, n_workers, progress)?;

    let mut report = PreprocessReport { computed: 0, reused: 0, spectrograms: 0, failed: Vec::new(), elapsed };
    let mut rows = Vec::with_capacity(jobs.len());
    for ((clip, _), outcome) in jobs.iter().zip(outcomes) {
        match outcome {
            Ok(Outcome::Reused(clips)) => {
                report.reused += 1;
                rows.extend(clips);
            }
            Ok(Outcome::Computed(clips)) => {
                report.computed += 1;
                rows.extend(clips);
            }
            Err(error) => report.failed.push((clip.filename.clone(), error)),
        }
    }
    if rows.is_empty() {
        let found = report.failed.first().map_or("none".into(), |(_, error)| error.to_string());
        let next = "Check the data set's format.".to_owned();
        let expected = "at least one readable recording".to_owned();
        return Err(Error::Dataset { root: catalog.audio_dir, expected, found, next });
    }
    report.spectrograms = rows.len();
    metadata::write(&dir.join(METADATA_FILE), &rows)?;
    old.remove_orphans(dir, &rows)?;
    Ok(report)
}

enum Outcome {
    Reused(Vec<ProcessedClip>),
    Computed(Vec<ProcessedClip>),
}

/// Every worker owns an extractor and takes the next recording until none is left; a full disk or folder stops all.
fn run_workers(
    config: &Config,
    catalog: &Catalog,
    old: &Cache,
    jobs: &[(&Clip, &str)],
    n_workers: usize,
    progress: Progress,
) -> Result<(Vec<Result<Outcome>>, Duration)> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let progress = Mutex::new(progress);
    let work = || -> Result<Vec<(usize, Result<Outcome>)>> {
        let mut extractor = FeatureExtractor::new(&config.features)?;
        let mut done = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((clip, name)) = jobs.get(index) else { break };
            let outcome = process(config, catalog, old, clip, name, &mut extractor);
            if let Err(Error::Io { action: "write" | "create" | "create folder", .. }) = &outcome {
                stop.store(true, Ordering::Relaxed);
            }
            done.push((index, outcome));
            if let Ok(mut progress) = progress.lock() {
                progress.add(1);
            }
        }
        Ok(done)
    };
    let mut outcomes = thread::scope(|scope| -> Result<Vec<(usize, Result<Outcome>)>> {
        let workers: Vec<_> = (0..n_workers.clamp(1, jobs.len().max(1))).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(jobs.len());
        for worker in workers {
            match worker.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })?;
    outcomes.sort_by_key(|(index, _)| *index);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    if stop.into_inner() {
        let unwritable = outcomes.into_iter().find_map(|outcome| match outcome {
            Err(error @ Error::Io { action: "write" | "create" | "create folder", .. }) => Some(error),
            _ => None,
        });
        return match unwritable {
            Some(error) => Err(error),
            None => Ok((Vec::new(), Duration::ZERO)),
        };
    }
    let elapsed = progress.into_inner().map_or(Duration::ZERO, Progress::finish);
    Ok((outcomes, elapsed))
}

/// One recording: its old spectrograms when they are still good, else new ones.
fn process(
    config: &Config,
    catalog: &Catalog,
    old: &Cache,
    clip: &Clip,
    name: &str,
    extractor: &mut FeatureExtractor,
) -> Result<Outcome> {
    let path = catalog.path(clip);
    let (file_bytes, file_modified_ns) = stamp(&path)?;
    let row = |npy: String, start_s: f32, (n_mels, n_frames): (usize, usize)| ProcessedClip {
        npy,
        filename: clip.filename.clone(),
        fold: clip.fold,
        target: clip.target,
        category: clip.category.clone(),
        source: clip.source.clone(),
        start_s,
        n_mels,
        n_frames,
        file_bytes,
        file_modified_ns,
    };
    let dir = &config.data.processed_dir;
    if let Some(rows) = old.still_good(dir, &clip.filename, (file_bytes, file_modified_ns)) {
        let renewed = rows.iter().map(|old| row(old.npy.clone(), old.start_s, (old.n_mels, old.n_frames)));
        return Ok(Outcome::Reused(renewed.collect()));
    }
    let waveform = audio::read(&path)?;
    let mono = Waveform {
        samples: extractor.resample(&waveform.samples, waveform.sample_rate).map_err(|error| error.in_file(&path))?,
        sample_rate: config.features.sample_rate,
    };
    let mut rows = Vec::new();
    for (index, (start_s, samples)) in clips_of(&mono, &config.clip).into_iter().enumerate() {
        let features = extractor.extract(&samples, mono.sample_rate).map_err(|error| error.in_file(&path))?;
        let npy = if index == 0 { format!("{name}.npy") } else { format!("{name}.w{index}.npy") };
        npy::write_f32(&dir.join(&npy), &features)?;
        rows.push(row(npy, start_s, features.dim()));
    }
    Ok(Outcome::Computed(rows))
}

/// Cuts or pads a recording to clips of `duration_s`, each with its start in seconds.
///
/// The last of several windows ends with the recording, so that no sound is lost.
pub fn clips_of(waveform: &Waveform, config: &ClipConfig) -> Vec<(f32, Vec<f32>)> {
    let n_samples = config.n_samples(waveform.sample_rate);
    let samples = &waveform.samples;
    let starts: Vec<usize> = match config.long_clips {
        LongClips::Windows if samples.len() > n_samples => {
            let last = samples.len() - n_samples;
            (0..last).step_by(n_samples).chain([last]).collect()
        }
        _ => vec![0],
    };
    let cut = |start: usize| {
        let mut clip = samples[start..samples.len().min(start + n_samples)].to_vec();
        clip.resize(n_samples, 0.0);
        (start as f32 / waveform.sample_rate as f32, clip)
    };
    starts.into_iter().map(cut).collect()
}

/// A file's size in bytes and time of change in nanoseconds since 1970.
fn stamp(path: &Path) -> Result<(u64, u64)> {
    let file = fs::metadata(path).map_err(Error::io("read", path))?;
    let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok((file.len(), modified.map_or(0, |time| time.as_nanos() as u64)))
}

/// A `.npy` name for every recording, unique in one flat folder: the path without its extension, or with it where two
/// recordings differ in that alone.
fn npy_names(catalog: &Catalog) -> Vec<String> {
    let flat = |name: &str| name.replace(['/', '\\'], "__").trim_start_matches('.').to_owned();
    let short = |clip: &Clip| flat(clip.filename.rsplit_once('.').map_or(clip.filename.as_str(), |(stem, _)| stem));
    let mut uses: HashMap<String, usize> = HashMap::new();
    for clip in &catalog.clips {
        *uses.entry(short(clip)).or_default() += 1;
    }
    catalog.clips.iter().map(|clip| if uses[&short(clip)] == 1 { short(clip) } else { flat(&clip.filename) }).collect()
}

/// The spectrograms an earlier run left.
struct Cache {
    /// Rows by recording; empty when they were made with other settings.
    good: HashMap<String, Vec<ProcessedClip>>,
    /// Every `.npy` the old table lists.
    npys: Vec<String>,
}

impl Cache {
    /// Reads the old table. One made with other settings is removed, so that an interrupted run leaves no table that lies.
    fn open(dir: &Path, settings: &FeatureSettings) -> Result<Self> {
        let table = dir.join(METADATA_FILE);
        let rows = metadata::read(&table).unwrap_or_default();
        let npys = rows.iter().map(|row| row.npy.clone()).collect();
        let mut good: HashMap<String, Vec<ProcessedClip>> = HashMap::new();
        if FeatureSettings::read(dir).is_ok_and(|old| old == *settings) {
            for row in rows {
                good.entry(row.filename.clone()).or_default().push(row);
            }
        } else if table.exists() {
            fs::remove_file(&table).map_err(Error::io("remove", &table))?;
        }
        Ok(Cache { good, npys })
    }

    /// The rows of a recording, if its file has not changed and its spectrograms are all there.
    fn still_good(&self, dir: &Path, filename: &str, stamp: (u64, u64)) -> Option<&[ProcessedClip]> {
        let rows = self.good.get(filename)?;
        let whole = |row: &ProcessedClip| {
            let data_bytes = row.n_mels.saturating_mul(row.n_frames).saturating_mul(size_of::<f32>()) as u64;
            let unchanged = (row.file_bytes, row.file_modified_ns) == stamp;
            unchanged && fs::metadata(dir.join(&row.npy)).is_ok_and(|npy| npy.len() > data_bytes)
        };
        rows.iter().all(whole).then_some(rows)
    }

    /// Removes the spectrograms of recordings that are no longer part of the data set.
    fn remove_orphans(&self, dir: &Path, rows: &[ProcessedClip]) -> Result<()> {
        let kept: HashSet<&str> = rows.iter().map(|row| row.npy.as_str()).collect();
        for npy in self.npys.iter().filter(|npy| !kept.contains(npy.as_str())) {
            let path = dir.join(npy);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => (),
            }
        }
        Ok(())
    }
}
