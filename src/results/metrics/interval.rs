//! What a share measured on so many clips is worth: intervals that hold the true one 95 times in 100.

use std::collections::BTreeMap;
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Resamplings of a bootstrap.
const N_RESAMPLES: usize = 10_000;
/// The standard normal's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// A 95 % interval of a share, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Wilson's interval (Wilson 1927) of `right` among `total` clips of recordings of their own; everything for none.
    pub fn wilson(right: usize, total: usize) -> Self {
        if total == 0 {
            return Interval { low: 0.0, high: 1.0 };
        }
        let (n, share) = (total as f64, right as f64 / total as f64);
        let middle = share + Z * Z / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Interval { low: ((middle - half) / scale).max(0.0), high: ((middle + half) / scale).min(1.0) }
    }

    /// The percentile interval of a mean over clips of which several may be cut from one recording, by drawing whole recordings anew
    /// (cluster bootstrap, Efron and Tibshirani 1993): each clip with its recording and its share of right answers. The same for the same
    /// clips.
    pub fn clustered<'a>(clips: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let mut recordings: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (recording, right) in clips {
            let sums = recordings.entry(recording).or_default();
            sums.0 += right;
            sums.1 += 1;
        }
        let recordings: Vec<(f64, usize)> = recordings.into_values().collect();
        if recordings.is_empty() {
            return Interval { low: 0.0, high: 1.0 };
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut draw = || {
            let drawn = (0..recordings.len()).map(|_| recordings[rng.random_range(0..recordings.len())]);
            let (right, total) = drawn.fold((0.0, 0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
            right / total as f64
        };
        let mut means: Vec<f64> = (0..N_RESAMPLES).map(|_| draw()).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[(share * (N_RESAMPLES - 1) as f64).round() as usize];
        Interval { low: at(0.025), high: at(0.975) }
    }
}

impl fmt::Display for Interval {
    /// In percent: `38.1 to 59.6 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} to {:.1} %", 100.0 * self.low, 100.0 * self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the formula, worked out by hand for 8 of 10 (0.4902, 0.9433) and at the ends.
    #[test]
    fn wilsons_interval_is_that_of_the_formula_and_stays_between_0_and_1() {
        let found = Interval::wilson(8, 10);
        assert!((found.low - 0.4902).abs() < 1e-4 && (found.high - 0.9433).abs() < 1e-4, "{found:?}");
        let none = Interval::wilson(0, 10);
        assert!(none.low == 0.0 && (none.high - 0.2775).abs() < 1e-4, "{none:?}");
        assert!(Interval::wilson(10, 10).high > 1.0 - 1e-12);
        assert_eq!(Interval::wilson(0, 0), Interval { low: 0.0, high: 1.0 });
    }

    #[test]
    fn clips_of_one_recording_count_as_little_more_than_one() {
        let names: Vec<String> = (0..400).map(|n| format!("r{n}")).collect();
        let right = |n: usize| if n.is_multiple_of(10) { 0.0 } else { 1.0 };
        let alone = Interval::clustered(names.iter().enumerate().map(|(n, name)| (name.as_str(), right(n))));
        let wilson = Interval::wilson(360, 400);
        assert!((alone.low - wilson.low).abs() < 0.01 && (alone.high - wilson.high).abs() < 0.01, "{alone} {wilson}");
        // Ten clips of each of 40 recordings, right or wrong together.
        let together = Interval::clustered((0..400).map(|n| (names[n / 10].as_str(), right(n / 10))));
        assert!(together.high - together.low > 2.5 * (alone.high - alone.low), "{together} {alone}");
        assert_eq!(alone, Interval::clustered(names.iter().enumerate().map(|(n, name)| (name.as_str(), right(n)))));
    }
}
