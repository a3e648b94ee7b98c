//! What was cut from one recording, or spoken by one person, as far as file names tell.
//!
//! A network that has heard a recording knows what was cut from it, too: clips of one source share a fold.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use super::clip::Clip;
use super::walk::{AUDIO_EXTENSIONS, PASSED_OVER_EXTENSIONS, has_extension, stem};
use super::words::listed;

/// What programs that cut recordings call the parts, before their number.
const PARTS: [&str; 11] =
    ["part", "chunk", "segment", "seg", "slice", "split", "piece", "fragment", "excerpt", "window", "cut"];
/// Between the speaker and the number of the take, in the names of Speech Commands.
const NO_HASH: &str = "_nohash_";

/// Clips that their names say are of one recording or speaker.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    /// By file names, two or more in each.
    pub groups: Vec<Vec<String>>,
    /// How names were understood, with the first example of each way.
    pub ways: Vec<String>,
}

/// The clips that their names say belong together, of those that no table gives a source. Known are the names of Speech Commands
/// (`SPEAKER_nohash_TAKE`), of UrbanSound8K (`RECORDING-CLASS-OCCURRENCE-SLICE`, where every name is one and the second number tells the class) and of
/// programs that cut (`rain_part3`, `rain-chunk-03`).
pub(crate) fn of_one(clips: &[Clip]) -> Named {
    of_one_by(clips, |clip| without_extension(&clip.filename))
}

/// The same by another name of each clip.
fn of_one_by<'a>(clips: &'a [Clip], name: impl Fn(&'a Clip) -> &'a str) -> Named {
    let of_itself = || clips.iter().filter(|clip| clip.source.as_str() == source_of(&clip.filename));
    let mut ways: [(&str, BTreeMap<&str, Vec<&Clip>>); 3] = [
        ("takes of one speaker", BTreeMap::new()),
        ("parts of one recording", BTreeMap::new()),
        ("slices of one recording", BTreeMap::new()),
    ];
    let are_slices = are_slices(clips);
    for clip in of_itself() {
        let whole = name(clip);
        let found = match (speaker(whole), whole_of_part(whole)) {
            (Some(speaker), _) => Some((0, speaker)),
            (None, Some(recording)) => Some((1, recording)),
            (None, None) => slice(whole).filter(|_| are_slices).map(|[recording, _]| (2, recording)),
        };
        if let Some((way, source)) = found {
            ways[way].1.entry(source).or_default().push(clip);
        }
    }
    let mut named = Named { groups: Vec::new(), ways: Vec::new() };
    for (way, sources) in ways {
        // Two formats of one take are one source as it is.
        let is_of_several = |group: &Vec<&Clip>| group.iter().any(|clip| clip.source != group[0].source);
        let of_several: Vec<Vec<&Clip>> = sources.into_values().filter(is_of_several).collect();
        if let Some(first) = of_several.first() {
            named.ways.push(format!("{way}, as {}", listed(first.iter().map(|clip| clip.filename.as_str()))));
        }
        let names = |group: Vec<&Clip>| group.into_iter().map(|clip| clip.filename.clone()).collect();
        named.groups.extend(of_several.into_iter().map(names));
    }
    named
}

/// The speaker of `yes/0a7c2a8d_nohash_1`, whatever the word.
fn speaker(whole: &str) -> Option<&str> {
    let (speaker, take) = base(whole).split_once(NO_HASH)?;
    (!speaker.is_empty() && is_number(take)).then_some(speaker)
}

/// The recording that `rain/1_part03` is a part of, with its folder.
fn whole_of_part(whole: &str) -> Option<&str> {
    let is_between = |c: char| matches!(c, '_' | '-' | '.' | ' ');
    let unnumbered = whole.trim_end_matches(|c: char| c.is_ascii_digit());
    if unnumbered.len() == whole.len() {
        return None;
    }
    let before = unnumbered.trim_end_matches(is_between);
    let word = before.rsplit(|c: char| is_between(c) || c == '/').next()?;
    let recording = before.strip_suffix(word)?.strip_suffix(is_between)?.trim_end_matches(is_between);
    let is_part = PARTS.iter().any(|part| word.eq_ignore_ascii_case(part));
    (is_part && !base(recording).is_empty()).then_some(recording)
}

/// The first two numbers of a name of four.
fn slice(whole: &str) -> Option<[&str; 2]> {
    match base(whole).split('-').collect::<Vec<_>>()[..] {
        [recording, class, occurrence, slice] if [recording, class, occurrence, slice].into_iter().all(is_number) => {
            Some([recording, class])
        }
        _ => None,
    }
}

