//! Cross-validation folds for a data set that comes without: stratified by class, sources kept whole, always the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::clip::Clip;
use crate::error::{Error, Result};
use crate::files::hash::fnv1a;

/// As many as ESC-50 has.
const MAX_FOLDS: usize = 5;
/// A fixed seed: folds belong to the data set, and must not change with a run's seed.
const SEED: u64 = 50;

/// Gives every clip a fold, from 1 to 5, or fewer (at least 2) when the smallest class has fewer sources.
///
/// Every source draws its own order of preference among the folds, from its name alone, and begins in the first. Then, until
/// none can, sources move to the first fold they prefer that makes the classes more even: whose clips of the source's classes
/// stay fewer than those of the fold it leaves. So a source added or removed moves few others (of classes of 10 to 200 single
/// clips, 1 to 3 on average), and the order of the clips and the other classes do not matter.
///
/// Classes whose sources are single clips differ by at most one clip between folds. No class misses a fold, unless it has
/// fewer sources than there are folds, or its sources hold several classes, as recordings with several labels do.
///
/// # Errors
/// [`Error::Dataset`] when all clips come from one source.
pub(super) fn assign(clips: &mut [Clip], root: &Path) -> Result<()> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut class_sources: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (index, clip) in clips.iter().enumerate() {
        members.entry(&clip.source).or_default().push(index);
        for (_, target) in clip.classes() {
            class_sources.entry(target).or_default().insert(&clip.source);
        }
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

    let mut sources: Vec<Source> =
        members.into_iter().map(|(name, clips_of)| Source::new(name, clips_of, clips, num_folds)).collect();
    sources.sort_by_key(|source| source.rank);
    let mut folds = vec![Fold::default(); num_folds];
    for source in &sources {
        folds[source.fold].add(source);
    }
    let mut moved = true;
    while moved {
        moved = false;
        for source in &mut sources {
            let better = source.preferred.iter().copied().find(|&to| source.evens_out(&folds[source.fold], &folds[to]));
            if let Some(to) = better {
                folds[source.fold].remove(source);
                folds[to].add(source);
                source.fold = to;
                moved = true;
            }
        }
    }
    for source in sources {
        for index in source.members {
            clips[index].fold = source.fold as u32 + 1;
        }
    }
    Ok(())
}

/// A recording, all of whose clips share a fold.
struct Source {
    /// Indices of its clips.
    members: Vec<usize>,
    /// Its clips by class.
    of_class: BTreeMap<usize, usize>,
    /// When it is asked to move, drawn from its name.
    rank: u64,
    /// The folds in its own order, drawn from its name.
    preferred: Vec<usize>,
    fold: usize,
}

impl Source {
    fn new(name: &str, members: Vec<usize>, clips: &[Clip], num_folds: usize) -> Self {
        let mut of_class = BTreeMap::new();
        for &index in &members {
            for (_, target) in clips[index].classes() {
                *of_class.entry(target).or_default() += 1;
            }
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED ^ fnv1a(name.as_bytes()));
        let rank = rng.random();
        // Drawn for all folds, so that the first ones keep their order when there are more.
        let drawn: [u64; MAX_FOLDS] = rng.random();
        let mut preferred: Vec<usize> = (0..num_folds).collect();
        preferred.sort_by_key(|&fold| Reverse(drawn[fold]));
        Source { members, of_class, rank, fold: preferred[0], preferred }
    }

    /// Whether a move lowers the sum of squared clips per class and fold; or leaves it, and fills an empty fold.
    fn evens_out(&self, from: &Fold, to: &Fold) -> bool {
        let count = |fold: &Fold, class| fold.of_class.get(class).copied().unwrap_or(0) as i64;
        // a² + b² − (a − n)² − (b + n)² = 2n (a − n − b)
        let gain: i64 =
            self.of_class.iter().map(|(class, &n)| n as i64 * (count(from, class) - n as i64 - count(to, class))).sum();
        gain > 0 || (gain == 0 && to.num_sources == 0 && from.num_sources > 1)
    }
}

/// What a fold holds so far.
#[derive(Clone, Default)]
struct Fold {
    num_sources: usize,
    /// Clips by class.
    of_class: BTreeMap<usize, usize>,
}

impl Fold {
    fn add(&mut self, source: &Source) {
        self.num_sources += 1;
        for (class, n) in &source.of_class {
            *self.of_class.entry(*class).or_default() += n;
        }
    }

    fn remove(&mut self, source: &Source) {
        self.num_sources -= 1;
        for (class, n) in &source.of_class {
            *self.of_class.entry(*class).or_default() -= n;
        }
    }
}
