//! Everything but plain WAV, through symphonia: FLAC, Ogg, MP3, AAC, M4A, and the WAVs that hound refuses.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes, ReadOnlySource};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader};
use symphonia::default::get_codecs;

use super::content::{Container, codec_name, skip_id3, sniff};
use super::waveform::{Source, Waveform, check_length, check_sample_rate, check_samples, refuse};
use super::{edit_list, mpeg};
use crate::error::{Error, Result};

const CODECS: &str = "samples as PCM, ADPCM, A-law, mu-law, FLAC, Vorbis, MP3 or AAC-LC";

/// Decodes a WAV that hound refuses: `source` is its header, set right, and its samples in format `tag`.
pub(super) fn decode_wav(source: impl Read + Send + Sync, tag: u16, len: u64, path: &Path) -> Result<Waveform> {
    guarded(path, || {
        let stream = MediaSourceStream::new(Box::new(ReadOnlySource::new(source)), Default::default());
        let reader = open(stream, Container::Wav)
            .map_err(|error| refuse(path, None, CODECS, format!("WAV format {tag:#06x} ({error})")))?;
        decode_stream(reader, Container::Wav, len, path)
    })
}

/// Decodes any other file, by its content.
pub(super) fn decode(mut source: BufReader<impl Source>, len: u64, path: &Path) -> Result<Waveform> {
    let start = skip_id3(&mut source, len, path)?;
    let container = sniff(&mut source, start, path)?;
    let edit = match container {
        Container::Mp4 => edit_list::read(&mut source, len).map_err(Error::io("read", path))?,
        Container::Mpeg | Container::Adts => {
            if mpeg::ends_in_a_frame(&mut source, start, len).map_err(Error::io("read", path))? {
                return Err(refuse(path, Some(len), "a whole last frame", "the end of the file inside it"));
            }
            None
        }
        Container::Wav | Container::Flac | Container::Ogg => None,
    };
    source.seek(SeekFrom::Start(start)).map_err(Error::io("read", path))?;
    let media = Media { source: source.into_inner(), start, len, seekable: container.is_seekable() };
    guarded(path, || {
        let stream = MediaSourceStream::new(Box::new(media), Default::default());
        let reader = open(stream, container).map_err(|error| broken(&error, len, 0, path))?;
        let mut waveform = decode_stream(reader, container, len, path)?;
        if let Some(edit) = edit {
            edit.apply(&mut waveform.samples, waveform.sample_rate);
        }
        Ok(waveform)
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

/// A file as symphonia sees it: from `start` on.
struct Media<R> {
    source: R,
    start: u64,
    len: u64,
    seekable: bool,
}

impl<R: Source> Read for Media<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.source.read(bytes)
    }
}

impl<R: Source> Seek for Media<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start.saturating_add(at)),
            other => other,
        };
        Ok(self.source.seek(to)?.saturating_sub(self.start))
    }
}

impl<R: Source> MediaSource for Media<R> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len.saturating_sub(self.start))
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
    Ok(Waveform { samples: decoded.samples, sample_rate: decoded.sample_rate })
}

/// What has been decoded so far, as mono.
#[derive(Default)]
struct Decoded {
    samples: Vec<f32>,
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
