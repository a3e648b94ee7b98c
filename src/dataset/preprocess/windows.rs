//! A recording as clips of one length.

use std::borrow::Cow;

use crate::config::{ClipConfig, LongClips};

/// Cuts or pads a recording to clips of `duration_s`, each with its start in seconds.
///
/// The last of several windows ends with the recording, so that no sound is lost.
pub fn clips_of<'a>(
    samples: &'a [f32],
    sample_rate: u32,
    config: &ClipConfig,
) -> impl Iterator<Item = (f32, Cow<'a, [f32]>)> {
    let n_samples = config.n_samples(sample_rate).max(1);
    let last = match config.long_clips {
        LongClips::Windows => samples.len().saturating_sub(n_samples),
        LongClips::Crop => 0,
    };
    (0..last).step_by(n_samples).chain([last]).map(move |start| {
        let end = samples.len().min(start + n_samples);
        let mut clip = Cow::Borrowed(&samples[start..end]);
        if clip.len() < n_samples {
            clip.to_mut().resize(n_samples, 0.0);
        }
        (start as f32 / sample_rate as f32, clip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_long_recording_and_the_last_ends_with_it() {
        let samples: Vec<f32> = (0..25).map(|index| index as f32).collect();
        let config = |long_clips| ClipConfig { duration_s: 1.0, long_clips };
        let cut = |samples: &[f32], long_clips| -> Vec<(f32, Vec<f32>)> {
            clips_of(samples, 10, &config(long_clips)).map(|(start, clip)| (start, clip.into_owned())).collect()
        };
        let windows = cut(&samples, LongClips::Windows);
        assert_eq!(windows.iter().map(|(start_s, _)| *start_s).collect::<Vec<_>>(), [0.0, 1.0, 1.5]);
        assert_eq!(windows[2].1, samples[15..]);
        assert_eq!(cut(&samples, LongClips::Crop), [(0.0, samples[..10].to_vec())]);
        assert_eq!(cut(&samples[..10], LongClips::Windows), [(0.0, samples[..10].to_vec())], "exactly one clip");
        let padded = [0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].to_vec();
        assert_eq!(cut(&samples[..3], LongClips::Windows), [(0.0, padded)]);
    }
}
