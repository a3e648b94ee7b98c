//! What a file is, by its first bytes; and the names of what cannot be decoded.

use std::io::{self, Read, SeekFrom};
use std::path::Path;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as id;

use super::mpeg::{self, Kind};
use super::tags::{bytes_at, start_of_sound};
use super::waveform::{Source, refuse};
use crate::error::{Error, Result};

/// The containers and bare streams that can be opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Container {
    /// A WAV that hound refuses; told by [`is_wav`](super::riff::is_wav).
    Wav,
    Flac,
    Ogg,
    /// MP3 frames, one after the other.
    Mpeg,
    /// AAC frames, one after the other.
    Adts,
    /// M4A, MP4, MOV.
    Mp4,
}

/// Files that are known by their start, and not opened.
const NOT_OPENED: [(&[u8], &str); 19] = [
    (b"FORM", "AIFF"),
    (b"RIFX", "a big-endian WAV"),
    (b"riff", "Wave64"),
    (b"caff", "a Core Audio file"),
    (b"\x1A\x45\xDF\xA3", "WebM or Matroska"),
    (b"\x30\x26\xB2\x75", "WMA (ASF)"),
    (b"#!AMR", "AMR"),
    (b"wvpk", "WavPack"),
    (b"MAC ", "Monkey's Audio"),
    (b"MThd", "MIDI"),
    (b".snd", "Sun AU"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1F\x8B", "a gzip archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xFF\xD8\xFF", "a JPEG picture"),
    (b"%PDF", "a PDF"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
    (b"version https://git-lfs", "a Git LFS pointer"),
];

/// How far zeros may stand before the first frame of MPEG, in bytes.
const MAX_ZEROS: u64 = 1 << 20;
/// How much of a file's start tells what it is.
const START_LEN: usize = 64;

/// What the file holds from `start` to before `end`, and where that begins: at `start` but for MPEG, before which zeros may stand.
pub(super) fn sniff(source: &mut impl Source, start: u64, end: u64, path: &Path) -> Result<(Container, u64)> {
    let expected = "WAV, FLAC, Ogg (Vorbis, Opus, FLAC), MP3, AAC or M4A";
    let failed = Error::io("read", path);
    let looked_at = bytes_at::<START_LEN>(source, start, end).and_then(|bytes| {
        let first = first_frame(source, &bytes, start, end)?;
        Ok((bytes, mpeg::stream_at(source, first, end)?.map(|kind| (kind, first))))
    });
    let (bytes, stream) = looked_at.map_err(failed)?;
    let bytes = &bytes[..(end.saturating_sub(start) as usize).min(START_LEN)];
    let known = NOT_OPENED.iter().find(|(start, _)| bytes.starts_with(start));
    match *bytes {
        [b'f', b'L', b'a', b'C', ..] => return Ok((Container::Flac, start)),
        [b'O', b'g', b'g', b'S', ..] => return Ok((Container::Ogg, start)),
        [_, _, _, _, a, b, c, d, ..] if MP4_STARTS.contains(&&[a, b, c, d]) => return Ok((Container::Mp4, start)),
        _ => {}
    }
    match (known, stream) {
        (None, Some((Kind::Adts, at))) => Ok((Container::Adts, at)),
        (None, Some((Kind::Layer(3), at))) => Ok((Container::Mpeg, at)),
        (None, Some((Kind::Layer(layer), at))) => {
            let found = format!("MPEG layer {layer}, which cannot be decoded here");
            Err(refuse(path, Some(at), expected, found))
        }
        (Some((_, name)), _) => Err(refuse(path, Some(start), expected, (*name).to_string())),
        (None, None) => Err(refuse(path, Some(start), expected, describe(bytes))),
    }
}

/// Names of the atoms that an MP4 or QuickTime file begins with.
const MP4_STARTS: [&[u8; 4]; 6] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"];

/// Where the first frame of MPEG may be: behind zeros, and behind a tag also behind what a tagger left there.
fn first_frame(source: &mut impl Source, bytes: &[u8], start: u64, end: u64) -> io::Result<u64> {
    if bytes.first() == Some(&0) {
        let mut zeros = Vec::new();
        source.seek(SeekFrom::Start(start))?;
        Read::take(&mut *source, MAX_ZEROS.min(end - start)).read_to_end(&mut zeros)?;
        let behind = start + zeros.iter().take_while(|byte| **byte == 0).count() as u64;
        return start_of_sound(source, behind, end);
    }
    if start > 0 && mpeg::stream_at(source, start, end)?.is_none() {
        return Ok(mpeg::next_stream(source, start, end)?.unwrap_or(start));
    }
    Ok(start)
}

fn describe(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(12)];
    let text = start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if text { format!("text: {:?}", String::from_utf8_lossy(start)) } else { format!("bytes {start:02X?}") }
}

/// What to call a codec in an error.
pub(super) fn codec_name(codec: AudioCodecId) -> String {
    let name = match codec {
        id::CODEC_ID_OPUS => "Opus",
        id::CODEC_ID_SPEEX => "Speex",
        id::CODEC_ID_AAC => "AAC other than LC with one or two channels",
        id::CODEC_ID_AC3 => "AC-3",
        id::CODEC_ID_EAC3 => "E-AC-3",
        id::CODEC_ID_MP1 => "MPEG layer 1",
        id::CODEC_ID_MP2 => "MPEG layer 2",
        other => return format!("codec {other}"),
    };
    name.to_string()
}
