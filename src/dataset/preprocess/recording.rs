//! What a recording became, and its rows in `metadata.csv`.

use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::metadata::ProcessedClip;
use crate::files::content::{Digest, ShortDigest};
use crate::files::text::Text;
use crate::front_end::features::Scale;

/// What a recording became; what the catalogue knows of it stays there alone, so that a million take little memory.
pub(super) struct Recording {
    pub file_xxh3: Digest,
    pub file_stamp: Digest,
    pub spectrograms: Vec<Spectrogram>,
    /// Windows that were left out because nothing sounds in them, where it was computed now.
    pub n_silent: usize,
}

pub(super) struct Spectrogram {
    pub npy: Text,
    /// Its place in a shard.
    pub row: Option<u32>,
    pub start_s: f32,
    pub n_mels: u32,
    pub n_frames: u32,
    pub scale: Scale,
    pub values_xxh3: ShortDigest,
}

impl Recording {
    /// One whose spectrograms are still to come.
    pub fn of(row: &ProcessedClip) -> Self {
        let (file_xxh3, file_stamp) = (row.file_xxh3, row.file_stamp);
        // One, as most have: of a million that is much less than the four that a list begins with.
        Recording { file_xxh3, file_stamp, spectrograms: Vec::with_capacity(1), n_silent: 0 }
    }

    /// Its rows in `metadata.csv`.
    pub fn rows(&self, clip: &Clip) -> impl Iterator<Item = ProcessedClip> {
        self.spectrograms.iter().map(|spectrogram| ProcessedClip {
            npy: spectrogram.npy.clone(),
            row: spectrogram.row,
            filename: clip.filename.clone(),
            fold: clip.fold,
            target: clip.target,
            category: clip.category.clone(),
            source: clip.source.clone(),
            start_s: spectrogram.start_s,
            n_mels: spectrogram.n_mels as usize,
            n_frames: spectrogram.n_frames as usize,
            mean_db: spectrogram.scale.mean_db,
            std_db: spectrogram.scale.std_db,
            values_xxh3: spectrogram.values_xxh3,
            file_xxh3: self.file_xxh3,
            file_stamp: self.file_stamp,
        })
    }
}

impl Spectrogram {
    pub fn of(row: &ProcessedClip) -> Self {
        Spectrogram {
            npy: row.npy.clone(),
            row: row.row,
            start_s: row.start_s,
            n_mels: row.n_mels as u32,
            n_frames: row.n_frames as u32,
            scale: Scale { mean_db: row.mean_db, std_db: row.std_db },
            values_xxh3: row.values_xxh3,
        }
    }
}

/// The rows of `metadata.csv` for the recordings there are.
pub(super) fn rows(catalog: &Catalog, recordings: &[Option<Recording>]) -> impl Iterator<Item = ProcessedClip> {
    let present =
        catalog.clips.iter().zip(recordings).filter_map(|(clip, recording)| Some((clip, recording.as_ref()?)));
    present.flat_map(|(clip, recording)| recording.rows(clip))
}
