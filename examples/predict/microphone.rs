//! The microphone: the last seconds, once a second, until nobody listens.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use audio_transformer::audio::Waveform;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{FromSample, Sample, SampleFormat, SizedSample, Stream, StreamConfig};

/// Between two verdicts.
const STEP_S: f64 = 1.0;
/// A microphone that says nothing for so long is gone.
const QUIET: Duration = Duration::from_secs(10);

/// An open microphone.
pub struct Microphone {
    /// Mono samples as they come, or why none come any more.
    blocks: Receiver<Result<Vec<f32>, String>>,
    sample_rate: u32,
    /// The last sound, as long as a verdict is about.
    last: Vec<f32>,
    n_samples: usize,
    _stream: Stream,
}

impl Microphone {
    /// Opens the system's default microphone, for verdicts about `clip_s` seconds.
    pub fn open(clip_s: f32) -> Result<Self, String> {
        let device = cpal::default_host().default_input_device();
        let device =
            device.ok_or("no microphone was found: expected a default input device of the system, found none")?;
        let tell = |error: cpal::Error| format!("the microphone cannot be opened: {error}");
        let config = device.default_input_config().map_err(tell)?;
        let (format, config) = (config.sample_format(), StreamConfig::from(config));
        let (send, blocks) = channel();
        let stream = match format {
            SampleFormat::F32 => stream::<f32>(&device, config, send),
            SampleFormat::F64 => stream::<f64>(&device, config, send),
            SampleFormat::I8 => stream::<i8>(&device, config, send),
            SampleFormat::I16 => stream::<i16>(&device, config, send),
            SampleFormat::I32 => stream::<i32>(&device, config, send),
            SampleFormat::U8 => stream::<u8>(&device, config, send),
            SampleFormat::U16 => stream::<u16>(&device, config, send),
            other => {
                return Err(format!(
                    "the microphone gives samples as {other}: expected integers or floats of a common width"
                ));
            }
        };
        let stream = stream.map_err(tell)?;
        stream.play().map_err(tell)?;
        let n_samples = (f64::from(clip_s) * f64::from(config.sample_rate)).round().max(1.0) as usize;
        Ok(Microphone { blocks, sample_rate: config.sample_rate, last: Vec::new(), n_samples, _stream: stream })
    }

    /// Waits for a second of new sound; the last seconds with it, and the moment they end, in UTC.
    pub fn next(&mut self) -> Result<(Waveform, String), String> {
        let step = (STEP_S * f64::from(self.sample_rate)) as usize;
        let mut fresh = 0;
        while fresh < step {
            let block = self.blocks.recv_timeout(QUIET).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("no sound came from the microphone for {} s", QUIET.as_secs()),
                RecvTimeoutError::Disconnected => "the microphone is gone".into(),
            })??;
            fresh += block.len();
            self.last.extend(block);
        }
        // What came while the last verdict was made: a slow machine leaves sound out rather than falling behind.
        while let Ok(block) = self.blocks.try_recv() {
            self.last.extend(block?);
        }
        self.last.drain(..self.last.len().saturating_sub(self.n_samples));
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Ok((Waveform { samples: self.last.clone(), sample_rate: self.sample_rate }, now))
    }
}

/// Sends every block as the mean of its channels.
fn stream<T>(
    device: &cpal::Device,
    config: StreamConfig,
    send: Sender<Result<Vec<f32>, String>>,
) -> Result<Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let tell = send.clone();
    let hear = move |block: &[T], _: &cpal::InputCallbackInfo| {
        let mono = |frame: &[T]| frame.iter().map(|&sample| f32::from_sample(sample)).sum::<f32>() / channels as f32;
        // Who does not listen any more is about to end.
        let _ = send.send(Ok(block.chunks_exact(channels).map(mono).collect()));
    };
    let fail = move |error: cpal::Error| match error.kind() {
        // Some samples are lost, or another device takes over; the stream goes on.
        cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::Xrun | cpal::ErrorKind::RealtimeDenied => {
            eprintln!("predict: {error}")
        }
        _ => _ = tell.send(Err(format!("the microphone gave up: {error}"))),
    };
    device.build_input_stream(config, hear, fail, None)
}
