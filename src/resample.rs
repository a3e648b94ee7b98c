//! Sample-rate conversion with rubato's FFT resampler, set up once per pair of rates.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use crate::{Error, Result};

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

/// A converter from one sample rate to another; one per thread.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    converter: Option<Converter>,
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
    /// [`Error::Signal`] when a rate is outside [`SAMPLE_RATES_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self> {
        for rate in [from_hz, to_hz] {
            if !SAMPLE_RATES_HZ.contains(&rate) {
                return Err(Error::Signal {
                    expected: format!("a sample rate from {} to {} Hz", SAMPLE_RATES_HZ.start(), SAMPLE_RATES_HZ.end()),
                    found: format!("{rate} Hz"),
                });
            }
        }
        if from_hz == to_hz {
            return Ok(Self { from_hz, to_hz, converter: None });
        }
        let (from, to) = (from_hz as usize, to_hz as usize);
        let (unit_in, unit_out) = (from / gcd(from, to), to / gcd(from, to));
        // A power of two keeps the transforms fast; an even number puts the middle of the filter on a sample of
        // both rates, so that removing the delay leaves no shift.
        let n_units = MIN_FILTER_LENGTH.div_ceil(unit_in.min(unit_out)).next_power_of_two().max(2);
        let fft = Fft::new_custom(from, to, n_units * unit_in, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|error| Error::Signal { expected: "a pair of sample rates".into(), found: error.to_string() })?;
        let block = vec![0.0; fft.output_frames_next()];
        Ok(Self { from_hz, to_hz, converter: Some(Converter { fft, block }) })
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
        let Some(converter) = &mut self.converter else {
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
}

impl Converter {
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