/// Whether all names are of four numbers, of which the second tells the class: no dates, whose first number would be a few years.
fn are_slices(clips: &[Clip]) -> bool {
    let (mut pairs, mut recordings) = (HashSet::new(), HashSet::new());
    for clip in clips {
        let Some([recording, class]) = slice(without_extension(&clip.filename)) else { return false };
        pairs.insert((class, &clip.category));
        recordings.insert(recording);
    }
    let classes: HashSet<_> = pairs.iter().map(|(class, _)| class).collect();
    let categories: HashSet<_> = pairs.iter().map(|(_, category)| category).collect();
    let are_years = recordings.iter().all(|recording| recording.len() == 4);
    pairs.len() == classes.len() && pairs.len() == categories.len() && recordings.len() > classes.len() && !are_years
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}

/// The last part of a path.
fn base(whole: &str) -> &str {
    whole.rsplit_once('/').map_or(whole, |(_, base)| base)
}

/// What stands behind a point is no extension in `rain.00001` or `2024.01.10`.
fn without_extension(filename: &str) -> &str {
    let is_file =
        [&AUDIO_EXTENSIONS[..], &PASSED_OVER_EXTENSIONS].iter().any(|some| has_extension(Path::new(filename), some));
    if is_file { stem(filename) } else { filename }
}

/// The recording a file was cut from by a name as in ESC-50 (`FOLD-RECORDING-TAKE-CLASS`), which no other has; else the file itself.
pub(super) fn source_of(filename: &str) -> &str {
    let whole = without_extension(filename);
    let is_fold = |part: &str| matches!(part.as_bytes(), [b'1'..=b'5']);
    let is_take = |part: &str| matches!(part.as_bytes(), [b'A'..=b'Z']);
    match base(whole).split('-').collect::<Vec<_>>()[..] {
        // Dates and the names of other collections have four parts as well: 2024-05-14-1, 100032-3-0-0.
        [fold, source, take, target] if is_fold(fold) && is_number(source) && is_take(take) && is_number(target) => {
            source
        }
        _ => whole,
    }
}

/// Clips that their names say are of one, and that lie in several folds: how many, and the first group. Where each fold is a folder, parts of a
/// recording are looked for across these folders.
pub(crate) fn across_folds(clips: &[Clip]) -> Option<(usize, Vec<String>)> {
    let fold_of: BTreeMap<&str, u32> = clips.iter().map(|clip| (clip.filename.as_str(), clip.fold)).collect();
    let are_folders = folds_are_folders(clips);
    // One name in two folds: each fold counts anew, and its `1_part1` is of another recording. Speakers and slices of a recording are called by what
    // is theirs everywhere.
    let counts_anew = |group: &[String]| {
        let are_parts = group.iter().all(|name| whole_of_part(below(name, are_folders)).is_some());
        let mut first_of = BTreeMap::new();
        are_parts
            && group.iter().any(|name| {
                let fold = fold_of[name.as_str()];
                *first_of.entry(below(name, are_folders)).or_insert(fold) != fold
            })
    };
    let folds = |group: &[String]| group.iter().map(|name| fold_of[name.as_str()]).collect::<BTreeSet<_>>().len();
    let mut apart = of_one_by(clips, |clip| below(&clip.filename, are_folders)).groups;
    apart.retain(|group| folds(group) > 1 && !(are_folders && counts_anew(group)));
    let n = apart.iter().map(Vec::len).sum();
    apart.into_iter().next().map(|first| (n, first))
}

/// The name of a file in the folder of its fold, if folds are folders.
fn below(filename: &str, are_folders: bool) -> &str {
    let whole = without_extension(filename);
    whole.split_once('/').filter(|_| are_folders).map_or(whole, |(_, below)| below)
}

