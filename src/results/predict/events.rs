//! What is heard when: stretches of a recording in which a class is.

use serde::Serialize;

use super::prediction::{Prediction, Window};

/// A stretch of a recording in which a class is heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Where its first window starts, in seconds.
    pub start_s: f64,
    /// Where its last window ends, in seconds.
    pub end_s: f64,
    /// The class.
    pub label: String,
    /// The highest probability of the class in any of its windows.
    pub score: f32,
}

impl Prediction {
    /// Runs of windows in which the probability of a class is `threshold` or more, by their start. A window that is silent, or unlike all that the
    /// network was trained on, belongs to none: what the network says of it is not to be believed.
    pub fn events(&self, threshold: f32) -> Vec<Event> {
        let mut events = Vec::new();
        for (class, (label, _)) in self.ranked.iter().enumerate() {
            let heard =
                |window: &Window| !window.standing.is_none_of_these() && window.probabilities[class] >= threshold;
            for run in self.timeline.chunk_by(|a, b| heard(a) == heard(b)).filter(|run| heard(&run[0])) {
                let score = run.iter().map(|window| window.probabilities[class]).fold(0.0, f32::max);
                let (start_s, end_s) = (run[0].start_s, run[run.len() - 1].end_s);
                events.push(Event { start_s, end_s, label: label.clone(), score });
            }
        }
        events.sort_by(|a, b| a.start_s.total_cmp(&b.start_s).then_with(|| b.score.total_cmp(&a.score)));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::super::prediction::Standing;
    use super::*;

    fn heard(windows: &[(f32, Standing)]) -> Prediction {
        let timeline: Vec<Window> = windows
            .iter()
            .enumerate()
            .map(|(i, &(dog, standing))| {
                let start_s = 5.0 * i as f64;
                Window { start_s, end_s: start_s + 5.0, probabilities: vec![dog, 1.0 - dog], standing }
            })
            .collect();
        let ranked = vec![("dog".into(), 0.5), ("rain".into(), 0.5)];
        let duration_s = 5.0 * windows.len() as f64;
        Prediction {
            path: "a".into(),
            duration_s,
            windows: windows.len(),
            ranked,
            timeline,
            standing: Standing::Unknown,
        }
    }

    #[test]
    fn runs_of_windows_are_events_and_windows_not_to_be_believed_are_none() {
        use Standing::{Like, Silent, Unlike};
        let prediction = heard(&[
            (0.9, Like(0.5)),
            (0.7, Like(0.5)),
            (0.2, Like(0.5)),
            (0.1, Silent),
            (0.95, Unlike(0.01)),
            (0.8, Like(0.5)),
        ]);
        let events = prediction.events(0.6);
        let told: Vec<_> =
            events.iter().map(|event| (event.start_s, event.end_s, &*event.label, event.score)).collect();
        assert_eq!(told, [(0.0, 10.0, "dog", 0.9), (10.0, 15.0, "rain", 0.8), (25.0, 30.0, "dog", 0.8)]);
        assert!(prediction.events(0.99).is_empty());
        // Several classes at once.
        assert_eq!(heard(&[(0.5, Like(0.5))]).events(0.5).len(), 2);
    }
}
