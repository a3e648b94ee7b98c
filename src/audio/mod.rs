//! Sound files to mono samples and back: any of the usual formats in, 16-bit WAV out.
//!
//! The format is chosen by what the file holds, never by its name. Ordinary WAVs are opened by hound and converted in bulk;
//! what hound refuses (64-bit float, ADPCM, A-law, …) and FLAC, Ogg Vorbis, MP3, AAC and M4A go to symphonia.

mod compressed;
mod content;
mod edit_list;
mod mpeg;
mod riff;
mod wav;
mod write;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::ops::RangeInclusive;
use std::path::Path;

pub use wav::{WavInfo, wav_info};
pub use write::{wav_bytes, write_wav};

use crate::{Error, Result};

/// Sample rates a file may have, in Hz: below, a clip would grow more than sixteenfold on the way to 16 kHz; above, no recorder goes.
pub const SAMPLE_RATES: RangeInclusive<u32> = 1_000..=768_000;
/// The most frames one file may decode to: over an hour at 48 kHz, 800 MB as mono `f32`. Checked as decoding goes.
pub const MAX_FRAMES: usize = 200_000_000;
/// The longest file in seconds: two hours, 460 MB once resampled to 16 kHz. Checked as decoding goes.
pub const MAX_DURATION_S: u32 = 7_200;
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
}

/// Reads any supported sound file and averages its channels to mono.
///
/// Integer samples are scaled to [-1, 1), float samples are taken as they are. What an encoder added at the start and the end is
/// cut off where the file tells how much (MP3, M4A, Vorbis).
///
/// A file cut short is refused. A WAV whose header shows that its writer never knew its length (zero, 0xFFFF_FFFF and the like:
/// pipes, recorders that were killed), or that got the length of its samples alone wrong, is read to its end; chunks behind the
/// samples may be missing. MP3 and AAC without a container can lose whole frames at their end unnoticed.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Audio`], with file, offset where known, expected and found, when the file is
/// empty, cut short, damaged, not audio, in a codec that is not there, beyond [`MAX_FRAMES`] or [`MAX_DURATION_S`], at a rate
/// outside [`SAMPLE_RATES`], or holds a sample that is not a finite number within [`MAX_AMPLITUDE`].
pub fn read(path: &Path) -> Result<Waveform> {
    let (file, len) = open(path)?;
    decode_from(file, len, path)
}

/// Decodes a sound file already in memory; `path` only names it in errors.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8], path: &Path) -> Result<Waveform> {
    decode_from(Cursor::new(bytes), bytes.len() as u64, path)
}

/// What a sound file can be read from.
trait Source: Read + Seek + Send + Sync {}
impl<T: Read + Seek + Send + Sync> Source for T {}

fn open(path: &Path) -> Result<(File, u64)> {
    // Asked before opening: opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(refuse(path, None, "a regular file", "a folder or a device"));
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    Ok((file, metadata.len()))
}

fn decode_from(source: impl Source, len: u64, path: &Path) -> Result<Waveform> {
    if len == 0 {
        return Err(refuse(path, Some(0), "a sound file", "an empty file"));
    }
    let mut source = BufReader::new(source);
    let start = source.fill_buf().map_err(Error::io("read", path))?;
    if riff::is_wav(start) { wav::decode(source, len, path) } else { compressed::decode(source, len, path) }
}

fn check_sample_rate(sample_rate: u32, path: &Path) -> Result<u32> {
    if SAMPLE_RATES.contains(&sample_rate) {
        return Ok(sample_rate);
    }
    let expected = format!("a sample rate of {} to {} Hz", SAMPLE_RATES.start(), SAMPLE_RATES.end());
    Err(refuse(path, None, expected, format!("{sample_rate} Hz")))
}

fn check_length(n_frames: u64, sample_rate: u32, path: &Path) -> Result<()> {
    let most = (MAX_FRAMES as u64).min(u64::from(sample_rate) * u64::from(MAX_DURATION_S));
    if n_frames <= most {
        return Ok(());
    }
    Err(refuse(path, None, format!("at most {most} frames at {sample_rate} Hz"), format!("{n_frames} or more")))
}

/// Refuses samples that are not finite numbers of a sane size; `done` frames came before them, and `offset` tells where a frame is.
fn check_samples(samples: &[f32], done: usize, offset: impl Fn(usize) -> Option<u64>, path: &Path) -> Result<()> {
    let sound = |sample: f32| sample.abs() <= MAX_AMPLITUDE;
    if samples.iter().fold(true, |all, &sample| all & sound(sample)) {
        return Ok(());
    }
    let at = samples.iter().position(|&sample| !sound(sample)).unwrap_or(0);
    let expected = format!("finite samples of at most {MAX_AMPLITUDE:e}");
    Err(refuse(path, offset(done + at), expected, format!("{:e} in frame {}", samples[at], done + at)))
}

fn refuse(path: &Path, offset: Option<u64>, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Audio { path: path.to_path_buf(), offset, expected: expected.into(), found: found.into() }
}
