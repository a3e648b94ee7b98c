//! Everything but plain WAV, through symphonia.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader};
use symphonia::default::get_codecs;

use super::wav::check_samples;
use super::{SAMPLE_RATES, Source, Waveform, max_frames, refuse};
use crate::{Error, Result};

type Opened<'s> = symphonia::core::errors::Result<Box<dyn FormatReader + 's>>;

struct Media<R> {
    source: BufReader<R>,
    len: u64,
}

impl<R: Source> Read for Media<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.source.read(bytes)
    }
}

impl<R: Source> Seek for Media<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.source.seek(to)
    }
}

impl<R: Source> MediaSource for Media<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

pub(super) fn decode_wav(source: impl Read + Send + Sync, path: &Path) -> Result<Waveform> {
    let stream = MediaSourceStream::new(Box::new(ReadOnlySource::new(source)), Default::default());
    decode_stream(WavReader::try_new(stream, FormatOptions::default()).map(|reader| Box::new(reader) as _), path)
}

pub(super) fn decode(mut source: BufReader<impl Source>, len: u64, path: &Path) -> Result<Waveform> {
    let mut magic = [0; 12];
    source.read_exact(&mut magic).map_err(|_| refuse(path, Some(len), "a sound file", "a file of a few bytes"))?;
    source.seek(SeekFrom::Start(0)).map_err(Error::io("read", path))?;
    let stream = MediaSourceStream::new(Box::new(Media { source, len }), Default::default());
    let options = FormatOptions::default();
    let opened: Opened<'_> = match &magic {
        [b'f', b'L', b'a', b'C', ..] => FlacReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        [b'O', b'g', b'g', b'S', ..] => OggReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
            IsoMp4Reader::try_new(stream, options).map(|reader| Box::new(reader) as _)
        }
        [0xFF, b, ..] if b & 0xF6 == 0xF0 => AdtsReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        [b'I', b'D', b'3', ..] => MpaReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        [0xFF, b, ..] if b & 0xE0 == 0xE0 => MpaReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        _ => return Err(refuse(path, Some(0), "WAV, FLAC, Ogg Vorbis, MP3, AAC or M4A", format!("{magic:02x?}"))),
    };
    decode_stream(opened, path)
}

fn decode_stream(opened: Opened<'_>, path: &Path) -> Result<Waveform> {
    let broken = |error: SymphoniaError| refuse(path, None, "a whole stream", error.to_string());
    let mut reader = opened.map_err(broken)?;
    let track = reader.default_track(TrackType::Audio).ok_or_else(|| refuse(path, None, "an audio track", "none"))?;
    let track_id = track.id;
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.ok_or_else(|| refuse(path, None, "an audio track", "none"))?.clone();
    let mut decoder = get_codecs().make_audio_decoder(&params, &AudioDecoderOptions::default()).map_err(broken)?;
    let (mut samples, mut interleaved, mut sample_rate) = (Vec::new(), Vec::<f32>::new(), 0);
    while let Some(packet) = reader.next_packet().map_err(broken)? {
        if packet.track_id != track_id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(broken)?;
        if decoded.frames() == 0 {
            continue;
        }
        sample_rate = decoded.spec().rate();
        if !SAMPLE_RATES.contains(&sample_rate) {
            return Err(refuse(
                path,
                None,
                format!("a sample rate of {SAMPLE_RATES:?} Hz"),
                format!("{sample_rate} Hz"),
            ));
        }
        let channels = decoded.spec().channels().count();
        decoded.copy_to_vec_interleaved(&mut interleaved);
        let done = samples.len();
        if done + decoded.frames() > max_frames(sample_rate) {
            return Err(refuse(path, None, format!("at most {} frames", max_frames(sample_rate)), "more"));
        }
        samples.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32));
        check_samples(&samples[done..], done, path)?;
    }
    if samples.is_empty() {
        return Err(refuse(path, None, "at least one frame of samples", "none"));
    }
    Ok(Waveform { samples, sample_rate })
}
