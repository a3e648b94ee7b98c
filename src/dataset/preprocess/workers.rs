//! The workers of the stage: each takes the next recording until none is left.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::names::NpyNames;
use super::recording::Recording;
use super::shards::ShardWriter;
use super::spectrograms::{Sink, process};
use crate::config::Config;
use crate::dataset::catalog::Catalog;
use crate::dataset::metadata::Origin;
use crate::error::{Error, Result};
use crate::files::hash::fnv1a;
use crate::files::progress::{Progress, Unit};
use crate::front_end::features::FeatureExtractor;

/// What the workers fill in.
pub(super) struct Done {
    /// An entry for each recording of the catalogue.
    pub recordings: Vec<Option<Recording>>,
    pub failed: BTreeMap<usize, Error>,
}

/// Whether a data set's spectrograms are kept in shards.
pub(super) fn in_shards(config: &Config, catalog: &Catalog) -> bool {
    catalog.clips.len() > config.data.shards_above
}

/// Shards that a run makes at least, where it makes many recordings: for as many workers as that there is work to the end.
const MIN_SHARDS: usize = 32;

/// Recordings that come into a shard together, of `n` that are to be made. Whoever makes them and however many do: they are cut in one way.
fn per_shard(config: &Config, n: usize) -> usize {
    let n_frames = config.features.n_frames(config.clip.n_samples(config.features.sample_rate));
    let n_bytes = config.features.n_mels * n_frames.max(1) * size_of::<f32>();
    (config.data.shard_mb * 1_000_000 / n_bytes).min(n.div_ceil(MIN_SHARDS)).max(1)
}

/// Numbers of recordings in an order as chance would have it, by their names, so that every shard holds of everything: training reads them one
/// after the other.
fn by_chance(catalog: &Catalog, mut recordings: Vec<u32>) -> Vec<u32> {
    // Not by keys that are kept: of a million recordings they would take 16 MB.
    recordings.sort_by_key(|index| fnv1a(catalog.clips[*index as usize].filename.as_bytes()));
    recordings
}

/// What is missing, shard by shard. Where nothing is made yet it is cut as the whole is, so that a run that was stopped goes on to the same shards;
/// the rest, what has changed since, is cut anew.
fn missing_shards(config: &Config, catalog: &Catalog, missing: impl Fn(&u32) -> bool) -> Vec<Vec<u32>> {
    let all = 0..catalog.clips.len() as u32;
    let (mut shards, mut rest): (Vec<_>, Vec<u32>) = (Vec::new(), all.clone().filter(&missing).collect());
    let n_whole = per_shard(config, all.len());
    if rest.len() < n_whole {
        // No shard is missing whole.
        rest = by_chance(catalog, rest);
    } else {
        rest.clear();
        for shard in by_chance(catalog, all.collect()).chunks(n_whole) {
            let missing: Vec<u32> = shard.iter().copied().filter(&missing).collect();
            match missing.len() == shard.len() {
                true => shards.push(missing),
                false => rest.extend(missing),
            }
        }
    }
    shards.extend(rest.chunks(per_shard(config, rest.len())).map(<[u32]>::to_vec));
    shards
}

/// Which recordings are those of process `rank` of `size`: whole shards of a data set of which there is nothing yet.
pub(super) fn part_of(config: &Config, catalog: &Catalog, (rank, size): (usize, usize)) -> Vec<bool> {
    let n = catalog.clips.len();
    let mut is_ours = vec![size == 1; n];
    if size > 1 {
        let order = by_chance(catalog, (0..n as u32).collect());
        for shard in order.chunks(per_shard(config, n)).skip(rank).step_by(size) {
            shard.iter().for_each(|index| is_ours[*index as usize] = true);
        }
    }
    is_ours
}

