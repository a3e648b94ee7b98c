//! Whether a network is right as often as it says.

use super::evaluation::{Evaluation, ScoredClip, mean};

/// How far the network's confidence can be believed, after Guo et al., *On Calibration of Modern Neural Networks*, 2017,
/// <https://arxiv.org/abs/1706.04599>.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Bins of equal width from confidence 0 to 1.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error, 0 to 1: Σ |B| / n · |accuracy(B) − confidence(B)| over the bins B.
    pub ece: f64,
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
        Reliability { bins, ece }
    }
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
