//! Where a spectrogram lies on disk.

use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;

use crate::dataset::metadata::ProcessedClip;
use crate::error::{Error, Result};
use crate::files::content::ShortDigest;
use crate::files::npy;
use crate::files::text::Text;
use crate::front_end::features::{Scale, Spectrogram};

/// A spectrogram that is read when it is wanted; its row of the table is not needed for that.
#[derive(Clone, Debug)]
pub struct Stored {
    dir: Arc<Path>,
    npy: Text,
    row: Option<u32>,
    shape: (usize, usize),
    scale: Scale,
    values_xxh3: ShortDigest,
}

impl Stored {
    /// That of a row, in the processed folder.
    pub fn new(clip: &ProcessedClip, dir: &Arc<Path>) -> Self {
        Stored {
            dir: Arc::clone(dir),
            npy: clip.npy.clone(),
            row: clip.row,
            shape: (clip.n_mels, clip.n_frames),
            scale: Scale { mean_db: clip.mean_db, std_db: clip.std_db },
            values_xxh3: clip.values_xxh3,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Features`] when the file is damaged, or has another shape or other values than its row says; [`Error::Io`] when it is gone.
    pub fn read(&self) -> Result<Spectrogram> {
        let values = read_values(&self.dir.join(&*self.npy), self.row, self.shape, self.values_xxh3)?;
        Ok(Spectrogram { values, scale: self.scale })
    }

    /// `(n_mels, n_frames)`.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// What its values take in memory.
    pub fn n_bytes(&self) -> usize {
        self.shape.0 * self.shape.1 * size_of::<f32>()
    }

    /// The shard it lies in, where it has no file of its own.
    pub fn shard(&self) -> Option<&Text> {
        self.row.is_some().then_some(&self.npy)
    }
}

/// Reads the values of a spectrogram of `shape`, `(n_mels, n_frames)`: all of a file, or one row of a shard.
///
/// # Errors
/// As [`Stored::read`].
pub(super) fn read_values(
    path: &Path,
    row: Option<u32>,
    shape: (usize, usize),
    values_xxh3: ShortDigest,
) -> Result<Array2<f32>> {
    let values = match row {
        Some(row) => npy::read_of_stack(path, row as usize, shape)?,
        None => npy::read_f32(path, Some(shape))?,
    };
    // One under the name of another would be learned with its label.
    if ShortDigest::of_array(&values) != values_xxh3 {
        let (expected, found) = ("the values that preprocessing wrote".into(), "other ones".into());
        return Err(Error::Features { path: path.into(), expected, found });
    }
    Ok(values)
}
