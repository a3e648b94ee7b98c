//! What the probabilities of a scored fold say: accuracy, loss, scores by class, confusions, calibration.

use std::cmp::Ordering;
use std::fmt;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use crate::training::calibration::Calibration;

/// Probabilities count as at least this much in a loss, so that one certain mistake does not make a mean infinite.
const MIN_PROBABILITY: f64 = 1e-12;

/// Bins of confidence: few enough that each holds clips of a fold of some hundred.
pub const RELIABILITY_BINS: usize = 10;

/// One clip of the held-out fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredClip {
    /// The recording.
    pub filename: String,
    /// Its class, from 0.
    pub actual: usize,
    /// The most probable class.
    pub predicted: usize,
    /// Probability of every class, in the order of the labels.
    pub probabilities: Vec<f32>,
}

impl ScoredClip {
    /// A clip with its most probable class; of equally probable ones the last.
    pub fn new(filename: String, actual: usize, probabilities: Vec<f32>) -> Self {
        let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let predicted = best.map_or(0, |(class, _)| class);
        ScoredClip { filename, actual, predicted, probabilities }
    }

    /// Whether the most probable class is the right one.
    pub fn is_right(&self) -> bool {
        self.actual == self.predicted
    }

    /// Probability of the predicted class, 0 to 1.
    pub fn confidence(&self) -> f64 {
        f64::from(self.probabilities[self.predicted])
    }

    /// Negative log probability of the actual class in nats: 0 when the network is sure and right, at most 12 ln 10 ≈ 27.6,
    /// because probabilities are clamped at 10⁻¹².
    pub fn loss(&self) -> f64 {
        f64::from(self.probabilities[self.actual]).clamp(MIN_PROBABILITY, 1.0).recip().ln()
    }

    /// How many classes come before the actual one, the most probable first; 0 when the clip is right.
    fn rank(&self) -> usize {
        let actual = self.probabilities[self.actual];
        let is_before = |&(class, probability): &(usize, &f32)| match probability.total_cmp(&actual) {
            Ordering::Greater => true,
            Ordering::Equal => class > self.actual,
            Ordering::Less => false,
        };
        self.probabilities.iter().enumerate().filter(is_before).count()
    }
}

/// How well a checkpoint does on the fold it never saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The fold.
    pub test_fold: u32,
    /// Class names in the order of their targets.
    pub labels: Vec<String>,
    /// Every clip of the fold.
    pub clips: Vec<ScoredClip>,
    /// What the probabilities were calibrated with; `None` where they are the network's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// How well one class is found. A share of nothing is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScore {
    /// The class.
    pub label: String,
    /// Its clips in the fold (support).
    pub clips: usize,
    /// Share of right ones among the clips that were given this class, 0 to 1; `None` where none was.
    pub precision: Option<f64>,
    /// Share of right ones among the clips of this class, 0 to 1; `None` where the fold has none.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), 0 to 1; `None` where no clip is of this class and
    /// none was given it.
    pub f1: Option<f64>,
}

/// Two classes that the network mixes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// The clips' class, from 0.
    pub actual: usize,
    /// The other class that they were given.
    pub predicted: usize,
    /// How many they are, at least 1.
    pub clips: usize,
}

