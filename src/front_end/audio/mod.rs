//! Sound files to mono samples and back: any of the usual formats in, 16-bit WAV out.
//!
//! The format is chosen by what the file holds, never by its name. Ordinary WAVs are opened by hound and converted in bulk;
//! what hound refuses (64-bit float, ADPCM, A-law, …) and FLAC, MP3, AAC and M4A go to symphonia, Vorbis to lewton, Opus to opus-pure. PCM in
//! QuickTime is read here.

mod waveform;
mod write;
mod balance;
mod pcm;
mod tags;
mod riff;
mod mpeg;
mod ogg;
mod opus;
mod vorbis;
mod mp4;
mod edit_list;
mod quicktime;
mod content;
mod compressed;
mod wav;

use std::io::Cursor;
use std::path::Path;

pub use wav::{WavInfo, wav_info};
pub use waveform::{MAX_AMPLITUDE, MAX_CHANNELS, MAX_DURATION_S, MAX_FRAMES, SAMPLE_RATES, Waveform};
use waveform::{Source, open, refuse};
pub use write::{wav_bytes, write_wav};

use crate::error::{Error, Result};

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

fn decode_from(source: impl Source, len: u64, path: &Path) -> Result<Waveform> {
    if len == 0 {
        return Err(refuse(path, Some(0), "a sound file", "an empty file"));
    }
    let mut source = source;
    let looked_at = tags::start_of_sound(&mut source, 0, len).and_then(|start| {
        let is_wav = riff::is_wav(&tags::bytes_at::<12>(&mut source, start, len)?);
        Ok((start, is_wav, if is_wav { len } else { tags::end_of_sound(&mut source, start, len)? }))
    });
    let (start, is_wav, end) = looked_at.map_err(Error::io("read", path))?;
    if start >= end {
        return Err(refuse(path, Some(len), format!("sound from byte {start}, behind the tag"), "the end of the file"));
    }
    if is_wav {
        let section = tags::Section::new(source, start, len).map_err(Error::io("read", path))?;
        wav::decode(section, len - start, path).map_err(|error| error.shifted(start))
    } else {
        compressed::decode(source, start, end, path)
    }
}
