//! Tags in front of and behind a sound, and the part of a file between them.

use std::io::{self, Read, Seek, SeekFrom};

use super::waveform::Source;

/// Footers and headers of APE tags (APEv2 specification: 32 bytes, its length without the header at byte 12, flags at byte 20).
const APE_LEN: u64 = 32;
const APE_HAS_HEADER: u32 = 1 << 31;
/// An ID3v1 tag, which has one length, and the enhanced one that may stand before it.
const ID3V1_LEN: u64 = 128;
const ID3V1_ENHANCED_LEN: u64 = 227;
/// The header of an ID3v2 tag, and the footer of one at the end.
const ID3V2_LEN: u64 = 10;

/// Where the sound begins behind ID3v2 tags, which MP3s carry in front, and other formats whose tagger did not ask.
///
/// # Errors
/// What the source returns.
pub(super) fn start_of_sound(source: &mut impl Source, mut start: u64, end: u64) -> io::Result<u64> {
    while let Some(length) = id3v2(&bytes_at::<{ ID3V2_LEN as usize }>(source, start, end)?, b"ID3") {
        start = start.saturating_add(length).min(end);
    }
    Ok(start)
}

/// Where the sound ends before ID3v1, ID3v2, APE and Lyrics3 tags, in whatever order they stand there.
///
/// # Errors
/// What the source returns.
pub(super) fn end_of_sound(source: &mut impl Source, start: u64, mut end: u64) -> io::Result<u64> {
    loop {
        match last_tag(source, end)?.filter(|length| *length <= end.saturating_sub(start)) {
            Some(length) => end -= length,
            None => return Ok(end),
        }
    }
}

/// Where the sound goes on behind a tag of any kind that begins here, if one does.
///
/// # Errors
/// What the source returns.
pub(super) fn behind_tag(source: &mut impl Source, start: u64, end: u64) -> io::Result<Option<u64>> {
    let head = bytes_at::<{ APE_LEN as usize }>(source, start, end)?;
    let length = match () {
        _ if head.starts_with(b"TAG+") => Some(ID3V1_ENHANCED_LEN),
        _ if head.starts_with(b"TAG") => Some(ID3V1_LEN),
        _ if head.starts_with(b"APETAGEX") => Some(u64::from(u32_at(&head, 12)) + APE_LEN),
        _ => id3v2(&head, b"ID3"),
    };
    Ok(length.map(|length| start.saturating_add(length)).filter(|behind| *behind <= end))
}

/// The length of the tag that ends here, if one does.
fn last_tag(source: &mut impl Source, end: u64) -> io::Result<Option<u64>> {
    let mut before = |length: u64| {
        let start = end.checked_sub(length);
        start.map(|start| bytes_at::<{ APE_LEN as usize }>(source, start, end)).transpose()
    };
    if before(ID3V1_LEN)?.is_some_and(|bytes| bytes.starts_with(b"TAG")) {
        let enhanced = before(ID3V1_LEN + ID3V1_ENHANCED_LEN)?.is_some_and(|bytes| bytes.starts_with(b"TAG+"));
        return Ok(Some(ID3V1_LEN + if enhanced { ID3V1_ENHANCED_LEN } else { 0 }));
    }
    if let Some(footer) = before(APE_LEN)?.filter(|bytes| bytes.starts_with(b"APETAGEX")) {
        let header = if u32_at(&footer, 20) & APE_HAS_HEADER == 0 { 0 } else { APE_LEN };
        return Ok(Some(u64::from(u32_at(&footer, 12)).max(APE_LEN) + header));
    }
    if let Some(length) = before(ID3V2_LEN)?.and_then(|footer| id3v2(&footer, b"3DI")) {
        return Ok(Some(length + ID3V2_LEN));
    }
    // Lyrics3 v2: six digits of its length without them and the mark behind them.
    let mark = before(15)?.filter(|bytes| bytes[6..].starts_with(b"LYRICS200"));
    let digits = mark.and_then(|bytes| std::str::from_utf8(&bytes[..6]).ok()?.parse::<u64>().ok());
    Ok(digits.map(|length| length + 15))
}

/// The length of an ID3v2 tag from its header: 28 bits in four bytes, without the header of 10 bytes and a footer of as many that a
/// flag announces (ID3v2.4.0 structure, section 3.1).
fn id3v2(header: &[u8], mark: &[u8; 3]) -> Option<u64> {
    let sound = header.starts_with(mark) && header[3] != 0xFF && header[6..10].iter().all(|byte| *byte < 0x80);
    sound.then(|| {
        let body = header[6..10].iter().fold(0, |length, &byte| length << 7 | u64::from(byte));
        let footer = if mark == b"3DI" || header[5] & 0x10 == 0 { 0 } else { ID3V2_LEN };
        ID3V2_LEN + body + footer
    })
}

/// So many bytes from here on, zeros behind the end.
pub(super) fn bytes_at<const N: usize>(source: &mut impl Source, start: u64, end: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let there = end.saturating_sub(start).min(N as u64) as usize;
    source.seek(SeekFrom::Start(start))?;
    source.read_exact(&mut bytes[..there])?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A part of a source as if it were the whole.
pub(super) struct Section<S> {
    source: S,
    start: u64,
    end: u64,
    at: u64,
}

impl<S: Source> Section<S> {
    /// The bytes from `start` to before `end`.
    pub fn new(mut source: S, start: u64, end: u64) -> io::Result<Self> {
        source.seek(SeekFrom::Start(start))?;
        Ok(Section { source, start, end: end.max(start), at: start })
    }

    pub fn len(&self) -> u64 {
        self.end - self.start
    }
}

impl<S: Source> Read for Section<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX));
        let length = self.source.read(&mut bytes[..most])?;
        self.at += length as u64;
        Ok(length)
    }
}

impl<S: Source> Seek for Section<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => self.start.checked_add(at),
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let at = at.filter(|at| *at >= self.start).ok_or(io::ErrorKind::InvalidInput)?;
        self.at = self.source.seek(SeekFrom::Start(at))?;
        Ok(self.at - self.start)
    }
}
