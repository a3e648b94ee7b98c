//! Embeddings on disk, so that each recording is listened to once by each network.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::listener::Listener;
use crate::distributed::peers::Peers;
use crate::error::{Error, Result};
use crate::files::content::{Digest, Hashing};
use crate::files::progress::{Progress, Unit};
use crate::files::{content, npy};
use crate::front_end::features::FEATURE_VERSION;

/// The folder of embeddings beside the spectrograms.
const FOLDER: &str = "embeddings";

/// The version of what lies there. It grows whenever the same recording and network would give other numbers.
const VERSION: u32 = 2;

/// Embeddings of recordings by one network, `(1, embed_dim + 1)` in a `.npy` for each, named by the hash of the recording's bytes. The last
/// number is the rest of a hash of the recording and the embedding: one that was damaged, or stands under another's name, counts as none.
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
        let recording = content::hash_file(path)?;
        let place = self.folder.join(format!("{recording}.npy"));
        // What is damaged is made anew.
        let kept = if place.is_file() { npy::read_f32(&place, Some((1, self.embed_dim + 1))).ok() } else { None };
        let kept = kept.map(|row| row.into_iter().collect::<Vec<f32>>());
        if let Some((hash, kept)) = kept.as_deref().and_then(<[f32]>::split_last)
            && *hash == hash_of(recording, kept)
        {
            return Ok((Some(kept.to_vec()), false));
        }
        let embedding = match listener.embedding_of_file(path) {
            Err(error @ Error::Audio { .. }) => {
                println!("left out: {error}");
                return Ok((None, false));
            }
            embedding => embedding?,
        };
        let row = [&embedding[..], &[hash_of(recording, &embedding)]].concat();
        npy::write_f32(&place, &Array2::from_shape_fn((1, row.len()), |(_, i)| row[i]))?;
        Ok((Some(embedding), true))
    }
}

/// Of a recording and its embedding; a whole number.
fn hash_of(recording: Digest, embedding: &[f32]) -> f32 {
    let mut hashing = Hashing::default();
    hashing.take(recording.to_string().as_bytes());
    embedding.iter().for_each(|number| hashing.take(&number.to_le_bytes()));
    hashing.digest().as_float()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tch::Device;

    use super::*;
    use crate::distributed::peers::Alone;
    use crate::front_end::audio::{Waveform, write_wav};
    use crate::results::predict::RELEASED;

    #[test]
    fn an_embedding_under_anothers_name_is_made_anew_and_so_is_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut listener = Listener::open(RELEASED, Device::Cpu).unwrap();
        let paths = [440.0, 900.0].map(|hz| dir.path().join(format!("{hz}.wav")));
        for (path, hz) in paths.iter().zip([440.0, 900.0]) {
            let samples = (0..16_000).map(|i| 0.3 * (i as f32 * hz * 4e-4).sin()).collect();
            write_wav(path, &Waveform { samples, sample_rate: 16_000 }).unwrap();
        }
        let store = Store::new(dir.path(), &listener).unwrap();
        let mut heard = || store.of_all(&paths, &mut listener, &Alone).unwrap();
        let (first, n) = heard();
        assert_eq!((n, heard()), (2, (first.clone(), 0)));
        let mut kept: Vec<_> = fs::read_dir(&store.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        kept.sort();
        let whole = fs::read(&kept[0]).unwrap();
        fs::copy(&kept[1], &kept[0]).unwrap();
        assert_eq!(heard(), (first.clone(), 1));
        let mut damaged = whole.clone();
        damaged[whole.len() - 9] ^= 1;
        fs::write(&kept[0], damaged).unwrap();
        assert_eq!(heard(), (first, 1));
        assert_eq!(fs::read(&kept[0]).unwrap(), whole);
    }
}
