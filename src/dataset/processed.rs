//! The processed data set: which spectrograms there are, and how folds split them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::config::differences::differences;
use crate::config::{Config, TrainConfig};
use crate::dataset::acquire;
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::chosen_folds::ChosenFolds;
use crate::dataset::metadata::{self, FeatureSettings, METADATA_FILE, Origin, ProcessedClip};
use crate::dataset::stored::Stored;
use crate::error::{Error, Result};
use crate::files::content::{self, Digest};
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

    /// The folds there are, ascending.
    pub fn folds(&self) -> Vec<u32> {
        let mut folds: Vec<u32> = self.clips.iter().map(|clip| clip.fold).collect();
        folds.sort_unstable();
        folds.dedup();
        folds
    }

    /// Splits the clips by fold; see [`Split`].
    ///
    /// # Errors
    /// [`Error::Config`] when the held-out fold does not exist, [`Error::Features`] when there is no second fold.
    pub fn split(&self, config: &TrainConfig) -> Result<Split> {
        let folds = self.folds();
        let Some(held_out) = ChosenFolds::among(&folds, config)? else {
            let more = if config.choice_fold.is_some() { "three" } else { "two" };
            let (expected, found) = (format!("{more} folds or more"), format!("folds {folds:?}"));
            return Err(Error::Features { path: self.dir.join(METADATA_FILE), expected, found });
        };
        let test_fold = held_out.test_fold;
        let validation_fold = held_out.before.filter(|_| config.validate);
        let is_trained_on = |fold: u32| !held_out.leaves_out(fold) && Some(fold) != validation_fold;
        let in_fold = |fold: Option<u32>| -> Vec<usize> {
            (0..self.clips.len()).filter(|index| Some(self.clips[*index].fold) == fold).collect()
        };
        let (test, validation) = (in_fold(Some(test_fold)), in_fold(validation_fold));
        let candidates = (0..self.clips.len()).filter(|index| is_trained_on(self.clips[*index].fold));
        let share = if validation.is_empty() { config.keep_back } else { 0.0 };
        let (kept_back, candidates) = self.keep_back(candidates.collect(), share, config.seed);
        let train = self.stratified(candidates, config.max_clips, config.seed);
        let calibration = if validation.is_empty() { kept_back } else { validation.clone() };
        let choice_fold = held_out.choice_fold;
        Ok(Split { test_fold, choice_fold, validation_fold, train, validation, calibration, test })
    }

    /// A share of the clips, by whole sources and about evenly from every class, and the rest. No class gives more than half of its clips.
    fn keep_back(&self, candidates: Vec<usize>, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let wanted = (share * candidates.len() as f64).round() as usize;
        if wanted == 0 {
            return (Vec::new(), candidates);
        }
        let mut sources: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut left = vec![0usize; self.labels.len()];
        for &index in &candidates {
            let clip = &self.clips[index];
            sources.entry(&clip.source).or_default().push(index);
            left[clip.target] += 1;
        }
        let of_class = left.clone();
        let mut sources: Vec<Vec<usize>> = sources.into_values().collect();
        sources.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        let mut kept = HashSet::new();
        // Always from the class that has given the smallest share of its own so far.
        while kept.len() < wanted {
            let given = |target: usize| 1.0 - left[target] as f64 / of_class[target] as f64;
            let allowed = |source: &Vec<usize>| {
                source.iter().map(|index| self.clips[*index].target).all(|target| {
                    let of_target = source.iter().filter(|index| self.clips[**index].target == target).count();
                    2 * (left[target] - of_target) >= of_class[target]
                })
            };
            let next = (0..sources.len()).filter(|&place| allowed(&sources[place])).min_by(|&a, &b| {
                let [a, b] = [a, b].map(|place| given(self.clips[sources[place][0]].target));
                a.total_cmp(&b)
            });
            let Some(next) = next else { break };
            for index in sources.swap_remove(next) {
                left[self.clips[index].target] -= 1;
                kept.insert(index);
            }
        }
        candidates.into_iter().partition(|index| kept.contains(index))
    }

    /// The classes of which a split trains on no clip, by name: a network trained on it will hardly ever name them.
    pub fn untrained(&self, split: &Split) -> Vec<String> {
        let trained: HashSet<usize> = split.train.iter().map(|index| self.clips[*index].target).collect();
        let untrained = self.labels.iter().enumerate().filter(|(target, _)| !trained.contains(target));
        untrained.map(|(_, label)| label.clone()).collect()
    }

    /// At most `limit` of the clips, chosen by chance in equal numbers per class as far as a class has them, in table order.
    fn stratified(&self, mut candidates: Vec<usize>, limit: usize, seed: u64) -> Vec<usize> {
        candidates.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        // The n-th clip of every class comes before the (n + 1)-th of any.
        let mut seen = vec![0usize; self.labels.len()];
        let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(candidates.len());
        for index in candidates {
            let target = self.clips[index].target;
            ranked.push((seen[target], index));
            seen[target] += 1;
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut chosen: Vec<usize> = ranked.into_iter().take(limit).map(|(_, index)| index).collect();
        chosen.sort_unstable();
        chosen
    }
}

