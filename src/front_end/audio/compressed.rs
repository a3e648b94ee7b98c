//! Everything but plain WAV: FLAC, Ogg, MP3, AAC, M4A and the WAVs that hound refuses, most of it through symphonia.

use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes, ReadOnlySource};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader};
use symphonia::default::get_codecs;

use super::content::{Container, codec_name, sniff};
use super::mono::Mono;
use super::mpeg::Part;
use super::ogg::Link;
use super::tags::Section;
use super::waveform::{Source, refuse};
use super::{edit_list, mp4, mpeg, ogg, opus, quicktime, vorbis};
use crate::error::{Error, Result};

const CODECS: &str = "samples as PCM, ADPCM, A-law, mu-law, FLAC, ALAC, Vorbis, Opus, MP3 or AAC-LC";
/// Frames of MPEG that a decoder may give less than there are: what the encoder added at both ends.
const MPEG_ADDED_FRAMES: u64 = 4 * 1_152;

/// Decodes a WAV that hound refuses: `source` is its header, set right, and its samples in format `tag`.
pub(super) fn decode_wav(source: impl Read + Send + Sync, tag: u16, len: u64, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    guarded(path, || {
        let stream = MediaSourceStream::new(Box::new(ReadOnlySource::new(source)), Default::default());
        let reader = open(stream, Container::Wav)
            .map_err(|error| refuse(path, None, CODECS, format!("WAV format {tag:#06x} ({error})")))?;
        decode_stream(reader, Container::Wav, len, mono)
    })
}

/// Decodes the MP3 frames that a WAV holds from `start` on.
pub(super) fn decode_mp3_in_wav(mut source: impl Source, start: u64, end: u64, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    if mpeg::stream_at(&mut source, start, end).map_err(Error::io("read", path))? != Some(mpeg::Kind::Layer(3)) {
        return Err(refuse(path, Some(start), CODECS, "WAV format 0x0055 without MP3 frames"));
    }
    decode_mpeg(&mut source, Container::Mpeg, start, end, mono)
}

/// Decodes any other file by its content, from `start` to before `end`, without the tags around it.
pub(super) fn decode(mut source: impl Source, start: u64, end: u64, mono: &mut Mono) -> Result<()> {
    let (container, start) = sniff(&mut source, start, end, mono.path())?;
    match container {
        Container::Ogg => decode_ogg(&mut source, start, end, mono),
        Container::Mpeg | Container::Adts => decode_mpeg(&mut source, container, start, end, mono),
        Container::Mp4 => decode_mp4(&mut source, start, end, mono),
        Container::Wav | Container::Flac => decode_section(&mut source, container, start, end, mono),
    }
}

/// All links of a chain, one behind the other.
fn decode_ogg(source: &mut impl Source, start: u64, end: u64, mono: &mut Mono) -> Result<()> {
    let links = ogg::links(source, start, end).map_err(Error::io("read", mono.path()))?;
    if links.is_empty() {
        return Err(refuse(mono.path(), Some(end), "a whole stream", "its end after 0 frames"));
    }
    links.iter().try_for_each(|link| decode_link(source, link, mono))
}

fn decode_link(source: &mut impl Source, link: &Link, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    match link.codecs[..] {
        [("Opus", serial)] => guarded(path, || opus::decode(source, link, serial, mono)),
        [("Vorbis", serial)] => guarded(path, || vorbis::decode(source, link, serial, mono)),
        [("FLAC", _)] => decode_section(source, Container::Ogg, link.start, link.end, mono),
        _ => {
            let names: Vec<&str> = link.codecs.iter().map(|(name, _)| *name).collect();
            let found = if names.is_empty() { "one of another kind".into() } else { names.join(" and ") };
            let expected = "one stream of Vorbis, Opus or FLAC in Ogg";
            Err(refuse(path, Some(link.start), expected, format!("{found}, which cannot be decoded here")))
        }
    }
}

/// All streams that a file of bare frames joins, one behind the other.
fn decode_mpeg(source: &mut impl Source, container: Container, start: u64, end: u64, mono: &mut Mono) -> Result<()> {
    let found = mpeg::parts(source, start, end).map_err(Error::io("read", mono.path()))?;
    if found.is_cut {
        return Err(refuse(mono.path(), Some(end), "a whole last frame", "the end of the file inside it"));
    }
    // A header that counts frames, and none behind it, is no sound.
    let mut parts = found.parts.iter().filter(|part| part.n_samples > 0);
    parts.try_for_each(|part| decode_part(source, container, part, mono))
}

fn decode_part(source: &mut impl Source, container: Container, part: &Part, mono: &mut Mono) -> Result<()> {
    let before = mono.n_frames_in_all();
    decode_section(source, container, part.start, part.end, mono)?;
    let n_frames = mono.n_frames_in_all() - before;
    // A header may count fewer frames than follow it, and the decoder would stop there.
    if n_frames + MPEG_ADDED_FRAMES < part.n_samples {
        let expected = format!("the {} samples of its frames", part.n_samples);
        let found = format!("a header that ends them after {n_frames}; write the file anew, for instance by ffmpeg");
        return Err(refuse(mono.path(), Some(part.start), expected, found));
    }
    Ok(())
}

fn decode_mp4(source: &mut impl Source, start: u64, end: u64, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    let moov = mp4::moov(source, start, end).map_err(Error::io("read", path))?.unwrap_or_default();
    mono.edit = edit_list::edit(&moov);
    match quicktime::track(&moov, path)? {
        // Its places count from the start of the file, tags and all.
        Some(track) => track.decode(source, start, end, mono),
        None => decode_section(source, Container::Mp4, start, end, mono),
    }
}

