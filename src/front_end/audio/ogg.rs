//! Ogg: the streams that a file chains, what each holds, and the packets of one (RFC 3533).

use std::io::{self, SeekFrom};
use std::path::Path;

use super::tags::bytes_at;
use super::waveform::{Source, refuse};
use crate::error::{Error, Result};

/// A page's header without the lengths of its segments, in bytes.
const HEADER_LEN: usize = 27;
/// Where in it the checksum stands.
const CHECKSUM: usize = 22;
/// Set where a page begins with the rest of a packet, in the first, and in the last page of a stream.
const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
/// The longest packet that is put together, in bytes: far longer than one of sound.
const MAX_PACKET_LEN: usize = 1 << 20;

/// What the streams of a chain link hold, by the first bytes of their first packets.
const CODECS: [(&[u8], &str); 6] = [
    (b"\x01vorbis", "Vorbis"),
    (b"\x7FFLAC", "FLAC"),
    (b"OpusHead", "Opus"),
    (b"Speex   ", "Speex"),
    (b"\x80theora", "Theora video"),
    (b"CELT    ", "CELT"),
];

/// A part of a file that is an Ogg file of its own: streams that begin together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub start: u64,
    pub end: u64,
    /// What its streams hold: each codec's name and the stream's number; streams of metadata are left out.
    pub codecs: Vec<(&'static str, u32)>,
}

/// A page's header, understood.
struct Page {
    kind: u8,
    granule: u64,
    serial: u32,
    /// Lengths of its segments, in bytes.
    segments: Vec<u8>,
    body: u64,
    /// How many pages of its stream come before it.
    number: u32,
    checksum: u32,
}

impl Page {
    fn end(&self) -> u64 {
        self.body + self.segments.iter().map(|length| u64::from(*length)).sum::<u64>()
    }

    /// Header and body of the page that begins at `start`.
    fn bytes(&self, source: &mut impl Source, start: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (self.end() - start) as usize];
        source.seek(SeekFrom::Start(start))?;
        source.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The links of the chain, in their order. What is no page ends the search, and belongs to the last link.
///
/// # Errors
/// What the source returns.
pub(super) fn links(source: &mut impl Source, start: u64, end: u64) -> io::Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    let (mut at, mut headers_end) = (start, false);
    while let Some(page) = page_at(source, at, end)? {
        if page.kind & FIRST == 0 {
            headers_end = true;
        } else {
            if headers_end || links.is_empty() {
                links.push(Link { start: at, end: at, codecs: Vec::new() });
                headers_end = false;
            }
            let packet = bytes_at::<8>(source, page.body, end)?;
            let codec = CODECS.iter().find(|(mark, _)| packet.starts_with(mark));
            if let (Some((_, name)), Some(link)) = (codec, links.last_mut()) {
                link.codecs.push((name, page.serial));
            }
        }
        at = page.end();
    }
    let starts: Vec<u64> = links.iter().skip(1).map(|link| link.start).chain([end]).collect();
    links.iter_mut().zip(starts).for_each(|(link, end)| link.end = end);
    Ok(links)
}

/// Hands over every packet of one stream of a link, with the granule position of the page that it ends on where it is the last to.
///
/// # Errors
/// When a page is missing, damaged or cut, and what `take` returns.
pub(super) fn packets(
    source: &mut impl Source,
    link: &Link,
    serial: u32,
    path: &Path,
    mut take: impl FnMut(&[u8], Option<u64>) -> Result<()>,
) -> Result<()> {
    let io = |error| Error::io("read", path)(error);
    let (mut at, mut packet, mut number) = (link.start, Vec::new(), None);
    while let Some(page) = page_at(source, at, link.end).map_err(io)? {
        let start = at;
        at = page.end();
        if page.serial != serial {
            continue;
        }
        if at > link.end {
            return Err(refuse(path, Some(link.end), "a whole page", "its end inside one"));
        }
        let bytes = page.bytes(source, start).map_err(io)?;
        if checksum(&bytes) != page.checksum {
            return Err(refuse(path, Some(start), "a page with its checksum", "one with another"));
        }
        if let Some(before) = number.replace(page.number)
            && page.number != u32::wrapping_add(before, 1)
        {
            let expected = format!("page {} of the stream", u32::wrapping_add(before, 1));
            return Err(refuse(path, Some(start), expected, format!("page {}", page.number)));
        }
        if page.kind & CONTINUED == 0 {
            packet.clear();
        }
        let last = page.segments.iter().rposition(|length| *length < 255);
        let mut rest = &bytes[(page.body - start) as usize..];
        for (number, length) in page.segments.iter().enumerate() {
            let (segment, behind) = rest.split_at(usize::from(*length));
            rest = behind;
            if packet.len() + segment.len() > MAX_PACKET_LEN {
                return Err(refuse(
                    path,
                    Some(start),
                    format!("packets of at most {MAX_PACKET_LEN} bytes"),
                    "a longer one",
                ));
            }
            packet.extend_from_slice(segment);
            if *length < 255 {
                take(&packet, (last == Some(number)).then_some(page.granule))?;
                packet.clear();
            }
        }
    }
    if !packet.is_empty() || at != link.end {
        return Err(refuse(
            path,
            Some(at),
            "a whole stream",
            "its end inside a packet, or no page where the next should be",
        ));
    }
    Ok(())
}

fn page_at(source: &mut impl Source, at: u64, end: u64) -> io::Result<Option<Page>> {
    let header = bytes_at::<HEADER_LEN>(source, at, end)?;
    let body = at + (HEADER_LEN + usize::from(header[26])) as u64;
    if !header.starts_with(b"OggS") || body > end {
        return Ok(None);
    }
    let mut segments = vec![0; usize::from(header[26])];
    source.read_exact(&mut segments)?;
    let granule = u64::from_le_bytes([6, 7, 8, 9, 10, 11, 12, 13].map(|at| header[at]));
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    let (serial, number, checksum) = (word(14), word(18), word(CHECKSUM));
    Ok(Some(Page { kind: header[5], granule, serial, segments, body, number, checksum }))
}

/// RFC 3533, section 6: CRC-32 of polynomial 0x04C11DB7, highest bit first, over the page with zeros in the checksum's place.
fn checksum(page: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut rest, mut bit) = ((byte as u32) << 24, 0);
            while bit < 8 {
                rest = (rest << 1) ^ if rest >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
                bit += 1;
            }
            table[byte] = rest;
            byte += 1;
        }
        table
    };
    page.iter().enumerate().fold(0, |rest: u32, (at, &byte)| {
        let byte = if (CHECKSUM..CHECKSUM + 4).contains(&at) { 0 } else { byte };
        (rest << 8) ^ TABLE[usize::from((rest >> 24) as u8 ^ byte)]
    })
}