/// Indices into [`Dataset::clips`]: sets without a common source, but for validation and calibration, which may be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The held-out fold.
    pub test_fold: u32,
    /// The fold that is left out to choose on, if the config names one.
    pub choice_fold: Option<u32>,
    /// The fold watched during training, if one can be spared.
    pub validation_fold: Option<u32>,
    /// Trained on.
    pub train: Vec<usize>,
    /// Watched during training; empty without a validation fold.
    pub validation: Vec<usize>,
    /// Not trained on, and looked at after the last epoch, to learn how sure the network may be: the validation fold, or what
    /// `config.train.keep_back` keeps back.
    pub calibration: Vec<usize>,
    /// Scored once, after training.
    pub test: Vec<usize>,
}

/// A table that an older version left, or that was damaged, is made again like any other feature file.
fn stale(path: &Path, error: Error) -> Error {
    match error {
        Error::Table { line, expected, found, .. } => {
            let line = line.map_or(String::new(), |line| format!(" in line {line}"));
            Error::Features { path: path.into(), expected, found: format!("{found}{line}") }
        }
        other => other,
    }
}

fn read_rows(path: &Path) -> Result<Vec<ProcessedClip>> {
    metadata::read(path).map_err(|error| stale(path, error))
}

/// Refuses spectrograms of a data set that is another one by now: files that were added or taken away, labels and folds that moved.
/// Returns where its recordings lie, if they are there.
fn check_catalog(config: &Config, made_from: Option<&str>, path: &Path) -> Result<Option<PathBuf>> {
    let stale = |expected: String, found: String| Err(Error::Features { path: path.into(), expected, found });
    let Some(made_from) = made_from else {
        return stale("the spectrograms of a whole data set".into(), "those of a run that did not end".into());
    };
    if !acquire::is_there(config) {
        return Ok(None);
    }
    let catalog = acquire::open_catalog(config)?;
    if metadata::fingerprint(&catalog) != made_from {
        let (expected, found) = changed(&catalog, &read_rows(path)?);
        return stale(expected, found);
    }
    Ok(Some(catalog.audio_dir))
}

/// Refuses spectrograms of recordings that have changed since.
fn check_files(clips: &[ProcessedClip], audio_dir: &Path, path: &Path) -> Result<()> {
    // Windows of one recording follow each other.
    let of_recordings = clips.par_chunk_by(|one, next| one.filename == next.filename);
    let changed = of_recordings.map(|windows| -> Result<()> {
        let clip = &windows[0];
        let recording = audio_dir.join(&clip.filename);
        // Only a file that was touched is read.
        let touched = content::stamp(&recording).is_ok_and(|stamp| stamp != clip.file_stamp);
        if touched && content::hash_file(&recording)? != clip.file_xxh3 {
            let expected = format!("the sound that {} holds now", clip.filename);
            return Err(Error::Features { path: path.into(), expected, found: "another one".into() });
        }
        Ok(())
    });
    changed.find_first(Result::is_err).unwrap_or(Ok(()))
}

