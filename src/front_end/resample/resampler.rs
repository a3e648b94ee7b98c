//! A clip from one sample rate to another.

use rayon::prelude::*;

use super::check::check_samples;
use super::overlap_save::{OverlapSave, suits};
use super::stream::Stream;
use crate::error::{Error, Result};

/// The sample rates that can be converted, in Hz.
///
/// The limits bound the memory and the length of the output that a file's header can ask for.
pub const SAMPLE_RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// The least number of blocks worth a thread of their own: a second and a half at 44.1 kHz.
const MIN_BLOCKS_PER_THREAD: usize = 12;

/// A converter from one sample rate to another; one per thread.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// One for the caller's thread, and more once [`process_parallel`](Resampler::process_parallel) has needed them; none where the rates
    /// are the same.
    pub(super) converters: Vec<Converter>,
}

/// Blocks that need nothing of each other, for the rates that sound is kept at; for odd pairs rubato's stream, whose transforms
/// are as long as the pair is odd.
pub(super) enum Converter {
    OverlapSave(Box<OverlapSave>),
    Stream(Box<Stream>),
}

impl Resampler {
    /// Plans the conversion from `from_hz` to `to_hz` samples per second.
    ///
    /// # Errors
    /// [`Error::Signal`] when a rate is not from 1 to 768 kHz.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        for rate in [from_hz, to_hz] {
            if !SAMPLE_RATES_HZ.contains(&rate) {
                return Err(Error::Signal {
                    expected: format!("a sample rate from {} to {} Hz", SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end()),
                    found: format!("{rate} Hz"),
                });
            }
        }
        let converters = if from_hz == to_hz { Vec::new() } else { vec![Converter::new(from_hz, to_hz)?] };
        Ok(Self { from_hz, to_hz, converters })
    }

    /// Number of samples that `n_samples` become: `ceil(n_samples · to_hz / from_hz)`.
    pub fn output_len(&self, n_samples: usize) -> usize {
        (n_samples as u128 * u128::from(self.to_hz)).div_ceil(u128::from(self.from_hz)) as usize
    }

    /// Converts a whole clip without shifting it in time; silence lies beyond its ends.
    ///
    /// # Errors
    /// [`Error::Signal`] when a sample is not a finite number of sensible size.
    pub fn process(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        let mut output = Vec::new();
        self.process_into(samples, &mut output)?;
        Ok(output)
    }

    /// [`process`](Self::process) into a vector whose memory is used again; what it held is dropped.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn process_into(&mut self, samples: &[f32], output: &mut Vec<f32>) -> Result<()> {
        check_samples(samples)?;
        let output_len = self.output_len(samples.len());
        output.clear();
        match self.converters.first_mut() {
            None => output.extend_from_slice(samples),
            Some(Converter::Stream(stream)) => stream.convert(samples, output_len, output)?,
            Some(Converter::OverlapSave(converter)) => {
                output.resize(output_len, 0.0);
                converter.convert(samples, 0, 0, output)?;
            }
        }
        Ok(())
    }

    /// [`process`](Self::process) on all of rayon's threads, to the very same numbers: for one long sound that somebody waits for.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn process_parallel(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        if !matches!(self.converters.first(), Some(Converter::OverlapSave(_))) {
            return self.process(samples);
        }
        check_samples(samples)?;
        let mut output = vec![0.0; self.output_len(samples.len())];
        self.convert_blocks(samples, 0, 0, &mut output, rayon::current_num_threads())?;
        Ok(output)
    }

    /// Fills `output` with what the overlap-save converters make of samples, on so many of rayon's threads: from block number `first` on, where the
    /// first sample has the place `origin` in the whole sound.
    pub(super) fn convert_blocks(
        &mut self,
        samples: &[f32],
        origin: usize,
        first: usize,
        output: &mut [f32],
        n_threads: usize,
    ) -> Result<()> {
        let Some(Converter::OverlapSave(converter)) = self.converters.first() else { return Ok(()) };
        let block_len = converter.block_len();
        let n_blocks = output.len().div_ceil(block_len);
        let n_parts = (n_blocks / MIN_BLOCKS_PER_THREAD).clamp(1, n_threads);
        while self.converters.len() < n_parts {
            self.converters.push(Converter::new(self.from_hz, self.to_hz)?);
        }
        if let (1, Some(Converter::OverlapSave(converter))) = (n_parts, self.converters.first_mut()) {
            return converter.convert(samples, origin, first, output);
        }
        let blocks_per_part = n_blocks.div_ceil(n_parts).max(1);
        let parts = output.par_chunks_mut(blocks_per_part * block_len).zip(&mut self.converters).enumerate();
        parts.try_for_each(|(part, (output, converter))| match converter {
            Converter::OverlapSave(converter) => {
                converter.convert(samples, origin, first + part * blocks_per_part, output)
            }
            Converter::Stream(_) => Ok(()),
        })
    }
}

impl Converter {
    fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        let (from, to) = (from_hz as usize, to_hz as usize);
        let (unit_in, unit_out) = (from / gcd(from, to), to / gcd(from, to));
        Ok(match suits(unit_in, unit_out) {
            true => Converter::OverlapSave(Box::new(OverlapSave::new(unit_in, unit_out))),
            false => Converter::Stream(Box::new(Stream::new(from, to, unit_in, unit_out)?)),
        })
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_conversion_agree_in_the_passband() {
        for (from_hz, to_hz) in
            [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (16_000, 44_100), (22_050, 16_000)]
        {
            let (from, to) = (from_hz as usize, to_hz as usize);
            let (unit_in, unit_out) = (from / gcd(from, to), to / gcd(from, to));
            // Tones up to 0.85 of the lower Nyquist frequency, which fade in and out.
            let nyquist_hz = f64::from(from_hz.min(to_hz)) / 2.0;
            let sound: Vec<f32> = (0..from)
                .map(|n| {
                    let t = n as f64 / f64::from(from_hz);
                    let tone = |share: f64| (std::f64::consts::TAU * share * nyquist_hz * t).sin();
                    (0.2 * (std::f64::consts::PI * t).sin().powi(2) * (tone(0.05) + tone(0.4) + tone(0.85))) as f32
                })
                .collect();
            let (mut ours, mut streamed) = (vec![0.0; to], Vec::new());
            OverlapSave::new(unit_in, unit_out).convert(&sound, 0, 0, &mut ours).unwrap();
            Stream::new(from, to, unit_in, unit_out).unwrap().convert(&sound, to, &mut streamed).unwrap();
            let worst = ours.iter().zip(&streamed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-6, "{from_hz} to {to_hz}: {worst:e}");
        }
    }

    #[test]
    fn odd_pairs_of_rates_are_converted_in_bounded_memory() {
        for (from_hz, to_hz) in [(44_101, 16_000), (7_919, 16_000), (767_999, 1_000), (1_000, 768_000)] {
            let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
            for n_samples in [0, 1, 2, 5_000] {
                let samples = vec![0.25; n_samples];
                assert_eq!(resampler.process(&samples).unwrap().len(), resampler.output_len(n_samples));
                assert_eq!(resampler.process_parallel(&samples).unwrap(), resampler.process(&samples).unwrap());
            }
        }
    }
}
