//! Whether the channels of a recording cancel each other when they are mixed.
//!
//! Two channels that are each other's negative, as a cable with one plug reversed makes them, are silence as mono. A lossy format leaves a rest of
//! rounding noise, which would be taken for the sound.

/// The share of the channels' power that is left of channels that cancel, at most: 30 dB below. By chance none do; two microphones'
/// correlation would have to be −0.998.
const CANCELLED: f64 = 1e-3;
/// Sums side by side, which a processor adds up at once.
const LANES: usize = 8;

/// The power of the channels apart, and together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Balance {
    /// Squares added up over frames, of each the mean over channels.
    apart: f64,
    /// Of the frames' means.
    together: f64,
}

impl Balance {
    /// Counts interleaved frames and what they were mixed to; one channel has nothing to cancel.
    pub(super) fn count(&mut self, interleaved: &[f32], channels: usize, mono: &[f32]) {
        if channels > 1 {
            self.apart += power(interleaved) / channels as f64;
            self.together += power(mono);
        }
    }

    /// The same of channels one after another.
    pub(super) fn count_planar(&mut self, channels: &[Vec<f32>], mono: &[f32]) {
        if channels.len() > 1 {
            self.apart += channels.iter().map(|channel| power(channel)).sum::<f64>() / channels.len() as f64;
            self.together += power(mono);
        }
    }

    /// Whether the channels cancel each other: what is left of them is no sound of the recording, but silence.
    pub(super) fn cancels(self) -> bool {
        self.together < CANCELLED * self.apart
    }
}

fn power(samples: &[f32]) -> f64 {
    let mut total = 0.0;
    // Not so many that a sum in 32 bits would lose them.
    for block in samples.chunks(1 << 12) {
        let mut lanes = [0f32; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for values in whole {
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane += value * value;
            }
        }
        let rest: f32 = rest.iter().map(|value| value * value).sum();
        total += f64::from(lanes.iter().sum::<f32>() + rest);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel, and another that is its negative but for a share of something else.
    fn cancels(rest: f32) -> bool {
        let frames: Vec<[f32; 2]> = (0..10_001)
            .map(|n| {
                let (sound, other) = ((n as f32 * 0.1).sin(), (n as f32 * 0.37).sin());
                [sound, rest * other - sound]
            })
            .collect();
        let mono: Vec<f32> = frames.iter().map(|[left, right]| (left + right) / 2.0).collect();
        let mut balance = Balance::default();
        balance.count(frames.as_flattened(), 2, &mono);
        balance.cancels()
    }

    #[test]
    fn what_is_left_of_channels_that_cancel_is_silence() {
        for (rest, silent) in [(0.0, true), (0.02, true), (0.2, false), (1.0, false)] {
            assert_eq!(cancels(rest), silent, "{rest}");
        }
    }

    #[test]
    fn one_channel_and_silence_stay_as_they_are() {
        let mut balance = Balance::default();
        assert!(!balance.cancels());
        balance.count(&[1e-6, -1e-6], 1, &[1e-6, -1e-6]);
        assert!(!balance.cancels());
    }

    #[test]
    fn every_sample_counts() {
        let samples: Vec<f32> = (0..9_999).map(|n| n as f32 / 1e4).collect();
        let expected: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        assert!((power(&samples) / expected - 1.0).abs() < 1e-6);
        assert_eq!(power(&[3.0, 4.0]), 25.0);
    }
}
