//! What is wrong with a data set, or may be, before anything is trained on it.

mod finding;
mod tell_tales;

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use crate::dataset::catalog::Catalog;
use crate::dataset::copies::{self, Copies, Copy};
use crate::dataset::measure::Measured;

pub use finding::{Finding, Severity};

use finding::finding;
use tell_tales::tell_tales;

/// Of equal recordings, silent ones and the like so many are named.
const NAMED: usize = 4;
/// From this share of its samples on, a recording counts as clipped, and from this share of its level on its offset is told.
const CLIPPED: f64 = 0.001;
const OFFSET: f64 = 0.1;
/// Fewer clips than this of a class are few.
const FEW: usize = 5;
/// The largest class over the smallest that is told.
const UNEVEN: f64 = 3.0;
/// What programs write into a table where there is no value, in lower case.
const NO_LABELS: [&str; 6] = ["nan", "na", "n/a", "#n/a", "null", "none"];

/// What a look at every recording of a data set found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkup {
    /// Recordings looked at.
    pub n_clips: usize,
    /// The worst first; empty where all is well.
    pub findings: Vec<Finding>,
}

/// Looks at every recording, its class and its fold. Nothing is changed.
///
/// Every file is read, on all cores; one that cannot be read is a finding.
pub fn checkup(catalog: &Catalog) -> Checkup {
    let (measured, prints) = copies::look(catalog);
    let Copies { pairs, by_samples_alone } = copies::among(&measured, prints);
    let mut findings = copied(catalog, &pairs);
    if by_samples_alone {
        findings.push(finding(
            Severity::Note,
            "so much sound that copies were looked for by their very samples alone",
            "Copies that are louder, in another format or cut from the same place are not among those above.",
            "Where there may be some, name in a column `source` what belongs together.",
        ));
    }
    findings.extend(classes(catalog, &measured));
    // Whether a class goes with a rate or a length is a question of one class a recording.
    if !catalog.is_multi_label() {
        findings.extend(tell_tales(catalog, &measured));
    }
    findings.extend(recordings(catalog, &measured));
    // Stable: in the order above where they weigh the same.
    findings.sort_by_key(|finding| finding.severity);
    Checkup { n_clips: catalog.clips.len(), findings }
}

/// The first few names, and how many more there are.
fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED { format!("{first} and {} more", names.len() - NAMED) } else { first }
}

/// Recordings that hold the same sound.
fn copied(catalog: &Catalog, copies: &[Copy]) -> Vec<Finding> {
    let of = |fits: &dyn Fn(&Copy) -> bool| -> Vec<String> {
        let pair = |copy: &Copy| {
            let [a, b] = [copy.clips.0, copy.clips.1].map(|clip| &catalog.clips[clip]);
            format!(
                "{} (fold {}, {}) and {} (fold {}, {})",
                a.filename, a.fold, a.category, b.filename, b.fold, b.category
            )
        };
        copies.iter().filter(|copy| fits(copy)).map(pair).collect()
    };
    let differ = |copy: &Copy, by_fold: bool| {
        let (a, b) = (&catalog.clips[copy.clips.0], &catalog.clips[copy.clips.1]);
        if by_fold { a.fold != b.fold } else { a.target != b.target }
    };
    let (across, labels) = (of(&|copy| differ(copy, true)), of(&|copy| differ(copy, false)));
    // Takes of one recording are known to be alike.
    let of_one_source = |copy: &Copy| catalog.clips[copy.clips.0].source == catalog.clips[copy.clips.1].source;
    let is_within = |copy: &Copy| !differ(copy, true) && !differ(copy, false) && !of_one_source(copy);
    let (within, mut found) = (of(&is_within), Vec::new());
    let list = |pairs: &[String]| format!("{}: {}", pairs.len(), named(pairs.iter().map(String::as_str)));
    if !across.is_empty() {
        found.push(finding(
            Severity::Serious,
            format!("pairs of recordings in different folds that hold the same sound, {}", list(&across)),
            "The network is examined on what it was trained on: the score flatters it.",
            "Remove one of each pair, or give both the same name in a column `source` and leave out the column `fold`.",
        ));
    }
    if let Some((n, group)) = catalog.apart_by_name() {
        found.push(finding(
            Severity::Serious,
            format!(
                "{n} recordings in other folds than some that they share a recording or speaker with by their names: {}",
                named(group.iter().map(String::as_str))
            ),
            "The network is examined on what it was trained on, or as good as: the score flatters it.",
            match catalog.folds_made {
                true => "Add recordings of other occasions: a class would have a single source.",
                false => "Leave out the folds: those made here keep such recordings together.",
            },
        ));
    }
    if !labels.is_empty() {
        found.push(finding(
            Severity::Serious,
            format!("pairs of recordings of different classes that hold the same sound, {}", list(&labels)),
            "One of the two labels is wrong, or both classes are heard at once.",
            "Listen to them, and keep one of each pair.",
        ));
    }
    if !within.is_empty() {
        found.push(finding(
            Severity::Note,
            format!("pairs of recordings of one class and fold that hold the same sound, {}", list(&within)),
            "They count twice, and teach nothing new.",
            "Remove one of each pair, if that is not meant.",
        ));
    }
    found
}

