//! WAV files: what hound accepts in bulk, the rest by other decoders.

use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec};

use super::compressed;
use super::mono::Mono;
use super::pcm::Sample;
use super::riff::{Layout, MP3, find_samples};
use super::waveform::{Source, open};
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

/// Decodes a WAV file of `len` bytes: in bulk what hound accepts, by symphonia what it refuses.
pub(super) fn decode(source: impl Source, len: u64, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    let mut source = BufReader::new(source);
    let layout = find_samples(&mut source, len, path)?;
    if layout.tag() == MP3 {
        let end = layout.data_start + layout.data_len;
        return compressed::decode_mp3_in_wav(source.into_inner(), layout.data_start, end, mono);
    }
    let header = layout.header();
    match WavReader::new(&header[..]).ok().and_then(|wav| sample_of(wav.spec(), &layout)) {
        Some(sample) => decode_pcm(&mut source, &layout, sample, mono),
        None => {
            compressed::decode_wav(Cursor::new(header).chain(source.take(layout.data_len)), layout.tag(), len, mono)
        }
    }
}

/// Only the width of the container counts: bits that it has to spare are its lowest.
fn sample_of(spec: WavSpec, layout: &Layout) -> Option<Sample> {
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

fn decode_pcm(source: &mut impl Read, layout: &Layout, sample: Sample, mono: &mut Mono) -> Result<()> {
    mono.announce(layout.n_frames(), layout.sample_rate())?;
    mono.reserve(layout.n_frames() as usize);
    let frame_len = usize::from(layout.frame_len());
    let mut left = layout.data_len;
    let mut block = vec![0; (BLOCK_LEN / frame_len * frame_len).min(usize::try_from(left).unwrap_or(BLOCK_LEN))];
    while left > 0 {
        let bytes = usize::try_from(left).unwrap_or(block.len()).min(block.len());
        source.read_exact(&mut block[..bytes]).map_err(Error::io("read", mono.path()))?;
        let done = mono.n_frames();
        mono.append(|samples, balance| {
            sample.append_mono(&block[..bytes], usize::from(layout.channels()), samples, balance)
        });
        if sample == Sample::F32 {
            mono.check_from(done, |frame| Some(layout.data_start + (frame * frame_len) as u64))?;
        }
        mono.release()?;
        left -= bytes as u64;
    }
    mono.end_part(None)
}
