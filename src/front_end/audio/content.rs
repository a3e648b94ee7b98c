//! What a file is, by its first bytes; and the names of what cannot be decoded.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as id;

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

/// Codecs that an Ogg stream names in its first packet, and that are not there.
const OGG_NOT_THERE: [(&[u8], &str); 3] =
    [(b"OpusHead", "Opus"), (b"Speex   ", "Speex"), (b"\x80theora", "Theora video")];

/// Tells what the file holds from `start` on.
pub(super) fn sniff(source: &mut BufReader<impl Source>, start: u64, path: &Path) -> Result<Container> {
    let expected = "WAV, FLAC, Ogg Vorbis, MP3, AAC or M4A";
    source.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
    let bytes = source.fill_buf().map_err(Error::io("read", path))?;
    match *bytes {
        [b'f', b'L', b'a', b'C', ..] => Ok(Container::Flac),
        [b'O', b'g', b'g', b'S', ..] => match ogg_codec(bytes) {
            Some(codec) => {
                Err(refuse(path, Some(start), expected, format!("{codec} in Ogg, which cannot be decoded here")))
            }
            None => Ok(Container::Ogg),
        },
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Ok(Container::Mp4),
        [0xFF, b, ..] if b & 0xF6 == 0xF0 => Ok(Container::Adts),
        // Version and layer not reserved.
        [0xFF, b, ..] if b & 0xE0 == 0xE0 && b & 0x18 != 0x08 && b & 0x06 != 0 => Ok(Container::Mpeg),
        // Behind a tag there may be padding; only MPEG streams put up with it.
        _ if start > 0 => Ok(Container::Mpeg),
        _ => {
            let known = NOT_OPENED.iter().find(|(start, _)| bytes.starts_with(start));
            let found = known.map_or_else(|| describe(bytes), |(_, name)| (*name).to_string());
            Err(refuse(path, Some(start), expected, found))
        }
    }
}

fn ogg_codec(page: &[u8]) -> Option<&'static str> {
    // RFC 3533: 26 bytes, the count of segments, their lengths, then the packet.
    let packet = page.get(27 + usize::from(*page.get(26)?)..)?;
    OGG_NOT_THERE.iter().find(|(start, _)| packet.starts_with(start)).map(|(_, name)| *name)
}

fn describe(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(12)];
    let text = start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if text { format!("text: {:?}", String::from_utf8_lossy(start)) } else { format!("bytes {start:02X?}") }
}

/// Where the sound begins behind ID3v2 tags, which MP3s and some others carry in front.
///
/// The tag's length is 28 bits in four bytes, without its header of 10 bytes and a footer of as many that a flag announces
/// (ID3v2.4.0 structure, section 3.1).
pub(super) fn skip_id3(source: &mut BufReader<impl Source>, len: u64, path: &Path) -> Result<u64> {
    let mut start = 0;
    while start + 10 <= len {
        source.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
        let mut header = [0; 10];
        source.read_exact(&mut header).map_err(Error::io("read", path))?;
        if !header.starts_with(b"ID3") {
            break;
        }
        let body = header[6..].iter().fold(0, |len, &byte| len << 7 | u64::from(byte & 0x7F));
        let footer = if header[5] & 0x10 == 0 { 0 } else { 10 };
        start += 10 + body + footer;
    }
    if start >= len && start > 0 {
        return Err(refuse(
            path,
            Some(len),
            format!("sound from byte {start}, behind the ID3 tag"),
            "the end of the file",
        ));
    }
    Ok(start)
}

/// What to call a codec in an error.
pub(super) fn codec_name(codec: AudioCodecId) -> String {
    let name = match codec {
        id::CODEC_ID_OPUS => "Opus",
        id::CODEC_ID_SPEEX => "Speex",
        id::CODEC_ID_ALAC => "Apple Lossless (ALAC)",
        id::CODEC_ID_AAC => "AAC other than LC with one or two channels",
        id::CODEC_ID_AC3 => "AC-3",
        id::CODEC_ID_EAC3 => "E-AC-3",
        id::CODEC_ID_MP1 => "MPEG layer 1",
        id::CODEC_ID_MP2 => "MPEG layer 2",
        other => return format!("codec {other}"),
    };
    name.to_string()
}