/// Classes too small, too uneven, or there twice.
fn classes(catalog: &Catalog, measured: &[Option<Measured>]) -> Vec<Finding> {
    let labels = catalog.labels();
    let mut counts = vec![0usize; labels.len()];
    let mut readable = vec![0usize; labels.len()];
    let mut sources: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); labels.len()];
    for (clip, sound) in catalog.clips.iter().zip(measured) {
        for (_, target) in clip.classes() {
            counts[target] += 1;
            readable[target] += usize::from(sound.is_some());
            sources[target].insert(&clip.source);
        }
    }
    let which = |fits: &dyn Fn(usize) -> bool| -> Vec<&str> {
        labels.iter().enumerate().filter(|(class, _)| fits(*class)).map(|(_, label)| label.as_str()).collect()
    };
    let mut found = Vec::new();
    let mut tell = |names: Vec<&str>, severity, what: &str, means, next| {
        if !names.is_empty() {
            found.push(finding(severity, format!("{what}: {}", named(names)), means, next));
        }
    };
    tell(
        which(&|class| readable[class] == 0),
        Severity::Serious,
        "classes of which no recording can be read",
        "They cannot be learned; preprocessing will end with their name.",
        "Convert their files (ffmpeg -i FILE new.wav), or remove the class.",
    );
    tell(
        which(&|class| readable[class] > 0 && sources[class].len() == 1),
        Severity::Serious,
        "classes with a single source",
        "They are either trained on or scored, never both: their accuracy is 0 or unknown.",
        "Add recordings of another occasion.",
    );
    tell(
        which(&|class| sources[class].len() > 1 && counts[class] < FEW),
        Severity::Warning,
        &format!("classes with fewer than {FEW} clips"),
        "So few tell little, in training and in the score.",
        "Add recordings.",
    );
    tell(
        which(&|class| NO_LABELS.contains(&labels[class].trim().to_lowercase().as_str())),
        Severity::Warning,
        "classes named as programs write that there is no label",
        "Recordings without a label are learned as if they had one in common.",
        "Give them their labels, remove them, or call the class something else if it is one.",
    );
    let mut forms: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for label in &labels {
        forms.entry(plain_name(label)).or_default().push(label);
    }
    for twins in forms.into_values().filter(|twins| twins.len() > 1) {
        let names: Vec<String> = twins.iter().map(|name| format!("{name:?}")).collect();
        tell(
            names.iter().map(String::as_str).collect(),
            Severity::Serious,
            "classes whose names differ in case, blanks or the form of their letters alone",
            "The network learns to tell apart what is the same.",
            "Put them into one folder, or under one name in the table.",
        );
    }
    let (fewest, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    if most as f64 > UNEVEN * fewest as f64 {
        let (small, large) = (which(&|class| counts[class] == fewest), which(&|class| counts[class] == most));
        let what = format!("classes of {fewest} clips ({}) beside classes of {most} ({})", named(small), named(large));
        let means = "A network that names the frequent ones scores well without having learned the rare ones.";
        let next =
            "Look at balanced accuracy and macro F1 beside accuracy; train.balance meets rare classes more often.";
        found.push(finding(Severity::Warning, what, means, next));
    }
    found
}

/// A name without case, blanks, what joins words, and the form of its letters; a number by its value: `1`, `01` and `1.0` are one. Signs stay: `C` and
/// `C#` are two notes.
fn plain_name(label: &str) -> String {
    let letters: String = label.nfkc().flat_map(char::to_lowercase).collect();
    let is_number = letters.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match letters.trim().parse::<f64>() {
        Ok(number) if is_number => number.to_string(),
        _ => letters.chars().filter(|c| !c.is_whitespace() && !"_-".contains(*c)).collect(),
    }
}

