//! RIFF WAVE: finding the samples, converting them in bulk, writing 16-bit files.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::{MAX_AMPLITUDE, SAMPLE_RATES, Source, Waveform, compressed, max_frames, open, refuse};
use crate::{Error, Result, files};

/// Bytes converted at a time: small enough to stay in a processor's cache, large enough that reading is few calls.
const BLOCK_LEN: usize = 1 << 16;
/// The largest `fmt ` chunk looked at, in bytes; the usual ones have 16, 18 or 40, ADPCM's about 50.
const MAX_FMT_LEN: u64 = 1 << 12;
/// Data lengths from here on are what programs write that cannot come back to fill in the true one (SoX: 0x7FFF_F000, others 0xFFFF_FFFF).
const UNKNOWN_LEN: u64 = 0x7FFF_0000;

/// What a WAV file says about itself, checked against what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WavInfo {
    /// Frames per second, in Hz.
    pub sample_rate: u32,
    /// Samples per frame.
    pub channels: u16,
    /// Bits of one sample; 4 for ADPCM.
    pub bits_per_sample: u16,
    /// Frames that [`read`](super::read) would decode. For a block codec (ADPCM), an upper limit.
    pub n_frames: u64,
}

/// Where the samples of a WAV file are.
struct Layout {
    /// The body of the `fmt ` chunk, at least 16 bytes.
    fmt: Vec<u8>,
    /// What the `fact` chunk counts: frames per channel.
    fact: Option<[u8; 4]>,
    data_start: u64,
    /// The length of the samples in bytes, whole frames, all of them within the file.
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
        u32::from(self.field(4)) | u32::from(self.field(6)) << 16
    }

    fn frame_len(&self) -> u64 {
        u64::from(self.field(12))
    }

    fn n_frames(&self) -> u64 {
        self.data_len / self.frame_len()
    }

    /// The file's header as it should have been: no other chunks, true lengths.
    fn header(&self) -> Vec<u8> {
        let mut header = b"RIFF\xFF\xFF\xFF\xFFWAVE".to_vec();
        let mut chunk = |id: &[u8; 4], len: usize, body: &[u8]| {
            header.extend_from_slice(id);
            header.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
            header.extend_from_slice(body);
            header.resize(header.len().next_multiple_of(2), 0);
        };
        chunk(b"fmt ", self.fmt.len(), &self.fmt);
        if let Some(fact) = &self.fact {
            chunk(b"fact", fact.len(), fact);
        }
        chunk(b"data", self.data_len as usize, &[]);
        header
    }
}

/// Whether a file that starts so is a WAV, by its content.
pub(super) fn is_wav(start: &[u8]) -> bool {
    start.len() >= 12 && [b"RIFF", b"RF64", b"BW64"].iter().any(|id| start.starts_with(*id)) && &start[8..12] == b"WAVE"
}

/// Reads what a WAV file says about itself and checks that its samples are all there, without converting them.
///
/// # Errors
/// As [`read`](super::read), but for what only the samples' values can tell.
pub fn wav_info(path: &Path) -> Result<WavInfo> {
    let (file, len) = open(path)?;
    let layout = find_data(&mut BufReader::new(file), len, path)?;
    Ok(WavInfo {
        sample_rate: layout.sample_rate(),
        channels: layout.channels(),
        bits_per_sample: layout.field(14),
        n_frames: layout.n_frames(),
    })
}

/// Decodes a WAV file: what hound accepts in bulk, the rest by symphonia.
pub(super) fn decode(mut source: BufReader<impl Source>, len: u64, path: &Path) -> Result<Waveform> {
    let layout = find_data(&mut source, len, path)?;
    let header = layout.header();
    let convert = WavReader::new(&header[..]).ok().and_then(|wav| converter(wav.spec(), &layout));
    match convert {
        Some(convert) => decode_pcm(&mut source, &layout, convert, path),
        None => {
            let data = source.take(layout.data_len);
            compressed::decode_wav(Cursor::new(header).chain(data), path)
        }
    }
}

/// Appends the frames in `bytes` as mono samples.
type Convert = fn(bytes: &[u8], channels: usize, samples: &mut Vec<f32>);

