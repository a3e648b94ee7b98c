//! Ogg: the streams that a file chains, what each holds, and the packets of one (RFC 3533).

use std::io::{self, SeekFrom};

use super::tags::bytes_at;
use super::waveform::Source;

/// A page's header without the lengths of its segments, in bytes.
const HEADER_LEN: usize = 27;
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
}

impl Page {
    fn end(&self) -> u64 {
        self.body + self.segments.iter().map(|length| u64::from(*length)).sum::<u64>()
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

/// Hands over every packet of one stream of a link, with the granule position of the page that it ends on where it is the last to. True
/// when the stream is whole to its last page.
///
/// # Errors
/// What the source returns, and what `take` does.
pub(super) fn packets<E: From<io::Error>>(
    source: &mut impl Source,
    link: &Link,
    serial: u32,
    mut take: impl FnMut(&[u8], Option<u64>) -> Result<(), E>,
) -> Result<bool, E> {
    let (mut at, mut packet, mut is_whole) = (link.start, Vec::new(), true);
    while let Some(page) = page_at(source, at, link.end)? {
        at = page.end();
        if page.serial != serial {
            continue;
        }
        let mut body = vec![0; (at - page.body) as usize];
        source.seek(SeekFrom::Start(page.body))?;
        if let Err(error) = source.read_exact(&mut body) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(error.into()) };
        }
        if page.kind & CONTINUED == 0 {
            packet.clear();
        }
        let last = page.segments.iter().rposition(|length| *length < 255);
        let mut rest = &body[..];
        for (number, length) in page.segments.iter().enumerate() {
            let (segment, behind) = rest.split_at(usize::from(*length).min(rest.len()));
            rest = behind;
            if packet.len() + segment.len() > MAX_PACKET_LEN {
                return Ok(false);
            }
            packet.extend_from_slice(segment);
            if *length < 255 {
                take(&packet, (last == Some(number)).then_some(page.granule))?;
                packet.clear();
            }
        }
        is_whole = packet.is_empty();
    }
    Ok(is_whole && at == link.end)
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
    let serial = u32::from_le_bytes([14, 15, 16, 17].map(|at| header[at]));
    Ok(Some(Page { kind: header[5], granule, serial, segments, body }))
}
