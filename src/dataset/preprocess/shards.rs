//! Many spectrograms to a file: what a data set of very many recordings is kept in.
//!
//! A shard is a 3-D `.npy` of `(spectrograms, n_mels, n_frames)`, which is filled beside its place and renamed into it, and beside it a table of
//! the form of `metadata.csv` that tells what is in it, until that has its rows. So what a run has made is there for the next one however it
//! ended, and for the other processes of this run. A shard is never written to again: what changes comes into a new one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::recording::Recording;
use crate::dataset::catalog::Catalog;
use crate::dataset::metadata::{self, Origin};
use crate::error::{Error, Result};
use crate::files::content::hash_texts;
use crate::files::npy::{STACK_HEADER_LEN, stack_header};
use crate::files::text::Text;
use crate::files::{beside, create_dir};

/// What the names of shards begin with.
const PREFIX: &str = "shard-";
/// Digits of what tells shards of other data or settings apart, and of what tells shards apart.
const TAG: usize = 8;
const NAME: usize = 16;

/// What the shards of an origin begin with: those of another data set or other settings are never taken for them.
pub(super) fn prefix(origin: &Origin) -> String {
    let unfinished = Origin { catalog: None, ..origin.clone() };
    let text = serde_json::to_string(&unfinished).unwrap_or_default();
    format!("{PREFIX}{}-", &hash_texts([text])[..TAG])
}

/// The names in a folder of what belongs to shards, whole and half, and their tables.
pub(super) fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read folder", dir)(error)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.filter(|name| is_of_shard(name.trim_start_matches('.'))).collect())
}

/// Whether a name begins as those that are given here.
fn is_of_shard(name: &str) -> bool {
    let tag = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map_or("", |(tag, _)| tag);
    tag.len() == TAG && tag.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The table beside a shard.
pub(super) fn table_of(npy: &Path) -> PathBuf {
    npy.with_extension("csv")
}

/// Whether a name is that of such a table.
pub(super) fn is_table(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("csv"))
}

/// The shard that a worker is filling.
pub(super) struct ShardWriter {
    dir: PathBuf,
    prefix: String,
    /// The name it has until it is whole, and nobody else's.
    part: PathBuf,
    limit: u64,
    file: Option<BufWriter<File>>,
    shape: (usize, usize),
    n: usize,
}

impl ShardWriter {
    /// For shards of an origin, of about so many MB; of all workers of all processes only one may have this `name`.
    pub fn new(dir: &Path, origin: &Origin, megabytes: usize, name: &str) -> Self {
        let prefix = prefix(origin);
        let part = beside(&dir.join(format!("{prefix}{name}.npy")));
        let limit = megabytes as u64 * 1_000_000;
        ShardWriter { dir: dir.into(), prefix, part, limit, file: None, shape: (0, 0), n: 0 }
    }

    /// Spectrograms in it.
    pub fn len(&self) -> usize {
        self.n
    }

    pub fn is_full(&self) -> bool {
        self.bytes(self.n) >= self.limit
    }

    fn bytes(&self, n: usize) -> u64 {
        (n * self.shape.0 * self.shape.1 * size_of::<f32>()) as u64
    }

