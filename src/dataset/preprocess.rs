//! Recordings → normalised log-mel spectrograms on disk: one `.npy` per clip, and `metadata.csv`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::config::{ClipConfig, Config, LongClips};
use crate::dataset::acquire;
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::metadata::{self, METADATA_FILE, Origin, ProcessedClip};
use crate::error::{Error, Result};
use crate::files::hash::fnv1a;
use crate::files::npy;
use crate::files::progress::{Progress, Unit};
use crate::front_end::audio;
use crate::front_end::features::{FeatureExtractor, Scale};

/// What the stage did.
#[derive(Debug, Default)]
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
    let old = Cache::open(dir, &Origin::new(config))?;
    let recordings: Vec<_> = catalog.clips.iter().map(|clip| old.still_good(dir, clip, &catalog.path(clip))).collect();
    let jobs: Vec<usize> = (0..recordings.len()).filter(|index| recordings[*index].is_none()).collect();
    // While spectrograms are being replaced, the table lists those alone that stay: an interrupted run leaves no row that lies.
    Origin::new(config).write(dir)?;
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;

    let started = Instant::now();
    let progress = Progress::new("preprocess", Unit::Items("clips"), Some(jobs.len() as u64));
    let done = Mutex::new(Done { recordings, failed: BTreeMap::new(), progress });
    run_workers(config, &catalog, &jobs, n_workers, &done)?;
    let Done { recordings, failed, progress } = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !jobs.is_empty() {
        progress.finish();
    }

    let mut report = PreprocessReport { reused: catalog.clips.len() - jobs.len(), ..Default::default() };
    report.failed = failed.into_iter().map(|(index, error)| (catalog.clips[index].filename.clone(), error)).collect();
    report.computed = jobs.len() - report.failed.len();
    report.spectrograms = recordings.iter().flatten().map(|recording| recording.spectrograms.len()).sum();
    if report.spectrograms == 0 {
        let found = report.failed.first().map_or("none".into(), |(_, error)| error.to_string());
        let next = "Check the data set's format.".to_owned();
        let expected = "at least one readable recording".to_owned();
        return Err(Error::Dataset { root: catalog.audio_dir, expected, found, next });
    }
    metadata::write(&dir.join(METADATA_FILE), rows(&catalog, &recordings))?;
    old.remove_orphans(dir, &recordings)?;
    report.elapsed = started.elapsed();
    Ok(report)
}

/// What the workers fill in, one entry per recording of the catalogue.
struct Done {
    recordings: Vec<Option<Recording>>,
    failed: BTreeMap<usize, Error>,
    progress: Progress,
}

/// What a recording became; what the catalogue knows of it stays there alone, so that thousands take little memory.
#[derive(Clone)]
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
    scale: Scale,
}

/// The rows of `metadata.csv` for the recordings there are.
fn rows(catalog: &Catalog, recordings: &[Option<Recording>]) -> impl Iterator<Item = ProcessedClip> {
    let present =
        catalog.clips.iter().zip(recordings).filter_map(|(clip, recording)| Some((clip, recording.as_ref()?)));
    present.flat_map(|(clip, recording)| {
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
            mean_db: spectrogram.scale.mean_db,
            std_db: spectrogram.scale.std_db,
            file_bytes: recording.file_bytes,
            file_modified_ns: recording.file_modified_ns,
        })
    })
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

/// One recording: read, resampled, cut into clips, each written as a spectrogram.
fn process(config: &Config, path: &Path, name: &str, extractor: &mut FeatureExtractor) -> Result<Recording> {
    let (file_bytes, file_modified_ns) = stamp(path)?;
    let waveform = audio::read(path)?;
    let sample_rate = config.features.sample_rate;
    let samples = extractor.resample(&waveform.samples, waveform.sample_rate).map_err(|error| error.in_file(path))?;
    drop(waveform);
    let mut spectrograms = Vec::with_capacity(1);
    for (index, (start_s, samples)) in clips_of(&samples, sample_rate, &config.clip).enumerate() {
        let spectrogram = extractor.extract(&samples, sample_rate).map_err(|error| error.in_file(path))?;
        let npy = if index == 0 { format!("{name}.npy") } else { format!("{name}~{index}.npy") };
        npy::write_f32(&config.data.processed_dir.join(&npy), &spectrogram.values)?;
        let (n_mels, n_frames) = spectrogram.values.dim();
        spectrograms.push(Spectrogram { npy, start_s, n_mels, n_frames, scale: spectrogram.scale });
    }
    Ok(Recording { file_bytes, file_modified_ns, spectrograms })
}

