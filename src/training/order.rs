//! The order in which an epoch meets the clips.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Shards that are read side by side. So much is to stay in the system's memory of files; a network on disks that are slow to seek reads it once.
const SHARDS_AT_ONCE: usize = 8;

/// As many clips as there are, of a class in proportion to its number of clips to the power of `1 - balance`; a class gives each of
/// its clips as often as any other of them, or once more.
pub fn balanced(targets: &[usize], num_classes: usize, balance: f64, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let mut classes = vec![Vec::new(); num_classes];
    targets.iter().enumerate().for_each(|(clip, target)| classes[*target].push(clip));
    let weight = |clips: &Vec<usize>| if clips.is_empty() { 0.0 } else { (clips.len() as f64).powf(1.0 - balance) };
    let all: f64 = classes.iter().map(weight).sum();
    let mut order = Vec::with_capacity(targets.len());
    let mut due = 0.0;
    for clips in &mut classes {
        // Rounded so that the sum of all is whole.
        due += targets.len() as f64 * weight(clips) / all.max(1.0);
        let n = (due.round() as usize).saturating_sub(order.len());
        clips.shuffle(rng);
        order.extend(clips.iter().cycle().take(n));
    }
    order
}

/// Which shard each clip lies in; clips in files of their own in none.
pub struct Shards {
    of_clip: Vec<Option<u32>>,
    n: usize,
}

impl Shards {
    /// `None` where there are so few that all are read side by side.
    pub fn new(of_clip: Vec<Option<u32>>) -> Option<Self> {
        let n = of_clip.iter().flatten().max().map_or(0, |last| *last as usize + 1);
        (n > SHARDS_AT_ONCE).then_some(Shards { of_clip, n })
    }

    /// Brings a shuffled order into one that reads a few shards at a time, as chance has put them together, each once: within those the order stays
    /// as it was. A shard holds clips as chance had them when it was written, so a few are much like all.
    pub fn group(&self, order: &mut [usize], rng: &mut Xoshiro256PlusPlus) {
        let n_groups = self.n.div_ceil(SHARDS_AT_ONCE);
        let mut groups: Vec<usize> = (0..self.n).map(|place| place * n_groups / self.n).collect();
        groups.shuffle(rng);
        order.sort_by_cached_key(|clip| match self.of_clip[*clip] {
            Some(shard) => groups[shard as usize],
            None => rng.random_range(0..n_groups),
        });
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn rare_classes_are_met_more_often_and_an_epoch_is_as_long_as_ever() {
        let targets: Vec<usize> = [vec![0; 90], vec![1; 10]].concat();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut counts = |balance: f64| {
            let order = balanced(&targets, 3, balance, &mut rng);
            let rare: Vec<usize> = order.iter().copied().filter(|clip| targets[*clip] == 1).collect();
            // Each of its clips as often as any other, or once more.
            let each: Vec<usize> = (90..100).map(|clip| rare.iter().filter(|one| **one == clip).count()).collect();
            assert!(each.iter().max().unwrap() - each.iter().min().unwrap() <= 1, "{each:?}");
            (order.len(), rare.len())
        };
        assert_eq!(counts(0.0), (100, 10));
        // In proportion to √90 and √10.
        assert_eq!(counts(0.5), (100, 25));
        assert_eq!(counts(1.0), (100, 50));
    }

    #[test]
    fn every_clip_is_met_once_and_every_shard_in_one_stretch() {
        let n = 20 * 100;
        let of_clip: Vec<Option<u32>> = (0..n).map(|clip| (clip % 21 != 0).then_some(clip as u32 % 20)).collect();
        let shards = Shards::new(of_clip.clone()).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut epoch = || {
            let mut order: Vec<usize> = (0..n).collect();
            order.shuffle(&mut rng);
            shards.group(&mut order, &mut rng);
            order
        };
        let (first, second) = (epoch(), epoch());
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        assert_ne!(first, second);
        for shard in 0..20 {
            let places = first.iter().enumerate().filter(|(_, clip)| of_clip[**clip] == Some(shard));
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            // Three groups of seven shards at most.
            assert!(places[places.len() - 1] - places[0] < n * 7 / 20 + 200, "{shard}");
        }
        assert!(Shards::new((0..64).map(|clip| Some(clip % 8)).collect()).is_none());
        assert!(Shards::new(vec![None; 64]).is_none());
    }
}
