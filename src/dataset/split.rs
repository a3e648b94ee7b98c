//! Which clips are trained on, watched, kept back and held out.

use std::collections::{BTreeMap, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::config::TrainConfig;
use crate::dataset::chosen_folds::ChosenFolds;
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};

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

impl Dataset {
    /// Splits the clips by fold; see [`Split`].
    ///
    /// # Errors
    /// [`Error::Config`] when the held-out fold does not exist, [`Error::Features`] when there is no second fold.
    pub fn split(&self, config: &TrainConfig) -> Result<Split> {
        let folds = self.folds();
        let Some(held_out) = ChosenFolds::among(&folds, config)? else {
            let more = if config.choice_fold.is_some() { "three" } else { "two" };
            let (expected, found) = (format!("{more} folds or more"), format!("folds {folds:?}"));
            return Err(Error::Features { path: self.table(), expected, found });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(n: usize) -> Dataset {
        Dataset::of_three_classes(n)
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
}
