//! Recipes compared without a look at what will judge them.
//!
//! A run leaves two folds out of its training, and is scored on both. For a held-out fold only the scores on the *other* fold of its pairs count:
//! they come from networks that have not heard the held-out one, and are measured on recordings that will not judge the choice. So five
//! runs of a recipe are two inner validations for each of five held-out folds.
//!
//! What the networks said stands in the record, [`kept`], so that a recipe can be compared with those of other days without training them.

use std::collections::{BTreeMap, BTreeSet};

use audio_transformer::config::Config;
use audio_transformer::internals::results::evaluate::evaluate_checkpoint;
use audio_transformer::internals::results::metrics::ScoredClip;
use audio_transformer::internals::training::calibration::Calibration;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, Interval, train};

use crate::jobs::{Job, run_all};
use crate::kept::{self, InnerRun, Said};
use crate::recipes::recipe;
use crate::tables::{averaged, recording};
use crate::{Outcome, one_thread, prepare};

/// One network of those whose probabilities are averaged: a recipe's with a seed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    recipe: String,
    seed: u64,
}

/// What is compared, as it was named: `good`, `good@1`, or the mean of several, `good+wide@1`.
struct Candidate {
    name: String,
    members: Vec<Member>,
}

impl Candidate {
    fn parse(name: &str) -> Outcome<Self> {
        let member = |part: &str| -> Outcome<Member> {
            let (recipe, seed) = part.split_once('@').unwrap_or((part, "0"));
            Ok(Member { recipe: recipe.to_owned(), seed: seed.parse()? })
        };
        Ok(Candidate { name: name.to_owned(), members: name.split('+').map(member).collect::<Outcome<_>>()? })
    }
}

/// Trains what is missing, and compares every candidate with the first.
pub fn compare(names: &[&str]) -> Outcome {
    let candidates = names.iter().map(|name| Candidate::parse(name)).collect::<Outcome<Vec<_>>>()?;
    let Some(first) = candidates.first().and_then(|candidate| candidate.members.first()) else {
        return Err("name recipes to compare".into());
    };
    let config = recipe(&first.recipe)?;
    let mut prepared = BTreeSet::new();
    for member in candidates.iter().flat_map(|candidate| &candidate.members) {
        let config = recipe(&member.recipe)?;
        if prepared.insert(config.data.processed_dir.clone()) {
            prepare(&config)?;
        }
    }
    let pairs = pairs(&Dataset::open(&config)?.folds());
    // In the order in which they are named.
    let mut seen = BTreeSet::new();
    let members: Vec<&Member> =
        candidates.iter().flat_map(|candidate| &candidate.members).filter(|member| seen.insert(*member)).collect();
    let mut jobs = Vec::new();
    for Member { recipe: name, seed } in &members {
        for pair in &pairs {
            if kept::find(&of_pair(&recipe(name)?, *pair, *seed))?.is_none() {
                let arguments =
                    ["inner-run".to_owned(), pair.0.to_string(), pair.1.to_string(), seed.to_string(), name.clone()];
                let job = format!("inner {name} without {} and {} seed {seed}", pair.0, pair.1);
                jobs.push(Job { name: job, arguments: arguments.into() });
            }
        }
    }
    run_all(&config.data.models_dir, jobs)?;
    for Member { recipe: name, seed } in members {
        let recipe = recipe(name)?;
        let runs = pairs.iter().map(|pair| kept::find(&of_pair(&recipe, *pair, *seed)));
        kept::keep(&recipe, *seed, &runs.collect::<Outcome<Option<Vec<_>>>>()?.ok_or("a run has no result")?)?;
    }
    let scored = candidates.iter().map(|candidate| scored(candidate, &pairs)).collect::<Outcome<Vec<_>>>()?;
    tables(&scored, &pairs);
    Ok(())
}

/// One of the runs that [`compare`] starts.
pub fn run(a: &str, b: &str, seed: &str, name: &str) -> Outcome {
    one_thread();
    let (a, b): (u32, u32) = (a.parse()?, b.parse()?);
    let config = of_pair(&recipe(name)?, (a, b), seed.parse()?);
    if kept::find(&config)?.is_some() {
        return Ok(());
    }
    let report = train(&config)?;
    let mut other = config.clone();
    (other.train.test_fold, other.train.choice_fold) = (Some(b), Some(a));
    let checkpoint = checkpoint_path(&config);
    let said = [evaluate_checkpoint(&config, &checkpoint)?, evaluate_checkpoint(&other, &checkpoint)?];
    let training_s = report.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    kept::put(&config, training_s, said.map(|evaluation| evaluation.clips.iter().map(Said::of).collect()))
}