/// Cuts or pads a recording to clips of `duration_s`, each with its start in seconds.
///
/// The last of several windows ends with the recording, so that no sound is lost.
pub fn clips_of<'a>(
    samples: &'a [f32],
    sample_rate: u32,
    config: &ClipConfig,
) -> impl Iterator<Item = (f32, Cow<'a, [f32]>)> {
    let n_samples = config.n_samples(sample_rate).max(1);
    let last = match config.long_clips {
        LongClips::Windows => samples.len().saturating_sub(n_samples),
        LongClips::Crop => 0,
    };
    (0..last).step_by(n_samples).chain([last]).map(move |start| {
        let end = samples.len().min(start + n_samples);
        let mut clip = Cow::Borrowed(&samples[start..end]);
        if clip.len() < n_samples {
            clip.to_mut().resize(n_samples, 0.0);
        }
        (start as f32 / sample_rate as f32, clip)
    })
}

/// A file's size in bytes and time of change in nanoseconds since 1970.
fn stamp(path: &Path) -> Result<(u64, u64)> {
    let file = fs::metadata(path).map_err(Error::io("read", path))?;
    let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok((file.len(), modified.map_or(0, |time| time.as_nanos() as u64)))
}

/// The longest name of a spectrogram, in bytes: file systems take 255, of which the extension and a window's number are kept free.
const MAX_NAME: usize = 200;

/// A `.npy` name without extension for every recording, unique in one flat folder whether or not it tells case apart.
///
/// It is the recording's path without its extension; where two would clash or one is too long, a digest is added.
struct NpyNames {
    /// Hashes of the plain names that more than one recording would have.
    shared: HashSet<u64>,
}

impl NpyNames {
    fn new(catalog: &Catalog) -> Self {
        let mut hashes: Vec<u64> = catalog.clips.iter().map(|clip| Self::hash(&Self::plain(clip))).collect();
        hashes.sort_unstable();
        NpyNames { shared: hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect() }
    }

    fn of(&self, clip: &Clip) -> String {
        let plain = Self::plain(clip);
        if !plain.is_empty() && plain.len() <= MAX_NAME && !self.shared.contains(&Self::hash(&plain)) {
            return plain;
        }
        let short: String = plain.chars().take(MAX_NAME / 5).collect();
        format!("{short}~{:016x}", fnv1a(clip.filename.as_bytes()))
    }

    /// The path in one piece; `~` is for digests and the numbers of windows.
    fn plain(clip: &Clip) -> String {
        let stem = clip.filename.rsplit_once('.').map_or(clip.filename.as_str(), |(stem, _)| stem);
        stem.replace(['/', '\\'], "__").replace('~', "_").trim_start_matches('.').to_owned()
    }

    fn hash(plain: &str) -> u64 {
        fnv1a(plain.to_lowercase().as_bytes())
    }
}

/// The spectrograms an earlier run left.
struct Cache {
    /// What each recording became; empty when it was made from another data set or with other settings.
    good: HashMap<String, Recording>,
    /// Every `.npy` the old table lists.
    npys: Vec<String>,
}

impl Cache {
    /// Reads the old table; a damaged one counts as none.
    fn open(dir: &Path, origin: &Origin) -> Result<Self> {
        let rows = metadata::read(&dir.join(METADATA_FILE)).unwrap_or_default();
        let npys = rows.iter().map(|row| row.npy.clone()).collect();
        let mut good: HashMap<String, Recording> = HashMap::new();
        if Origin::read(dir).is_ok_and(|old| old == *origin) {
            for row in rows {
                let ProcessedClip { npy, filename, start_s, n_mels, n_frames, file_bytes, file_modified_ns, .. } = row;
                let recording = Recording { file_bytes, file_modified_ns, spectrograms: Vec::new() };
                let spectrograms = &mut good.entry(filename).or_insert(recording).spectrograms;
                let scale = Scale { mean_db: row.mean_db, std_db: row.std_db };
                spectrograms.push(Spectrogram { npy, start_s, n_mels, n_frames, scale });
            }
        }
        Ok(Cache { good, npys })
    }

