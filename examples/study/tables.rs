//! What docs/accuracy.md says of a recipe, counted from its runs.

use std::collections::BTreeMap;

use audio_transformer::Interval;
use audio_transformer::internals::results::cross_validate::{CrossValidation, Spread};
use audio_transformer::internals::results::metrics::{Confusion, ScoredClip};

/// Every choice of the recipe was scored on this fold, so the headline leaves it out.
pub const CHOICE_FOLD: u32 = 5;
/// How many pairs of classes are named that were taken for each other.
const SHOWN_CONFUSIONS: usize = 5;

/// The 95 % interval of a recipe's accuracy over recordings; each clip counts by the share of its runs that were right.
pub fn interval(all: &CrossValidation, counts: fn(u32) -> bool) -> Interval {
    let mut clips: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for result in all.results.iter().filter(|result| counts(result.fold)) {
        for clip in &result.evaluation.clips {
            let sums = clips.entry(&clip.filename).or_default();
            sums.0 += f64::from(u8::from(clip.is_right()));
            sums.1 += 1.0;
        }
    }
    Interval::clustered(clips.into_iter().map(|(name, (right, n))| (recording(name), right / n)))
}

/// The recording that a clip was cut from: ESC-50 names its files fold-recording-take-class.
pub fn recording(filename: &str) -> &str {
    filename.split('-').nth(1).unwrap_or(filename)
}

/// What several networks say of the same clips on average.
pub fn averaged(networks: &[&[ScoredClip]]) -> Vec<ScoredClip> {
    let mut clips: BTreeMap<&str, (usize, Vec<f32>)> = BTreeMap::new();
    let n_clips = networks.first().map_or(0, |clips| clips.len());
    for clip in networks.iter().flat_map(|clips| clips.iter()) {
        let (_, sum) =
            clips.entry(&clip.filename).or_insert_with(|| (clip.actual, vec![0.0; clip.probabilities.len()]));
        sum.iter_mut().zip(&clip.probabilities).for_each(|(sum, more)| *sum += more / networks.len() as f32);
    }
    assert!(networks.iter().all(|said| said.len() == n_clips) && clips.len() == n_clips, "scored on other clips");
    clips.into_iter().map(|(name, (actual, mean))| ScoredClip::new(name.to_owned(), actual, mean)).collect()
}

/// What docs/accuracy.md says of a recipe.
pub fn tables(all: &CrossValidation) {
    let Some(first) = all.seeds().first().map(|seed| all.accuracies(*seed)) else { return };
    let heads: String = first.iter().map(|(fold, _)| format!(" fold {fold} |")).collect();
    println!("\n| seed |{heads} without fold {CHOICE_FOLD} | all | minutes, one thread |");
    println!("|---|{}---|---|---|", "---|".repeat(first.len()));
    for seed in all.seeds() {
        let accuracies = all.accuracies(seed);
        let cells: String = accuracies.iter().map(|(_, accuracy)| format!(" {:.2} |", 100.0 * accuracy)).collect();
        let mean = |counts: fn(u32) -> bool| {
            let counted = accuracies.iter().filter(|(fold, _)| counts(*fold)).map(|(_, accuracy)| *accuracy);
            100.0 * Spread::of(&counted.collect::<Vec<_>>()).mean
        };
        let minutes = all.training_s(seed) / 60.0;
        println!("| {seed} |{cells} {:.2} | {:.2} | {minutes:.1} |", mean(is_unseen_by_choices), mean(|_| true));
    }
    // One seed has no spread.
    let over = |counts: fn(u32) -> bool| match all.seeds().len() {
        1 => format!("{} over folds, one seed", all.over_folds(counts)),
        _ => format!("{} over folds, {} over seeds", all.over_folds(counts), all.over_seeds(counts)),
    };
    println!("\nwithout fold {CHOICE_FOLD}, which choices were scored on: {}", over(is_unseen_by_choices));
    println!("  95 % interval, whole recordings drawn anew: {}", interval(all, is_unseen_by_choices));
    println!("all folds: {}", over(|_| true));
    println!("  95 % interval: {}", interval(all, |_| true));
    for result in &all.results {
        let (right, total) =
            (result.evaluation.clips.iter().filter(|clip| clip.is_right()).count(), result.evaluation.clips.len());
        let wilson = Interval::wilson(right, total);
        println!("  seed {}, fold {}: {right} of {total}, 95 % interval {wilson}", result.seed, result.fold);
    }
    for seed in all.seeds() {
        let Some(pooled) = all.pooled(seed) else { continue };
        println!(
            "seed {seed}, all held-out clips: top-2 {:.1} %, macro F1 {:.3}, mean loss {:.3} nats, ECE {:.3}",
            100.0 * pooled.top_k(2),
            pooled.macro_f1(),
            pooled.mean_loss(),
            pooled.reliability(10).ece
        );
        if let Some(calibrated) = all.calibrated().pooled(seed) {
            let temperatures = all.results.iter().filter(|result| result.seed == seed);
            let temperatures = temperatures.filter_map(|result| all.calibration_without(result.fold));
            let temperatures: Vec<String> = temperatures.map(|one| format!("{:.2}", one.temperature)).collect();
            let ece = calibrated.reliability(10).ece;
            println!(
                "  calibrated on the other folds: ECE {ece:.3}; temperatures fold by fold {}",
                temperatures.join(", ")
            );
        }
        for Confusion { actual, predicted, clips } in pooled.most_confused(SHOWN_CONFUSIONS) {
            println!("  {clips} clips of {} taken for {}", pooled.labels[actual], pooled.labels[predicted]);
        }
    }
}

pub fn is_unseen_by_choices(fold: u32) -> bool {
    fold != CHOICE_FOLD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_networks_say_the_mean_of_what_each_says_whatever_their_order() {
        let clip = |name: &str, first: f32| ScoredClip::new(name.into(), 0, vec![first, 1.0 - first]);
        let (one, other) = ([clip("a", 0.2), clip("b", 0.6)], [clip("b", 0.2), clip("a", 0.9)]);
        let both = averaged(&[&one, &other]);
        let said: Vec<_> = both.iter().map(|clip| (clip.filename.as_str(), clip.is_right())).collect();
        assert_eq!(said, [("a", true), ("b", false)]);
        assert!((both[0].probabilities[0] - 0.55).abs() < 1e-6);
    }
}
