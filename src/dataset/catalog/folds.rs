//! Cross-validation folds for a data set that comes without: stratified by class, sources kept whole, always the same.

use std::cmp::Reverse;
use std::collections::BTreeMap;
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
    // Numbers of clips, those of a source together, sources by name.
    let mut by_source: Vec<u32> = (0..clips.len() as u32).collect();
    by_source.sort_by(|a, b| clips[*a as usize].source.cmp(&clips[*b as usize].source));
    let runs = by_source.chunk_by(|a, b| clips[*a as usize].source == clips[*b as usize].source);
    let mut counts = Counts::default();
    let mut n_sources: BTreeMap<usize, usize> = BTreeMap::new();
    for members in runs.clone() {
        counts.of(members, clips).iter().for_each(|(class, _)| *n_sources.entry(*class).or_default() += 1);
    }
    if runs.clone().nth(1).is_none() {
        return Err(Error::Dataset {
            root: root.to_path_buf(),
            expected: "clips of two recordings or more, to test on one that was not trained on".into(),
            found: format!("{}", runs.count()),
            next: "Add recordings, or correct the column `source`.".into(),
        });
    }
    let num_folds = n_sources.values().min().copied().unwrap_or(0).clamp(2, MAX_FOLDS);

    let mut sources: Vec<Source> =
        runs.map(|members| Source::new(&clips[members[0] as usize].source, members, num_folds)).collect();
    sources.sort_by_key(|source| source.rank);
    let mut folds = vec![Fold::default(); num_folds];
    for source in &sources {
        folds[usize::from(source.fold)].add(counts.of(source.members, clips));
    }
    let mut moved = true;
    while moved {
        moved = false;
        for source in &mut sources {
            let (of_class, from) = (counts.of(source.members, clips), usize::from(source.fold));
            let mut preferred = source.preferred[..num_folds].iter().map(|fold| usize::from(*fold));
            if let Some(to) = preferred.find(|&to| evens_out(of_class, &folds[from], &folds[to])) {
                folds[from].remove(of_class);
                folds[to].add(of_class);
                source.fold = to as u8;
                moved = true;
            }
        }
    }
    let places: Vec<(u32, u8)> =
        sources.iter().flat_map(|source| source.members.iter().map(|member| (*member, source.fold))).collect();
    for (clip, fold) in places {
        clips[clip as usize].fold = u32::from(fold) + 1;
    }
    Ok(())
}

/// Clips by class, counted anew for whoever asks: of a million sources that would be much to keep.
#[derive(Default)]
struct Counts(Vec<(usize, usize)>);

impl Counts {
    /// Classes of some clips, each with how many of them are of it.
    fn of(&mut self, members: &[u32], clips: &[Clip]) -> &[(usize, usize)] {
        self.0.clear();
        for (_, target) in members.iter().flat_map(|member| clips[*member as usize].classes()) {
            match self.0.iter_mut().find(|(class, _)| *class == target) {
                Some((_, n)) => *n += 1,
                None => self.0.push((target, 1)),
            }
        }
        &self.0
    }
}

/// A recording, all of whose clips share a fold.
struct Source<'a> {
    /// Numbers of its clips.
    members: &'a [u32],
    /// When it is asked to move, drawn from its name.
    rank: u64,
    /// The folds in its own order, drawn from its name.
    preferred: [u8; MAX_FOLDS],
    fold: u8,
}

impl<'a> Source<'a> {
    fn new(name: &str, members: &'a [u32], num_folds: usize) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED ^ fnv1a(name.as_bytes()));
        let rank = rng.random();
        // Drawn for all folds, so that the first ones keep their order when there are more.
        let drawn: [u64; MAX_FOLDS] = rng.random();
        let mut preferred = [0, 1, 2, 3, 4];
        preferred[..num_folds].sort_by_key(|&fold| Reverse(drawn[usize::from(fold)]));
        Source { members, rank, fold: preferred[0], preferred }
    }
}

/// Whether a move of a source lowers the sum of squared clips per class and fold; or leaves it, and fills an empty fold.
fn evens_out(of_class: &[(usize, usize)], from: &Fold, to: &Fold) -> bool {
    let count = |fold: &Fold, class| fold.of_class.get(class).copied().unwrap_or(0) as i64;
    // a² + b² − (a − n)² − (b + n)² = 2n (a − n − b)
    let gain: i64 =
        of_class.iter().map(|(class, n)| *n as i64 * (count(from, class) - *n as i64 - count(to, class))).sum();
    gain > 0 || (gain == 0 && to.num_sources == 0 && from.num_sources > 1)
}

/// What a fold holds so far.
#[derive(Clone, Default)]
struct Fold {
    num_sources: usize,
    /// Clips by class.
    of_class: BTreeMap<usize, usize>,
}

impl Fold {
    fn add(&mut self, of_class: &[(usize, usize)]) {
        self.num_sources += 1;
        for (class, n) in of_class {
            *self.of_class.entry(*class).or_default() += n;
        }
    }

    fn remove(&mut self, of_class: &[(usize, usize)]) {
        self.num_sources -= 1;
        for (class, n) in of_class {
            *self.of_class.entry(*class).or_default() -= n;
        }
    }
}
