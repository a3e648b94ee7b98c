//! Sources that turn out to be one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::clip::Clip;
use crate::files::text::Text;

/// Takes each group of clips, by name, for clips of one source, named by the first of theirs. A group that would leave a class with a single source
/// stays as it is. Returns those that were put together.
pub(super) fn join(clips: &mut [Clip], groups: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut sources = Sources::of(clips, &groups);
    let together = groups.into_iter().filter(|group| sources.join(group)).collect();
    for (name, members) in sources.members {
        members.into_iter().for_each(|clip| clips[clip].source = name.clone());
    }
    together
}

/// The sources that groups are about, and how many there are of each class, so that a group costs what is in it.
struct Sources {
    /// The source of each clip of a group, by the clip's name; another, where that was joined to it.
    of_clip: HashMap<String, Text>,
    /// Which source a source was joined to.
    joined_to: HashMap<Text, Text>,
    /// Clips of each source, by number.
    members: BTreeMap<Text, Vec<usize>>,
    /// Classes of each source.
    classes: HashMap<Text, BTreeSet<usize>>,
    /// How many sources each class has.
    n_sources: HashMap<usize, usize>,
}

impl Sources {
    fn of(clips: &[Clip], groups: &[Vec<String>]) -> Self {
        let named: HashSet<&str> = groups.iter().flatten().map(String::as_str).collect();
        let of_group = clips.iter().filter(|clip| named.contains(clip.filename.as_str()));
        let of_clip: HashMap<String, Text> =
            of_group.map(|clip| (clip.filename.clone(), clip.source.clone())).collect();
        let touched: HashSet<&Text> = of_clip.values().collect();
        let (mut members, mut classes) = (BTreeMap::new(), HashMap::new());
        for (number, clip) in clips.iter().enumerate().filter(|(_, clip)| touched.contains(&clip.source)) {
            members.entry(clip.source.clone()).or_insert_with(Vec::new).push(number);
            let of_source: &mut BTreeSet<usize> = classes.entry(clip.source.clone()).or_default();
            of_source.extend(clip.classes().map(|(_, target)| target));
        }
        let mut all: HashSet<(usize, &Text)> = HashSet::new();
        let mut n_sources = HashMap::new();
        for clip in clips {
            for (_, target) in clip.classes() {
                if all.insert((target, &clip.source)) {
                    *n_sources.entry(target).or_default() += 1;
                }
            }
        }
        Sources { of_clip, joined_to: HashMap::new(), members, classes, n_sources }
    }

    /// What a source is called by now.
    fn name(&self, source: &Text) -> Text {
        let mut name = source;
        while let Some(other) = self.joined_to.get(name) {
            name = other;
        }
        name.clone()
    }

    /// Joins the sources of a group's clips, where each class keeps two or had but one. Returns whether it did.
    fn join(&mut self, group: &[String]) -> bool {
        let sources: BTreeSet<Text> =
            group.iter().filter_map(|clip| self.of_clip.get(clip)).map(|source| self.name(source)).collect();
        let Some(name) = sources.first().filter(|_| sources.len() > 1) else { return false };
        let mut fewer: BTreeMap<usize, usize> = BTreeMap::new();
        for class in sources.iter().filter_map(|source| self.classes.get(source)).flatten() {
            *fewer.entry(*class).or_default() += 1;
        }
        let n_of = |class: &usize| self.n_sources.get(class).copied().unwrap_or_default();
        if fewer.iter().any(|(class, n)| n_of(class) >= 2 && n_of(class) - (n - 1) < 2) {
            return false;
        }
        for (class, n) in fewer {
            *self.n_sources.entry(class).or_default() -= n - 1;
        }
        for source in sources.iter().skip(1) {
            let (members, classes) = (self.members.remove(source), self.classes.remove(source));
            self.members.entry(name.clone()).or_default().extend(members.into_iter().flatten());
            self.classes.entry(name.clone()).or_default().extend(classes.into_iter().flatten());
            self.joined_to.insert(source.clone(), name.clone());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// The same by going over all clips for each group.
    fn join_slowly(clips: &mut [Clip], groups: Vec<Vec<String>>) -> Vec<Vec<String>> {
        let mut together = Vec::new();
        for group in groups {
            let of_group = clips.iter().filter(|clip| group.contains(&clip.filename));
            let joined: BTreeSet<Text> = of_group.map(|clip| clip.source.clone()).collect();
            let Some(name) = joined.first().cloned() else { continue };
            let name_of = |clip: &Clip| if joined.contains(&clip.source) { name.clone() } else { clip.source.clone() };
            let sources = |of: &dyn Fn(&Clip) -> Text, target: usize| -> usize {
                let of_class = clips.iter().filter(|clip| clip.is_of(target));
                of_class.map(of).collect::<BTreeSet<_>>().len()
            };
            let of_group = clips.iter().filter(|clip| joined.contains(&clip.source));
            let touched: BTreeSet<usize> = of_group.flat_map(|clip| clip.classes().map(|(_, target)| target)).collect();
            let leaves_one =
                |target: &usize| sources(&name_of, *target) < 2 && sources(&|clip| clip.source.clone(), *target) >= 2;
            if joined.len() < 2 || touched.iter().any(leaves_one) {
                continue;
            }
            clips.iter_mut().filter(|clip| joined.contains(&clip.source)).for_each(|clip| clip.source = name.clone());
            together.push(group);
        }
        together
    }

    #[test]
    fn sources_are_joined_as_by_going_over_all_clips() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let (mut joined, mut refused) = (0, 0);
        for _ in 0..400 {
            let (n, n_sources) = (rng.random_range(2..30), rng.random_range(2..12));
            let clip = |number: usize, rng: &mut Xoshiro256PlusPlus| Clip {
                filename: format!("{number}.wav"),
                fold: 1,
                category: "".into(),
                target: rng.random_range(0..3),
                further: if rng.random_bool(0.2) { vec![("more".into(), rng.random_range(0..3))] } else { Vec::new() },
                esc10: false,
                source: format!("s{}", rng.random_range(0..n_sources)).into(),
            };
            let clips: Vec<Clip> = (0..n).map(|number| clip(number, &mut rng)).collect();
            // Names that no clip has, clips in several groups and twice in one.
            let name = |rng: &mut Xoshiro256PlusPlus| format!("{}.wav", rng.random_range(0..n + 2));
            let groups: Vec<Vec<String>> = (0..rng.random_range(0..8))
                .map(|_| (0..rng.random_range(1..5)).map(|_| name(&mut rng)).collect())
                .collect();
            let (mut fast, mut slow) = (clips.clone(), clips);
            let found = join(&mut fast, groups.clone());
            assert_eq!(found, join_slowly(&mut slow, groups.clone()));
            let sources = |clips: &[Clip]| clips.iter().map(|clip| clip.source.clone()).collect::<Vec<_>>();
            assert_eq!(sources(&fast), sources(&slow));
            (joined, refused) = (joined + found.len(), refused + groups.len() - found.len());
        }
        assert!(joined > 100 && refused > 100, "{joined} joined, {refused} not");
    }
}