/// Recordings that are silent, clipped, lifted, or that cannot be read.
fn recordings(catalog: &Catalog, measured: &[Option<Measured>]) -> Vec<Finding> {
    let which = |fits: &dyn Fn(&Option<Measured>) -> bool| -> Vec<&str> {
        let fitting = catalog.clips.iter().zip(measured).filter(|(_, sound)| fits(sound));
        fitting.map(|(clip, _)| clip.filename.as_str()).collect()
    };
    let is = |fits: fn(&Measured) -> bool| which(&|sound| sound.as_ref().is_some_and(fits));
    let mut found = Vec::new();
    let mut tell = |names: Vec<&str>, severity, what: &str, means, next| {
        if !names.is_empty() {
            found.push(finding(severity, format!("{} recordings {what}: {}", names.len(), named(names)), means, next));
        }
    };
    tell(
        which(&|sound| sound.is_none()),
        Severity::Warning,
        "cannot be read",
        "They are left out.",
        "\"Download and verify\" says what is wrong with each; ffmpeg -i FILE new.wav mends many.",
    );
    tell(
        is(Measured::is_silent),
        Severity::Warning,
        "are silent, or their channels cancel each other",
        "A label on nothing teaches that silence is that class.",
        "Remove them, or keep one channel: ffmpeg -i FILE -af pan=mono|c0=c0 new.wav",
    );
    tell(
        is(|sound| sound.clipped >= CLIPPED),
        Severity::Note,
        "are clipped (a thousandth of the samples or more at full scale)",
        "Clipping adds overtones, which the network takes for the sound.",
        "Record at a lower gain, all classes alike.",
    );
    tell(
        is(|sound| sound.offset.abs() >= OFFSET && !sound.is_silent()),
        Severity::Note,
        "have a constant offset of a tenth of their level or more",
        "It is removed before the spectrogram.",
        "Nothing; the recorder may be at fault.",
    );
    tell(
        catalog.unreadable.iter().map(|(entry, _)| entry.as_str()).collect(),
        Severity::Warning,
        "or folders could not be looked into",
        "They are left out.",
        "\"Download and verify\" gives the reason of each.",
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::catalog::Clip;

    fn catalog(clips: &[(&str, &str, u32)]) -> Catalog {
        let labels: BTreeSet<&str> = clips.iter().map(|(_, category, _)| *category).collect();
        let clip = |(filename, category, fold): &(&str, &str, u32)| Clip {
            filename: (*filename).into(),
            fold: *fold,
            category: (*category).into(),
            target: labels.iter().position(|label| label == category).unwrap(),
            further: Vec::new(),
            esc10: false,
            source: filename.rsplit_once('.').map_or(*filename, |(stem, _)| stem).into(),
        };
        let clips = clips.iter().map(clip).collect();
        Catalog { name: "test".into(), clips, ..Catalog::default() }
    }

    fn sound() -> Measured {
        Measured {
            duration_s: 1.0,
            sounding_s: 1.0,
            rms_dbfs: -20.0,
            sample_rate: 44_100,
            bandwidth_hz: 20_000.0,
            clipped: 0.0,
            offset: 0.0,
            samples: Default::default(),
        }
    }

    /// 20 clips of each of two classes in five folds, each measured by its class and number.
    fn two_classes(of: impl Fn(usize, usize) -> Measured) -> (Catalog, Vec<Option<Measured>>) {
        let names: Vec<String> = (0..40).map(|n| format!("{n}.wav")).collect();
        let clips: Vec<(&str, &str, u32)> = names
            .iter()
            .enumerate()
            .map(|(n, name)| (name.as_str(), ["bark", "rain"][n % 2], n as u32 / 2 % 5 + 1))
            .collect();
        (catalog(&clips), (0..40).map(|n| Some(of(n % 2, n / 2))).collect())
    }

    fn whats(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.what.as_str()).collect()
    }

    #[test]
    fn a_class_told_by_its_recorder_is_found_and_chance_is_not() {
        let (catalog, measured) = two_classes(|class, _| Measured { sample_rate: [8_000, 44_100][class], ..sound() });
        let found = tell_tales(&catalog, &measured);
        assert_eq!(whats(&found), ["sample rate alone tells the class of 100 % of the clips (chance: 50 %)"]);
        assert_eq!(found[0].severity, Severity::Serious);
        let (catalog, measured) =
            two_classes(|class, n| Measured { duration_s: 1.0 + class as f64 + 0.01 * n as f64, ..sound() });
        let found = tell_tales(&catalog, &measured);
        assert_eq!(found[0].severity, Severity::Warning, "{found:?}");
        assert!(found[0].what.starts_with("length alone"), "{found:?}");
        // Lengths and rates that have nothing to do with the class.
        let (catalog, measured) = two_classes(|class, n| Measured {
            duration_s: ((n * 7 + class * 3) % 11) as f64,
            sample_rate: [8_000, 44_100][n / 5 % 2],
            ..sound()
        });
        assert_eq!(whats(&tell_tales(&catalog, &measured)), [""; 0]);
    }

    #[test]
    fn clips_of_one_recording_by_their_names_in_several_folds_are_told() {
        let found = |folds: [u32; 2]| {
            let catalog =
                catalog(&[("a_part1.wav", "bark", folds[0]), ("a_part2.wav", "bark", folds[1]), ("b.wav", "rain", 1)]);
            copied(&catalog, &[])
        };
        assert_eq!(found([1, 1]), []);
        let apart = found([1, 2]);
        assert_eq!((apart.len(), apart[0].severity), (1, Severity::Serious));
        assert!(apart[0].what.starts_with("2 recordings in other folds") && apart[0].what.contains("a_part2.wav"));
    }

    #[test]
    fn small_uneven_and_twin_classes_are_named() {
        let clean: Vec<(String, &str)> = (0..12).map(|n| (format!("{n}.wav"), ["bark", "rain"][n % 2])).collect();
        let rows = |more: &[(&'static str, &'static str)]| {
            let all: Vec<(&str, &str, u32)> = clean
                .iter()
                .map(|(name, class)| (name.as_str(), *class))
                .chain(more.iter().copied())
                .map(|(a, b)| (a, b, 1))
                .collect();
            let catalog = catalog(&all);
            let measured = vec![Some(sound()); catalog.clips.len()];
            classes(&catalog, &measured)
        };
        assert_eq!(rows(&[]), []);
        let found = rows(&[("x.wav", "Bark "), ("y.wav", "Bark ")]);
        assert_eq!(
            whats(&found)[1],
            "classes whose names differ in case, blanks or the form of their letters alone: \"Bark \", \"bark\""
        );
        for twins in [["1", "01"], ["1.0", "1"], ["sea waves", "Sea_Waves"], ["Straße", "STRAßE"]] {
            let found = rows(&[("x.wav", twins[0]), ("y.wav", twins[1])]);
            assert!(whats(&found).iter().any(|what| what.starts_with("classes whose names differ")), "{twins:?}");
        }
        for others in [["1.0", "10"], ["C", "C#"], ["+1", "-1"], ["🐱", "🐶"]] {
            let found = rows(&[("x.wav", others[0]), ("y.wav", others[1])]);
            assert!(!whats(&found).iter().any(|what| what.starts_with("classes whose names differ")), "{others:?}");
        }
        let found = rows(&[("x.wav", "hiss")]);
        let expected =
            ["classes with a single source: hiss", "classes of 1 clips (hiss) beside classes of 6 (bark, rain)"];
        assert_eq!(whats(&found), expected);
        let found = rows(&[("x.wav", "NaN"), ("y.wav", "NaN")]);
        assert!(whats(&found).contains(&"classes named as programs write that there is no label: NaN"), "{found:?}");
        let found =
            rows(&[("x.wav", "cafe\u{301}"), ("y.wav", "cafe\u{301}"), ("z.wav", "caf\u{e9}"), ("w.wav", "caf\u{e9}")]);
        assert!(whats(&found).iter().any(|what| what.contains("form of their letters")), "{found:?}");
    }

    #[test]
    fn recordings_with_nothing_or_too_much_in_them_are_named() {
        let (catalog, mut measured) = two_classes(|_, _| sound());
        assert_eq!(recordings(&catalog, &measured), []);
        measured[0] = None;
        measured[1] = Some(Measured { sounding_s: 0.0, ..sound() });
        measured[2] = Some(Measured { clipped: 0.02, ..sound() });
        measured[3] = Some(Measured { offset: -0.5, ..sound() });
        let found = recordings(&catalog, &measured);
        for (what, name) in whats(&found).iter().zip(["0.wav", "1.wav", "2.wav", "3.wav"]) {
            assert!(what.starts_with("1 recordings") && what.ends_with(name), "{what}");
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn copies_weigh_most_across_folds_and_classes() {
        let catalog =
            catalog(&[("a.wav", "bark", 1), ("b.wav", "bark", 2), ("c.wav", "rain", 1), ("d.wav", "bark", 1)]);
        let copy = |a: usize, b: usize| Copy { clips: (a, b), agreement: 0.99, common_s: 1.0 };
        let severities = |copies: &[Copy]| copied(&catalog, copies).iter().map(|one| one.severity).collect::<Vec<_>>();
        assert_eq!(severities(&[]), []);
        assert_eq!(severities(&[copy(0, 1)]), [Severity::Serious]);
        assert_eq!(severities(&[copy(0, 2)]), [Severity::Serious]);
        assert_eq!(severities(&[copy(0, 3)]), [Severity::Note]);
        assert_eq!(severities(&[copy(1, 2)]), [Severity::Serious, Severity::Serious]);
    }
}
