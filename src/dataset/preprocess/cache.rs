//! What recordings became, now or in an earlier run.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::metadata::{self, METADATA_FILE, Origin, ProcessedClip};
use crate::error::{Error, Result};
use crate::files::content;
use crate::front_end::features::Scale;

/// What a recording became; what the catalogue knows of it stays there alone, so that thousands take little memory.
#[derive(Clone)]
pub(super) struct Recording {
    pub file_xxh3: String,
    pub file_stamp: String,
    pub spectrograms: Vec<Spectrogram>,
    /// Windows that were left out because nothing sounds in them, where it was computed now.
    pub n_silent: usize,
}

#[derive(Clone)]
pub(super) struct Spectrogram {
    pub npy: String,
    pub start_s: f32,
    pub n_mels: usize,
    pub n_frames: usize,
    pub scale: Scale,
}

/// The rows of `metadata.csv` for the recordings there are.
pub(super) fn rows(catalog: &Catalog, recordings: &[Option<Recording>]) -> impl Iterator<Item = ProcessedClip> {
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
            file_xxh3: recording.file_xxh3.clone(),
            file_stamp: recording.file_stamp.clone(),
        })
    })
}

/// The spectrograms an earlier run left.
pub(super) struct Cache {
    /// What each recording became; empty when it was made from another data set or with other settings.
    good: HashMap<String, Recording>,
    /// Every `.npy` the old table lists.
    npys: Vec<String>,
}

impl Cache {
    /// Reads the old table; a damaged one counts as none.
    pub fn open(dir: &Path, origin: &Origin) -> Result<Self> {
        let rows = metadata::read(&dir.join(METADATA_FILE)).unwrap_or_default();
        let npys = rows.iter().map(|row| row.npy.clone()).collect();
        let mut good: HashMap<String, Recording> = HashMap::new();
        if Origin::read(dir).is_ok_and(|old| old.makes_the_same(origin)) {
            for row in rows {
                let ProcessedClip { npy, filename, start_s, n_mels, n_frames, file_xxh3, file_stamp, .. } = row;
                let recording = Recording { file_xxh3, file_stamp, spectrograms: Vec::new(), n_silent: 0 };
                let spectrograms = &mut good.entry(filename).or_insert(recording).spectrograms;
                let scale = Scale { mean_db: row.mean_db, std_db: row.std_db };
                spectrograms.push(Spectrogram { npy, start_s, n_mels, n_frames, scale });
            }
        }
        Ok(Cache { good, npys })
    }

    /// What a recording became, if its file holds what it held and its spectrograms are all there.
    pub fn still_good(&self, dir: &Path, clip: &Clip, path: &Path) -> Option<Recording> {
        let recording = self.good.get(&clip.filename)?;
        let whole = |spectrogram: &Spectrogram| {
            let n_values = spectrogram.n_mels.saturating_mul(spectrogram.n_frames);
            let data_bytes = n_values.saturating_mul(size_of::<f32>()) as u64;
            fs::metadata(dir.join(&spectrogram.npy)).is_ok_and(|npy| npy.len() > data_bytes)
        };
        let file_stamp = content::stamp(path).ok()?;
        let unchanged = content::hash_file(path).is_ok_and(|hash| hash == recording.file_xxh3);
        (unchanged && recording.spectrograms.iter().all(whole)).then(|| Recording { file_stamp, ..recording.clone() })
    }

    /// Removes the spectrograms of recordings that are no longer part of the data set.
    pub fn remove_orphans(&self, dir: &Path, recordings: &[Option<Recording>]) -> Result<()> {
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
