//! Sample-rate conversion with rubato's FFT resampler, set up once per pair of rates.

use rayon::prelude::*;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use crate::error::{Error, Result};

/// The sample rates that can be converted, in Hz.
///
/// The limits bound the memory and the length of the output that a file's header can ask for.
pub const SAMPLE_RATES_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Samples beyond this are no sound (32-bit integers taken for floats stay below 1e10), and far enough below the
/// largest 32-bit float that no sum of them, nor its square, overflows in a transform.
const MAX_ABS_SAMPLE: f32 = 1e12;

/// The filter spans at least this many samples of the lower rate: with the squared Blackman-Harris window, whose
/// transition is 27.5 / length of the Nyquist frequency wide, the passband reaches at least 0.945 × the lower Nyquist frequency
/// (0.957 from 44.1 to 16 kHz). Blocks of this size are also where the conversion runs fastest: of 2 to 48 units of
/// 441 samples at 44.1 kHz, 4 took least time.
const MIN_FILTER_LENGTH: usize = 500;

/// The least number of blocks worth a thread of their own: a second and a half at 44.1 kHz.
const MIN_BLOCKS_PER_THREAD: usize = 40;

/// A converter from one sample rate to another; one per thread.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// One for the caller's thread, and more once [`process_parallel`](Resampler::process_parallel) has needed them; none where the rates
    /// are the same.
    converters: Vec<Converter>,
}

/// rubato's converter with room for one block of its output.
struct Converter {
    fft: Fft<f32>,
    block: Vec<f32>,
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
        let output_len = self.output_len(samples.len());
        output.clear();
        output.reserve_exact(output_len);
        let Some(converter) = self.converters.first_mut() else {
            check_samples(samples)?;
            output.extend_from_slice(samples);
            return Ok(());
        };
        converter.fft.reset();
        // The filter's delay: that much comes out before the clip begins.
        let mut skip = converter.fft.output_delay();
        let mut blocks = samples.chunks(converter.fft.input_frames_next());
        while output.len() < output_len {
            let block_in = blocks.next().unwrap_or_default();
            // Checked a block at a time, while it is in the cache; the whole clip again to tell where in it.
            check_samples(block_in).or_else(|_| check_samples(samples))?;
            let block_out = converter.convert(block_in)?;
            let fresh = &block_out[skip.min(block_out.len())..];
            skip = skip.saturating_sub(block_out.len());
            output.extend_from_slice(&fresh[..fresh.len().min(output_len - output.len())]);
        }
        Ok(())
    }

    /// [`process`](Self::process) on all of rayon's threads, to the very same numbers: for one long sound that somebody waits for.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn process_parallel(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        let Some(converter) = self.converters.first() else { return self.process(samples) };
        check_samples(samples)?;
        let (block_len, delay) = (converter.block.len(), converter.fft.output_delay());
        let output_len = self.output_len(samples.len());
        let n_blocks = (delay + output_len).div_ceil(block_len);
        let n_parts = (n_blocks / MIN_BLOCKS_PER_THREAD).clamp(1, rayon::current_num_threads());
        while self.converters.len() < n_parts {
            self.converters.push(Converter::new(self.from_hz, self.to_hz)?);
        }
        let blocks_per_part = n_blocks.div_ceil(n_parts);
        let mut output = vec![0.0; n_blocks * block_len];
        let parts = output.par_chunks_mut(blocks_per_part * block_len).zip(&mut self.converters).enumerate();
        parts.try_for_each(|(part, (output, converter))| {
            converter.convert_from(samples, part * blocks_per_part, output)
        })?;
        output.drain(..delay);
        output.truncate(output_len);
        Ok(output)
    }
}

impl Converter {
    fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        let (from, to) = (from_hz as usize, to_hz as usize);
        let (unit_in, unit_out) = (from / gcd(from, to), to / gcd(from, to));
        // A power of two keeps the transforms fast; an even number puts the middle of the filter on a sample of
        // both rates, so that removing the delay leaves no shift.
        let n_units = MIN_FILTER_LENGTH.div_ceil(unit_in.min(unit_out)).next_power_of_two().max(2);
        let fft = Fft::new_custom(from, to, n_units * unit_in, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|error| Error::Signal { expected: "a pair of sample rates".into(), found: error.to_string() })?;
        let block = vec![0.0; fft.output_frames_next()];
        Ok(Converter { fft, block })
    }

    /// Fills `output` with what becomes of the blocks of `samples` from number `first` on.
    fn convert_from(&mut self, samples: &[f32], first: usize, output: &mut [f32]) -> Result<()> {
        let block_in_len = self.fft.input_frames_next();
        let block_in = |i: usize| {
            let start = (i * block_in_len).min(samples.len());
            &samples[start..(start + block_in_len).min(samples.len())]
        };
        self.fft.reset();
        if first > 0 {
            // A block spills over into the next and no further.
            self.convert(block_in(first - 1))?;
        }
        for (i, output) in output.chunks_mut(self.block.len()).enumerate() {
            output.copy_from_slice(self.convert(block_in(first + i))?);
        }
        Ok(())
    }

    /// Converts the next block; one cut short stands before silence.
    fn convert(&mut self, block_in: &[f32]) -> Result<&[f32]> {
        let refused = |reason: &dyn std::fmt::Display| Error::Signal {
            expected: "buffers that fit the converter".into(),
            found: reason.to_string(),
        };
        let n_out = self.block.len();
        let input = SequentialSlice::new(block_in, 1, block_in.len()).map_err(|error| refused(&error))?;
        let mut output = SequentialSlice::new_mut(&mut self.block, 1, n_out).map_err(|error| refused(&error))?;
        let indexing = Indexing::new().partial_len(block_in.len());
        self.fft.process_into_buffer(&input, &mut output, Some(&indexing)).map_err(|error| refused(&error))?;
        Ok(&self.block)
    }
}

/// Checks that every sample is a finite number of sensible size.
///
/// # Errors
/// [`Error::Signal`] naming the first sample that is not.
pub(crate) fn check_samples(samples: &[f32]) -> Result<()> {
    // Without their sign the bits of floats order like the floats, with infinity and NaN on top. No early exit: the compiler
    // then compares many samples at once.
    let too_large = |sample: &f32| (sample.abs().to_bits() as i32) > MAX_ABS_SAMPLE.to_bits() as i32;
    if !samples.iter().fold(false, |any, sample| any | too_large(sample)) {
        return Ok(());
    }
    let first = samples.iter().position(too_large).unwrap_or(0);
    Err(Error::Signal {
        expected: format!("finite samples within ±{MAX_ABS_SAMPLE:e}"),
        found: format!("{} at sample {first}", samples[first]),
    })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
