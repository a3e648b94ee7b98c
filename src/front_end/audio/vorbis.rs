//! Vorbis in Ogg (Vorbis I specification, appendix A).

use std::path::Path;

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};

use super::mono::Mono;
use super::ogg::{self, Link};
use super::waveform::{Source, check_channels, check_sample_rate, refuse};
use crate::error::Result;

/// Decodes one stream of a link to mono, without what the encoder added at both ends.
pub(super) fn decode(source: &mut impl Source, link: &Link, serial: u32, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    let mut stream =
        Stream { path, headers: Headers::default(), window: PreviousWindowRight::new(), mono, pages: None };
    let mut n_packets = 0;
    ogg::packets(source, link, serial, path, |packet, granule| {
        n_packets += 1;
        stream.take(n_packets, packet, granule)
    })?;
    stream.finish()
}

#[derive(Default)]
struct Headers {
    ident: Option<IdentHeader>,
    setup: Option<SetupHeader>,
}

/// What the pages' granule positions say: how many frames end there, counted from the sound's first.
struct Pages {
    /// The first page's position, and the frames decoded by its end.
    first: (u64, u64),
    last: u64,
    n: usize,
}

struct Stream<'a, 'm> {
    path: &'m Path,
    headers: Headers,
    window: PreviousWindowRight,
    mono: &'a mut Mono<'m>,
    pages: Option<Pages>,
}

impl Stream<'_, '_> {
    fn take(&mut self, number: usize, packet: &[u8], granule: Option<u64>) -> Result<()> {
        match number {
            1 => self.begin(packet)?,
            // Names and titles.
            2 => {}
            3 => self.set_up(packet)?,
            _ => {
                self.append(packet)?;
                if let Some(granule) = granule {
                    let n_frames = self.mono.n_frames();
                    let pages = self.pages.get_or_insert(Pages { first: (granule, n_frames), last: granule, n: 0 });
                    (pages.last, pages.n) = (granule, pages.n + 1);
                    let (added, kept) = pages.stretch();
                    // Only a second page tells what the first one's position means.
                    if pages.n > 1 && n_frames <= added.saturating_add(kept) {
                        self.mono.skip(added);
                        self.mono.release()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, packet: &[u8]) -> Result<()> {
        let ident = read_header_ident(packet)
            .map_err(|error| refuse(self.path, None, "a Vorbis header", format!("another ({error})")))?;
        check_channels(usize::from(ident.audio_channels), self.path)?;
        check_sample_rate(ident.audio_sample_rate, self.path)?;
        self.headers.ident = Some(ident);
        Ok(())
    }

    fn set_up(&mut self, packet: &[u8]) -> Result<()> {
        let Some(ident) = &self.headers.ident else { return Ok(()) };
        let setup = read_header_setup(packet, ident.audio_channels, (ident.blocksize_0, ident.blocksize_1));
        self.headers.setup =
            Some(setup.map_err(|error| refuse(self.path, None, "Vorbis codebooks", format!("others ({error})")))?);
        Ok(())
    }

    fn append(&mut self, packet: &[u8]) -> Result<()> {
        let Headers { ident: Some(ident), setup: Some(setup) } = &self.headers else { return Ok(()) };
        // The specification has an empty packet skipped.
        if packet.is_empty() {
            return Ok(());
        }
        let done = self.mono.n_frames();
        let channels: Vec<Vec<f32>> = read_audio_packet_generic(ident, setup, packet, &mut self.window)
            .map_err(|error| refuse(self.path, None, "a Vorbis packet", format!("after {done} frames: {error}")))?;
        let n_frames = channels.first().map_or(0, Vec::len);
        self.mono.announce(n_frames as u64, ident.audio_sample_rate)?;
        let n_channels = channels.len() as f32;
        self.mono.append(|samples, balance| {
            let before = samples.len();
            samples.extend((0..n_frames).map(|n| channels.iter().map(|channel| channel[n]).sum::<f32>() / n_channels));
            balance.count_planar(&channels, &samples[before..]);
        });
        self.mono.check_from(done, |_| None)
    }

    fn finish(self) -> Result<()> {
        let Some(pages) = self.pages else { return self.mono.end_part(None) };
        let (added, kept) = pages.stretch();
        self.mono.skip(added);
        self.mono.end_part(Some(kept))
    }
}

impl Pages {
    /// Frames at the start that are not heard, and how many behind those are, as the reference decoder cuts: a first page that counts fewer frames
    /// than it holds begins that much later, unless it is the last one, which ends that much earlier.
    fn stretch(&self) -> (u64, u64) {
        let (granule, decoded) = self.first;
        let added = if self.n > 1 { decoded.saturating_sub(granule) } else { 0 };
        // Positions of a stream cut out of a longer one do not begin at nothing.
        let missing = granule.saturating_sub(decoded);
        (added, if self.n > 1 { self.last.saturating_sub(missing) } else { granule })
    }
}