/// The conversion for samples that hound knows. Containers wider than their samples count in full, as their bits stand at the top.
fn converter(spec: WavSpec, layout: &Layout) -> Option<Convert> {
    let channels = u64::from(spec.channels);
    if layout.frame_len() % channels != 0 {
        return None;
    }
    match (spec.sample_format, layout.frame_len() / channels) {
        (SampleFormat::Int, 1) => Some(|bytes, channels, samples| {
            to_mono(bytes, channels, samples, |[a]: [u8; 1]| (f32::from(a) - 128.0) / 128.0);
        }),
        (SampleFormat::Int, 2) => Some(|bytes, channels, samples| {
            to_mono(bytes, channels, samples, |a| f32::from(i16::from_le_bytes(a)) / 32_768.0);
        }),
        (SampleFormat::Int, 3) => Some(|bytes, channels, samples| {
            to_mono(bytes, channels, samples, |[a, b, c]| i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0);
        }),
        (SampleFormat::Int, 4) => Some(|bytes, channels, samples| {
            to_mono(bytes, channels, samples, |a| i32::from_le_bytes(a) as f32 / 2_147_483_648.0);
        }),
        (SampleFormat::Float, 4) => {
            Some(|bytes, channels, samples| to_mono(bytes, channels, samples, f32::from_le_bytes))
        }
        _ => None,
    }
}

fn to_mono<const N: usize>(bytes: &[u8], channels: usize, samples: &mut Vec<f32>, to_f32: impl Fn([u8; N]) -> f32) {
    let (values, _) = bytes.as_chunks::<N>();
    if channels == 1 {
        samples.extend(values.iter().map(|&value| to_f32(value)));
    } else {
        let frames = values.chunks_exact(channels);
        samples.extend(frames.map(|frame| frame.iter().map(|&value| to_f32(value)).sum::<f32>() / channels as f32));
    }
}

fn decode_pcm(source: &mut impl Read, layout: &Layout, convert: Convert, path: &Path) -> Result<Waveform> {
    let (sample_rate, channels) = (layout.sample_rate(), usize::from(layout.channels()));
    let frame_len = layout.frame_len() as usize;
    let n_frames = layout.n_frames() as usize;
    if n_frames > max_frames(sample_rate) {
        return Err(refuse(
            path,
            None,
            format!("at most {} frames at {sample_rate} Hz", max_frames(sample_rate)),
            format!("{n_frames}"),
        ));
    }
    let mut samples = Vec::with_capacity(n_frames);
    let mut block = vec![0; BLOCK_LEN / frame_len * frame_len];
    let mut left = layout.data_len as usize;
    while left > 0 {
        let block = &mut block[..left.min(BLOCK_LEN / frame_len * frame_len)];
        source.read_exact(block).map_err(Error::io("read", path))?;
        let done = samples.len();
        convert(block, channels, &mut samples);
        check_samples(&samples[done..], done, path)?;
        left -= block.len();
    }
    Ok(Waveform { samples, sample_rate })
}

/// Refuses samples that are not finite numbers of a sane size; `done` frames came before them.
pub(super) fn check_samples(samples: &[f32], done: usize, path: &Path) -> Result<()> {
    let sound = |sample: f32| sample.abs() <= MAX_AMPLITUDE;
    if samples.iter().fold(true, |all, &sample| all & sound(sample)) {
        return Ok(());
    }
    let at = samples.iter().position(|&sample| !sound(sample)).unwrap_or(0);
    Err(refuse(
        path,
        None,
        format!("finite samples within ±{MAX_AMPLITUDE:e}"),
        format!("{} in frame {}", samples[at], done + at),
    ))
}