/// Refuses to go on without recordings that could not be read and are other ones now.
fn check_left_out(left_out: &[(String, Option<Digest>)], audio_dir: &Path, path: &Path) -> Result<()> {
    let changed =
        |(filename, then): &&(String, Option<Digest>)| content::stamp(&audio_dir.join(filename)).ok() != *then;
    match left_out.iter().find(changed) {
        None => Ok(()),
        Some((filename, _)) => Err(Error::Features {
            path: path.into(),
            expected: format!("spectrograms of {filename}, whose file has changed since it could not be read"),
            found: "none".into(),
        }),
    }
}

/// In what the data set as it is differs from the spectrograms of it, as expected and found: files that came or went, else the first
/// clip that moved.
fn changed(catalog: &Catalog, clips: &[ProcessedClip]) -> (String, String) {
    let made: HashMap<&str, &ProcessedClip> = clips.iter().map(|clip| (clip.filename.as_str(), clip)).collect();
    for Clip { filename, category, .. } in &catalog.clips {
        if let Some(row) = made.get(filename.as_str()).filter(|row| row.category != *category) {
            return (format!("{filename} as {category:?}, as the data set has it now"), format!("{:?}", row.category));
        }
    }
    let there: HashSet<&str> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    let added = catalog.clips.iter().filter(|clip| !made.contains_key(clip.filename.as_str())).count();
    let gone = made.keys().filter(|filename| !there.contains(*filename)).count();
    let moved = catalog.clips.iter().filter_map(|clip| Some((clip, made.get(clip.filename.as_str())?)));
    match moved.into_iter().find(|(clip, row)| clip.fold != row.fold) {
        Some((Clip { filename, fold, .. }, row)) if added + gone == 0 => {
            (format!("{filename} in fold {fold}, as the data set has it now"), format!("fold {}", row.fold))
        }
        _ => {
            let expected = format!("the {} recordings of the data set as it is now", catalog.clips.len());
            (expected, format!("those of an earlier one: {gone} are gone since, {added} have no spectrogram"))
        }
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
    use crate::config::ClipConfig;
    use crate::front_end::features::FeatureConfig;

    /// `n` clips of each of three classes in each of five folds.
    fn dataset(n: usize) -> Dataset {
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

    #[test]
    fn the_three_sets_share_no_fold_and_leave_no_clip_out() {
        let dataset = dataset(4);
        let split = dataset.split(&TrainConfig::default()).unwrap();
        let folds = |set: &[usize]| set.iter().map(|index| dataset.clips[*index].fold).collect::<Vec<_>>();
        assert!(folds(&split.test).iter().all(|fold| *fold == 5));
        assert!(folds(&split.validation).iter().all(|fold| *fold == 4));
        assert!(folds(&split.train).iter().all(|fold| *fold <= 3));
        assert_eq!(split.train.len() + split.validation.len() + split.test.len(), dataset.clips.len());
    }

    #[test]
    fn a_limit_takes_the_same_number_of_every_class_and_depends_on_the_seed() {
        let dataset = dataset(8);
        let config = TrainConfig { max_clips: 30, ..Default::default() };
        let train = dataset.split(&config).unwrap().train;
        for target in 0..3 {
            assert_eq!(train.iter().filter(|index| dataset.clips[**index].target == target).count(), 10);
        }
        assert_eq!(train, dataset.split(&config).unwrap().train);
        let other = TrainConfig { seed: 1, ..config };
        assert_ne!(train, dataset.split(&other).unwrap().train);
    }

    #[test]
    fn what_is_kept_back_shares_no_source_with_what_is_trained_on_and_comes_from_every_class() {
        let dataset = dataset(8);
        let config = TrainConfig { validate: false, keep_back: 0.2, max_clips: usize::MAX, ..Default::default() };
        let split = dataset.split(&config).unwrap();
        assert_eq!(split.train.len() + split.calibration.len() + split.test.len(), dataset.clips.len());
        let sources = |set: &[usize]| set.iter().map(|i| dataset.clips[*i].source.clone()).collect::<HashSet<_>>();
        assert!(sources(&split.train).is_disjoint(&sources(&split.calibration)));
        let targets: HashSet<usize> = split.calibration.iter().map(|i| dataset.clips[*i].target).collect();
        // A fifth of 96 clips, in sources of eight.
        assert_eq!((targets.len(), split.calibration.len()), (3, 24));
        assert_eq!(split, dataset.split(&config).unwrap());
        // A validation fold serves by itself, and nothing is kept back without one unless it is asked for.
        let validated = dataset.split(&TrainConfig { validate: true, ..config.clone() }).unwrap();
        assert_eq!((&validated.calibration, validated.train.len()), (&validated.validation, 72));
        assert!(dataset.split(&TrainConfig { keep_back: 0.0, ..config }).unwrap().calibration.is_empty());
    }

    #[test]
    fn no_class_gives_more_than_half_of_its_clips() {
        let mut dataset = dataset(1);
        // Class 0 has one source of four clips in the folds trained on, which it keeps; class 1 two.
        for clip in dataset.clips.iter_mut().filter(|clip| clip.fold < 5 && clip.target < 2) {
            clip.source = if clip.target == 0 { "only".into() } else { format!("half {}", clip.fold % 2).into() };
        }
        let config = TrainConfig { validate: false, keep_back: 0.5, ..Default::default() };
        let split = dataset.split(&config).unwrap();
        let kept = |target| split.calibration.iter().filter(|i| dataset.clips[**i].target == target).count();
        assert_eq!([kept(0), kept(1), kept(2)], [0, 2, 2]);
        // Sources of two classes count in both: the only source of class 0 stays, whatever else it holds.
        for clip in dataset.clips.iter_mut().filter(|clip| clip.fold < 3 && clip.target == 2) {
            clip.source = "only".into();
        }
        let split = dataset.split(&config).unwrap();
        assert!(split.calibration.iter().all(|index| dataset.clips[*index].source != "only"));
    }

    #[test]
    fn a_fold_to_choose_on_is_in_no_part_of_the_split() {
        let dataset = dataset(3);
        for validate in [true, false] {
            let config = TrainConfig { test_fold: Some(1), choice_fold: Some(5), validate, ..Default::default() };
            let split = dataset.split(&config).unwrap();
            let of_split = split.train.iter().chain(&split.validation).chain(&split.calibration).chain(&split.test);
            assert!(of_split.clone().all(|index| dataset.clips[*index].fold != 5) && of_split.count() > 0);
            assert_eq!((split.choice_fold, split.validation_fold), (Some(5), validate.then_some(4)));
        }
    }

    #[test]
    fn a_fold_that_does_not_exist_is_named() {
        let config = TrainConfig { test_fold: Some(6), ..Default::default() };
        let message = dataset(1).split(&config).unwrap_err().to_string();
        assert!(message.contains("train.test_fold should be one of [1, 2, 3, 4, 5]"), "{message}");
    }

    #[test]
    fn a_data_set_of_few_folds_holds_out_its_last_and_validates_only_if_it_can() {
        let few = |n_folds: u32| {
            let mut dataset = dataset(2);
            dataset.clips.retain(|clip| clip.fold <= n_folds);
            dataset.split(&TrainConfig::default())
        };
        assert!(few(1).is_err());
        let two = few(2).unwrap();
        assert_eq!((two.test_fold, two.validation_fold, two.train.len()), (2, None, 6));
        let three = few(3).unwrap();
        assert_eq!((three.test_fold, three.validation_fold, three.train.len()), (3, Some(2), 6));
        let first = TrainConfig { test_fold: Some(1), ..Default::default() };
        assert_eq!(dataset(1).split(&first).unwrap().validation_fold, Some(5));
    }

    #[test]
    fn one_target_with_two_names_is_refused() {
        let mut clips = dataset(1).clips;
        clips[3].category = "other".into();
        assert!(labels_of(&clips).is_err());
    }
}
