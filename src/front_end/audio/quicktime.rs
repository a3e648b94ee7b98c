//! PCM in QuickTime and MP4 files, whose byte order depends on name, flags and atoms (QuickTime File Format, "Sound Sample Descriptions";
//! ISO/IEC 23003-5): read here, because a wrong guess sounds like noise and is no error.

use std::io::SeekFrom;
use std::path::Path;

use super::mono::Mono;
use super::mp4::{atoms, sound_track, u16_at, u32_at, u64_at};
use super::pcm::Sample;
use super::waveform::{Source, check_channels, check_sample_rate, refuse};
use crate::error::{Error, Result};

/// Bytes read at a time, about.
const BLOCK_LEN: usize = 1 << 16;

/// A sound track of PCM: how samples are stored, and where.
#[derive(Debug)]
pub(super) struct Track {
    sample: Sample,
    is_big_endian: bool,
    channels: usize,
    sample_rate: u32,
    /// Where runs of frames begin, and how many frames each has.
    chunks: Vec<(u64, u64)>,
}

/// The track of PCM in a `moov`, if its sound is PCM.
///
/// # Errors
/// [`Error::Audio`] for PCM of a kind that is not read, or a table that contradicts itself.
pub(super) fn track(moov: &[u8], path: &Path) -> Result<Option<Track>> {
    let entry = sound_track(moov).and_then(|trak| {
        let stbl = inside(trak, &[b"mdia", b"minf", b"stbl"])?;
        let stsd = atoms(stbl, b"stsd").next()?;
        // Behind version, flags and the number of descriptions: the first one, with its length and name.
        let description = stsd.get(8..)?;
        let length = u32_at(description, 0)? as usize;
        Some((stbl, description.get(..length)?))
    });
    let Some((stbl, description)) = entry else { return Ok(None) };
    let broken = |found: &str| refuse(path, None, "a whole description of PCM samples", found);
    let Some(name) = description.get(4..8) else { return Ok(None) };
    if !NAMES.iter().any(|known| name == *known) {
        return Ok(None);
    }
    let format =
        Format::read(name, description).ok_or_else(|| broken("one cut short, or of PCM that is not read here"))?;
    check_channels(format.channels, path)?;
    let sample_rate = check_sample_rate(format.sample_rate, path)?;
    let chunks = chunks(stbl).ok_or_else(|| broken("tables of its places that contradict each other"))?;
    let n_frames = chunks.iter().map(|(_, frames)| frames).sum::<u64>();
    if n_frames == 0 {
        return Err(refuse(path, None, "at least one frame of samples in one piece", "none, or fragments"));
    }
    let Format { sample, is_big_endian, channels, .. } = format;
    Ok(Some(Track { sample, is_big_endian, channels, sample_rate, chunks }))
}

/// The names of PCM and its kin.
const NAMES: [&[u8; 4]; 11] =
    [b"raw ", b"NONE", b"twos", b"sowt", b"in24", b"in32", b"fl32", b"fl64", b"lpcm", b"ipcm", b"fpcm"];

impl Track {
    /// Reads all samples, as the mean of their channels. Places count from `from`.
    ///
    /// # Errors
    /// [`Error::Audio`] where the file ends before its samples do.
    pub fn decode(&self, source: &mut impl Source, from: u64, end: u64, mono: &mut Mono) -> Result<()> {
        let path = mono.path();
        let frame_len = self.sample.n_bytes() * self.channels;
        // No more room is made than the file could fill.
        let n_frames = self.chunks.iter().map(|(_, frames)| frames).sum::<u64>();
        mono.announce(n_frames, self.sample_rate)?;
        mono.reserve(n_frames.min(end / frame_len as u64) as usize);
        let mut block = vec![0; (BLOCK_LEN / frame_len).max(1) * frame_len];
        for (start, frames) in &self.chunks {
            let (start, length) = (from.saturating_add(*start), frames * frame_len as u64);
            if start.checked_add(length).is_none_or(|chunk_end| chunk_end > end) {
                return Err(refuse(
                    path,
                    Some(end),
                    format!("{length} bytes of samples from byte {start}"),
                    "the end of the file",
                ));
            }
            source.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
            let mut left = length as usize;
            while left > 0 {
                let n = left.min(block.len());
                source.read_exact(&mut block[..n]).map_err(Error::io("read", path))?;
                if self.is_big_endian {
                    block[..n].chunks_exact_mut(self.sample.n_bytes()).for_each(<[u8]>::reverse);
                }
                let done = mono.n_frames();
                mono.append(|samples, balance| self.sample.append_mono(&block[..n], self.channels, samples, balance));
                mono.check_from(done, |_| None)?;
                mono.release()?;
                left -= n;
            }
        }
        mono.end_part(None)
    }
}

/// What a description says of its samples.
struct Format {
    sample: Sample,
    is_big_endian: bool,
    channels: usize,
    sample_rate: u32,
}

