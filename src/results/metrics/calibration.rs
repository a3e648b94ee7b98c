//! Whether a network is right as often as it says.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::evaluation::{Evaluation, ScoredClip, mean};

/// Draws of which clips a calibrated network has right.
const N_DRAWS: usize = 1_000;

/// How far the network's confidence can be believed, after Guo et al., *On Calibration of Modern Neural Networks*, 2017,
/// <https://arxiv.org/abs/1706.04599>.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Bins of equal width from confidence 0 to 1.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error, 0 to 1: Σ |B| / n · |accuracy(B) − confidence(B)| over the bins B.
    pub ece: f64,
    /// What a network that is right exactly as often as it says reads on so few clips, in the mean over draws of which of them it has right.
    /// Below this an [`ece`](Self::ece) says nothing more.
    pub ece_by_chance: f64,
}

/// The clips whose predicted class has a probability above `from` and up to `to`; the first bin has 0, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// Lower edge, 0 to 1.
    pub from: f64,
    /// Upper edge, 0 to 1.
    pub to: f64,
    /// How many clips it holds.
    pub clips: usize,
    /// Their mean confidence, 0 to 1; `None` without clips.
    pub confidence: Option<f64>,
    /// Share of them classified right, 0 to 1; `None` without clips.
    pub accuracy: Option<f64>,
}

impl Evaluation {
    /// Confidence against accuracy in `n_bins` (at least one) bins.
    pub fn reliability(&self, n_bins: usize) -> Reliability {
        let n_bins = n_bins.max(1);
        let edge = |index: usize| index as f64 / n_bins as f64;
        let mut members: Vec<Vec<&ScoredClip>> = vec![Vec::new(); n_bins];
        for clip in &self.clips {
            let below = (1..n_bins).filter(|&index| edge(index) < clip.confidence()).count();
            members[below].push(clip);
        }
        let ece_by_chance = by_chance(&members, self.clips.len());
        let bin = |(index, clips): (usize, Vec<&ScoredClip>)| ReliabilityBin {
            from: edge(index),
            to: edge(index + 1),
            clips: clips.len(),
            confidence: mean(clips.iter().map(|clip| clip.confidence())),
            accuracy: mean(clips.iter().map(|clip| f64::from(clip.is_right()))),
        };
        let bins: Vec<ReliabilityBin> = members.into_iter().enumerate().map(bin).collect();
        let gap = |bin: &ReliabilityBin| Some(bin.clips as f64 * (bin.accuracy? - bin.confidence?).abs());
        let ece = bins.iter().filter_map(gap).sum::<f64>() / self.clips.len().max(1) as f64;
        Reliability { bins, ece, ece_by_chance }
    }
}

/// The mean expected calibration error of clips in bins, each right with the probability of its confidence. The same for the same clips.
fn by_chance(bins: &[Vec<&ScoredClip>], n_clips: usize) -> f64 {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let mut draw = || {
        let gap = |clips: &Vec<&ScoredClip>| -> f64 {
            let off = clips
                .iter()
                .map(|clip| f64::from(rng.random_bool(clip.confidence().clamp(0.0, 1.0))) - clip.confidence());
            off.sum::<f64>().abs()
        };
        bins.iter().map(gap).sum::<f64>() / n_clips.max(1) as f64
    };
    mean((0..N_DRAWS).map(|_| draw())).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use crate::results::metrics::evaluation::tests::{assert_close, by_hand, random, scored};

    #[test]
    fn a_network_as_often_right_as_it_says_has_no_calibration_error() {
        let sure = [0.75, 0.25, 0.0];
        let unsure = [0.25, 0.25, 0.5];
        let evaluation = scored(&[(0, sure), (0, sure), (0, sure), (1, sure), (2, unsure), (0, unsure)]);
        let reliability = evaluation.reliability(10);
        assert_eq!(reliability.ece, 0.0);
        let bin = reliability.bins[7];
        assert_eq!((bin.from, bin.to, bin.clips), (0.7, 0.8, 4));
        assert_eq!((bin.confidence, bin.accuracy), (Some(0.75), Some(0.75)));
        assert_eq!((reliability.bins[0].confidence, reliability.bins[0].accuracy), (None, None));
    }

    #[test]
    fn few_clips_read_an_error_by_chance_and_many_do_not() {
        // One bin, confidence one half: the mean of |right − n/2| / n, which is 0.5 for one clip and 0.25 for two.
        let half = [0.5, 0.5];
        let of = |n: usize| scored(&vec![(0, half); n]).reliability(10).ece_by_chance;
        assert_close(of(1), 0.5);
        assert!((of(2) - 0.25).abs() < 0.03, "{}", of(2));
        // About √(2 / (π n)) / 2 for many.
        assert!((of(400) - 0.02).abs() < 0.005, "{}", of(400));
        assert_eq!(scored(&[(0, [1.0, 0.0]), (1, [1.0, 0.0])]).reliability(10).ece_by_chance, 0.0);
    }

    #[test]
    fn a_network_sure_and_wrong_has_a_calibration_error_of_one_and_sure_and_right_of_zero() {
        assert_eq!(scored(&[(1, [1.0, 0.0]), (0, [0.0, 1.0])]).reliability(15).ece, 1.0);
        assert_eq!(scored(&[(0, [1.0, 0.0]), (1, [0.0, 1.0])]).reliability(15).ece, 0.0);
    }

    #[test]
    fn every_clip_lies_in_the_bin_of_its_confidence_and_edges_belong_to_the_bin_below() {
        for (seed, n_bins) in (0..20).flat_map(|seed| [1, 2, 10, 15].map(|n_bins| (seed, n_bins))) {
            let reliability = random(seed).reliability(n_bins);
            assert_eq!(reliability.bins.iter().map(|bin| bin.clips).sum::<usize>(), 200);
            for bin in reliability.bins {
                assert!(
                    bin.confidence.is_none_or(|confidence| bin.from < confidence && confidence <= bin.to),
                    "{bin:?}"
                );
            }
        }
        assert_eq!(scored(&[(0, [0.5, 0.25, 0.25])]).reliability(2).bins[0].clips, 1);
    }

    #[test]
    fn the_calibration_error_in_one_bin_is_accuracy_beside_mean_confidence() {
        let evaluation = by_hand();
        let confidence = (0.5 + 0.75 + 1.0 + 0.5) / 4.0;
        assert_close(evaluation.reliability(1).ece, (evaluation.accuracy() - confidence).abs());
    }
}
