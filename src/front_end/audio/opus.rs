//! Opus in Ogg (RFC 7845), as messengers send it.

use std::path::Path;

use opus_decoder::OpusMultistreamDecoder;

use super::ogg::{self, Link};
use super::waveform::{Source, Waveform, check_channels, check_length, check_samples, refuse};
use crate::error::{Error, Result};

/// Opus has one clock, whatever rate was recorded.
const SAMPLE_RATE: u32 = 48_000;
/// The longest packet: 120 ms.
const MAX_PACKET_FRAMES: usize = 5_760;

/// What the first packet says.
struct Head {
    channels: usize,
    /// Frames at the start that the encoder added.
    pre_skip: usize,
    gain: f32,
    streams: usize,
    coupled: usize,
    mapping: Vec<u8>,
}

/// Decodes one stream of a link to mono, without what the encoder added at both ends.
pub(super) fn decode(source: &mut impl Source, link: &Link, serial: u32, path: &Path) -> Result<Waveform> {
    let mut stream =
        Stream { head: None, decoder: None, n_packets: 0, frames: Vec::new(), samples: Vec::new(), last: None, path };
    let is_whole = ogg::packets(source, link, serial, |packet, granule| stream.take(packet, granule))
        .map_err(|failure| failure.into_error(path))?;
    if !is_whole {
        return Err(refuse(path, Some(link.end), "a whole Opus stream", "its end inside a page"));
    }
    stream.finish()
}

/// Why a stream stops: the file, or what is in it.
enum Failure {
    Io(std::io::Error),
    Refused(Error),
}

impl Failure {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Failure::Io(error) => Error::io("read", path)(error),
            Failure::Refused(error) => error,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Io(error)
    }
}

struct Stream<'a> {
    head: Option<Head>,
    decoder: Option<OpusMultistreamDecoder>,
    n_packets: usize,
    /// What a packet decodes to, interleaved.
    frames: Vec<f32>,
    samples: Vec<f32>,
    /// The frame that the stream ends before, counted from the encoder's first.
    last: Option<u64>,
    path: &'a Path,
}

impl Stream<'_> {
    fn take(&mut self, packet: &[u8], granule: Option<u64>) -> Result<(), Failure> {
        self.n_packets += 1;
        match self.n_packets {
            1 => self.begin(packet).map_err(Failure::Refused),
            // Names and titles.
            2 => Ok(()),
            _ => {
                self.last = granule.or(self.last);
                self.append(packet).map_err(Failure::Refused)
            }
        }
    }

    fn begin(&mut self, packet: &[u8]) -> Result<()> {
        let head = head(packet).ok_or_else(|| refuse(self.path, None, "an OpusHead of version 1", "another"))?;
        check_channels(head.channels, self.path)?;
        let decoder =
            OpusMultistreamDecoder::new(SAMPLE_RATE, head.channels, head.streams, head.coupled, &head.mapping);
        self.decoder = Some(
            decoder
                .map_err(|error| refuse(self.path, None, "Opus channels as RFC 7845 maps them", error.to_string()))?,
        );
        self.frames = vec![0.0; MAX_PACKET_FRAMES * head.channels];
        self.head = Some(head);
        Ok(())
    }

    fn append(&mut self, packet: &[u8]) -> Result<()> {
        let (Some(decoder), Some(head)) = (&mut self.decoder, &self.head) else { return Ok(()) };
        let done = self.samples.len();
        let broken = |found: String| refuse(self.path, None, "an Opus packet", format!("after {done} frames: {found}"));
        if packet.is_empty() {
            return Err(broken("an empty one".into()));
        }
        let n_frames =
            decoder.decode_float(packet, &mut self.frames, false).map_err(|error| broken(error.to_string()))?;
        check_length((done + n_frames) as u64, SAMPLE_RATE, self.path)?;
        let frames = self.frames[..n_frames * head.channels].chunks_exact(head.channels);
        let scale = head.gain / head.channels as f32;
        self.samples.extend(frames.map(|frame| frame.iter().sum::<f32>() * scale));
        check_samples(&self.samples[done..], done, |_| None, self.path)
    }

    fn finish(mut self) -> Result<Waveform> {
        let pre_skip = self.head.map_or(0, |head| head.pre_skip);
        if let Some(last) = self.last {
            self.samples.truncate(usize::try_from(last).unwrap_or(usize::MAX));
        }
        self.samples.drain(..pre_skip.min(self.samples.len()));
        if self.samples.is_empty() {
            return Err(refuse(self.path, None, "at least one frame of samples", "none"));
        }
        Ok(Waveform { samples: self.samples, sample_rate: SAMPLE_RATE })
    }
}

/// RFC 7845, section 5.1: mark, version, channels, pre-skip, rate of the recording, gain in dB / 256, mapping family; from family 1 on streams,
/// coupled streams, and a byte per channel.
fn head(packet: &[u8]) -> Option<Head> {
    let fixed: &[u8; 19] = packet.first_chunk()?;
    let channels = usize::from(fixed[9]);
    if !fixed.starts_with(b"OpusHead") || fixed[8] & 0xF0 != 0 || channels == 0 {
        return None;
    }
    let pre_skip = usize::from(u16::from_le_bytes([fixed[10], fixed[11]]));
    let gain_db = f32::from(i16::from_le_bytes([fixed[16], fixed[17]])) / 256.0;
    let gain = 10f32.powf(gain_db / 20.0);
    let (streams, coupled, mapping) = match fixed[18] {
        0 if channels <= 2 => (1, channels - 1, vec![0, 1][..channels].to_vec()),
        0 => return None,
        _ => (usize::from(*packet.get(19)?), usize::from(*packet.get(20)?), packet.get(21..21 + channels)?.to_vec()),
    };
    Some(Head { channels, pre_skip, gain, streams, coupled, mapping })
}
