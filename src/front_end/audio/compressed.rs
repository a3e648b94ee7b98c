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

use super::balance::Balance;
use super::content::{Container, codec_name, sniff};
use super::mpeg::Part;
use super::ogg::Link;
use super::tags::Section;
use super::waveform::{Source, Waveform, check_length, check_sample_rate, check_samples, refuse};
use super::{edit_list, mp4, mpeg, ogg, opus, quicktime, vorbis};
use crate::error::{Error, Result};

const CODECS: &str = "samples as PCM, ADPCM, A-law, mu-law, FLAC, ALAC, Vorbis, Opus, MP3 or AAC-LC";
/// Frames of MPEG that a decoder may give less than there are: what the encoder added at both ends.
const MPEG_ADDED_FRAMES: u64 = 4 * 1_152;

/// Decodes a WAV that hound refuses: `source` is its header, set right, and its samples in format `tag`.
pub(super) fn decode_wav(source: impl Read + Send + Sync, tag: u16, len: u64, path: &Path) -> Result<Waveform> {
    guarded(path, || {
        let stream = MediaSourceStream::new(Box::new(ReadOnlySource::new(source)), Default::default());
        let reader = open(stream, Container::Wav)
            .map_err(|error| refuse(path, None, CODECS, format!("WAV format {tag:#06x} ({error})")))?;
        decode_stream(reader, Container::Wav, len, path)
    })
}

/// Decodes the MP3 frames that a WAV holds from `start` on.
pub(super) fn decode_mp3_in_wav(mut source: impl Source, start: u64, end: u64, path: &Path) -> Result<Waveform> {
    if mpeg::stream_at(&mut source, start, end).map_err(Error::io("read", path))? != Some(mpeg::Kind::Layer(3)) {
        return Err(refuse(path, Some(start), CODECS, "WAV format 0x0055 without MP3 frames"));
    }
    decode_mpeg(&mut source, Container::Mpeg, start, end, path)
}

/// Decodes any other file by its content, from `start` to before `end`, without the tags around it.
pub(super) fn decode(mut source: impl Source, start: u64, end: u64, path: &Path) -> Result<Waveform> {
    let (container, start) = sniff(&mut source, start, end, path)?;
    match container {
        Container::Ogg => decode_ogg(&mut source, start, end, path),
        Container::Mpeg | Container::Adts => decode_mpeg(&mut source, container, start, end, path),
        Container::Mp4 => decode_mp4(&mut source, start, end, path),
        Container::Wav | Container::Flac => decode_section(&mut source, container, start, end, path),
    }
}

/// All links of a chain, one behind the other.
fn decode_ogg(source: &mut impl Source, start: u64, end: u64, path: &Path) -> Result<Waveform> {
    let links = ogg::links(source, start, end).map_err(Error::io("read", path))?;
    if links.is_empty() {
        return Err(refuse(path, Some(end), "a whole stream", "its end after 0 frames"));
    }
    joined(links.iter().map(|link| decode_link(source, link, path)), path)
}

fn decode_link(source: &mut impl Source, link: &Link, path: &Path) -> Result<Waveform> {
    match link.codecs[..] {
        [("Opus", serial)] => guarded(path, || opus::decode(source, link, serial, path)),
        [("Vorbis", serial)] => guarded(path, || vorbis::decode(source, link, serial, path)),
        [("FLAC", _)] => decode_section(source, Container::Ogg, link.start, link.end, path),
        _ => {
            let names: Vec<&str> = link.codecs.iter().map(|(name, _)| *name).collect();
            let found = if names.is_empty() { "one of another kind".into() } else { names.join(" and ") };
            let expected = "one stream of Vorbis, Opus or FLAC in Ogg";
            Err(refuse(path, Some(link.start), expected, format!("{found}, which cannot be decoded here")))
        }
    }
}

/// All streams that a file of bare frames joins, one behind the other.
fn decode_mpeg(source: &mut impl Source, container: Container, start: u64, end: u64, path: &Path) -> Result<Waveform> {
    let found = mpeg::parts(source, start, end).map_err(Error::io("read", path))?;
    if found.is_cut {
        return Err(refuse(path, Some(end), "a whole last frame", "the end of the file inside it"));
    }
    // A header that counts frames, and none behind it, is no sound.
    let parts = found.parts.iter().filter(|part| part.n_samples > 0);
    joined(parts.map(|part| decode_part(source, container, part, path)), path)
}

fn decode_part(source: &mut impl Source, container: Container, part: &Part, path: &Path) -> Result<Waveform> {
    let waveform = decode_section(source, container, part.start, part.end, path)?;
    let n_frames = waveform.samples.len() as u64;
    // A header may count fewer frames than follow it, and the decoder would stop there.
    if n_frames + MPEG_ADDED_FRAMES < part.n_samples {
        let expected = format!("the {} samples of its frames", part.n_samples);
        let found = format!("a header that ends them after {n_frames}; write the file anew, for instance by ffmpeg");
        return Err(refuse(path, Some(part.start), expected, found));
    }
    Ok(waveform)
}