    /// Adds a spectrogram, and tells its place.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; [`Error::Features`] when it has another shape than those before it.
    pub fn append(&mut self, spectrogram: &Array2<f32>) -> Result<u32> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                create_dir(&self.dir)?;
                let file = File::create(&self.part).map_err(Error::io("create", &self.part))?;
                (self.shape, self.n) = (spectrogram.dim(), 0);
                let mut file = BufWriter::with_capacity(1 << 20, file);
                file.write_all(&stack_header(0, self.shape)).map_err(Error::io("write", &self.part))?;
                none.insert(file)
            }
        };
        if spectrogram.dim() != self.shape {
            let expected = format!("spectrograms of one shape, {:?}", self.shape);
            return Err(Error::Features {
                path: self.part.clone(),
                expected,
                found: format!("{:?}", spectrogram.dim()),
            });
        }
        for value in spectrogram {
            file.write_all(&value.to_le_bytes()).map_err(Error::io("write", &self.part))?;
        }
        self.n += 1;
        Ok(self.n as u32 - 1)
    }

    /// Takes back all spectrograms from a place on.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn truncate(&mut self, n: usize) -> Result<()> {
        if n < self.n {
            let end = STACK_HEADER_LEN as u64 + self.bytes(n);
            self.n = n;
            if let Some(file) = &mut self.file {
                file.seek(SeekFrom::Start(end)).map_err(Error::io("write", &self.part))?;
            }
        }
        Ok(())
    }

    /// Puts the shard into its place, with a table of the recordings in it, each with its number in the catalogue.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn seal(&mut self, catalog: &Catalog, recordings: &mut [(usize, Recording)]) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        if recordings.is_empty() {
            return fs::remove_file(&self.part).map_err(Error::io("remove", &self.part));
        }
        let end = STACK_HEADER_LEN as u64 + self.bytes(self.n);
        let written = file
            .flush()
            .and_then(|()| file.get_ref().set_len(end))
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(&stack_header(self.n, self.shape)))
            .and_then(|()| file.flush());
        written.map_err(Error::io("write", &self.part))?;
        let texts = recordings
            .iter()
            .flat_map(|(index, recording)| [catalog.clips[*index].filename.clone(), recording.file_xxh3.to_string()]);
        let npy: Text = format!("{}{}.npy", self.prefix, &hash_texts(texts)[..NAME]).into();
        let spectrograms = recordings.iter_mut().flat_map(|(_, recording)| &mut recording.spectrograms);
        spectrograms.for_each(|spectrogram| spectrogram.npy = npy.clone());
        let place = self.dir.join(&*npy);
        fs::rename(&self.part, &place).map_err(Error::io("write", &place))?;
        self.n = 0;
        let rows = recordings.iter().flat_map(|(index, recording)| recording.rows(&catalog.clips[*index]));
        metadata::write(&table_of(&place), rows)
    }
}

impl Drop for ShardWriter {
    fn drop(&mut self) {
        // What was sealed is no longer there, and what cannot be removed is removed by the next run.
        drop(self.file.take());
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::dataset::catalog::Clip;
    use crate::dataset::preprocess::recording::Spectrogram;
    use crate::files::content::hash_bytes;
    use crate::files::npy::read_of_stack;
    use crate::front_end::features::Scale;

    #[test]
    fn what_is_taken_back_is_not_in_it_and_a_megabyte_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let clip = Clip {
            filename: "a.wav".into(),
            fold: 1,
            category: "a".into(),
            target: 0,
            further: Vec::new(),
            esc10: false,
            source: "a".into(),
        };
        let catalog = Catalog { clips: vec![clip], ..Catalog::default() };
        let mut shard = ShardWriter::new(dir.path(), &Origin::new(&Config::default()), 1, "a");
        let of = |value: f32| Array2::from_elem((100, 500), value);
        let rows: Vec<u32> = (0..4).map(|n| shard.append(&of(n as f32)).unwrap()).collect();
        shard.truncate(2).unwrap();
        assert_eq!((rows, shard.append(&of(9.0)).unwrap(), shard.len()), (vec![0, 1, 2, 3], 2, 3));
        assert!(!shard.is_full() && shard.append(&Array2::zeros((500, 100))).is_err());
        shard.append(&of(4.0)).unwrap();
        shard.append(&of(5.0)).unwrap();
        assert!(shard.is_full());
        shard.truncate(3).unwrap();

        let scale = Scale { mean_db: 0.0, std_db: 1.0 };
        let spectrogram = |row| {
            let (npy, values_xxh3) = ("".into(), Default::default());
            Spectrogram { npy, row: Some(row), start_s: 0.0, n_mels: 100, n_frames: 500, scale, values_xxh3 }
        };
        let recording = Recording {
            file_xxh3: hash_bytes(b"a"),
            file_stamp: hash_bytes(b"a"),
            spectrograms: (0..3).map(spectrogram).collect(),
            n_silent: 0,
        };
        let mut held = [(0, recording)];
        shard.seal(&catalog, &mut held).unwrap();
        let path = dir.path().join(&*held[0].1.spectrograms[0].npy);
        assert!(read_of_stack(&path, 3, (100, 500)).is_err());
        let values = [0, 1, 2].map(|index| read_of_stack(&path, index, (100, 500)).unwrap()[[99, 499]]);
        assert_eq!(values, [0.0, 1.0, 9.0]);
        assert_eq!(metadata::read(&table_of(&path)).unwrap().len(), 3);

        // One that nobody needs leaves nothing.
        shard.append(&of(1.0)).unwrap();
        drop(shard);
        assert_eq!(names_in(dir.path()).unwrap().len(), 2);
    }
}
