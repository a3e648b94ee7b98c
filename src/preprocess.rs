//! Recordings → normalised log-mel spectrograms on disk: one `.npy` per clip, and `metadata.csv`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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

    let names = NpyNames::new(&catalog);
    let n_recordings = catalog.clips.len();
    let progress = Progress::new("preprocess", Unit::Items("clips"), Some(n_recordings as u64));
    let work = Work::new(n_recordings, progress);
    run_workers(config, &catalog, &old, &names, n_workers, &work)?;

    let Done { recordings, computed, failed, progress } =
        work.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let elapsed = progress.finish();
    let spectrograms = recordings.iter().map(|recording| recording.spectrograms.len()).sum();
    if spectrograms == 0 {
        let found = failed.into_values().next().map_or("none".into(), |error| error.to_string());
        let next = "Check the data set's format.".to_owned();
        let expected = "at least one readable recording".to_owned();
        return Err(Error::Dataset { root: catalog.audio_dir, expected, found, next });
    }
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;
    old.remove_orphans(dir, &recordings)?;
    let reused = n_recordings - computed - failed.len();
    let failed = failed.into_iter().map(|(index, error)| (catalog.clips[index].filename.clone(), error)).collect();
    Ok(PreprocessReport { computed, reused, spectrograms, failed, elapsed })
}

/// What the workers share.
struct Work {
    next: AtomicUsize,
    stop: AtomicBool,
    done: Mutex<Done>,
}

/// What the workers have done.
struct Done {
    /// In the order of the catalogue, empty while not done and when failed.
    recordings: Vec<Recording>,
    computed: usize,
    failed: BTreeMap<usize, Error>,
    progress: Progress,
}

/// What a recording became, without what the catalogue knows of it: memory is to stay nearly flat as data sets grow.
#[derive(Clone, Default)]
struct Recording {
    file_bytes: u64,
    file_modified_ns: u64,
    spectrograms: Vec<Spectrogram>,
}

#[derive(Clone)]
struct Spectrogram {
    npy: String,
    start_s: f32,
    n_mels: usize,
    n_frames: usize,
}

impl Work {
    fn new(n_recordings: usize, progress: Progress) -> Self {
        let done = Done {
            recordings: vec![Recording::default(); n_recordings],
            computed: 0,
            failed: BTreeMap::new(),
            progress,
        };
        Work { next: AtomicUsize::new(0), stop: AtomicBool::new(false), done: Mutex::new(done) }
    }
}

/// Every worker owns an extractor and takes the next recording until none is left; a full disk or folder stops all.
fn run_workers(
    config: &Config,
    catalog: &Catalog,
    old: &Cache,
    names: &NpyNames,
    n_workers: usize,
    work: &Work,
) -> Result<()> {
    let run = || -> Result<()> {
        let mut extractor = FeatureExtractor::new(&config.features)?;
        while !work.stop.load(Ordering::Relaxed) {
            let index = work.next.fetch_add(1, Ordering::Relaxed);
            let Some(clip) = catalog.clips.get(index) else { break };
            let outcome = process(config, catalog, old, clip, names, &mut extractor);
            if let Err(Error::Io { action: "write" | "create" | "create folder", .. }) = &outcome {
                work.stop.store(true, Ordering::Relaxed);
                return outcome.map(drop);
            }
            let mut done = work.done.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(Outcome::Reused(recording)) => done.recordings[index] = recording,
                Ok(Outcome::Computed(recording)) => {
                    done.computed += 1;
                    done.recordings[index] = recording;
                }
                Err(error) => _ = done.failed.insert(index, error),
            }
            done.progress.add(1);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..n_workers.clamp(1, catalog.clips.len().max(1))).map(|_| scope.spawn(run)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

enum Outcome {
    Reused(Recording),
    Computed(Recording),
}

/// One recording: its old spectrograms when they are still good, else new ones.
fn process(
    config: &Config,
    catalog: &Catalog,
    old: &Cache,
    clip: &Clip,
    names: &NpyNames,
    extractor: &mut FeatureExtractor,
) -> Result<Outcome> {
    let path = catalog.path(clip);
    let (file_bytes, file_modified_ns) = stamp(&path)?;
    let dir = &config.data.processed_dir;
    if let Some(rows) = old.still_good(dir, &clip.filename, (file_bytes, file_modified_ns)) {
        let spectrograms = rows.iter().map(|row| Spectrogram {
            npy: row.npy.clone(),
            start_s: row.start_s,
            n_mels: row.n_mels,
            n_frames: row.n_frames,
        });
        return Ok(Outcome::Reused(Recording { file_bytes, file_modified_ns, spectrograms: spectrograms.collect() }));
    }
    let waveform = audio::read(&path)?;
    let mono = Waveform {
        samples: extractor.resample(&waveform.samples, waveform.sample_rate).map_err(|error| error.in_file(&path))?,
        sample_rate: config.features.sample_rate,
    };
    let name = names.of(clip);
    let clips = clips_of(&mono, &config.clip);
    let mut spectrograms = Vec::with_capacity(clips.len());
    for (index, (start_s, samples)) in clips.into_iter().enumerate() {
        let features = extractor.extract(&samples, mono.sample_rate).map_err(|error| error.in_file(&path))?;
        let npy = if index == 0 { format!("{name}.npy") } else { format!("{name}.w{index}.npy") };
        npy::write_f32(&dir.join(&npy), &features)?;
        let (n_mels, n_frames) = features.dim();
        spectrograms.push(Spectrogram { npy, start_s, n_mels, n_frames });
    }
    Ok(Outcome::Computed(Recording { file_bytes, file_modified_ns, spectrograms }))
}

/// The rows of `metadata.csv`.
fn rows(catalog: &Catalog, recordings: &[Recording]) -> impl Iterator<Item = ProcessedClip> {
    catalog.clips.iter().zip(recordings).flat_map(|(clip, recording)| {
        recording.spectrograms.iter().map(|spectrogram| ProcessedClip {
            npy: spectrogram.npy.clone(),
            filename: clip.filename.clone(),
            fold: clip.fold,
            target: clip.target,
            category: clip.category.clone(),
            source: clip.source.clone(),
            start_s: spectrogram.start_s,
            n_mels: spectrogram.n_mels,
            n_frames: spectrogram.n_frames,
            file_bytes: recording.file_bytes,
            file_modified_ns: recording.file_modified_ns,
        })
    })
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
struct NpyNames {
    /// The short names that several recordings would have.
    shared: HashSet<String>,
}

impl NpyNames {
    fn new(catalog: &Catalog) -> Self {
        let mut names: Vec<String> = catalog.clips.iter().map(|clip| short_name(&clip.filename)).collect();
        names.sort_unstable();
        let shared = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
        NpyNames { shared }
    }

    /// The name without `.npy`.
    fn of(&self, clip: &Clip) -> String {
        let short = short_name(&clip.filename);
        if self.shared.contains(&short) { flat_name(&clip.filename) } else { short }
    }
}

fn short_name(filename: &str) -> String {
    flat_name(filename.rsplit_once('.').map_or(filename, |(stem, _)| stem))
}

fn flat_name(path: &str) -> String {
    path.replace(['/', '\\'], "__").trim_start_matches('.').to_owned()
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
    fn remove_orphans(&self, dir: &Path, recordings: &[Recording]) -> Result<()> {
        let mut orphans: HashSet<&str> = self.npys.iter().map(String::as_str).collect();
        for spectrogram in recordings.iter().flat_map(|recording| &recording.spectrograms) {
            orphans.remove(spectrogram.npy.as_str());
        }
        for npy in orphans {
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