/// Every fold with the next, and the last with the first.
fn pairs(folds: &[u32]) -> Vec<(u32, u32)> {
    (0..folds.len()).map(|place| (folds[place], folds[(place + 1) % folds.len()])).collect()
}

fn of_pair(config: &Config, (a, b): (u32, u32), seed: u64) -> Config {
    let mut config = config.clone();
    config.train.run_name = format!("inner-{}-{a}-{b}-seed{seed}", config.train.run_name);
    (config.train.test_fold, config.train.choice_fold, config.train.seed) = (Some(a), Some(b), seed);
    config
}

/// A candidate's inner validations: of a pair, its network's words on either fold.
struct Validations {
    name: String,
    minutes: f64,
    /// The fold that is scored, the other one that was left out, the clips.
    scored: Vec<(u32, u32, Vec<ScoredClip>)>,
}

fn scored(candidate: &Candidate, pairs: &[(u32, u32)]) -> Outcome<Validations> {
    let mut validations = Validations { name: candidate.name.clone(), minutes: 0.0, scored: Vec::new() };
    for &(a, b) in pairs {
        let mut runs: Vec<InnerRun> = Vec::new();
        for Member { recipe: name, seed } in &candidate.members {
            let run = kept::find(&of_pair(&recipe(name)?, (a, b), *seed))?;
            runs.push(run.ok_or_else(|| format!("{name} without {a} and {b} has no result"))?);
        }
        validations.minutes += runs.iter().map(|run| run.training_s / 60.0).sum::<f64>();
        for (place, (fold, other)) in [(a, b), (b, a)].into_iter().enumerate() {
            let of_members: Vec<Vec<ScoredClip>> = runs.iter().map(|run| run.scored(place)).collect();
            let of_members: Vec<&[ScoredClip]> = of_members.iter().map(Vec::as_slice).collect();
            validations.scored.push((fold, other, averaged(&of_members)));
        }
    }
    Ok(validations)
}

/// A clip's recording, its loss and its share of right answers, in the mean of the networks that were scored on it.
type Judged = BTreeMap<String, (f64, f64)>;

/// Validations, those of the chosen ones, by clip. Losses are taken at the temperature that suits these very clips best: how sure a recipe is can be
/// mended later, and is no reason to choose it.
fn judged(validations: &Validations, counts: impl Fn(u32, u32) -> bool) -> Judged {
    let counted =
        || validations.scored.iter().filter(|(fold, other, _)| counts(*fold, *other)).flat_map(|(.., clips)| clips);
    let calibration = Calibration::fit(counted().map(|clip| (clip.probabilities.as_slice(), clip.actual)));
    let mut clips: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for clip in counted() {
        let mut clip = clip.clone();
        calibration.iter().for_each(|calibration| calibration.apply(&mut clip.probabilities));
        clips.entry(clip.filename.clone()).or_default().push((clip.loss(), f64::from(u8::from(clip.is_right()))));
    }
    let mean = |scores: Vec<(f64, f64)>| {
        let n = scores.len() as f64;
        (scores.iter().map(|score| score.0).sum::<f64>() / n, scores.iter().map(|score| score.1).sum::<f64>() / n)
    };
    clips.into_iter().map(|(name, scores)| (name, mean(scores))).collect()
}

/// The mean of a difference between clips of two candidates, and its 95 % interval: whole recordings are drawn anew (paired bootstrap).
fn difference(one: &Judged, other: &Judged, of: fn(&(f64, f64)) -> f64) -> (f64, Interval) {
    let by_clip =
        || one.iter().map(|(name, score)| (recording(name), of(score) - other.get(name).map_or(f64::NAN, of)));
    let mean = by_clip().map(|(_, by)| by).sum::<f64>() / one.len().max(1) as f64;
    (mean, Interval::clustered(by_clip()))
}

fn mean_of(judged: &Judged, of: fn(&(f64, f64)) -> f64) -> f64 {
    judged.values().map(of).sum::<f64>() / judged.len().max(1) as f64
}

fn loss(score: &(f64, f64)) -> f64 {
    score.0
}

fn right(score: &(f64, f64)) -> f64 {
    score.1
}