impl Format {
    /// From a description with its length and name: reference, version, vendor, channels, bits, rate; then as its version has it.
    fn read(name: &[u8], description: &[u8]) -> Option<Format> {
        let version = u16_at(description, 16)?;
        let (mut channels, mut bits) = (usize::from(u16_at(description, 24)?), u32::from(u16_at(description, 26)?));
        let mut sample_rate = u32_at(description, 32)? >> 16;
        let children = match version {
            0 => description.get(36..)?,
            1 => description.get(52..)?,
            2 => description.get(72..)?,
            _ => return None,
        };
        let mut flags = 0;
        if version == 2 {
            sample_rate = f64::from_bits(u64_at(description, 40)?) as u32;
            channels = u32_at(description, 48)? as usize;
            bits = u32_at(description, 56)?;
            flags = u32_at(description, 60)?;
            let packet_len = u32_at(description, 64)? as usize;
            if u32_at(description, 68)? != 1 || packet_len != channels.checked_mul(bits as usize / 8)? {
                return None;
            }
        }
        // `wave` holds the extensions of version 1, which others put beside it.
        let wave = atoms(children, b"wave").next().unwrap_or(&[]);
        let little = [children, wave].iter().find_map(|atom| u16_at(atoms(atom, b"enda").next()?, 0)) == Some(1);
        let (sample, is_big_endian) = match name {
            b"raw " | b"NONE" if bits == 8 => (Sample::U8, false),
            b"twos" | b"sowt" if bits == 8 => (Sample::I8, false),
            b"twos" if bits == 16 => (Sample::I16, !little),
            b"sowt" if bits == 16 => (Sample::I16, false),
            // Their bits are told by the name; the field says 16 in version 1.
            b"in24" => (Sample::I24, !little),
            b"in32" => (Sample::I32, !little),
            b"fl32" => (Sample::F32, !little),
            b"fl64" => (Sample::F64, !little),
            b"lpcm" if version == 2 => {
                let [is_float, is_big_endian, is_signed, _, _, is_apart] =
                    [0, 1, 2, 3, 4, 5].map(|bit| flags >> bit & 1 == 1);
                let sample = match (is_float, is_signed, bits) {
                    _ if is_apart => return None,
                    (true, _, 32) => Sample::F32,
                    (true, _, 64) => Sample::F64,
                    (false, false, 8) => Sample::U8,
                    (false, true, 8) => Sample::I8,
                    (false, true, 16) => Sample::I16,
                    (false, true, 24) => Sample::I24,
                    (false, true, 32) => Sample::I32,
                    _ => return None,
                };
                (sample, is_big_endian)
            }
            b"ipcm" | b"fpcm" => {
                // Behind version and flags of the atom: a flag for little-endian, and the bits.
                let config = atoms(children, b"pcmC").next()?;
                let (is_little, bits) = (config.get(4)? & 1 == 1, *config.get(5)?);
                let sample = match (name, bits) {
                    (b"ipcm", 16) => Sample::I16,
                    (b"ipcm", 24) => Sample::I24,
                    (b"ipcm", 32) => Sample::I32,
                    (b"fpcm", 32) => Sample::F32,
                    (b"fpcm", 64) => Sample::F64,
                    _ => return None,
                };
                (sample, !is_little)
            }
            _ => return None,
        };
        Some(Format { sample, is_big_endian, channels, sample_rate })
    }
}

/// Where the chunks are and how many frames each has, from the sample table: `stco` or `co64`, and `stsc`. Their frames must be as many as
/// `stsz` has samples, which for PCM are frames.
fn chunks(stbl: &[u8]) -> Option<Vec<(u64, u64)>> {
    let offsets: Vec<u64> = match (atoms(stbl, b"stco").next(), atoms(stbl, b"co64").next()) {
        (Some(stco), _) => entries::<4>(stco)?.map(|entry| u64::from(u32::from_be_bytes(*entry))).collect(),
        (None, Some(co64)) => entries::<8>(co64)?.map(|entry| u64::from_be_bytes(*entry)).collect(),
        (None, None) => return None,
    };
    let runs: Vec<(usize, u64)> = entries::<12>(atoms(stbl, b"stsc").next()?)?
        .map(|run| Some((u32_at(run, 0)?.checked_sub(1)? as usize, u64::from(u32_at(run, 4)?))))
        .collect::<Option<_>>()?;
    let mut chunks = Vec::with_capacity(offsets.len());
    let mut runs = runs.into_iter().peekable();
    let mut frames = 0;
    for (number, offset) in offsets.into_iter().enumerate() {
        while let Some((_, of_run)) = runs.next_if(|(first, _)| *first <= number) {
            frames = of_run;
        }
        chunks.push((offset, frames));
    }
    let stsz = atoms(stbl, b"stsz").next()?;
    let n_frames = chunks.iter().map(|(_, frames)| frames).sum::<u64>();
    (n_frames == u64::from(u32_at(stsz, 8)?)).then_some(chunks)
}

/// The entries of a table: behind version, flags and their number, each so many bytes.
fn entries<const N: usize>(table: &[u8]) -> Option<impl Iterator<Item = &[u8; N]>> {
    let n_entries = u32_at(table, 4)? as usize;
    let entries = table.get(8..)?.as_chunks::<N>().0;
    (n_entries <= entries.len()).then(|| entries[..n_entries].iter())
}

/// The body of an atom inside an atom inside …
fn inside<'a>(atom: &'a [u8], path: &[&'a [u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(atom, |atom, kind| atoms(atom, kind).next())
}
