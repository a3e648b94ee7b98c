//! RIFF, the container of WAV: where the samples are, and whether they are all there.

use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::tags::end_of_sound;
use super::waveform::{Source, check_channels, check_sample_rate, refuse};
use crate::error::{Error, Result};

/// The longest chunk about the samples that is read, in bytes; `fmt ` has 16, 18 or 40, ADPCM's about 50.
const MAX_CHUNK_LEN: u64 = 1 << 12;
/// The tag of integer samples, and that of MP3 frames.
const PCM: u16 = 1;
pub(super) const MP3: u16 = 0x0055;
/// The tag of a `fmt ` chunk that tells its format, and the names of its channels, further on (`WAVEFORMATEXTENSIBLE`).
const EXTENSIBLE: u16 = 0xFFFE;
/// Lengths from here on are what programs write that cannot come back for the true one (SoX 0x7FFF_F000, others 0xFFFF_FFFF).
const UNKNOWN_LEN: u64 = 0x7FFF_0000;

/// Where a WAV's samples are, and what they are.
pub(super) struct Layout {
    /// The body of the `fmt ` chunk: tag, channels, rate, bytes per second, bytes per frame, bits per sample, and more.
    fmt: Vec<u8>,
    /// The body of the `fact` chunk: how many frames a compressed WAV has.
    fact: Vec<u8>,
    /// Where the samples start, in bytes.
    pub(super) data_start: u64,
    /// How long they are, in bytes: whole frames, all of them within the file.
    pub(super) data_len: u64,
}

impl Layout {
    /// The number of the format: 1 for PCM, 3 for float, 0xFFFE for one that is told further on.
    pub(super) fn tag(&self) -> u16 {
        u16_at(&self.fmt, 0)
    }

    pub(super) fn channels(&self) -> u16 {
        u16_at(&self.fmt, 2)
    }

    pub(super) fn sample_rate(&self) -> u32 {
        u32_at(&self.fmt, 4)
    }

    /// The length of a frame in bytes; of a block of frames in compressed WAVs.
    pub(super) fn frame_len(&self) -> u16 {
        u16_at(&self.fmt, 12)
    }

    pub(super) fn bits_per_sample(&self) -> u16 {
        u16_at(&self.fmt, 14)
    }

    pub(super) fn n_frames(&self) -> u64 {
        self.data_len / u64::from(self.frame_len())
    }

    /// The header as it should have been: true lengths, no other chunks, and as many channels named as there are.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut fmt = self.fmt.clone();
        // hound and symphonia take whole bytes; bits that a container has to spare are its lowest.
        let container_bits = 8 * self.frame_len() / self.channels();
        if self.tag() == PCM && self.bits_per_sample().next_multiple_of(8) == container_bits {
            fmt[14..16].copy_from_slice(&container_bits.to_le_bytes());
        }
        if self.tag() == EXTENSIBLE && fmt.len() >= 24 {
            let names = (1_u64 << self.channels()) - 1;
            fmt[20..24].copy_from_slice(&(names as u32).to_le_bytes());
        }
        let mut header = b"RIFF\xFF\xFF\xFF\xFFWAVE".to_vec();
        for (name, body) in [(b"fmt ", &fmt), (b"fact", &self.fact)] {
            if !body.is_empty() {
                header.extend_from_slice(name);
                header.extend_from_slice(&(body.len() as u32).to_le_bytes());
                header.extend_from_slice(body);
                header.resize(header.len().next_multiple_of(2), 0);
            }
        }
        header.extend_from_slice(b"data");
        header.extend_from_slice(&u32::try_from(self.data_len).unwrap_or(u32::MAX).to_le_bytes());
        header
    }
}

/// Whether a file that starts so is a WAV, by its content: RIFF, or its 64-bit kin RF64 and BW64.
pub(super) fn is_wav(start: &[u8]) -> bool {
    [b"RIFF", b"RF64", b"BW64"].iter().any(|name| start.starts_with(*name)) && start.get(8..12) == Some(b"WAVE")
}