    /// What a recording became, if its file has not changed and its spectrograms are all there.
    fn still_good(&self, dir: &Path, clip: &Clip, path: &Path) -> Option<Recording> {
        let recording = self.good.get(&clip.filename)?;
        let whole = |spectrogram: &Spectrogram| {
            let n_values = spectrogram.n_mels.saturating_mul(spectrogram.n_frames);
            let data_bytes = n_values.saturating_mul(size_of::<f32>()) as u64;
            fs::metadata(dir.join(&spectrogram.npy)).is_ok_and(|npy| npy.len() > data_bytes)
        };
        let unchanged = stamp(path).is_ok_and(|stamp| stamp == (recording.file_bytes, recording.file_modified_ns));
        (unchanged && recording.spectrograms.iter().all(whole)).then(|| recording.clone())
    }

    /// Removes the spectrograms of recordings that are no longer part of the data set.
    fn remove_orphans(&self, dir: &Path, recordings: &[Option<Recording>]) -> Result<()> {
        let spectrograms = recordings.iter().flatten().flat_map(|recording| &recording.spectrograms);
        let kept: HashSet<&str> = spectrograms.map(|spectrogram| spectrogram.npy.as_str()).collect();
        for npy in self.npys.iter().filter(|npy| !kept.contains(npy.as_str())) {
            let path = dir.join(npy);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &path)(error)),
                _ => (),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filenames: &[&str]) -> Vec<String> {
        let clip = |filename: &&str| Clip {
            filename: filename.to_string(),
            fold: 1,
            category: "a".into(),
            target: 0,
            esc10: false,
            source: "s".into(),
        };
        let clips = filenames.iter().map(clip).collect();
        let catalog = Catalog { name: "test".into(), audio_dir: "".into(), clips };
        let names = NpyNames::new(&catalog);
        catalog.clips.iter().map(|clip| names.of(clip)).collect()
    }

    #[test]
    fn a_spectrogram_is_named_as_its_recording() {
        assert_eq!(names(&["1-100032-A-0.wav", "dogs/loud.flac"]), ["1-100032-A-0", "dogs__loud"]);
    }

    #[test]
    fn no_two_recordings_share_a_name_even_where_case_does_not_count() {
        let long = format!("{}.wav", "x".repeat(250));
        let clashing = [
            "a/b.wav",
            "a__b.wav",
            "x/1.wav",
            "x/1.flac",
            "x/1.wav.mp3",
            "n.wav",
            "N.mp3",
            "n~1.wav",
            "n_1.wav",
            &long,
        ];
        let names = names(&clashing);
        let distinct: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), clashing.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= MAX_NAME));
    }

    #[test]
    fn windows_cover_a_long_recording_and_the_last_ends_with_it() {
        let samples: Vec<f32> = (0..25).map(|index| index as f32).collect();
        let config = |long_clips| ClipConfig { duration_s: 1.0, long_clips };
        let cut = |samples: &[f32], long_clips| -> Vec<(f32, Vec<f32>)> {
            clips_of(samples, 10, &config(long_clips)).map(|(start, clip)| (start, clip.into_owned())).collect()
        };
        let windows = cut(&samples, LongClips::Windows);
        assert_eq!(windows.iter().map(|(start_s, _)| *start_s).collect::<Vec<_>>(), [0.0, 1.0, 1.5]);
        assert_eq!(windows[2].1, samples[15..]);
        assert_eq!(cut(&samples, LongClips::Crop), [(0.0, samples[..10].to_vec())]);
        assert_eq!(cut(&samples[..10], LongClips::Windows), [(0.0, samples[..10].to_vec())], "exactly one clip");
        let padded = [0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].to_vec();
        assert_eq!(cut(&samples[..3], LongClips::Windows), [(0.0, padded)]);
    }
}
