//! Folds by name: `train` and `test`, `fold1` to `fold10`, `0` to `4`.

use std::collections::{BTreeMap, BTreeSet};

/// Parts of a data set in the order they are used: trained on, watched, scored.
const PARTS: [&[&str]; 3] = [
    &["train", "training", "development"],
    &["val", "valid", "validation", "dev"],
    &["test", "testing", "eval", "evaluation"],
];
/// Words beside the one that says which part it is, as in `train_set`; also at its end, as in `testset`.
const FILLERS: [&str; 8] = ["set", "data", "dataset", "split", "audio", "wav", "wavs", "files"];
/// Words that a number follows.
const NUMBERED: [&str; 4] = ["fold", "split", "set", "part"];

/// Folds counted from 1 for the names of all folds there are, or `None` where they do not name folds of one kind. The last fold, which is
/// held out unless told otherwise, is `test`; else the highest number.
pub(super) fn numbered<'a>(names: &BTreeSet<&'a str>) -> Option<BTreeMap<&'a str, u32>> {
    let ranks: Option<Vec<(Kind, u64)>> = names.iter().map(|name| rank(name)).collect();
    let ranks = ranks?;
    let one_kind = ranks.windows(2).all(|pair| pair[0].0 == pair[1].0);
    let distinct: BTreeSet<u64> = ranks.iter().map(|(_, rank)| *rank).collect();
    // Two names of one fold, as `train` and `training`, are no folds.
    if !one_kind || distinct.len() != names.len() {
        return None;
    }
    let is_whole = ranks.iter().all(|(kind, rank)| *kind == Kind::Number && *rank > 0);
    let fold = |rank: u64| {
        let place = distinct.iter().position(|other| *other == rank).unwrap_or(0) as u32 + 1;
        // Numbers from 1 stay what they are.
        if is_whole { u32::try_from(rank).unwrap_or(place) } else { place }
    };
    Some(names.iter().copied().zip(ranks.iter().map(|(_, rank)| fold(*rank))).collect())
}

/// Names of folders without what says nothing of which part of a data set each is: words that all have in common, and fillers. The names
/// themselves where that leaves no part: `train_set` and `test_set` are `train` and `test`, as are `Kaggle.audio_train` and `Kaggle.audio_test`.
pub(super) fn plain<'a>(names: &[&'a str]) -> Vec<(&'a str, String)> {
    let words = |name: &str| -> Vec<String> {
        name.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .map(String::from)
            .filter(|word| !word.is_empty())
            .collect()
    };
    let common: BTreeSet<String> = match names {
        [first, others @ ..] if !others.is_empty() => {
            words(first).into_iter().filter(|word| others.iter().all(|other| words(other).contains(word))).collect()
        }
        _ => BTreeSet::new(),
    };
    let is_part = |word: &str| PARTS.iter().any(|names| names.contains(&word));
    let plain = |name: &str| {
        let mut left = words(name);
        left.retain(|word| !common.contains(word) && !FILLERS.contains(&word.as_str()));
        let [word] = &left[..] else { return name.to_owned() };
        let without = FILLERS.iter().filter_map(|filler| word.strip_suffix(filler));
        let part = std::iter::once(word.as_str()).chain(without).find(|word| is_part(word));
        part.map_or_else(|| name.to_owned(), String::from)
    };
    names.iter().map(|name| (*name, plain(name))).collect()
}

/// Whether a folder of this name may be a part of a data set rather than a class. A number alone is a class.
pub(super) fn is_split(name: &str) -> bool {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || "-_ .".contains(c)).to_lowercase();
    PARTS.iter().any(|names| names.contains(&&*plain)) || NUMBERED[..2].contains(&&*plain)
}

/// Whether a part of a data set by this name is the one to train on.
pub(super) fn is_trained_on(name: &str) -> bool {
    PARTS[0].contains(&name)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    NumberedWord,
    Part,
}

fn rank(name: &str) -> Option<(Kind, u64)> {
    let lower = name.trim().to_lowercase();
    let whole = lower.strip_suffix(".0").unwrap_or(&lower);
    if let Ok(number) = whole.parse::<u32>() {
        return Some((Kind::Number, u64::from(number)));
    }
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = word.trim_end_matches(['-', '_', ' ', '.']);
    if let Ok(number) = lower[word.len()..].parse::<u32>() {
        return NUMBERED.contains(&plain).then_some((Kind::NumberedWord, u64::from(number)));
    }
    PARTS.iter().position(|names| names.contains(&&*lower)).map(|part| (Kind::Part, part as u64))
}

/// "train is fold 1, test fold 2", for whoever reads it.
pub(super) fn describe(folds: &BTreeMap<&str, u32>) -> String {
    let mut by_fold: Vec<_> = folds.iter().map(|(name, fold)| (*fold, *name)).collect();
    by_fold.sort_unstable();
    let names: Vec<String> = by_fold.iter().map(|(fold, name)| format!("{name} is fold {fold}")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folds(names: &[&str]) -> Option<Vec<u32>> {
        let found = numbered(&names.iter().copied().collect())?;
        Some(names.iter().map(|name| found[name]).collect())
    }

    #[test]
    fn folds_are_numbered_by_what_their_names_mean() {
        assert_eq!(folds(&["test", "train", "validation"]), Some(vec![3, 1, 2]));
        assert_eq!(folds(&["Train", "TEST"]), Some(vec![1, 2]));
        assert_eq!(folds(&["fold10", "fold2", "fold1"]), Some(vec![3, 2, 1]));
        assert_eq!(folds(&["fold_0", "fold_1"]), Some(vec![1, 2]));
        assert_eq!(folds(&["1.0", "2.0", "5"]), Some(vec![1, 2, 5]));
        assert_eq!(folds(&["0", "1", "4"]), Some(vec![1, 2, 3]));
        assert_eq!(folds(&["train", "test", "dev"]), Some(vec![1, 3, 2]));
        for none in
            [&["train", "training"][..], &["train", "fold1"], &["bark", "test"], &["1", "1.0"], &["-1", "2"], &["1.5"]]
        {
            assert_eq!(folds(none), None, "{none:?}");
        }
    }

    #[test]
    fn names_of_parts_are_told_without_what_stands_beside_them() {
        let plain = |names: &[&str]| plain(names).into_iter().map(|(_, plain)| plain).collect::<Vec<_>>();
        assert_eq!(plain(&["train_set", "TestSet"]), ["train", "test"]);
        assert_eq!(plain(&["Kaggle2018.audio_train", "Kaggle2018.audio_test"]), ["train", "test"]);
        assert_eq!(plain(&["training-data", "validation data", "fold1"]), ["training", "validation", "fold1"]);
        assert_eq!(plain(&["steam train", "test tone", "data"]), ["steam train", "test tone", "data"]);
    }
}