fn decode_mp4(source: &mut impl Source, start: u64, end: u64, path: &Path) -> Result<Waveform> {
    let moov = mp4::moov(source, start, end).map_err(Error::io("read", path))?.unwrap_or_default();
    let edit = edit_list::edit(&moov);
    let mut waveform = match quicktime::track(&moov, path)? {
        // Its places count from the start of the file, tags and all.
        Some(track) => track.decode(source, start, end, path)?,
        None => decode_section(source, Container::Mp4, start, end, path)?,
    };
    if let Some(edit) = edit {
        edit.apply(&mut waveform.samples, waveform.sample_rate);
    }
    Ok(waveform)
}

/// A part of a file that symphonia takes for the whole.
fn decode_section(
    source: &mut impl Source,
    container: Container,
    start: u64,
    end: u64,
    path: &Path,
) -> Result<Waveform> {
    let section = Section::new(source, start, end).map_err(Error::io("read", path))?;
    let media = Media { section, seekable: container.is_seekable() };
    guarded(path, || {
        let stream = MediaSourceStream::new(Box::new(media), Default::default());
        let reader = open(stream, container).map_err(|error| broken(&error, end, 0, path))?;
        decode_stream(reader, container, end, path)
    })
}

/// Several sounds as one; at different rates they are none.
fn joined(parts: impl Iterator<Item = Result<Waveform>>, path: &Path) -> Result<Waveform> {
    let mut whole: Option<Waveform> = None;
    for part in parts {
        let part = part?;
        let Some(whole) = &mut whole else {
            whole = Some(part);
            continue;
        };
        if whole.sample_rate != part.sample_rate {
            let found = format!("{} Hz after {} frames", part.sample_rate, whole.samples.len());
            return Err(refuse(path, None, format!("{} Hz throughout", whole.sample_rate), found));
        }
        check_length((whole.samples.len() + part.samples.len()) as u64, whole.sample_rate, path)?;
        whole.samples.extend(part.samples);
    }
    whole.ok_or_else(|| refuse(path, None, "at least one frame of samples", "none"))
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
fn guarded(path: &Path, decode: impl FnOnce() -> Result<Waveform>) -> Result<Waveform> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(refuse(path, None, "a stream that decodes", "one that the decoder gave up on")))
}

fn decode_stream(
    mut reader: Box<dyn FormatReader + '_>,
    container: Container,
    len: u64,
    path: &Path,
) -> Result<Waveform> {
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
    let mut decoded = Decoded::default();
    while let Some(packet) = reader.next_packet().map_err(|error| broken(&error, len, decoded.samples.len(), path))? {
        if packet.track_id == track_id {
            let buffer = decoder.decode(&packet).map_err(|error| broken(&error, len, decoded.samples.len(), path))?;
            decoded.append(&buffer, path)?;
        }
    }
    let n_frames = decoded.samples.len() as u64;
    if let (Some(slack), Some(n_promised)) = (container.slack(decoded.block_len), n_promised)
        && n_frames + slack < n_promised
    {
        return Err(refuse(path, Some(len), format!("{n_promised} frames"), format!("{n_frames}")));
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err(refuse(path, None, "samples with the checksum in the file", "samples with another"));
    }
    if decoded.samples.is_empty() {
        return Err(refuse(path, None, "at least one frame of samples", "none"));
    }
    decoded.balance.settle(&mut decoded.samples);
    Ok(Waveform { samples: decoded.samples, sample_rate: decoded.sample_rate })
}

/// Refuses what symphonia 0.6.1 is known to decode to another sound, without an error: MP3 at 24 kHz.
fn check_sound_decoder(params: &AudioCodecParameters, path: &Path) -> Result<()> {
    if params.codec != CODEC_ID_MP3 || params.sample_rate != Some(24_000) {
        return Ok(());
    }
    let found = "MP3 at 24 kHz, which is not decoded right here; make it a WAV: ffmpeg -i FILE file.wav";
    Err(refuse(path, None, CODECS, found))
}

/// What has been decoded so far, as mono.
#[derive(Default)]
struct Decoded {
    samples: Vec<f32>,
    balance: Balance,
    sample_rate: u32,
    /// The most frames in one packet.
    block_len: usize,
    interleaved: Vec<f32>,
}

impl Decoded {
    fn append(&mut self, buffer: &GenericAudioBufferRef<'_>, path: &Path) -> Result<()> {
        if buffer.frames() == 0 {
            return Ok(());
        }
        let (rate, done) = (buffer.spec().rate(), self.samples.len());
        if done > 0 && rate != self.sample_rate {
            let found = format!("{rate} Hz after {done} frames");
            return Err(refuse(path, None, format!("{} Hz throughout", self.sample_rate), found));
        }
        self.sample_rate = check_sample_rate(rate, path)?;
        self.block_len = self.block_len.max(buffer.frames());
        check_length((done + buffer.frames()) as u64, rate, path)?;
        buffer.copy_to_vec_interleaved(&mut self.interleaved);
        let channels = buffer.spec().channels().count().max(1);
        let frames = self.interleaved.chunks_exact(channels);
        self.samples.extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32));
        self.balance.count(&self.interleaved, channels, &self.samples[done..]);
        check_samples(&self.samples[done..], done, |_| None, path)
    }
}

/// What symphonia's error means for a file of `len` bytes after `n_frames` frames.
fn broken(error: &SymphoniaError, len: u64, n_frames: usize, path: &Path) -> Error {
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
