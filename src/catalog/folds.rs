//! Cross-validation folds for a data set that comes without: stratified by class, sources kept whole, always the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Clip;
use crate::{Error, Result};

/// As many as ESC-50 has.
const MAX_FOLDS: usize = 5;
/// A fixed seed: folds belong to the data set, and must not change with a run's seed.
const SEED: u64 = 50;

/// Gives every clip a fold, from 1 to 5, or fewer when the smallest class has fewer sources.
///
/// Sources are dealt out from the largest to the smallest, in a seeded order among equals, each to the fold that has the
/// fewest clips of its classes so far. So classes whose sources are single clips differ by at most one clip between folds.
///
/// # Errors
/// [`Error::Dataset`] when all clips come from one source.
pub(super) fn assign(clips: &mut [Clip], root: &Path) -> Result<()> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut class_sources: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (index, clip) in clips.iter().enumerate() {
        members.entry(&clip.source).or_default().push(index);
        class_sources.entry(clip.target).or_default().insert(&clip.source);
    }
    if members.len() < 2 {
        return Err(Error::Dataset {
            root: root.to_path_buf(),
            expected: "clips of two recordings or more, to test on one that was not trained on".into(),
            found: format!("{}", members.len()),
            next: "Add recordings, or correct the column `source`.".into(),
        });
    }
    let smallest = class_sources.values().map(BTreeSet::len).min().unwrap_or(0);
    let num_folds = smallest.clamp(2, MAX_FOLDS);

    let mut sources: Vec<Vec<usize>> = members.into_values().collect();
    sources.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(SEED));
    sources.sort_by_key(|source| Reverse(source.len()));

    let mut of_class = vec![BTreeMap::<usize, usize>::new(); num_folds];
    let mut in_fold = vec![0usize; num_folds];
    for source in sources {
        let classes: Vec<usize> = source.iter().map(|&index| clips[index].target).collect();
        let same = |fold: &usize| -> usize { classes.iter().filter_map(|class| of_class[*fold].get(class)).sum() };
        let Some(fold) = (0..num_folds).min_by_key(|fold| (same(fold), in_fold[*fold])) else { continue };
        in_fold[fold] += source.len();
        for class in classes {
            *of_class[fold].entry(class).or_default() += 1;
        }
        for index in source {
            clips[index].fold = fold as u32 + 1;
        }
    }
    Ok(())
}