impl Evaluation {
    /// Share of the fold's clips classified right, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.share(ScoredClip::is_right)
    }

    /// Share of the clips whose actual class is among the `k` most probable, 0 to 1. Of equally probable classes the last
    /// comes first, as in scikit-learn's `top_k_accuracy_score`.
    pub fn top_k(&self, k: usize) -> f64 {
        self.share(|clip| clip.rank() < k)
    }

    /// Mean loss of the clips in nats, 0 to 27.6, see [`ScoredClip::loss`]; NaN without clips. Knowing nothing, the same
    /// probability for all classes, has the loss ln(num_classes).
    pub fn mean_loss(&self) -> f64 {
        mean(self.clips.iter().map(ScoredClip::loss)).unwrap_or(f64::NAN)
    }

    /// The accuracy of always naming the fold's most frequent class, 0 to 1.
    pub fn chance(&self) -> f64 {
        let mut counts = vec![0usize; self.labels.len()];
        for clip in &self.clips {
            counts[clip.actual] += 1;
        }
        counts.into_iter().max().unwrap_or(0) as f64 / self.clips.len().max(1) as f64
    }

    /// Counts of clips, `(num_classes, num_classes)`: rows are actual, columns predicted classes.
    pub fn confusion(&self) -> Array2<u32> {
        let mut counts = Array2::zeros((self.labels.len(), self.labels.len()));
        for clip in &self.clips {
            counts[(clip.actual, clip.predicted)] += 1;
        }
        counts
    }

    /// The `n` most frequent mistakes, most frequent first, in table order where they are equally frequent.
    pub fn most_confused(&self, n: usize) -> Vec<Confusion> {
        let confusion = self.confusion();
        let mistakes =
            confusion.indexed_iter().filter(|((actual, predicted), clips)| actual != predicted && **clips > 0);
        let mut mistakes: Vec<Confusion> = mistakes
            .map(|((actual, predicted), &clips)| Confusion { actual, predicted, clips: clips as usize })
            .collect();
        mistakes.sort_by_key(|mistake| std::cmp::Reverse(mistake.clips));
        mistakes.truncate(n);
        mistakes
    }

    /// Precision, recall and F1 of every class, in the order of the labels.
    pub fn class_scores(&self) -> Vec<ClassScore> {
        let confusion = self.confusion();
        let share = |part: u32, whole: u32| (whole > 0).then(|| f64::from(part) / f64::from(whole));
        let score = |(class, label): (usize, &String)| {
            let right = confusion[(class, class)];
            let (actual, predicted) = (confusion.row(class).sum(), confusion.column(class).sum());
            ClassScore {
                label: label.clone(),
                clips: actual as usize,
                precision: share(right, predicted),
                recall: share(right, actual),
                f1: share(2 * right, actual + predicted),
            }
        };
        self.labels.iter().enumerate().map(score).collect()
    }

    /// Mean recall of the classes that have clips, each counting the same, 0 to 1; NaN without clips.
    pub fn balanced_accuracy(&self) -> f64 {
        mean(self.recall().into_iter().flatten()).unwrap_or(f64::NAN)
    }

    /// Mean F1 of the classes that have one, each counting the same, 0 to 1; NaN without clips.
    pub fn macro_f1(&self) -> f64 {
        mean(self.class_scores().into_iter().filter_map(|score| score.f1)).unwrap_or(f64::NAN)
    }

    /// Share of each class's clips classified right, 0 to 1; `None` for a class without a clip in the fold.
    pub fn recall(&self) -> Vec<Option<f64>> {
        self.class_scores().into_iter().map(|score| score.recall).collect()
    }

    /// `n` clips to show, as many classes as possible among them, in table order within a class.
    pub fn examples(&self, n: usize) -> Vec<&ScoredClip> {
        let mut seen = vec![0usize; self.labels.len()];
        let mut ranked: Vec<(usize, usize, &ScoredClip)> = Vec::new();
        for clip in &self.clips {
            ranked.push((seen[clip.actual], clip.actual, clip));
            seen[clip.actual] += 1;
        }
        ranked.sort_by_key(|(rank, target, _)| (*rank, *target));
        ranked.into_iter().take(n).map(|(.., clip)| clip).collect()
    }

    /// The `n` clips with the highest loss, the worst first: where the network was surest of something else.
    pub fn worst(&self, n: usize) -> Vec<&ScoredClip> {
        let mut clips: Vec<&ScoredClip> = self.clips.iter().collect();
        clips.sort_by(|a, b| b.loss().total_cmp(&a.loss()));
        clips.truncate(n);
        clips
    }

    fn share(&self, fits: impl Fn(&ScoredClip) -> bool) -> f64 {
        self.clips.iter().filter(|clip| fits(clip)).count() as f64 / self.clips.len().max(1) as f64
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = self.clips.iter().filter(|clip| clip.is_right()).count();
        let (accuracy, chance) = (100.0 * self.accuracy(), 100.0 * self.chance());
        let (fold, total) = (self.test_fold, self.clips.len());
        let interval = Interval::wilson(right, total);
        write!(
            f,
            "held-out fold {fold}: {right} of {total} clips right, {accuracy:.1} % (95 % interval {interval}; always naming one class: {chance:.1} %)"
        )?;
        let balanced = 100.0 * self.balanced_accuracy();
        write!(
            f,
            "\nbalanced accuracy {balanced:.1} % (every class counts the same), macro F1 {:.2}",
            self.macro_f1()
        )?;
        let reliability = self.reliability(RELIABILITY_BINS);
        let (ece, by_chance) = (reliability.ece, reliability.ece_by_chance);
        let error = format!("expected calibration error {ece:.2} (by chance {by_chance:.2} with so few clips)");
        match &self.calibration {
            Some(calibration) => write!(f, "\n{error}; {calibration}")?,
            None => write!(f, "\n{error}; probabilities as the network says them, not calibrated")?,
        }
        if interval.low <= self.chance() && accuracy > chance {
            write!(f, "\nThat is not above chance: so few clips cannot tell it from always naming one class.")?;
        } else if interval.low <= self.chance() {
            write!(
                f,
                "\nThat is not above chance: always naming one class does as well. \
                 Settings that do not fit the recordings are the likeliest reason (Preset::Fitted), then what the check-up found, then too \
                 few clips."
            )?;
        }
        Ok(())
    }
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
pub(super) mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// Clips of the classes a, b, … from (actual class, probabilities).
    pub(crate) fn scored<const N: usize>(clips: &[(usize, [f32; N])]) -> Evaluation {
        let scored = |(index, (actual, probabilities)): (usize, &(usize, [f32; N]))| {
            ScoredClip::new(format!("{index}.wav"), *actual, probabilities.to_vec())
        };
        let labels = ('a'..).take(N).map(String::from).collect();
        Evaluation { test_fold: 5, labels, clips: clips.iter().enumerate().map(scored).collect(), calibration: None }
    }

    pub(crate) fn by_hand() -> Evaluation {
        scored(&[(0, [0.5, 0.25, 0.25]), (0, [0.25, 0.75, 0.0]), (0, [1.0, 0.0, 0.0]), (1, [0.25, 0.5, 0.25])])
    }

    pub(crate) fn random(seed: u64) -> Evaluation {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut clip = |_| {
            // Squares are as uneven as a network's probabilities, a coarse grid has ties.
            let weights: [f32; 6] = std::array::from_fn(|_| (rng.random_range(0..5u8) as f32 + 0.1).powi(2));
            let total: f32 = weights.iter().sum();
            (rng.random_range(0..6usize), weights.map(|weight| weight / total))
        };
        scored(&(0..200).map(&mut clip).collect::<Vec<_>>())
    }

    pub(crate) fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "expected {expected}, found {found}");
    }

    #[test]
    fn accuracy_confusion_and_class_scores_agree_with_a_count_by_hand() {
        let evaluation = by_hand();
        assert_eq!(evaluation.accuracy(), 0.75);
        assert_eq!(evaluation.chance(), 0.75);
        assert_eq!(evaluation.confusion(), ndarray::array![[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!(evaluation.recall(), [Some(2.0 / 3.0), Some(1.0), None]);
        let score = |label: &str, clips, precision, recall, f1| ClassScore {
            label: label.into(),
            clips,
            precision,
            recall,
            f1,
        };
        let expected = [
            score("a", 3, Some(1.0), Some(2.0 / 3.0), Some(0.8)),
            score("b", 1, Some(0.5), Some(1.0), Some(2.0 / 3.0)),
            score("c", 0, None, None, None),
        ];
        assert_eq!(evaluation.class_scores(), expected);
        assert_close(evaluation.balanced_accuracy(), (2.0 / 3.0 + 1.0) / 2.0);
        assert_close(evaluation.macro_f1(), (0.8 + 2.0 / 3.0) / 2.0);
    }

    #[test]
    fn a_class_that_is_never_named_has_an_f1_of_zero_and_no_precision() {
        let scores = scored(&[(0, [0.0, 1.0]), (1, [0.0, 1.0])]).class_scores();
        assert_eq!((scores[0].precision, scores[0].recall, scores[0].f1), (None, Some(0.0), Some(0.0)));
    }

    #[test]
    fn the_loss_is_the_mean_negative_log_probability_of_the_actual_class() {
        let expected = (2f64.ln() + 4f64.ln() + 0.0 + 2f64.ln()) / 4.0;
        assert_close(by_hand().mean_loss(), expected);
        assert_close(scored(&[(2, [0.25; 4]), (0, [0.25; 4])]).mean_loss(), 4f64.ln());
        assert_close(scored(&[(1, [1.0, 0.0])]).mean_loss(), 1e12f64.ln());
    }

    #[test]
    fn top_k_agrees_with_a_count_by_hand() {
        let evaluation =
            scored(&[(0, [0.5, 0.3, 0.2]), (1, [0.5, 0.3, 0.2]), (2, [0.5, 0.3, 0.2]), (2, [0.1, 0.2, 0.7])]);
        assert_eq!([0, 1, 2, 3, 4].map(|k| evaluation.top_k(k)), [0.0, 0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn top_k_grows_with_k_from_the_accuracy_to_one() {
        for seed in 0..20 {
            let evaluation = random(seed);
            assert_eq!(evaluation.top_k(1), evaluation.accuracy());
            assert!((0..6).all(|k| evaluation.top_k(k) <= evaluation.top_k(k + 1)), "seed {seed}");
            assert_eq!(evaluation.top_k(6), 1.0);
        }
    }

    #[test]
    fn recall_and_precision_weighted_by_their_clips_are_the_accuracy() {
        for seed in 0..20 {
            let evaluation = random(seed);
            let (scores, n) = (evaluation.class_scores(), evaluation.clips.len() as f64);
            let micro_recall: f64 =
                scores.iter().filter_map(|score| Some(score.recall? * score.clips as f64 / n)).sum();
            assert_close(micro_recall, evaluation.accuracy());
            let predicted =
                |class: usize| evaluation.clips.iter().filter(|clip| clip.predicted == class).count() as f64;
            let micro_precision: f64 =
                (0..6).filter_map(|class| Some(scores[class].precision? * predicted(class) / n)).sum();
            assert_close(micro_precision, evaluation.accuracy());
            assert_eq!(scores.iter().map(|score| score.clips).sum::<usize>(), 200);
        }
    }

    #[test]
    fn the_most_confused_classes_come_first_and_hold_every_mistake() {
        let [a, b, c] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let evaluation = scored(&[(1, a), (0, c), (0, c), (2, b), (0, a), (0, c)]);
        let confusion = |actual, predicted, clips| Confusion { actual, predicted, clips };
        assert_eq!(evaluation.most_confused(9), [confusion(0, 2, 3), confusion(1, 0, 1), confusion(2, 1, 1)]);
        assert_eq!(evaluation.most_confused(1), [confusion(0, 2, 3)]);
    }

    #[test]
    fn the_worst_clips_have_the_highest_losses_in_descending_order() {
        let evaluation = by_hand();
        let names: Vec<&str> = evaluation.worst(2).iter().map(|clip| clip.filename.as_str()).collect();
        assert_eq!(names, ["1.wav", "0.wav"]);
        assert!(evaluation.worst(9).is_sorted_by(|a, b| a.loss() >= b.loss()));
        assert_eq!(evaluation.worst(9).len(), 4);
    }

    #[test]
    fn examples_show_every_class_before_any_class_twice() {
        let evaluation = by_hand();
        let actual: Vec<usize> = evaluation.examples(3).iter().map(|clip| clip.actual).collect();
        assert_eq!(actual, [0, 1, 0]);
    }
}
