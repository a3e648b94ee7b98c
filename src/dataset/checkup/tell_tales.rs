//! What else than sound tells the classes of a data set apart: the recorder, the cut, the format.

use std::collections::BTreeSet;

use super::finding::{Finding, Severity, finding};
use crate::dataset::catalog::Catalog;
use crate::dataset::measure::Measured;

/// Neighbours that vote, where a property is tried as the only one to tell classes by.
const NEIGHBOURS: usize = 5;
/// What a property must tell to be named, and to be serious: of what chance leaves open, this share.
const TELLS: (f64, f64) = (0.25, 0.6);
/// And so many standard errors above chance.
const SURE: f64 = 4.0;

/// What else than sound tells the classes apart.
pub(super) fn tell_tales(catalog: &Catalog, measured: &[Option<Measured>]) -> Vec<Finding> {
    type Property = (&'static str, fn(&Measured) -> f64, Severity, &'static str, &'static str);
    let recorder = "The network may learn the recorder in place of the sound, and fail on any other.";
    let devices = "Record every class with every device, or bring all to what the poorest has (features.sample_rate).";
    let lengths = "Sounds have their lengths; where these come from cutting, cut all classes alike.";
    let properties: [Property; 5] = [
        ("sample rate", |sound| f64::from(sound.sample_rate), Severity::Serious, recorder, devices),
        ("bandwidth", |sound| sound.bandwidth_hz, Severity::Serious, recorder, devices),
        ("length", |sound| sound.duration_s, Severity::Warning, "The network sees where a clip ends.", lengths),
        (
            "share of silence",
            |sound| 1.0 - sound.sounding_s / sound.duration_s.max(1e-9),
            Severity::Note,
            "The network sees silence around a sound.",
            lengths,
        ),
        (
            "level",
            |sound| sound.rms_dbfs,
            Severity::Note,
            "Features are normalised clip by clip, so that the level itself is not seen; the noise below it is.",
            "Record all classes at one distance and gain, where you can.",
        ),
    ];
    let sounds: Vec<(usize, u32, Measured)> = catalog
        .clips
        .iter()
        .zip(measured)
        .filter_map(|(clip, sound)| Some((clip.target, clip.fold, (*sound)?)))
        .collect();
    let mut found = Vec::new();
    for (name, value, worst, means, next) in properties {
        let values: Vec<(usize, u32, f64)> =
            sounds.iter().map(|(target, fold, sound)| (*target, *fold, value(sound))).collect();
        found.extend(tells(name, &values, worst, means, next));
    }
    let extension = |filename: &str| filename.rsplit_once('.').map_or(String::new(), |(_, last)| last.to_lowercase());
    let extensions: BTreeSet<String> = catalog.clips.iter().map(|clip| extension(&clip.filename)).collect();
    // Far apart, so that only equals are neighbours.
    let place =
        |filename: &str| 1e6 * extensions.iter().position(|one| *one == extension(filename)).unwrap_or(0) as f64;
    let values: Vec<(usize, u32, f64)> =
        catalog.clips.iter().map(|clip| (clip.target, clip.fold, place(&clip.filename))).collect();
    found.extend(tells(
        "file format",
        &values,
        Severity::Serious,
        recorder,
        "Convert all classes from one kind of source.",
    ));
    found
}

/// How well one number alone tells the classes of `(class, fold, number)`, where it does.
fn tells(name: &str, values: &[(usize, u32, f64)], worst: Severity, means: &str, next: &str) -> Option<Finding> {
    let (right, chance) = told(values)?;
    let share = (right - chance) / (1.0 - chance);
    let error = (chance * (1.0 - chance) / values.len() as f64).sqrt();
    if share < TELLS.0 || right < chance + SURE * error {
        return None;
    }
    let severity = if share >= TELLS.1 { worst } else { worst.max(Severity::Warning) };
    let (right, chance) = (100.0 * right, 100.0 * chance);
    let what = format!("{name} alone tells the class of {right:.0} % of the clips (chance: {chance:.0} %)");
    Some(finding(severity, what, means, next))
}

/// The share of clips whose class the majority of those nearest in value in other folds has, and that of the most frequent class.
fn told(values: &[(usize, u32, f64)]) -> Option<(f64, f64)> {
    let n_classes = values.iter().map(|(class, ..)| class + 1).max()?;
    let mut counts = vec![0usize; n_classes];
    values.iter().for_each(|(class, ..)| counts[*class] += 1);
    let chance = *counts.iter().max()? as f64 / values.len() as f64;
    let mut sorted: Vec<&(usize, u32, f64)> = values.iter().collect();
    sorted.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut right = 0.0;
    for (class, fold, value) in values {
        let votes = votes(&sorted, *fold, *value, n_classes);
        let most = votes.iter().fold(0.0, |most: f64, votes| most.max(*votes));
        // Of classes that are equal each has its part.
        let winners = votes.iter().filter(|votes| **votes == most).count();
        if most > 0.0 && votes[*class] == most {
            right += 1.0 / winners as f64;
        }
    }
    (chance < 1.0).then_some((right / values.len() as f64, chance))
}

/// Votes of the clips nearest in value that are in another fold; all that are equally near have one.
fn votes(sorted: &[&(usize, u32, f64)], fold: u32, value: f64, n_classes: usize) -> Vec<f64> {
    let middle = sorted.partition_point(|other| other.2 < value);
    let (mut low, mut high, mut votes, mut n, mut farthest) = (middle, middle, vec![0.0; n_classes], 0, -1.0);
    loop {
        let below = low.checked_sub(1).map(|at| (value - sorted[at].2, at));
        let above = sorted.get(high).map(|other| (other.2 - value, high));
        let (distance, at) = match (below, above) {
            (Some(below), Some(above)) if below.0 < above.0 => below,
            (_, Some(above)) => above,
            (Some(below), None) => below,
            (None, None) => return votes,
        };
        if n >= NEIGHBOURS && distance > farthest {
            return votes;
        }
        if at == high {
            high += 1
        } else {
            low = at
        }
        if sorted[at].1 != fold {
            votes[sorted[at].0] += 1.0;
            (n, farthest) = (n + 1, distance);
        }
    }
}
