//! A constant offset is a fault of the recorder and no sound, but a spectrogram shows it as the loudest there is.

use std::borrow::Cow;

use crate::error::Result;

/// From this share of a recording's level on, an offset is taken for one. Of the 400 recordings of ESC-10 none has more than 0.04.
const MIN_SHARE: f64 = 0.1;

/// The samples without a constant offset, where they have one that counts; else as they are.
///
/// An offset lifts most samples alike, hence mean and median; pulses to one side lift the mean alone, and are left as they are.
pub(super) fn without_offset(samples: &[f32]) -> Cow<'_, [f32]> {
    let mut sums = Sums::default();
    sums.take(samples);
    let offset = sums.offset(|take| {
        take(samples);
        Ok(())
    });
    match offset {
        Ok(Some(mean)) => Cow::Owned(lowered(samples, mean).collect()),
        _ => Cow::Borrowed(samples),
    }
}

/// The samples without an offset.
pub(super) fn lowered(samples: &[f32], offset: f64) -> impl Iterator<Item = f32> {
    samples.iter().map(move |&sample| (f64::from(sample) - offset) as f32)
}

/// What samples add up to, block by block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Sums {
    pub fn take(&mut self, samples: &[f32]) {
        self.n += samples.len() as u64;
        for sample in samples.iter().map(|&sample| f64::from(sample)) {
            self.sum += sample;
            self.squares += sample * sample;
        }
    }

    /// The offset of the samples, where they have one that counts. `again` gives them anew, in blocks, as often as it is called.
    ///
    /// # Errors
    /// What `again` reports.
    pub fn offset(&self, again: impl Fn(&mut dyn FnMut(&[f32])) -> Result<()>) -> Result<Option<f64>> {
        let n = self.n.max(1) as f64;
        let (mean, mean_square) = (self.sum / n, self.squares / n);
        // Cheap for the usual case: a mean far below any level.
        let std = (mean_square - mean * mean).max(0.0).sqrt();
        // What is no number is told by whoever takes the samples next.
        if mean.abs() <= MIN_SHARE * std || mean == 0.0 || !mean_square.is_finite() {
            return Ok(None);
        }
        let median = f64::from(median(self.n, again)?);
        Ok(((median - mean).abs() <= 0.5 * mean.abs()).then_some(mean))
    }
}

/// The median of `n` samples (the upper one of two), found in two turns: the upper half of its bits, then the lower.
fn median(n: u64, again: impl Fn(&mut dyn FnMut(&[f32])) -> Result<()>) -> Result<f32> {
    let mut counts = vec![0u64; 1 << 16];
    again(&mut |block| block.iter().for_each(|&sample| counts[(ordered(sample) >> 16) as usize] += 1))?;
    let (upper, rank) = nth(&counts, n / 2);
    counts.fill(0);
    again(&mut |block| {
        let in_it = block.iter().map(|&sample| ordered(sample)).filter(|bits| bits >> 16 == upper);
        in_it.for_each(|bits| counts[(bits & 0xFFFF) as usize] += 1);
    })?;
    let (lower, _) = nth(&counts, rank);
    let bits = upper << 16 | lower;
    Ok(f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits }))
}

/// Numbers in the order of the samples.
fn ordered(sample: f32) -> u32 {
    let bits = sample.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// In which cell the count reaches past `rank`, and the rank within it.
fn nth(counts: &[u64], mut rank: u64) -> (u32, u64) {
    for (cell, &count) in counts.iter().enumerate() {
        if rank < count {
            return (cell as u32, rank);
        }
        rank -= count;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(offset: f32) -> Vec<f32> {
        (0..10_000).map(|n| offset + 0.1 * (n as f32 * 0.3).sin() * (1.0 + (n as f32 * 0.001).cos())).collect()
    }

    #[test]
    fn an_offset_goes_and_what_has_none_stays_to_the_bit() {
        assert!(matches!(without_offset(&sound(0.0)), Cow::Borrowed(_)));
        assert!(matches!(without_offset(&sound(0.005)), Cow::Borrowed(_)));
        for offset in [0.05, -0.4, 0.9] {
            let lifted = sound(offset);
            let found = without_offset(&lifted);
            let worst = found.iter().zip(sound(0.0)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{offset}: {worst}");
        }
        assert!(matches!(without_offset(&[]), Cow::Borrowed(_)));
        assert_eq!(without_offset(&[0.5; 100])[..], [0.0; 100], "a constant is silence");
    }

    #[test]
    fn the_median_is_that_of_sorted_samples() {
        for n in [1usize, 2, 7, 1000] {
            let samples: Vec<f32> = (0..n).map(|i| ((i * 7919 % 1013) as f32 - 400.0) * 0.37).collect();
            let mut sorted = samples.clone();
            sorted.sort_by(f32::total_cmp);
            let blocks = |take: &mut dyn FnMut(&[f32])| {
                samples.chunks(3).for_each(take);
                Ok(())
            };
            assert_eq!(median(n as u64, blocks).unwrap(), sorted[n / 2], "{n}");
        }
    }

    #[test]
    fn pulses_to_one_side_are_sound() {
        let pulses: Vec<f32> = (0..10_000).map(|n| if n % 50 < 3 { 0.8 } else { 0.0 }).collect();
        assert!(matches!(without_offset(&pulses), Cow::Borrowed(_)));
    }
}