/// Computes the recordings that are missing of a part of them; a full disk or folder stops all. `name` is this process' alone.
///
/// # Errors
/// [`Error::Io`] when the processed folder cannot be written, [`Error::Config`] for settings out of range. What is wrong with a recording is
/// in what was done.
pub(super) fn run(
    config: &Config,
    catalog: &Catalog,
    recordings: Vec<Option<Recording>>,
    is_ours: &[bool],
    name: &str,
    n_workers: usize,
) -> Result<(Done, usize)> {
    let missing = |index: &u32| recordings[*index as usize].is_none() && is_ours[*index as usize];
    let in_shards = in_shards(config, catalog);
    let jobs = match in_shards {
        true => missing_shards(config, catalog, missing),
        false => (0..recordings.len() as u32).filter(missing).map(|index| vec![index]).collect(),
    };
    let n_jobs = jobs.iter().map(Vec::len).sum::<usize>();
    let progress = Progress::new("preprocess", Unit::Items("clips"), Some(n_jobs as u64));
    let done = Mutex::new((Done { recordings, failed: BTreeMap::new() }, progress));
    let origin = Origin::new(config);
    let stage = Stage { config, catalog, jobs: &jobs, next: AtomicUsize::new(0), done: &done };
    let names = if in_shards { None } else { Some(NpyNames::new(catalog)) };
    let work = |worker: usize| match &names {
        Some(names) => stage.fill_files(names),
        None => {
            let name = format!("{name}-{worker}");
            stage.fill_shards(ShardWriter::new(&config.data.processed_dir, &origin, config.data.shard_mb, &name))
        }
    };
    thread::scope(|scope| {
        let n_workers = n_workers.clamp(1, jobs.len().max(1));
        let workers: Vec<_> = (0..n_workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let mut joined = workers.into_iter().map(|worker| worker.join());
        joined.try_for_each(|worker| worker.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let (done, progress) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if n_jobs > 0 {
        progress.finish();
    }
    Ok((done, n_jobs))
}

struct Stage<'a> {
    config: &'a Config,
    catalog: &'a Catalog,
    /// Recordings that a worker takes at a time.
    jobs: &'a [Vec<u32>],
    next: AtomicUsize,
    done: &'a Mutex<(Done, Progress)>,
}

impl Stage<'_> {
    fn take(&self) -> Option<&[u32]> {
        self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)).map(Vec::as_slice)
    }

    /// Ends the others, too.
    fn stop(&self, error: Error) -> Error {
        self.next.store(self.jobs.len(), Ordering::Relaxed);
        error
    }

    fn change(&self, change: impl FnOnce(&mut Done, &mut Progress)) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, progress) = &mut *done;
        change(done, progress);
    }

    /// A file for each spectrogram.
    fn fill_files(&self, names: &NpyNames) -> Result<()> {
        let mut extractor = FeatureExtractor::new(&self.config.features)?;
        let dir: &Path = &self.config.data.processed_dir;
        while let Some(index) = self.take().map(|one| one[0] as usize) {
            let clip = &self.catalog.clips[index];
            let sink = Sink::Files { dir, name: names.of(clip) };
            let outcome = match process(self.config, &self.catalog.path(clip), sink, &mut extractor) {
                Err(error) if cannot_write(&error) => return Err(self.stop(error)),
                outcome => outcome,
            };
            self.change(|done, progress| {
                match outcome {
                    Ok(recording) => done.recordings[index] = Some(recording),
                    Err(error) => _ = done.failed.insert(index, error),
                }
                progress.add(1);
            });
        }
        Ok(())
    }

    /// One shard after the other. A recording counts as done once its shard is whole.
    fn fill_shards(&self, mut shard: ShardWriter) -> Result<()> {
        let mut extractor = FeatureExtractor::new(&self.config.features)?;
        while let Some(recordings) = self.take() {
            let mut held: Vec<(usize, Recording)> = Vec::with_capacity(recordings.len());
            for index in recordings.iter().map(|index| *index as usize) {
                // Before it has another recording: long ones fill it sooner.
                if shard.is_full() {
                    self.seal(&mut shard, &mut held)?;
                }
                let start = shard.len();
                let path = self.catalog.path(&self.catalog.clips[index]);
                match process(self.config, &path, Sink::Shard { shard: &mut shard, start }, &mut extractor) {
                    Ok(recording) => held.push((index, recording)),
                    Err(error) if cannot_write(&error) => return Err(self.stop(error)),
                    Err(error) => {
                        shard.truncate(start).map_err(|error| self.stop(error))?;
                        self.change(|done, _| _ = done.failed.insert(index, error));
                    }
                }
                self.change(|_, progress| progress.add(1));
            }
            self.seal(&mut shard, &mut held)?;
        }
        Ok(())
    }

    fn seal(&self, shard: &mut ShardWriter, held: &mut Vec<(usize, Recording)>) -> Result<()> {
        shard.seal(self.catalog, held).map_err(|error| self.stop(error))?;
        self.change(|done, _| {
            held.drain(..).for_each(|(index, recording)| done.recordings[index] = Some(recording));
        });
        Ok(())
    }
}

/// Whether an error lies in the processed folder, where the next recording would meet it again.
fn cannot_write(error: &Error) -> bool {
    matches!(error, Error::Io { action: "write" | "create" | "create folder" | "remove", .. })
}
