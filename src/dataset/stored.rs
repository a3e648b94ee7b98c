//! Where a spectrogram lies on disk.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::metadata::ProcessedClip;
use crate::error::Result;
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
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`crate::Error::Features`] when the file is damaged or has another shape than its row says, [`crate::Error::Io`] when it is gone.
    pub fn read(&self) -> Result<Spectrogram> {
        let path = self.dir.join(&*self.npy);
        let values = match self.row {
            Some(row) => npy::read_of_stack(&path, row as usize, self.shape)?,
            None => npy::read_f32(&path, Some(self.shape))?,
        };
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
