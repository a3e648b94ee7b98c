//! Embeddings on disk, so that each recording is listened to once by each network.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::listener::Listener;
use crate::distributed::peers::Peers;
use crate::error::{Error, Result};
use crate::files::progress::{Progress, Unit};
use crate::files::{content, npy};
use crate::front_end::features::FEATURE_VERSION;

/// The folder of embeddings beside the spectrograms.
const FOLDER: &str = "embeddings";

/// The version of what lies there. It grows whenever the same recording and network would give other numbers.
const VERSION: u32 = 1;

/// Embeddings of recordings by one network, `(1, embed_dim)` in a `.npy` for each, named by the hash of the recording's bytes.
pub(super) struct Store {
    folder: PathBuf,
    embed_dim: usize,
}

impl Store {
    /// The place for a network's embeddings in a folder of processed data.
    pub fn new(processed_dir: &Path, listener: &Listener) -> Result<Self> {
        let name = format!("v{VERSION}.{FEATURE_VERSION}-{}", &listener.identity()?[..16]);
        Ok(Store { folder: processed_dir.join(FOLDER).join(name), embed_dim: listener.embed_dim() })
    }

    /// The embeddings of recordings, in their order: what is on disk, and the others by listening; none of those that cannot be read, which are
    /// named. The second number is how many were listened to. Of several processes each has its part of them to find or hear, and all have all.
    ///
    /// # Errors
    /// [`Error::Io`] when one is gone or cannot be kept; [`Error::Process`] when another process is gone.
    pub fn of_all(
        &self,
        paths: &[PathBuf],
        listener: &mut Listener,
        peers: &dyn Peers,
    ) -> Result<(Vec<Option<Vec<f32>>>, usize)> {
        let part = peers.part_of(paths.len());
        let mut progress = Progress::new("embed", Unit::Items("recordings"), Some(part.len() as u64));
        let (mut embeddings, mut n_heard) = (Vec::with_capacity(part.len()), 0);
        for path in &paths[part.clone()] {
            let (embedding, is_new) = self.of_one(path, listener)?;
            n_heard += usize::from(is_new);
            embeddings.push(embedding);
            progress.add(1);
        }
        progress.finish();
        // A row begins with whether there is one.
        let as_row = |embedding: Option<Vec<f32>>| match embedding {
            Some(embedding) => [&[1.0], &embedding[..]].concat(),
            None => vec![0.0; 1 + self.embed_dim],
        };
        let rows = peers.rows_of_all(paths.len(), part.start, embeddings.into_iter().map(as_row).collect())?;
        let embeddings = rows.into_iter().map(|row| (row[0] > 0.0).then(|| row[1..].to_vec())).collect();
        Ok((embeddings, peers.count(n_heard)?))
    }

    /// A recording's embedding, and whether it was listened to.
    fn of_one(&self, path: &Path, listener: &mut Listener) -> Result<(Option<Vec<f32>>, bool)> {
        let place = self.folder.join(format!("{}.npy", content::hash_file(path)?));
        // What is damaged is made anew.
        let kept = if place.is_file() { npy::read_f32(&place, Some((1, self.embed_dim))).ok() } else { None };
        if let Some(kept) = kept {
            return Ok((Some(kept.into_iter().collect()), false));
        }
        let embedding = match listener.embedding_of_file(path) {
            Err(error @ Error::Audio { .. }) => {
                println!("left out: {error}");
                return Ok((None, false));
            }
            embedding => embedding?,
        };
        npy::write_f32(&place, &Array2::from_shape_fn((1, embedding.len()), |(_, i)| embedding[i]))?;
        Ok((Some(embedding), true))
    }
}
