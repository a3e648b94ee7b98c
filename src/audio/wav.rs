//! RIFF WAVE: finding the samples and converting them in bulk.

use std::io::{BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec};

use super::{Source, Waveform, check_length, check_sample_rate, check_samples, compressed, open, refuse};
use crate::{Error, Result};

/// Bytes read and converted at a time: few enough to stay in a processor's cache, enough to make reading a few calls.
const BLOCK_LEN: usize = 1 << 16;
/// The longest `fmt ` chunk looked at, in bytes; the usual ones have 16, 18 or 40, ADPCM's about 50.
const MAX_FMT_LEN: u64 = 1 << 12;
/// Lengths from here on are what programs write that cannot come back for the true one (SoX 0x7FFF_F000, others 0xFFFF_FFFF).
const UNKNOWN_LEN: u64 = 0x7FFF_0000;

/// What a WAV file says about itself, checked against what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WavInfo {
    /// Frames per second, in Hz.
    pub sample_rate: u32,
    /// Samples per frame.
    pub channels: u16,
    /// Bits of one stored sample; 4 for ADPCM.
    pub bits_per_sample: u16,
    /// Frames that [`read`](super::read) decodes; for ADPCM, the blocks of frames instead.
    pub n_frames: u64,
}

/// Reads what a WAV file says about itself and checks that its samples are all there, without converting them.
///
/// # Errors
/// As [`read`](super::read), but for what only the samples themselves can tell; and a file that is not a WAV is refused.
pub fn wav_info(path: &Path) -> Result<WavInfo> {
    let (file, len) = open(path)?;
    let layout = find_samples(&mut BufReader::new(file), len, path)?;
    Ok(WavInfo {
        sample_rate: layout.sample_rate(),
        channels: layout.channels(),
        bits_per_sample: layout.bits_per_sample(),
        n_frames: layout.n_frames(),
    })
}

/// Whether a file that starts so is a WAV, by its content: RIFF, or its 64-bit kin RF64 and BW64.
pub(super) fn is_wav(start: &[u8]) -> bool {
    matches!(start, [b'R', b'I', b'F', b'F', ..,] | [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..])
        && start.get(8..12) == Some(b"WAVE")
}

/// Decodes a WAV file: in bulk what hound accepts, by symphonia what it refuses.
pub(super) fn decode(mut source: BufReader<impl Source>, len: u64, path: &Path) -> Result<Waveform> {
    let layout = find_samples(&mut source, len, path)?;
    let header = layout.header();
    match WavReader::new(&header[..]).ok().and_then(|wav| Sample::of(wav.spec(), &layout)) {
        Some(sample) => decode_pcm(&mut source, &layout, sample, path),
        None => compressed::decode_wav(Cursor::new(header).chain(source.take(layout.data_len)), layout.field(0), path),
    }
}

fn decode_pcm(source: &mut impl Read, layout: &Layout, sample: Sample, path: &Path) -> Result<Waveform> {
    check_length(layout.n_frames(), layout.sample_rate(), path)?;
    let frame_len = usize::from(layout.frame_len());
    let mut samples = Vec::with_capacity(layout.n_frames() as usize);
    let mut left = layout.data_len as usize;
    let mut block = vec![0; left.min(BLOCK_LEN / frame_len * frame_len)];
    while left > 0 {
        let n = left.min(block.len());
        source.read_exact(&mut block[..n]).map_err(Error::io("read", path))?;
        let done = samples.len();
        sample.append_mono(&block[..n], usize::from(layout.channels()), &mut samples);
        if sample == Sample::F32 {
            let offset = |frame: usize| Some(layout.data_start + (frame * frame_len) as u64);
            check_samples(&samples[done..], done, offset, path)?;
        }
        left -= n;
    }
    Ok(Waveform { samples, sample_rate: layout.sample_rate() })
}

/// How a sample is stored, of what hound accepts.
#[derive(Clone, Copy, PartialEq)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
}

