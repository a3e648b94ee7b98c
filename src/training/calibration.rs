//! How sure a network may be: a temperature, fitted on recordings that it was not trained on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What probabilities are held up by, so that a class that was never met is not impossible.
const MIN_PROBABILITY: f64 = 1e-12;
/// The temperatures tried, from the first to the second, in steps of a factor of so much.
const RANGE: (f64, f64) = (0.1, 10.0);
const STEP: f64 = 1.01;

/// From fewer recordings than this nothing is learned of how sure a network may be.
const LEAST: usize = 8;

/// What turns a network's probabilities into ones that come true as often as they say: temperature scaling (Guo et al., *On Calibration of
/// Modern Neural Networks*, 2017, <https://arxiv.org/abs/1706.04599>), on the probabilities of a recording, which are a mean over windows.
/// It never changes which class is the most probable one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Probabilities are raised to the power of 1 / this, and made to add up to 1 again. Below 1 the network was less sure than it was
    /// right, above 1 too sure.
    pub temperature: f64,
    /// Recordings that it was fitted on.
    pub recordings: usize,
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calibration { temperature, recordings } = self;
        write!(f, "calibrated at temperature {temperature:.2} on {recordings} recordings kept out of training")
    }
}

impl Calibration {
    /// Fits the temperature with the smallest mean loss on recordings that the network was not trained on: the probabilities it gave to each
    /// class, and the class. `None` with fewer than eight, and of a network with one class.
    ///
    /// As in Platt's scaling (1999), the target of a recording's class is not 1 but (n + 1) / (n + 2), and that of all others together the rest:
    /// some recordings, all of them right, do not make a network certain. (Spread over each of the others, the rest would keep every tiny
    /// probability up, and the network less sure than it is right.)
    pub fn fit<'a>(recordings: impl IntoIterator<Item = (&'a [f32], usize)>) -> Option<Self> {
        let logs: Vec<(Vec<f64>, usize)> =
            recordings.into_iter().map(|(probabilities, class)| (logarithms(probabilities), class)).collect();
        let num_classes = logs.first()?.0.len();
        if num_classes < 2 || logs.len() < LEAST {
            return None;
        }
        let doubt = 1.0 / (logs.len() as f64 + 2.0);
        let loss = |temperature: f64| -> f64 {
            let of_recording = |(logs, class): &(Vec<f64>, usize)| {
                let scaled: Vec<f64> = logs.iter().map(|log| log / temperature).collect();
                let highest = scaled.iter().fold(f64::NEG_INFINITY, |highest, log| highest.max(*log));
                let total = highest + scaled.iter().map(|log| (log - highest).exp()).sum::<f64>().ln();
                let own = scaled[*class] - total;
                -(1.0 - doubt) * own - doubt * (1.0 - own.exp()).max(MIN_PROBABILITY).ln()
            };
            logs.iter().map(of_recording).sum()
        };
        let n_steps = ((RANGE.1 / RANGE.0).ln() / STEP.ln()).floor() as i32;
        let tried = (0..=n_steps).map(|step| RANGE.0 * STEP.powi(step));
        let temperature = tried.min_by(|a, b| loss(*a).total_cmp(&loss(*b)))?;
        Some(Calibration { temperature, recordings: logs.len() })
    }

    /// Whether its temperature is one that [`fit`](Self::fit) can give.
    pub fn is_sound(&self) -> bool {
        (RANGE.0..=RANGE.1).contains(&self.temperature)
    }

    /// Puts calibrated probabilities in the place of a network's own.
    pub fn apply(&self, probabilities: &mut [f32]) {
        let scaled: Vec<f64> = logarithms(probabilities).iter().map(|log| log / self.temperature).collect();
        let highest = scaled.iter().fold(f64::NEG_INFINITY, |highest, log| highest.max(*log));
        let total: f64 = scaled.iter().map(|log| (log - highest).exp()).sum();
        for (probability, log) in probabilities.iter_mut().zip(scaled) {
            *probability = ((log - highest).exp() / total) as f32;
        }
    }
}

fn logarithms(probabilities: &[f32]) -> Vec<f64> {
    probabilities.iter().map(|&probability| f64::from(probability).max(MIN_PROBABILITY).ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recordings of two classes that a network is right about in `right` of 100 cases, and gives `sure` to the class it names.
    fn recordings(right: usize, sure: f32) -> Vec<(Vec<f32>, usize)> {
        (0..100).map(|i| (vec![sure, 1.0 - sure], usize::from(i >= right))).collect()
    }

    fn fitted(recordings: &[(Vec<f32>, usize)]) -> Calibration {
        Calibration::fit(recordings.iter().map(|(given, class)| (given.as_slice(), *class))).unwrap()
    }

    #[test]
    fn the_calibrated_network_is_as_sure_as_it_is_right() {
        for (right, sure) in [(90, 0.6), (90, 0.999), (75, 0.75), (60, 0.95)] {
            let recordings = recordings(right, sure);
            let calibration = fitted(&recordings);
            let mut given = recordings[0].0.clone();
            calibration.apply(&mut given);
            let accuracy = right as f32 / 100.0;
            assert!((given[0] - accuracy).abs() < 0.015, "{right} right, {sure} sure: {given:?} at {calibration:?}");
            assert_eq!(calibration.temperature < 1.0, sure < accuracy - 0.01, "{calibration:?}");
        }
    }

    #[test]
    fn some_recordings_all_right_do_not_make_a_network_certain() {
        let recordings: Vec<_> = recordings(100, 0.7).into_iter().take(8).collect();
        let mut given = recordings[0].0.clone();
        fitted(&recordings).apply(&mut given);
        assert!((given[0] - 0.9).abs() < 0.01, "{given:?}");
    }

    #[test]
    fn of_many_classes_a_few_recordings_tell_as_much() {
        // Ten classes: one that is likely, one that may be meant, eight less and less.
        let likely = [0.7, 0.2].into_iter().chain((0..8).map(|i| 0.1 * 0.3f32.powi(i)));
        let recordings: Vec<(Vec<f32>, usize)> =
            (0..32).map(|i| (likely.clone().collect(), usize::from(i >= 29))).collect();
        let mut given = recordings[0].0.clone();
        fitted(&recordings).apply(&mut given);
        assert!((given[0] - 29.0 / 32.0).abs() < 0.02, "{given:?}");
    }

    #[test]
    fn probabilities_keep_their_order_and_add_up_to_one() {
        for temperature in [0.1, 0.6, 1.0, 3.0, 10.0] {
            let calibration = Calibration { temperature, recordings: 1 };
            let mut given = [0.0f32, 0.2, 1e-9, 0.5, 0.3];
            calibration.apply(&mut given);
            assert!((given.iter().sum::<f32>() - 1.0).abs() < 1e-5 && given.iter().all(|share| share.is_finite()));
            assert!(given[3] > given[4] && given[4] > given[1] && given[1] > given[2] && given[2] >= given[0]);
        }
        let mut same = [0.2f32, 0.7, 0.1];
        Calibration { temperature: 1.0, recordings: 1 }.apply(&mut same);
        assert!(same.iter().zip([0.2, 0.7, 0.1]).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn nothing_to_fit_on_is_no_calibration() {
        let seven = &recordings(100, 0.7)[..7];
        assert_eq!(Calibration::fit(seven.iter().map(|(given, class)| (given.as_slice(), *class))), None);
        assert_eq!(Calibration::fit(Vec::new()), None);
        assert_eq!(Calibration::fit([([1.0f32].as_slice(), 0)]), None);
    }
}
