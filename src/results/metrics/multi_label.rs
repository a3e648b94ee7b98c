//! What the probabilities of a scored fold say where a recording may have several classes: average precision, class by class.

use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::evaluation::mean;
use super::interval::Interval;

/// Resamplings of the bootstrap: an average precision takes a pass over all recordings for each class.
const N_RESAMPLES: usize = 500;
/// Classes that the text names from each end.
const NAMED: usize = 3;

/// One recording of the held-out fold.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiLabelClip {
    /// The recording.
    pub filename: String,
    /// Its classes, from 0, at least one.
    pub actual: Vec<usize>,
    /// Probability of every class by itself, in the order of the labels.
    pub probabilities: Vec<f32>,
}

/// How well a network does on recordings that may have several classes.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiLabelEvaluation {
    /// The fold.
    pub test_fold: u32,
    /// Class names in the order of their targets.
    pub labels: Vec<String>,
    /// Every recording of the fold.
    pub clips: Vec<MultiLabelClip>,
}

/// How well recordings of one class are told from all others.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPrecision {
    /// The class.
    pub label: String,
    /// Recordings of it in the fold.
    pub clips: usize,
    /// Average precision, 0 to 1; `None` where the fold has no recording of it.
    pub average_precision: Option<f64>,
}

impl MultiLabelEvaluation {
    /// The average precision of every class, in the order of the labels: over all thresholds of its probability the sum of what each adds to
    /// recall times precision there, as scikit-learn's `average_precision_score`.
    pub fn class_precisions(&self) -> Vec<ClassPrecision> {
        let once = vec![1; self.clips.len()];
        let of_class = |(class, label): (usize, &String)| {
            let ranking = self.ranking(class);
            ClassPrecision {
                label: label.clone(),
                clips: ranking.iter().filter(|ranked| ranked.is_of).count(),
                average_precision: average_precision(&ranking, &once),
            }
        };
        self.labels.iter().enumerate().map(of_class).collect()
    }

    /// Mean of the average precisions of the classes that the fold has recordings of (mAP, macro), 0 to 1; NaN without one.
    pub fn mean_average_precision(&self) -> f64 {
        mean(self.class_precisions().into_iter().filter_map(|class| class.average_precision)).unwrap_or(f64::NAN)
    }

    /// What the mean average precision comes to by chance: the mean share of recordings that a class has, over the same classes.
    pub fn chance(&self) -> f64 {
        let n = self.clips.len() as f64;
        mean(self.class_precisions().iter().filter(|class| class.clips > 0).map(|class| class.clips as f64 / n))
            .unwrap_or(f64::NAN)
    }

    /// The 95 % percentile interval of the mean average precision, by drawing recordings anew (Efron and Tibshirani 1993). The same for the
    /// same recordings.
    pub fn interval(&self) -> Interval {
        let n = self.clips.len();
        let rankings: Vec<Vec<Ranked>> = (0..self.labels.len()).map(|class| self.ranking(class)).collect();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut draw = || {
            let mut times = vec![0u32; n];
            (0..n).for_each(|_| times[rng.random_range(0..n)] += 1);
            mean(rankings.iter().filter_map(|ranking| average_precision(ranking, &times)))
        };
        let mut means: Vec<f64> = (0..if n > 0 { N_RESAMPLES } else { 0 }).filter_map(|_| draw()).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means.get((share * (means.len().max(1) - 1) as f64).round() as usize).copied();
        Interval { low: at(0.025).unwrap_or(0.0), high: at(0.975).unwrap_or(1.0) }
    }

    /// All recordings by their probability of a class, the most probable first.
    fn ranking(&self, class: usize) -> Vec<Ranked> {
        let ranked = |(index, clip): (usize, &MultiLabelClip)| Ranked {
            index,
            probability: clip.probabilities[class],
            is_of: clip.actual.contains(&class),
        };
        let mut ranking: Vec<Ranked> = self.clips.iter().enumerate().map(ranked).collect();
        ranking.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        ranking
    }
}

/// A recording's place by the probability of a class.
struct Ranked {
    index: usize,
    probability: f32,
    is_of: bool,
}

/// The average precision of a ranking in which each recording counts so many times; `None` where none is of the class.
fn average_precision(ranking: &[Ranked], times: &[u32]) -> Option<f64> {
    let (mut found, mut seen, mut sum) = (0u64, 0u64, 0.0);
    // Equal probabilities are one threshold.
    for equal in ranking.chunk_by(|a, b| a.probability == b.probability) {
        let before = found;
        for ranked in equal {
            let times = u64::from(times[ranked.index]);
            seen += times;
            found += if ranked.is_of { times } else { 0 };
        }
        if found > before {
            sum += (found - before) as f64 * found as f64 / seen as f64;
        }
    }
    (found > 0).then(|| sum / found as f64)
}