impl Sample {
    /// Only the width of the container counts: bits that it has to spare are its lowest (`WAVEFORMATEXTENSIBLE`).
    fn of(spec: WavSpec, layout: &Layout) -> Option<Sample> {
        if !layout.frame_len().is_multiple_of(spec.channels) {
            return None;
        }
        match (spec.sample_format, layout.frame_len() / spec.channels) {
            (SampleFormat::Int, 1) => Some(Sample::U8),
            (SampleFormat::Int, 2) => Some(Sample::I16),
            (SampleFormat::Int, 3) => Some(Sample::I24),
            (SampleFormat::Int, 4) => Some(Sample::I32),
            (SampleFormat::Float, 4) => Some(Sample::F32),
            _ => None,
        }
    }

    /// Appends the frames in `bytes`, each as the mean of its channels.
    fn append_mono(self, bytes: &[u8], channels: usize, samples: &mut Vec<f32>) {
        match self {
            Sample::U8 => append_mono(bytes, channels, samples, |[a]| (f32::from(a) - 128.0) / 128.0),
            Sample::I16 => append_mono(bytes, channels, samples, |a| f32::from(i16::from_le_bytes(a)) / 32_768.0),
            Sample::I24 => append_mono(bytes, channels, samples, |[a, b, c]| {
                i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0
            }),
            Sample::I32 => {
                append_mono(bytes, channels, samples, |a| i32::from_le_bytes(a) as f32 / 2_147_483_648.0);
            }
            Sample::F32 => append_mono(bytes, channels, samples, f32::from_le_bytes),
        }
    }
}

fn append_mono<const N: usize>(bytes: &[u8], channels: usize, samples: &mut Vec<f32>, to_f32: impl Fn([u8; N]) -> f32) {
    let (values, _) = bytes.as_chunks::<N>();
    if channels == 1 {
        samples.extend(values.iter().map(|&value| to_f32(value)));
    } else {
        let frames = values.chunks_exact(channels);
        samples.extend(frames.map(|frame| frame.iter().map(|&value| to_f32(value)).sum::<f32>() / channels as f32));
    }
}

/// Where a WAV's samples are, and what they are.
struct Layout {
    /// The start of the `fmt ` chunk's body: tag, channels, rate, bytes per second, bytes per frame, bits per sample, …
    fmt: Vec<u8>,
    /// The `fact` chunk: how many frames a compressed WAV has.
    fact: Option<Vec<u8>>,
    data_start: u64,
    /// In bytes: whole frames, all of them within the file.
    data_len: u64,
}

