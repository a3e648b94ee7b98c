//! Opus in Ogg (RFC 7845), as messengers send it.

use std::path::Path;

use opus_pure::{MAX_PACKET_SAMPLES, OpusDecoder, OpusMSDecoder};

use super::mono::Mono;
use super::ogg::{self, Link};
use super::waveform::{Source, check_channels, refuse};
use crate::error::Result;

/// Opus has one clock, whatever rate was recorded.
const SAMPLE_RATE: u32 = 48_000;

/// One stream of one or two channels, or several with the channels that Vorbis orders.
enum Decoder {
    One(Box<OpusDecoder>),
    Several(OpusMSDecoder),
}

impl Decoder {
    fn new(head: &Head) -> Option<Self> {
        let rate = SAMPLE_RATE as i32;
        let Some(map) = &head.map else {
            return OpusDecoder::new(rate, head.channels).ok().map(|decoder| Decoder::One(Box::new(decoder)));
        };
        let decoder = OpusMSDecoder::new(rate, head.channels, head.family).ok()?;
        let layout = decoder.layout();
        let told = (layout.nb_streams, layout.nb_coupled_streams, &layout.mapping);
        (told == (map.streams, map.coupled, &map.mapping)).then_some(Decoder::Several(decoder))
    }

    fn decode(&mut self, packet: &[u8], frames: &mut [f32]) -> opus_pure::Result<usize> {
        match self {
            Decoder::One(decoder) => decoder.decode(packet, MAX_PACKET_SAMPLES, frames),
            Decoder::Several(decoder) => decoder.decode(packet, MAX_PACKET_SAMPLES, frames),
        }
    }
}

/// What the first packet says.
struct Head {
    channels: usize,
    /// Frames at the start that the encoder added.
    pre_skip: usize,
    gain: f32,
    family: u8,
    /// None in family 0.
    map: Option<Map>,
}

/// Which channel comes from which of the streams in a packet.
struct Map {
    streams: usize,
    coupled: usize,
    mapping: Vec<u8>,
}

/// Decodes one stream of a link to mono, without what the encoder added at both ends.
pub(super) fn decode(source: &mut impl Source, link: &Link, serial: u32, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    let mut stream = Stream { head: None, decoder: None, n_packets: 0, frames: Vec::new(), mono, last: None, path };
    ogg::packets(source, link, serial, path, |packet, granule| stream.take(packet, granule))?;
    stream.finish()
}

struct Stream<'a, 'm> {
    head: Option<Head>,
    decoder: Option<Decoder>,
    n_packets: usize,
    /// What a packet decodes to, interleaved.
    frames: Vec<f32>,
    mono: &'a mut Mono<'m>,
    /// The frame that the stream ends before, counted from the encoder's first.
    last: Option<u64>,
    path: &'m Path,
}

impl Stream<'_, '_> {
    fn take(&mut self, packet: &[u8], granule: Option<u64>) -> Result<()> {
        self.n_packets += 1;
        match self.n_packets {
            1 => self.begin(packet),
            // Names and titles.
            2 => Ok(()),
            _ => {
                self.append(packet)?;
                // What a page holds counts as far as the position at its end says.
                if granule.is_some_and(|granule| self.mono.n_frames() <= granule) {
                    self.mono.release()?;
                }
                self.last = granule.or(self.last);
                Ok(())
            }
        }
    }

    fn begin(&mut self, packet: &[u8]) -> Result<()> {
        let head = head(packet).ok_or_else(|| refuse(self.path, None, "an OpusHead of version 1", "another"))?;
        check_channels(head.channels, self.path)?;
        let found = || format!("{} in another order (mapping family {})", head.channels, head.family);
        let expected = "Opus channels in the order of mapping family 0 or 1";
        self.decoder = Some(Decoder::new(&head).ok_or_else(|| refuse(self.path, None, expected, found()))?);
        self.frames = vec![0.0; MAX_PACKET_SAMPLES * head.channels];
        self.mono.skip(head.pre_skip as u64);
        self.head = Some(head);
        Ok(())
    }

    fn append(&mut self, packet: &[u8]) -> Result<()> {
        let (Some(decoder), Some(head)) = (&mut self.decoder, &self.head) else { return Ok(()) };
        let done = self.mono.n_frames();
        let broken = |found: String| refuse(self.path, None, "an Opus packet", format!("after {done} frames: {found}"));
        if packet.is_empty() {
            return Err(broken("an empty one".into()));
        }
        let n_frames = decoder.decode(packet, &mut self.frames).map_err(|error| broken(error.to_string()))?;
        self.mono.announce(n_frames as u64, SAMPLE_RATE)?;
        let interleaved = &mut self.frames[..n_frames * head.channels];
        interleaved.iter_mut().for_each(|sample| *sample *= head.gain);
        self.mono.mix(interleaved, head.channels)
    }

    fn finish(self) -> Result<()> {
        let pre_skip = self.head.map_or(0, |head| head.pre_skip) as u64;
        self.mono.end_part(self.last.map(|last| last.saturating_sub(pre_skip)))
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
    let map = match fixed[18] {
        0 if channels <= 2 => None,
        0 => return None,
        _ => {
            let [streams, coupled] = [packet.get(19)?, packet.get(20)?].map(|count| usize::from(*count));
            Some(Map { streams, coupled, mapping: packet.get(21..21 + channels)?.to_vec() })
        }
    };
    Some(Head { channels, pre_skip, gain, family: fixed[18], map })
}
