//! WAV samples, converted in bulk.

use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec};

use super::compressed;
use super::riff::{Layout, find_samples};
use super::waveform::{Source, Waveform, check_length, check_samples, open};
use crate::error::{Error, Result};

/// Bytes read and converted at a time: few enough to stay in a processor's cache, enough to make reading a few calls.
const BLOCK_LEN: usize = 1 << 16;

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
/// As [`read`](super::read), but for codec, greatest length and the samples' values; and a file that is not a WAV is refused.
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

/// Decodes a WAV file: in bulk what hound accepts, by symphonia what it refuses.
pub(super) fn decode(mut source: BufReader<impl Source>, len: u64, path: &Path) -> Result<Waveform> {
    let layout = find_samples(&mut source, len, path)?;
    let header = layout.header();
    match WavReader::new(&header[..]).ok().and_then(|wav| Sample::of(wav.spec(), &layout)) {
        Some(sample) => decode_pcm(&mut source, &layout, sample, path),
        None => {
            compressed::decode_wav(Cursor::new(header).chain(source.take(layout.data_len)), layout.tag(), len, path)
        }
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
    match channels {
        1 => samples.extend(values.iter().map(|&value| to_f32(value))),
        // The next case, twice as fast and more.
        2 => samples.extend(values.as_chunks().0.iter().map(|&[left, right]| (to_f32(left) + to_f32(right)) / 2.0)),
        _ => samples.extend(values.chunks_exact(channels).map(|frame| {
            let sum: f32 = frame.iter().map(|&value| to_f32(value)).sum();
            sum / channels as f32
        })),
    }
}