fn tables(all: &[Validations], pairs: &[(u32, u32)]) {
    let Some(first) = all.first() else { return };
    println!(
        "\n| recipe | minutes a run, one thread | right | loss, nats | loss beside {0} | right beside {0} |\n|---|---|---|---|---|---|",
        first.name
    );
    let of_first = judged(first, |_, _| true);
    for one in all {
        let judged = judged(one, |_, _| true);
        let minutes = one.minutes / pairs.len() as f64;
        let (by, within) = difference(&judged, &of_first, loss);
        let (more, of_more) = difference(&judged, &of_first, right);
        println!(
            "| {} | {minutes:.1} | {:.1} % | {:.3} | {by:+.3} ({:+.3} to {:+.3}) | {:+.1} ({:+.1} to {:+.1}) |",
            one.name,
            100.0 * mean_of(&judged, right),
            mean_of(&judged, loss),
            within.low,
            within.high,
            100.0 * more,
            100.0 * of_more.low,
            100.0 * of_more.high,
        );
    }
    println!(
        "\nWhat each held-out fold would choose, by networks that have not heard it, on the folds that it was left out with:"
    );
    let mut folds: Vec<u32> = pairs.iter().map(|pair| pair.0).collect();
    folds.sort_unstable();
    for held_out in folds {
        let counts = |_: u32, other: u32| other == held_out;
        let of_first = judged(first, counts);
        let mut chosen = (first.name.as_str(), 0.0);
        let mut words = Vec::new();
        for one in all {
            let judged = judged(one, counts);
            let (by, within) = difference(&judged, &of_first, loss);
            words.push(format!("{} {:.3}", one.name, mean_of(&judged, loss)));
            // What lies within the interval is no difference.
            if within.high < 0.0 && by < chosen.1 {
                chosen = (&one.name, by);
            }
        }
        let mut on: Vec<String> = pairs
            .iter()
            .filter_map(|&(a, b)| match held_out {
                _ if a == held_out => Some(b.to_string()),
                _ if b == held_out => Some(a.to_string()),
                _ => None,
            })
            .collect();
        on.sort();
        println!("  fold {held_out}, on {}: {} → {}", on.join(" and "), words.join(", "), chosen.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(name: &str, of_class: f32) -> ScoredClip {
        ScoredClip::new(name.into(), 0, vec![of_class, 1.0 - of_class])
    }

    #[test]
    fn a_held_out_fold_chooses_on_others_by_networks_that_have_not_heard_it() {
        let pairs = pairs(&[1, 2, 3, 4, 5]);
        assert_eq!(pairs.len(), 5);
        let name = |fold: u32| format!("{fold}-r{fold}-A-0");
        let both = pairs.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        let scored = both.map(|(fold, other)| (fold, other, vec![clip(&name(fold), 0.6)])).collect();
        let validations = Validations { name: "a".into(), minutes: 0.0, scored };
        for held_out in 1..=5 {
            let judged = judged(&validations, |_, other| other == held_out);
            // Its neighbours, and never itself.
            let mut expected: Vec<String> = [held_out % 5 + 1, (held_out + 3) % 5 + 1].map(name).to_vec();
            expected.sort();
            assert_eq!(judged.into_keys().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_is_the_same_differs_by_nothing_and_what_is_better_has_a_loss_below() {
        let of = |values: &[f32]| {
            let clips = values.iter().enumerate().map(|(n, value)| clip(&format!("1-r{n}-A-0"), *value)).collect();
            judged(&Validations { name: "a".into(), minutes: 0.0, scored: vec![(1, 2, clips)] }, |_, _| true)
        };
        let some = of(&[0.6, 0.3, 0.7, 0.6, 0.4, 0.7, 0.6, 0.55]);
        let better = of(&[0.9, 0.8, 0.9, 0.9, 0.8, 0.95, 0.85, 0.9]);
        assert_eq!(difference(&some, &some, loss), (0.0, Interval { low: 0.0, high: 0.0 }));
        let (by, within) = difference(&better, &some, loss);
        assert!(by < 0.0 && within.high < 0.0, "{by} {within:?}");
        assert_eq!(difference(&better, &some, right).0, 0.25);
    }

    #[test]
    fn several_recipes_with_a_plus_between_them_are_one_candidate() {
        let parsed = Candidate::parse("wide:90+fine@3").unwrap();
        let members: Vec<_> = parsed.members.iter().map(|one| (one.recipe.as_str(), one.seed)).collect();
        assert_eq!(members, [("wide:90", 0), ("fine", 3)]);
        assert!(recipe("wide:90").unwrap().train.epochs == 90 && recipe("none").is_err());
    }
}
