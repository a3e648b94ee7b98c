//! One labelled sound file, and how classes are numbered.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::text::Text;

/// One labelled sound file.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Path relative to [`Catalog::audio_dir`](super::Catalog::audio_dir), its parts separated by `/`, never leaving that folder.
    pub filename: String,
    /// Cross-validation fold, counted from 1.
    pub fold: u32,
    /// Class name; of a recording with several the first.
    pub category: Text,
    /// Class number of `category`, `0..num_classes`.
    pub target: usize,
    /// What else the recording is, by class name and number; empty where each recording has one class.
    pub further: Vec<(Text, usize)>,
    /// Whether the clip belongs to the ESC-10 subset.
    pub esc10: bool,
    /// The recording the clip was cut from; clips of one source share a fold.
    pub source: Text,
}

impl Clip {
    /// All its classes by name and number, [`Clip::category`] first.
    pub fn classes(&self) -> impl Iterator<Item = (&str, usize)> {
        let further = self.further.iter().map(|(category, target)| (&**category, *target));
        std::iter::once((&*self.category, self.target)).chain(further)
    }

    /// Whether it is of a class.
    pub fn is_of(&self, target: usize) -> bool {
        self.classes().any(|(_, own)| own == target)
    }

    fn renumber(&mut self, number: impl Fn(&str, usize) -> usize) {
        self.target = number(&self.category, self.target);
        self.further.iter_mut().for_each(|(category, target)| *target = number(category, *target));
    }
}

/// Numbers the classes `0..num_classes`, in the order of the numbers they have.
pub(super) fn number_from_zero(clips: &mut [Clip]) {
    let targets: BTreeSet<usize> = clips.iter().flat_map(|clip| clip.classes().map(|(_, target)| target)).collect();
    let rank: BTreeMap<usize, usize> = targets.into_iter().zip(0..).collect();
    clips.iter_mut().for_each(|clip| clip.renumber(|_, target| rank[&target]));
}

/// Numbers the classes `0..num_classes` in alphabetical order, numbers in their names by value: 2 comes before 10.
pub(super) fn number_by_name(clips: &mut [Clip]) {
    let names: BTreeSet<&str> = clips.iter().flat_map(|clip| clip.classes().map(|(name, _)| name)).collect();
    let mut names: Vec<String> = names.into_iter().map(String::from).collect();
    // Stable: what is equal by value, as 1 and 01, stays in alphabetical order.
    names.sort_by_cached_key(|name| natural(name));
    let rank: BTreeMap<String, usize> = names.into_iter().zip(0..).collect();
    clips.iter_mut().for_each(|clip| clip.renumber(|name, _| rank[name]));
}

/// A name as text and the numbers in it, longer ones than any that is meant as one by their digits.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![(String::new(), 0)];
    let mut rest = name;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - start);
        let number = rest[start..start + digits].parse().unwrap_or(u64::MAX);
        parts.push((rest[..start].to_owned(), number));
        rest = &rest[start + digits..];
    }
    parts.push((rest.to_owned(), 0));
    parts
}
