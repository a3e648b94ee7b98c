//! A recording as clips of one length.

use std::borrow::Cow;

use crate::config::{ClipConfig, LongClips};
use crate::error::Result;
use crate::front_end::resample::{Resampler, Running};

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

/// [`clips_of`] with [`LongClips::Windows`], of a recording that comes block by block.
pub struct Windows {
    n_samples: usize,
    hop: usize,
    /// Samples that a window needs or may need, and the place of the first.
    held: Vec<f32>,
    origin: usize,
    /// Where the next window begins, unless it is the last.
    next: usize,
}

impl Windows {
    /// For windows as long as a clip at this rate, one every `hop` samples, or one behind the other.
    pub fn new(sample_rate: u32, config: &ClipConfig, hop: Option<usize>) -> Self {
        let n_samples = config.n_samples(sample_rate).max(1);
        let hop = hop.unwrap_or(n_samples).clamp(1, n_samples);
        Windows { n_samples, hop, held: Vec::new(), origin: 0, next: 0 }
    }

    /// Takes samples, and hands over every window that is whole, with the place of its first sample.
    ///
    /// # Errors
    /// What `give` reports.
    pub fn take<E>(
        &mut self,
        samples: &[f32],
        mut give: impl FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.held.extend_from_slice(samples);
        while self.origin + self.held.len() >= self.next + self.n_samples {
            let start = self.next - self.origin;
            give(self.next, &self.held[start..start + self.n_samples])?;
            self.next += self.hop;
        }
        // The last window may begin anywhere behind the one before.
        let needed = self.next.saturating_sub(self.hop).max(self.origin);
        self.held.drain(..needed - self.origin);
        self.origin = needed;
        Ok(())
    }

    /// Hands over the last window, which ends with the recording, or the only one, padded with silence.
    ///
    /// # Errors
    /// What `give` reports.
    pub fn finish<E>(
        mut self,
        mut give: impl FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let end = self.origin + self.held.len();
        if self.next > 0 && end == self.next - self.hop + self.n_samples {
            return Ok(());
        }
        let start = end.saturating_sub(self.n_samples);
        self.held.resize(self.held.len().max(self.n_samples), 0.0);
        give(start, &self.held[start - self.origin..][..self.n_samples])
    }
}

/// [`Windows`] of a recording that comes block by block at a rate of its own.
pub struct Cutter {
    resampling: Running,
    windows: Windows,
    resampled: Vec<f32>,
}

impl Cutter {
    /// For a recording whose rate is converted to that of the windows.
    pub fn new(resampling: Running, windows: Windows) -> Self {
        Cutter { resampling, windows, resampled: Vec::new() }
    }

    /// Takes samples, and hands over every window that is whole, with the place of its first sample.
    ///
    /// # Errors
    /// As [`Running::take`]; what `give` reports.
    pub fn take(&mut self, samples: &[f32], give: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        self.resampled.clear();
        self.resampling.take(samples, &mut self.resampled)?;
        self.windows.take(&self.resampled, give)
    }

    /// Hands over the rest as [`Windows::finish`] does, and gives the resampler back.
    ///
    /// # Errors
    /// As [`Running::finish`]; what `give` reports.
    pub fn finish(mut self, mut give: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<Resampler> {
        self.resampled.clear();
        let resampler = self.resampling.finish(&mut self.resampled)?;
        self.windows.take(&self.resampled, &mut give)?;
        self.windows.finish(give)?;
        Ok(resampler)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_by_block_the_windows_are_the_same() {
        let config = ClipConfig { duration_s: 1.0, long_clips: LongClips::Windows };
        for n in [0, 1, 9, 10, 11, 19, 20, 25, 30, 31, 104] {
            let samples: Vec<f32> = (0..n).map(|index| index as f32).collect();
            let whole: Vec<(f32, Vec<f32>)> =
                clips_of(&samples, 10, &config).map(|(start, clip)| (start, clip.into_owned())).collect();
            for block in [1, 3, 10, 64] {
                let (mut windows, mut found) = (Windows::new(10, &config, None), Vec::new());
                let mut give = |start: usize, window: &[f32]| {
                    found.push((start as f32 / 10.0, window.to_vec()));
                    Ok::<(), ()>(())
                };
                samples.chunks(block).for_each(|samples| windows.take(samples, &mut give).unwrap());
                windows.finish(&mut give).unwrap();
                assert_eq!(found, whole, "{n} samples in blocks of {block}");
            }
        }
    }

    #[test]
    fn windows_that_overlap_end_with_the_recording_too() {
        let config = ClipConfig { duration_s: 1.0, long_clips: LongClips::Windows };
        let starts = |n: usize, hop: usize| {
            let (mut windows, mut found) = (Windows::new(10, &config, Some(hop)), Vec::new());
            let mut give = |start: usize, window: &[f32]| {
                assert!(n < 10 || window.iter().enumerate().all(|(i, sample)| *sample == (start + i) as f32));
                found.push(start);
                Ok::<(), ()>(())
            };
            let samples: Vec<f32> = (0..n).map(|index| index as f32).collect();
            samples.chunks(3).for_each(|samples| windows.take(samples, &mut give).unwrap());
            windows.finish(&mut give).unwrap();
            found
        };
        assert_eq!(starts(25, 5), [0, 5, 10, 15]);
        assert_eq!(starts(26, 5), [0, 5, 10, 15, 16]);
        assert_eq!((starts(10, 5), starts(7, 5), starts(13, 1)), (vec![0], vec![0], vec![0, 1, 2, 3]));
    }

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
