//! A decoded sound, and the bounds that every file is held to.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::ops::RangeInclusive;
use std::path::Path;

use crate::error::{Error, Result};
use crate::front_end::offset::without_offset;

/// Sample rates a file may have, in Hz: below, a clip would grow more than sixteenfold on the way to 16 kHz; above, no recorder goes.
pub const SAMPLE_RATES: RangeInclusive<u32> = 1_000..=768_000;
/// The most frames one file may decode to: over an hour at 48 kHz, 800 MB as mono `f32`. Checked as decoding goes.
pub const MAX_FRAMES: usize = 200_000_000;
/// The longest file in seconds: two hours, 460 MB once resampled to 16 kHz. Checked as decoding goes.
pub const MAX_DURATION_S: u32 = 7_200;
/// The most channels: as many as `WAVEFORMATEXTENSIBLE` has names for.
pub const MAX_CHANNELS: usize = 32;
/// The largest magnitude a float file may hold: that of 32-bit integers stored unscaled. Squares of it are far from `f32`'s end.
pub const MAX_AMPLITUDE: f32 = 2_147_483_648.0;

/// A mono signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Waveform {
    /// The samples, nominally in [-1, 1]; always finite when they come from a file.
    pub samples: Vec<f32>,
    /// Samples per second, in Hz.
    pub sample_rate: u32,
}

impl Waveform {
    /// The length in seconds.
    pub fn duration_s(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }

    /// The samples without a constant offset, where they have one that counts.
    pub fn without_offset(&self) -> Cow<'_, [f32]> {
        without_offset(&self.samples)
    }
}

/// What a sound file can be read from.
pub(super) trait Source: Read + Seek + Send + Sync {}
impl<T: Read + Seek + Send + Sync> Source for T {}

pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    // Asked before opening: opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(refuse(path, None, "a regular file", "a folder or a device"));
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    Ok((file, metadata.len()))
}

pub(super) fn check_channels(channels: usize, path: &Path) -> Result<usize> {
    if (1..=MAX_CHANNELS).contains(&channels) {
        return Ok(channels);
    }
    let advice = if channels > MAX_CHANNELS { "; mix them down: ffmpeg -i FILE -ac 1 mono.wav" } else { "" };
    Err(refuse(path, None, format!("1 to {MAX_CHANNELS} channels"), format!("{channels}{advice}")))
}

pub(super) fn check_sample_rate(sample_rate: u32, path: &Path) -> Result<u32> {
    if SAMPLE_RATES.contains(&sample_rate) {
        return Ok(sample_rate);
    }
    let expected = format!("a sample rate of {} to {} Hz", SAMPLE_RATES.start(), SAMPLE_RATES.end());
    Err(refuse(path, None, expected, format!("{sample_rate} Hz")))
}

pub(super) fn check_length(n_frames: u64, sample_rate: u32, path: &Path) -> Result<()> {
    let most = (MAX_FRAMES as u64).min(u64::from(sample_rate) * u64::from(MAX_DURATION_S));
    if n_frames <= most {
        return Ok(());
    }
    let hours = MAX_DURATION_S / 3_600;
    let expected = format!("at most {hours} hours in one file, {most} frames at {sample_rate} Hz");
    let found = format!("{n_frames} or more; cut it: ffmpeg -i FILE -f segment -segment_time 3600 part%03d.wav");
    Err(refuse(path, None, expected, found))
}

/// Refuses samples that are not finite numbers of a sane size; `done` frames came before them, and `offset` tells where a frame is.
pub(super) fn check_samples(
    samples: &[f32],
    done: usize,
    offset: impl Fn(usize) -> Option<u64>,
    path: &Path,
) -> Result<()> {
    let sound = |sample: f32| sample.abs() <= MAX_AMPLITUDE;
    if samples.iter().fold(true, |all, &sample| all & sound(sample)) {
        return Ok(());
    }
    let at = samples.iter().position(|&sample| !sound(sample)).unwrap_or(0);
    let expected = format!("finite samples of at most {MAX_AMPLITUDE:e}");
    Err(refuse(path, offset(done + at), expected, format!("{:e} in frame {}", samples[at], done + at)))
}

pub(super) fn refuse(path: &Path, offset: Option<u64>, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Audio { path: path.to_path_buf(), offset, expected: expected.into(), found: found.into() }
}