impl fmt::Display for MultiLabelEvaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (map, chance, interval) = (self.mean_average_precision(), self.chance(), self.interval());
        let mut scored: Vec<(f64, String)> = Vec::new();
        let mut missing = Vec::new();
        for ClassPrecision { label, average_precision, .. } in self.class_precisions() {
            match average_precision {
                Some(value) => scored.push((value, label)),
                None => missing.push(label),
            }
        }
        let labels = self.clips.iter().map(|clip| clip.actual.len()).sum::<usize>();
        write!(
            f,
            "held-out fold {}: mean average precision {map:.3} over {} classes (95 % interval {:.3} to {:.3}; by chance {chance:.3}), {} \
             recordings with {:.1} labels each",
            self.test_fold,
            scored.len(),
            interval.low,
            interval.high,
            self.clips.len(),
            labels as f64 / self.clips.len().max(1) as f64,
        )?;
        // Stable: in the order of the labels where they are equal.
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let named = |classes: &[(f64, String)]| {
            classes.iter().map(|(value, label)| format!("{label} {value:.2}")).collect::<Vec<_>>().join(", ")
        };
        let n = NAMED.min(scored.len());
        if scored.len() > 2 * n {
            write!(f, "\nbest {}; worst {}", named(&scored[..n]), named(&scored[scored.len() - n..]))?;
        } else {
            write!(f, "\n{}", named(&scored))?;
        }
        if !missing.is_empty() {
            let more = if missing.len() > NAMED { ", …" } else { "" };
            let names = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            write!(
                f,
                "\nnot scored, because the fold has no recording of them: {} classes, {names}{more}",
                missing.len()
            )?;
        }
        if interval.low <= chance {
            write!(f, "\nThat cannot be told from chance.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(clips: &[(&[usize], &[f32])]) -> MultiLabelEvaluation {
        let clip = |(index, (actual, probabilities)): (usize, &(&[usize], &[f32]))| MultiLabelClip {
            filename: format!("{index}.wav"),
            actual: actual.to_vec(),
            probabilities: probabilities.to_vec(),
        };
        let labels = ('a'..).take(clips[0].1.len()).map(String::from).collect();
        MultiLabelEvaluation { test_fold: 5, labels, clips: clips.iter().enumerate().map(clip).collect() }
    }

    fn precisions(clips: &[(&[usize], &[f32])]) -> Vec<Option<f64>> {
        evaluation(clips).class_precisions().into_iter().map(|class| class.average_precision).collect()
    }

    #[test]
    fn average_precision_agrees_with_a_count_by_hand() {
        // The example of scikit-learn's documentation: 0.83.
        let one = precisions(&[(&[1], &[0.1]), (&[1], &[0.4]), (&[0], &[0.35]), (&[0], &[0.8])]);
        assert!((one[0].unwrap() - 0.833_333_333).abs() < 1e-8, "{one:?}");
        // Found at ranks 1 and 3: (1/1 + 2/3) / 2. Equal probabilities are one threshold: 2 of 3. A class that nothing is of has none.
        let found = precisions(&[(&[0, 1], &[0.9, 0.5, 0.1]), (&[], &[0.8, 0.5, 0.2]), (&[0, 1], &[0.7, 0.5, 0.3])]);
        assert!((found[0].unwrap() - 5.0 / 6.0).abs() < 1e-12 && (found[1].unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(found[2], None);
    }

    #[test]
    fn the_mean_leaves_out_classes_without_a_recording_and_chance_is_their_share() {
        let all = evaluation(&[(&[0], &[0.9, 0.1, 0.5]), (&[0, 1], &[0.8, 0.9, 0.5]), (&[1], &[0.1, 0.8, 0.5])]);
        assert_eq!(all.mean_average_precision(), 1.0);
        assert!((all.chance() - 2.0 / 3.0).abs() < 1e-12);
        let text = all.to_string();
        assert!(text.contains("over 2 classes") && text.contains("no recording of them: 1 classes, c"), "{text}");
    }

    #[test]
    fn a_network_that_knows_nothing_scores_by_chance_and_its_interval_says_so() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut clip = |index: usize| MultiLabelClip {
            filename: String::new(),
            actual: (0..4).filter(|class| index.is_multiple_of(class + 3)).collect(),
            probabilities: (0..4).map(|_| rng.random()).collect(),
        };
        let clips: Vec<MultiLabelClip> = (0..600).map(&mut clip).collect();
        let labels = ["a", "b", "c", "d"].map(String::from).to_vec();
        let blind = MultiLabelEvaluation { test_fold: 1, labels, clips };
        let (map, interval) = (blind.mean_average_precision(), blind.interval());
        assert!((map - blind.chance()).abs() < 0.05, "{blind}");
        assert!(interval.low < map && map < interval.high && interval.high - interval.low < 0.15, "{blind}");
        assert_eq!(interval, blind.interval());
    }
}