/// A part of a file that symphonia takes for the whole.
fn decode_section(source: &mut impl Source, container: Container, start: u64, end: u64, mono: &mut Mono) -> Result<()> {
    let path = mono.path();
    let section = Section::new(source, start, end).map_err(Error::io("read", path))?;
    let media = Media { section, seekable: container.is_seekable() };
    guarded(path, || {
        let stream = MediaSourceStream::new(Box::new(media), Default::default());
        let reader = open(stream, container).map_err(|error| broken(&error, end, 0, path))?;
        decode_stream(reader, container, end, mono)
    })
}

impl Container {
    /// Without a way to seek, the readers of bare streams do not guess a length from the bit rate, which would cut off the end.
    fn is_seekable(self) -> bool {
        !matches!(self, Container::Mpeg | Container::Adts)
    }

    /// By how many frames a whole file, in blocks of so many, may fall short of the count in it; `None` where that says nothing.
    fn slack(self, block_len: usize) -> Option<u64> {
        match self {
            Container::Flac | Container::Ogg => Some(0),
            // Some encoders count the block with the count.
            Container::Mpeg => Some(block_len as u64),
            Container::Wav | Container::Adts | Container::Mp4 => None,
        }
    }
}

fn open(mut stream: MediaSourceStream, container: Container) -> Result<Box<dyn FormatReader + '_>, SymphoniaError> {
    let options = FormatOptions::default();
    Ok(match container {
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Mpeg => Box::new(MpaReader::try_new(stream, options)?),
        Container::Adts => Box::new(AdtsReader::try_new(stream, options)?),
        Container::Mp4 => {
            // This reader takes the stream to stand behind the first atom's length.
            stream.ignore_bytes(4)?;
            Box::new(IsoMp4Reader::try_new(stream, options)?)
        }
    })
}

/// A part of a file as symphonia sees it.
struct Media<S> {
    section: Section<S>,
    seekable: bool,
}

impl<S: Source> Read for Media<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.section.read(bytes)
    }
}

impl<S: Source> Seek for Media<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.section.seek(to)
    }
}

impl<S: Source> MediaSource for Media<S> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.section.len())
    }
}

/// Turns a panic of a decoder over a hostile file into the error it should have been.
fn guarded(path: &Path, decode: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(refuse(path, None, "a stream that decodes", "one that the decoder gave up on")))
}

fn decode_stream(
    mut reader: Box<dyn FormatReader + '_>,
    container: Container,
    len: u64,
    mono: &mut Mono,
) -> Result<()> {
    let path = mono.path();
    let no_track = || refuse(path, None, "an audio track", "none");
    let track = reader.default_track(TrackType::Audio).ok_or_else(no_track)?;
    let (track_id, n_promised) = (track.id, track.num_frames);
    let params = track.codec_params.as_ref().and_then(|params| params.audio()).ok_or_else(no_track)?;
    check_sound_decoder(params, path)?;
    let options = AudioDecoderOptions::default().verify(true);
    let mut decoder = get_codecs().make_audio_decoder(params, &options).map_err(|error| {
        let reason =
            if get_codecs().get_audio_decoder(params.codec).is_some() { format!(" ({error})") } else { String::new() };
        refuse(path, None, CODECS, format!("{}{reason}", codec_name(params.codec)))
    })?;
    // The most frames in one packet, and a packet's samples.
    let (mut block_len, mut interleaved) = (0, Vec::new());
    while let Some(packet) = reader.next_packet().map_err(|error| broken(&error, len, mono.n_frames(), path))? {
        if packet.track_id == track_id {
            let buffer = decoder.decode(&packet).map_err(|error| broken(&error, len, mono.n_frames(), path))?;
            block_len = block_len.max(buffer.frames());
            append(&buffer, &mut interleaved, mono)?;
            mono.release()?;
        }
    }
    let n_frames = mono.n_frames();
    if let (Some(slack), Some(n_promised)) = (container.slack(block_len), n_promised)
        && n_frames + slack < n_promised
    {
        return Err(refuse(path, Some(len), format!("{n_promised} frames"), format!("{n_frames}")));
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(refuse(path, None, "samples with the checksum in the file", "samples with another"));
    }
    mono.end_part(None)
}

/// Mixes what a packet decoded to.
fn append(buffer: &GenericAudioBufferRef<'_>, interleaved: &mut Vec<f32>, mono: &mut Mono) -> Result<()> {
    if buffer.frames() == 0 {
        return Ok(());
    }
    mono.announce(buffer.frames() as u64, buffer.spec().rate())?;
    buffer.copy_to_vec_interleaved(interleaved);
    mono.mix(interleaved, buffer.spec().channels().count().max(1))
}

/// Refuses what symphonia 0.6.1 is known to decode to another sound, without an error: MP3 at 24 kHz.
fn check_sound_decoder(params: &AudioCodecParameters, path: &Path) -> Result<()> {
    if params.codec != CODEC_ID_MP3 || params.sample_rate != Some(24_000) {
        return Ok(());
    }
    let found = "MP3 at 24 kHz, which is not decoded right here; make it a WAV: ffmpeg -i FILE file.wav";
    Err(refuse(path, None, CODECS, found))
}

/// What symphonia's error means for a file of `len` bytes after `n_frames` frames.
fn broken(error: &SymphoniaError, len: u64, n_frames: u64, path: &Path) -> Error {
    match error {
        SymphoniaError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            refuse(path, Some(len), "a whole stream", format!("its end after {n_frames} frames"))
        }
        SymphoniaError::ResetRequired => {
            refuse(path, None, "one stream of one kind", format!("another behind {n_frames} frames"))
        }
        error => refuse(path, None, "a sound stream", format!("after {n_frames} frames: {error}")),
    }
}