/// Whether each fold is a folder of its own, which is no class.
fn folds_are_folders(clips: &[Clip]) -> bool {
    let mut folds = BTreeMap::new();
    for clip in clips {
        let top = clip.filename.split_once('/').map(|(top, _)| top).filter(|top| clip.category != *top);
        if top.is_none_or(|top| *folds.entry(top).or_insert(clip.fold) != clip.fold) {
            return false;
        }
    }
    folds.values().collect::<BTreeSet<_>>().len() == folds.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clips(names: &[&str]) -> Vec<Clip> {
        let clip = |name: &&str| Clip {
            filename: (*name).into(),
            fold: 1,
            category: name.split('/').next().unwrap_or_default().into(),
            target: 0,
            further: Vec::new(),
            esc10: false,
            source: source_of(name).into(),
        };
        names.iter().map(clip).collect()
    }

    fn groups(names: &[&str]) -> Vec<Vec<String>> {
        of_one(&clips(names)).groups
    }

    #[test]
    fn takes_of_a_speaker_belong_together_whatever_the_word() {
        let names = [
            "no/0a7c_nohash_0.wav",
            "no/ffff_nohash_0.wav",
            "yes/0a7c_nohash_0.wav",
            "yes/0a7c_nohash_1.wav",
            "yes/nohash_2.wav",
        ];
        assert_eq!(groups(&names), [[names[0], names[2], names[3]]]);
    }

    #[test]
    fn parts_belong_to_the_recording_of_their_folder() {
        for (a, b) in [
            ("rain/a_part1.wav", "rain/a_part12.wav"),
            ("rain/a-chunk-03.flac", "rain/a-chunk-04.flac"),
            ("rain/a.Segment.1.wav", "rain/a.segment.2.wav"),
            ("rain/2024-05-14 cut 1.ogg", "rain/2024-05-14 cut 2.ogg"),
        ] {
            assert_eq!(groups(&[a, b, "snow/a_part1.wav", "rain/b_part1.wav"]), [[a, b]]);
        }
        // A number alone, a word that is the whole name or the end of another, and no number.
        for (a, b) in [
            ("rain/a_1.wav", "rain/a_2.wav"),
            ("rain/part_1.wav", "rain/part_2.wav"),
            ("rain/rampart1.wav", "rain/rampart2.wav"),
            ("rain/a_part.wav", "rain/a_part_.wav"),
            ("rain/take_1.wav", "rain/take_2.wav"),
        ] {
            assert_eq!(groups(&[a, b]), [[""; 0]; 0], "{a}");
        }
    }

    #[test]
    fn slices_belong_together_where_every_name_is_one_and_tells_its_class() {
        let slices = ["dog/100-3-0-0.wav", "dog/100-3-0-1.wav", "dog/55-3-1-0.wav", "siren/7383-8-0-0.wav"];
        assert_eq!(groups(&slices), [[slices[0], slices[1]]]);
        assert_eq!(groups(&[&slices[..], &["dog/other.wav"]].concat()), [[""; 0]; 0]);
        assert_eq!(groups(&[&slices[..], &["siren/8-3-0-0.wav"]].concat()), [[""; 0]; 0]);
        let dates = ["dog/2024-05-14-1.wav", "dog/2024-05-14-2.wav", "cat/2023-06-01-1.wav", "cat/2022-06-02-1.wav"];
        assert_eq!(groups(&dates), [[""; 0]; 0]);
    }

    #[test]
    fn a_source_that_a_table_gives_counts_before_names() {
        let mut given = clips(&["a_part1.wav", "a_part2.wav"]);
        given[1].source = "another day".into();
        assert!(of_one(&given).groups.is_empty());
        assert_eq!(groups(&["rain/a_part1.wav", "rain/a_part1.flac"]), [[""; 0]; 0]);
    }

    #[test]
    fn what_lies_in_several_folds_is_told() {
        let mut given = clips(&["x/a_part1.wav", "x/a_part2.wav", "x/b_part1.wav", "x/b_part2.wav"]);
        assert_eq!(across_folds(&given), None);
        given[3].fold = 2;
        let group = vec!["x/b_part1.wav".to_owned(), "x/b_part2.wav".to_owned()];
        assert_eq!(across_folds(&given), Some((2, group)));
    }

    #[test]
    fn what_lies_in_several_folders_that_are_folds_is_told() {
        let told = |names: &[&str]| {
            let mut given = clips(names);
            for clip in &mut given {
                let (fold, below) = clip.filename.split_once('/').unwrap();
                (clip.fold, clip.category) =
                    (if fold == "train" { 1 } else { 2 }, below.split('/').next().unwrap().into());
            }
            across_folds(&given)
        };
        let apart = ["train/dog/a_part1.wav", "test/dog/a_part2.wav"];
        let beside = ["train/dog/b_part1.wav", "test/cat/b_part2.wav", "test/dog/c.wav"];
        assert_eq!(told(&[&apart[..], &beside].concat()), Some((2, apart.map(String::from).to_vec())));
        assert_eq!(told(&beside), None);
        // The test set counts from 1 again.
        assert_eq!(told(&["train/dog/1_part1.wav", "train/dog/1_part2.wav", "test/dog/1_part1.wav"]), None);
        // Takes of a speaker are told by their names alone, as they are elsewhere.
        let takes = ["train/yes/0a7c_nohash_0.wav", "test/no/0a7c_nohash_0.wav"];
        assert_eq!(told(&takes), Some((2, takes.map(String::from).to_vec())));
        let same = ["train/yes/0a7c_nohash_0.wav", "test/yes/0a7c_nohash_0.wav"];
        assert_eq!(told(&same), Some((2, same.map(String::from).to_vec())));
    }

    #[test]
    fn a_slice_in_two_folders_that_are_folds_is_told_also_under_one_name() {
        let slices = |last: &str| {
            let names = ["fold1/7061-3-0-0.wav", "fold1/7383-3-0-0.wav", "fold1/24074-3-0-3.wav", last];
            let mut given = clips(&names);
            for clip in &mut given {
                clip.fold = if clip.filename.starts_with("fold1") { 1 } else { 2 };
                clip.category = "siren".into();
            }
            across_folds(&given)
        };
        assert_eq!(slices("fold2/74507-3-0-0.wav"), None);
        for last in ["fold2/7383-3-0-1.wav", "fold2/7383-3-0-0.wav"] {
            assert_eq!(slices(last), Some((2, vec!["fold1/7383-3-0-0.wav".into(), last.into()])));
        }
    }
}
