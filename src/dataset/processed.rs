//! The processed data set: which spectrograms there are, of what.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::config::differences::differences;
use crate::dataset::current::{check_catalog, check_files, check_left_out, read_rows};
use crate::dataset::metadata::{FeatureSettings, METADATA_FILE, Origin, ProcessedClip};
use crate::dataset::stored::Stored;
use crate::error::{Error, Result};
use crate::files::content;
use crate::front_end::features::Spectrogram;

/// The spectrograms that preprocessing left, with labels and folds.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// A row per spectrogram.
    pub clips: Vec<ProcessedClip>,
    /// The data set by name.
    pub name: String,
    /// Class names in the order of their targets.
    pub labels: Vec<String>,
    /// What the spectrograms were made with.
    pub settings: FeatureSettings,
    dir: Arc<Path>,
}

impl Dataset {
    /// Opens the processed folder of the config.
    ///
    /// # Errors
    /// [`Error::StageMissing`] before preprocessing; [`Error::Features`] when the spectrograms were made with other settings
    /// than the config's, from another data set, from recordings or labels that have changed since, or the table contradicts
    /// itself; what reading the data set's own table reports. Where the recordings themselves are gone, the spectrograms stand alone.
    pub fn open(config: &Config) -> Result<Self> {
        let dir = config.data.processed_dir.clone();
        let path = dir.join(METADATA_FILE);
        if !path.exists() {
            return Err(Error::StageMissing { stage: "Preprocess", path });
        }
        let (origin, expected) = (Origin::read(&dir)?, Origin::new(config));
        if origin.data != expected.data {
            return Err(Error::Features { path: dir, expected: expected.data, found: origin.data });
        }
        let settings = origin.settings.clone();
        if settings != expected.settings {
            let (expected, found) = differences(&expected.settings, &settings);
            return Err(Error::Features { path: dir, expected, found });
        }
        if !origin.makes_the_same(&expected) {
            let (expected, found) = ("windows in which something sounds".into(), "silent ones among them".into());
            return Err(Error::Features { path: dir, expected, found });
        }
        let audio_dir = check_catalog(config, origin.catalog.as_deref(), &path)?;
        if let Some(table) = origin.table
            && content::hash_file(&path)? != table
        {
            let (expected, found) = ("the table that preprocessing wrote".into(), "one that was changed since".into());
            return Err(Error::Features { path, expected, found });
        }
        let clips = read_rows(&path)?;
        if let Some(audio_dir) = audio_dir {
            check_files(&clips, &audio_dir, &path)?;
            check_left_out(&origin.left_out, &audio_dir, &path)?;
        }
        let labels = labels_of(&clips).map_err(|found| Error::Features {
            path,
            expected: "targets 0, 1, 2, … with one category each".into(),
            found,
        })?;
        Ok(Dataset { clips, name: config.data.name(), labels, settings, dir: dir.into() })
    }

    /// Reads one spectrogram.
    ///
    /// # Errors
    /// [`Error::Features`] when the file is damaged or has another shape than its row says, [`Error::Io`] when it is gone.
    pub fn spectrogram(&self, index: usize) -> Result<Spectrogram> {
        self.stored(index).read()
    }

    /// Where a spectrogram lies.
    pub(crate) fn stored(&self, index: usize) -> Stored {
        Stored::new(&self.clips[index], &self.dir)
    }

    /// A hash that tells these clips, their labels and their folds from others: results of one do not stand for the other.
    #[cfg(feature = "torch")]
    pub(crate) fn fingerprint(&self, indices: impl IntoIterator<Item = usize>) -> String {
        content::hash_texts(indices.into_iter().flat_map(|index| {
            let ProcessedClip { npy, row, filename, start_s, fold, target, category, source, file_xxh3, .. } =
                &self.clips[index];
            // In which shard a clip lies says nothing of it.
            let name: Cow<str> = match row {
                None => (&**npy).into(),
                Some(_) => format!("{filename} {start_s}").into(),
            };
            // By sources clips are kept back.
            let further =
                [fold.to_string().into(), target.to_string().into(), (&**category).into(), (&**source).into()];
            [name].into_iter().chain(further).chain([file_xxh3.to_string().into()])
        }))
    }

    /// `n` clips of each of three classes in each of five folds.
    #[cfg(test)]
    pub(super) fn of_three_classes(n: usize) -> Dataset {
        use crate::config::ClipConfig;
        use crate::front_end::features::FeatureConfig;

        let mut clips = Vec::new();
        for fold in 1..=5 {
            for target in 0..3 {
                for take in 0..n {
                    clips.push(ProcessedClip {
                        npy: format!("{fold}-{target}-{take}.npy").into(),
                        row: None,
                        filename: format!("{fold}-{target}-{take}.wav"),
                        fold,
                        target,
                        category: format!("class {target}").into(),
                        source: format!("{fold}-{target}").into(),
                        start_s: 0.0,
                        n_mels: 64,
                        n_frames: 313,
                        mean_db: -40.0,
                        std_db: 15.0,
                        values_xxh3: Default::default(),
                        file_xxh3: content::hash_bytes(&[fold as u8, target as u8, take as u8]),
                        file_stamp: content::hash_bytes(b"1"),
                    });
                }
            }
        }
        let labels = labels_of(&clips).unwrap();
        let settings = FeatureSettings::new(&ClipConfig::default(), &FeatureConfig::default());
        Dataset { clips, name: "test".into(), labels, settings, dir: Path::new("").into() }
    }

    /// The table of the clips.
    pub(super) fn table(&self) -> PathBuf {
        self.dir.join(METADATA_FILE)
    }

    /// The folds there are, ascending.
    pub fn folds(&self) -> Vec<u32> {
        let mut folds: Vec<u32> = self.clips.iter().map(|clip| clip.fold).collect();
        folds.sort_unstable();
        folds.dedup();
        folds
    }
}

/// Class names by target, or what contradicts.
fn labels_of(clips: &[ProcessedClip]) -> Result<Vec<String>, String> {
    let num_classes = clips.iter().map(|clip| clip.target.saturating_add(1)).max().unwrap_or(0);
    if num_classes > clips.len() {
        return Err(format!("target {} in a table of {} clips", num_classes - 1, clips.len()));
    }
    let mut labels = vec![None; num_classes];
    for clip in clips {
        match &labels[clip.target] {
            None => labels[clip.target] = Some(clip.category.to_string()),
            Some(label) if **label == *clip.category => (),
            Some(label) => return Err(format!("target {} is {label:?} and {:?}", clip.target, clip.category)),
        }
    }
    let named =
        labels.into_iter().enumerate().map(|(target, label)| label.ok_or(format!("no clip of target {target}")));
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_with_two_names_is_refused() {
        let mut clips = Dataset::of_three_classes(1).clips;
        clips[3].category = "other".into();
        assert!(labels_of(&clips).is_err());
    }
}