impl Layout {
    fn field(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.fmt[at], self.fmt[at + 1]])
    }

    fn channels(&self) -> u16 {
        self.field(2)
    }

    fn sample_rate(&self) -> u32 {
        u32_at(&self.fmt, 4)
    }

    fn frame_len(&self) -> u16 {
        self.field(12)
    }

    fn bits_per_sample(&self) -> u16 {
        self.field(14)
    }

    fn n_frames(&self) -> u64 {
        self.data_len / u64::from(self.frame_len())
    }

    /// The header as it should have been: true lengths, no other chunks.
    fn header(&self) -> Vec<u8> {
        let mut header = b"RIFF\xFF\xFF\xFF\xFFWAVE".to_vec();
        for (name, body) in [(b"fmt ", Some(&self.fmt)), (b"fact", self.fact.as_ref())] {
            if let Some(body) = body {
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

/// Walks the chunks up to the samples, and leaves the source there.
fn find_samples(source: &mut BufReader<impl Source>, len: u64, path: &Path) -> Result<Layout> {
    let mut start = [0; 12];
    read_exact(source, &mut start, len, path)?;
    if !is_wav(&start) {
        return Err(refuse(path, Some(0), "a WAV file", format!("bytes {start:02X?}")));
    }
    let (mut fmt, mut fact, mut data_len_64) = (None, None, None);
    let mut at = 12;
    let (data_start, claimed) = loop {
        let mut header = [0; 8];
        read_exact(source, &mut header, len, path)?;
        let (body, body_len) = (at + 8, u64::from(u32_at(&header, 4)));
        match &header[..4] {
            b"data" => break (body, body_len),
            b"fmt " if !(16..=MAX_FMT_LEN).contains(&body_len) => {
                let expected = format!("a fmt chunk of 16 to {MAX_FMT_LEN} bytes");
                return Err(refuse(path, Some(at), expected, format!("one of {body_len}")));
            }
            b"fmt " => fmt = Some(read_vec(source, body_len, len, path)?),
            b"fact" if body_len >= 4 => fact = Some(read_vec(source, 4, len, path)?),
            b"ds64" if body_len >= 16 => data_len_64 = Some(u64_at(&read_vec(source, 16, len, path)?, 8)),
            _ => {}
        }
        at = next_chunk(source, body + body_len, len, path)?;
    };
    let no_fmt = || refuse(path, Some(data_start - 8), "a fmt chunk before the samples", "none");
    let mut layout = Layout { fmt: fmt.ok_or_else(no_fmt)?, fact, data_start, data_len: 0 };
    if layout.channels() == 0 || layout.frame_len() == 0 {
        let found = format!("{} and {}", layout.channels(), layout.frame_len());
        return Err(refuse(path, None, "at least one channel and one byte per frame", found));
    }
    check_sample_rate(layout.sample_rate(), path)?;
    let claimed = data_len_64.filter(|_| claimed == u64::from(u32::MAX)).unwrap_or(claimed);
    let data_len = data_len(claimed, data_start, 8 + u64::from(u32_at(&start, 4)), len).ok_or_else(|| {
        refuse(
            path,
            Some(len),
            format!("{claimed} bytes of samples from byte {data_start}"),
            format!("{}", len - data_start),
        )
    })?;
    layout.data_len = data_len - data_len % u64::from(layout.frame_len());
    if layout.data_len == 0 {
        let expected = format!("at least one frame of {} bytes", layout.frame_len());
        return Err(refuse(path, Some(data_start), expected, format!("{data_len} bytes")));
    }
    Ok(layout)
}

/// How many bytes of samples there are, or `None` for a file cut short.
///
/// A data chunk that ends behind the file means a file cut short, except where the header shows that its writer never knew the
/// length (zero, 0xFFFF_FFFF and the like: pipes, recorders that were killed), or got this length alone wrong (the RIFF length
/// fits the file). Then the samples go to the end of the file.
fn data_len(claimed: u64, data_start: u64, riff_end: u64, len: u64) -> Option<u64> {
    let there = len - data_start;
    let riff_unknown = riff_end <= data_start || riff_end >= UNKNOWN_LEN;
    match claimed {
        0 if riff_unknown => Some(there),
        _ if claimed <= there => Some(claimed),
        _ if claimed >= UNKNOWN_LEN || riff_end == len => Some(there),
        _ => None,
    }
}

/// Goes to where the chunk behind one that ends at `end` starts.
///
/// Chunks start on even bytes, but not every writer pads: a pad is zero, a chunk's name is not.
fn next_chunk(source: &mut BufReader<impl Source>, end: u64, len: u64, path: &Path) -> Result<u64> {
    source.seek(SeekFrom::Start(end)).map_err(Error::io("read", path))?;
    if end % 2 == 1 && end < len {
        let mut pad = [0];
        read_exact(source, &mut pad, len, path)?;
        if pad[0] == 0 {
            return Ok(end + 1);
        }
        source.seek(SeekFrom::Start(end)).map_err(Error::io("read", path))?;
    }
    Ok(end)
}

fn read_vec(source: &mut impl Read, n: u64, len: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = vec![0; n as usize];
    read_exact(source, &mut bytes, len, path)?;
    Ok(bytes)
}

fn read_exact(source: &mut impl Read, bytes: &mut [u8], len: u64, path: &Path) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => refuse(path, Some(len), "a header and samples", "the end of the file"),
        _ => Error::io("read", path)(error),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
