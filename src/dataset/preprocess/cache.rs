//! The spectrograms that an earlier run left, or another process of this one.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rayon::prelude::*;

use super::recording::{Recording, Spectrogram};
use super::shards;
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::metadata::{self, METADATA_FILE, Origin, ProcessedClip};
use crate::dataset::stored::read_values;
use crate::error::{Error, Result};
use crate::files::content;
use crate::files::text::Text;

/// What there is of a data set's spectrograms.
pub(super) struct Cache {
    /// What each recording of the catalogue became, as far as it would become the same now.
    pub recordings: Vec<Option<Recording>>,
    /// Files of spectrograms that may be of no use any more.
    stale: HashSet<Text>,
}

impl Cache {
    /// Reads what is there of a part of the recordings; a damaged table counts as none.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read.
    pub fn open(dir: &Path, origin: &Origin, catalog: &Catalog, part: &[bool]) -> Result<Self> {
        let names = shards::names_in(dir)?;
        let mut stale: HashSet<Text> = names.iter().map(|name| name.as_str().into()).collect();
        let mut recordings: Vec<Option<Recording>> = (0..catalog.clips.len()).map(|_| None).collect();
        let mut places = Places { catalog, next: 0, all: None };
        let is_ours = |index: &usize| part[*index];
        let same = Origin::read(dir).is_ok_and(|old| old.makes_the_same(origin));
        for row in intact(&dir.join(METADATA_FILE)) {
            let place = if same { places.of(&row.filename).filter(is_ours) } else { None };
            match place {
                Some(index) => {
                    let recording = recordings[index].get_or_insert_with(|| Recording::of(&row));
                    recording.spectrograms.push(Spectrogram::of(&row));
                }
                None => _ = stale.insert(row.npy),
            }
        }
        recordings.iter_mut().flatten().for_each(|recording| recording.spectrograms.shrink_to_fit());
        stale.extend(keep_good(dir, catalog, &mut recordings));

        // What the table does not have, a run that did not end may have made.
        let prefix = shards::prefix(origin);
        for table in names.iter().filter(|name| name.starts_with(&prefix) && shards::is_table(name)) {
            let mut found: HashMap<usize, Recording> = HashMap::new();
            for row in intact(&dir.join(table)) {
                let place = places.of(&row.filename).filter(is_ours);
                if let Some(index) = place.filter(|index| recordings[*index].is_none()) {
                    let recording = found.entry(index).or_insert_with(|| Recording::of(&row));
                    recording.spectrograms.push(Spectrogram::of(&row));
                }
            }
            for (index, recording) in found {
                let path = catalog.path(&catalog.clips[index]);
                recordings[index] = still_good(dir, recording, &path).ok();
            }
        }
        Ok(Cache { recordings, stale })
    }

    /// Removes the files that hold no spectrogram of the data set as it is now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn remove_orphans(mut stale: Stale, dir: &Path, recordings: &[Option<Recording>]) -> Result<()> {
        for spectrogram in recordings.iter().flatten().flat_map(|recording| &recording.spectrograms) {
            stale.0.remove(&spectrogram.npy);
        }
        // Tables of shards that were finished meanwhile have their rows in the table of all.
        let tables = shards::names_in(dir)?.into_iter().filter(|name| shards::is_table(name));
        for name in stale.0.into_iter().chain(tables.map(Text::from)) {
            let path = dir.join(&*name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &path)(error)),
                _ => (),
            }
        }
        Ok(())
    }

    /// The recordings, and what may be removed in the end.
    pub fn into_parts(self) -> (Vec<Option<Recording>>, Stale) {
        (self.recordings, Stale(self.stale))
    }
}

/// Files that may be of no use any more.
pub(super) struct Stale(HashSet<Text>);

/// The rows of a table; none of one that is damaged anywhere, which would leave a recording with some of its windows, or is not there.
fn intact(path: &Path) -> impl Iterator<Item = ProcessedClip> {
    // Read twice rather than held: of a million rows that would be much.
    let is_whole = metadata::rows(path).is_ok_and(|mut rows| rows.all(|row| row.is_ok()));
    let rows = if is_whole { metadata::rows(path).ok() } else { None };
    rows.into_iter().flatten().map_while(Result::ok)
}

/// Where recordings stand in the catalogue, whose order tables keep.
struct Places<'a> {
    catalog: &'a Catalog,
    next: usize,
    all: Option<HashMap<&'a str, u32>>,
}

impl Places<'_> {
    fn of(&mut self, filename: &str) -> Option<usize> {
        let is_at = |index: usize| self.catalog.clips.get(index).is_some_and(|clip| clip.filename == filename);
        // A recording may have many rows.
        let near = [self.next, self.next.wrapping_sub(1)].into_iter().find(|index| is_at(*index));
        let place = near.or_else(|| {
            let clips = self.catalog.clips.iter().zip(0..);
            let all = self.all.get_or_insert_with(|| clips.map(|(clip, n)| (clip.filename.as_str(), n)).collect());
            all.get(filename).map(|index| *index as usize)
        });
        self.next = place.map_or(self.next, |index| index + 1);
        place
    }
}

/// Leaves those recordings whose files hold what they held and whose spectrograms are all there, and tells the files of the others.
fn keep_good(dir: &Path, catalog: &Catalog, recordings: &mut [Option<Recording>]) -> Vec<Text> {
    let check = |(clip, recording): (&Clip, &mut Option<Recording>)| match recording.take() {
        None => Vec::new(),
        Some(found) => match still_good(dir, found, &catalog.path(clip)) {
            Ok(good) => {
                *recording = Some(good);
                Vec::new()
            }
            Err(bad) => bad.spectrograms.into_iter().map(|spectrogram| spectrogram.npy).collect(),
        },
    };
    catalog.clips.par_iter().zip(recordings).flat_map_iter(check).collect()
}

/// What a recording became with the stamp that its file has now, or what it was if that is of no use any more.
fn still_good(dir: &Path, recording: Recording, path: &Path) -> Result<Recording, Recording> {
    let whole = |spectrogram: &Spectrogram| {
        let shape = (spectrogram.n_mels as usize, spectrogram.n_frames as usize);
        read_values(&dir.join(&*spectrogram.npy), spectrogram.row, shape, spectrogram.values_xxh3).is_ok()
    };
    let Ok(file_stamp) = content::stamp(path) else { return Err(recording) };
    let unchanged = content::hash_file(path).is_ok_and(|hash| hash == recording.file_xxh3);
    match unchanged && recording.spectrograms.iter().all(whole) {
        true => Ok(Recording { file_stamp, ..recording }),
        false => Err(recording),
    }
}