/// Walks the chunks to the samples.
///
/// A data chunk that is longer than the file means a file cut short, and is refused, except where the header shows that its
/// writer never knew the length (0, 0xFFFF_FFFF and the like: pipes, killed recorders) or got only this one wrong (the RIFF
/// length fits the file): then the samples go to the end of the file. A last frame that is incomplete is left out.
fn find_data(source: &mut BufReader<impl Source>, len: u64, path: &Path) -> Result<Layout> {
    let mut start = [0; 12];
    read_exact(source, &mut start, path)?;
    let riff_end = 8 + u64::from(u32_at(&start, 4));
    let (mut fmt, mut fact, mut ds64) = (None, None, None);
    let mut at = 12;
    let (data_start, claimed) = loop {
        if at + 8 > len {
            return Err(refuse(path, Some(at.min(len)), "a data chunk", "the end of the file"));
        }
        let mut chunk = [0; 8];
        read_exact(source, &mut chunk, path)?;
        let (body, chunk_len) = (at + 8, u64::from(u32_at(&chunk, 4)));
        match &chunk[..4] {
            b"data" => break (body, chunk_len),
            b"fmt " => {
                if !(16..=MAX_FMT_LEN).contains(&chunk_len) || body + chunk_len > len {
                    return Err(refuse(
                        path,
                        Some(at),
                        "a fmt chunk of 16 to 4096 bytes",
                        format!("one of {chunk_len}"),
                    ));
                }
                fmt = Some(read_vec(source, chunk_len, path)?);
            }
            b"fact" if chunk_len >= 4 => fact = Some(read_vec(source, 4, path)?),
            b"ds64" if chunk_len >= 16 => ds64 = Some(read_vec(source, 16, path)?),
            _ => {}
        }
        at = body + chunk_len;
        source.seek(SeekFrom::Start(at)).map_err(Error::io("read", path))?;
        if chunk_len % 2 == 1 && at < len {
            // Chunks start on even bytes, but not every writer pads: a pad is zero, a chunk's name is text.
            let mut pad = [0];
            read_exact(source, &mut pad, path)?;
            if pad[0] == 0 {
                at += 1;
            } else {
                source.seek(SeekFrom::Start(at)).map_err(Error::io("read", path))?;
            }
        }
    };
    let fmt: Vec<u8> =
        fmt.ok_or_else(|| refuse(path, Some(data_start - 8), "a fmt chunk before the data chunk", "none"))?;
    let mut layout = Layout { fmt, fact: fact.and_then(|fact: Vec<u8>| fact.try_into().ok()), data_start, data_len: 0 };
    if layout.channels() == 0 || layout.frame_len() == 0 {
        let found = format!("{} channels in {} bytes", layout.channels(), layout.frame_len());
        return Err(refuse(path, None, "at least one channel in at least one byte per frame", found));
    }
    if !SAMPLE_RATES.contains(&layout.sample_rate()) {
        let found = format!("{} Hz", layout.sample_rate());
        return Err(refuse(path, None, format!("a sample rate of {SAMPLE_RATES:?} Hz"), found));
    }
    let there = len - data_start;
    let claimed = match &ds64 {
        Some(ds64) if claimed == u64::from(u32::MAX) => u64::from(u32_at(ds64, 8)) | u64::from(u32_at(ds64, 12)) << 32,
        _ => claimed,
    };
    let never_known = claimed >= UNKNOWN_LEN || (claimed == 0 && (riff_end <= data_start || riff_end >= UNKNOWN_LEN));
    let data_len = if claimed <= there && claimed > 0 {
        claimed
    } else if never_known || (claimed > there && (len..=len + 1).contains(&riff_end)) {
        there
    } else if claimed == 0 {
        0
    } else {
        return Err(refuse(
            path,
            Some(len),
            format!("{claimed} bytes of samples from byte {data_start}"),
            format!("{there}"),
        ));
    };
    layout.data_len = data_len - data_len % layout.frame_len();
    if layout.data_len == 0 {
        return Err(refuse(path, Some(data_start), "at least one frame of samples", format!("{data_len} bytes")));
    }
    Ok(layout)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_vec(source: &mut impl Read, len: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    read_exact(source, &mut bytes, path)?;
    Ok(bytes)
}

fn read_exact(source: &mut impl Read, bytes: &mut [u8], path: &Path) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => refuse(path, None, "a whole WAV header", "the end of the file"),
        _ => Error::io("read", path)(error),
    })
}

/// Writes a 16-bit PCM mono WAV; samples outside [-1, 1) are clipped. The file appears whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Audio`] when a sample is not finite or the file would pass 4 GiB.
pub fn write_wav(path: &Path, waveform: &Waveform) -> Result<()> {
    let bytes = encode(path, waveform)?;
    files::write_atomic(path, |file| io::Write::write_all(file, &bytes).map_err(Error::io("write", path)))
}

/// The same 16-bit PCM mono WAV as [`write_wav`] writes, in memory.
///
/// # Errors
/// [`Error::Audio`] when a sample is not finite or the file would pass 4 GiB.
pub fn wav_bytes(waveform: &Waveform) -> Result<Vec<u8>> {
    encode(Path::new("(in memory)"), waveform)
}

fn encode(path: &Path, waveform: &Waveform) -> Result<Vec<u8>> {
    check_samples(&waveform.samples, 0, path)?;
    let spec = WavSpec {
        channels: 1,
        sample_rate: waveform.sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let n_samples = u32::try_from(waveform.samples.len()).ok().filter(|&n| n < (u32::MAX - 44) / 2);
    let too_long = || refuse(path, None, "less than 4 GiB of samples", format!("{} samples", waveform.samples.len()));
    let n_samples = n_samples.ok_or_else(too_long)?;
    let mut bytes = Vec::with_capacity(44 + 2 * waveform.samples.len());
    let written = (|| {
        let mut wav = WavWriter::new(Cursor::new(&mut bytes), spec)?;
        let mut writer = wav.get_i16_writer(n_samples);
        for &sample in &waveform.samples {
            writer.write_sample((sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16);
        }
        writer.flush()?;
        wav.finalize()
    })();
    written.map_err(|error| refuse(path, None, "samples that make a WAV", error.to_string()))?;
    Ok(bytes)
}