/// Walks the chunks up to the samples, and leaves the source there.
pub(super) fn find_samples(source: &mut BufReader<impl Source>, len: u64, path: &Path) -> Result<Layout> {
    let mut start = [0; 12];
    read_exact(source, &mut start, len, path)?;
    if !is_wav(&start) {
        return Err(refuse(path, Some(0), "a WAV file", format!("bytes {start:02X?}")));
    }
    let (mut fmt, mut fact, mut ds64) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 12;
    let (data_start, claimed) = loop {
        let mut header = [0; 8];
        read_exact(source, &mut header, len, path)?;
        let body_len = u64::from(u32_at(&header, 4));
        let kept = match &header[..4] {
            b"data" => break (at + 8, body_len),
            b"fmt " if !(16..=MAX_CHUNK_LEN).contains(&body_len) => {
                let expected = format!("a fmt chunk of 16 to {MAX_CHUNK_LEN} bytes");
                return Err(refuse(path, Some(at), expected, format!("one of {body_len}")));
            }
            b"fmt " => Some(&mut fmt),
            b"fact" if (4..=MAX_CHUNK_LEN).contains(&body_len) => Some(&mut fact),
            b"ds64" if (16..=MAX_CHUNK_LEN).contains(&body_len) => Some(&mut ds64),
            _ => None,
        };
        if let Some(kept) = kept {
            let mut body = vec![0; body_len as usize];
            read_exact(source, &mut body, len, path)?;
            if !kept.is_empty() && *kept != body {
                let name = String::from_utf8_lossy(&header[..4]).trim_end().to_owned();
                return Err(refuse(path, Some(at), format!("one {name} chunk"), "another that contradicts the first"));
            }
            *kept = body;
        } else {
            source.seek_relative(body_len as i64).map_err(Error::io("read", path))?;
        }
        at += 8 + body_len;
        // Chunks start on even bytes, but not every writer pads: a pad is zero, a chunk's name is not.
        if at % 2 == 1 && source.fill_buf().map_err(Error::io("read", path))?.first() == Some(&0) {
            source.consume(1);
            at += 1;
        }
    };
    if fmt.is_empty() {
        return Err(refuse(path, Some(data_start - 8), "a fmt chunk before the samples", "none"));
    }
    let mut layout = Layout { fmt, fact, data_start, data_len: 0 };
    check_fmt(&layout, path)?;
    let claimed = if claimed == u64::from(u32::MAX) && !ds64.is_empty() { u64_at(&ds64, 8) } else { claimed };
    let there = len.saturating_sub(data_start);
    let riff_end = 8 + u64::from(u32_at(&start, 4));
    // A length that holds is the best witness of what is sound. Tags are cut off where there is none, or where the data chunk claims
    // more than its RIFF holds.
    let overlaps = (data_start..len).contains(&riff_end) && claimed > riff_end - data_start;
    let data_len = match data_len(claimed, there, data_start, riff_end) {
        Some(data_len) if data_len != claimed || overlaps => {
            let end = end_of_sound(source, data_start, len).map_err(Error::io("read", path))?;
            source.seek(SeekFrom::Start(data_start)).map_err(Error::io("read", path))?;
            data_len.min(end - data_start)
        }
        Some(data_len) if data_len + 8 < there => {
            if let Some(at) = further_samples(source, data_start + data_len, len).map_err(Error::io("read", path))? {
                return Err(refuse(path, Some(at), "all samples in one data chunk", "another data chunk"));
            }
            source.seek(SeekFrom::Start(data_start)).map_err(Error::io("read", path))?;
            data_len
        }
        Some(data_len) => data_len,
        None => {
            let expected = format!("{claimed} bytes of samples from byte {data_start}");
            return Err(refuse(path, Some(len), expected, format!("{there}")));
        }
    };
    // MP3 frames are of no fixed length.
    layout.data_len = if layout.tag() == MP3 { data_len } else { data_len - data_len % u64::from(layout.frame_len()) };
    if layout.data_len == 0 {
        let expected = format!("at least one frame of {} bytes", layout.frame_len());
        return Err(refuse(path, Some(data_start), expected, format!("{data_len} bytes")));
    }
    Ok(layout)
}

fn check_fmt(layout: &Layout, path: &Path) -> Result<()> {
    check_channels(usize::from(layout.channels()), path)?;
    if layout.frame_len() == 0 {
        return Err(refuse(path, None, "at least one byte per frame", "none"));
    }
    check_sample_rate(layout.sample_rate(), path).map(|_| ())
}

/// How many bytes of samples there are, or `None` for a file cut short.
///
/// A data chunk that ends behind the file means a file cut short, except where the header shows that its writer never knew the
/// length (zero, 0xFFFF_FFFF and the like: pipes, recorders that were killed), or got this length alone wrong (the RIFF length
/// fits the file). Then the samples go to the end of the file.
fn data_len(claimed: u64, there: u64, data_start: u64, riff_end: u64) -> Option<u64> {
    let riff_unknown = riff_end <= data_start || riff_end >= UNKNOWN_LEN;
    match claimed {
        0 if riff_unknown => Some(there),
        _ if claimed <= there => Some(claimed),
        _ if claimed >= UNKNOWN_LEN || riff_end == data_start + there => Some(there),
        _ => None,
    }
}

/// Where another chunk of samples begins in what lies behind the samples: without it the recording would be shorter than it is, and nobody told.
/// Anything but chunks ends the search.
fn further_samples(source: &mut BufReader<impl Source>, end: u64, len: u64) -> std::io::Result<Option<u64>> {
    let mut at = end;
    while at + 8 < len {
        let position = source.stream_position()?;
        source.seek_relative(at as i64 - position as i64)?;
        if at % 2 == 1 && source.fill_buf()?.first() == Some(&0) {
            at += 1;
            continue;
        }
        let mut header = [0; 8];
        source.read_exact(&mut header)?;
        if &header[..4] == b"data" {
            return Ok(Some(at));
        }
        at += 8 + u64::from(u32_at(&header, 4));
    }
    Ok(None)
}

fn read_exact(source: &mut impl Read, bytes: &mut [u8], len: u64, path: &Path) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => refuse(path, Some(len), "a header and samples", "the end of the file"),
        _ => Error::io("read", path)(error),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
