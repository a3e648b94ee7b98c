//! Any sound file by what it holds.

use std::io::Cursor;
use std::path::Path;

use super::mono::Mono;
use super::waveform::{Source, Waveform, open, refuse};
use super::{compressed, riff, tags, wav};
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
/// empty, cut short, damaged, not audio, in a codec that is not there, beyond [`MAX_FRAMES`](super::MAX_FRAMES) or [`MAX_DURATION_S`](super::MAX_DURATION_S), at a rate
/// outside [`SAMPLE_RATES`](super::SAMPLE_RATES), or holds a sample that is not a finite number within [`MAX_AMPLITUDE`](super::MAX_AMPLITUDE).
pub fn read(path: &Path) -> Result<Waveform> {
    let (file, len) = open(path)?;
    let mut mono = Mono::whole(path);
    decode_from(file, len, &mut mono)?;
    mono.finish()
}

/// Decodes a sound file already in memory; `path` only names it in errors.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: &[u8], path: &Path) -> Result<Waveform> {
    let mut mono = Mono::whole(path);
    decode_from(Cursor::new(bytes), bytes.len() as u64, &mut mono)?;
    mono.finish()
}

pub(super) fn decode_from(source: impl Source, len: u64, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
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
        wav::decode(section, len - start, mono).map_err(|error| error.shifted(start))
    } else {
        compressed::decode(source, start, end, mono)
    }
}
