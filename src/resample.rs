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
/// transition is 27.5 / length of the Nyquist frequency wide, the passband reaches 0.97 × the lower Nyquist frequency.
/// Blocks of this size are also where the FFTs run fastest: overlap-add transforms each block at twice its length,
/// and a few thousand points stay in the first levels of cache.
const MIN_FILTER_LENGTH: usize = 1000;

/// A converter from one sample rate to another; one per thread.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    fft: Option<Fft<f32>>,
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
            return Ok(Self { from_hz, to_hz, fft: None });
        }
        let (from, to) = (from_hz as usize, to_hz as usize);
        let (unit_in, unit_out) = (from / gcd(from, to), to / gcd(from, to));
        // A power of two keeps the transforms fast; an even number puts the middle of the filter on a sample of
        // both rates, so that removing the delay leaves no shift.
        let n_units = MIN_FILTER_LENGTH.div_ceil(unit_in.min(unit_out)).next_power_of_two().max(2);
        let fft = Fft::new_custom(from, to, n_units * unit_in, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|error| Error::Signal { expected: "a pair of sample rates".into(), found: error.to_string() })?;
        Ok(Self { from_hz, to_hz, fft: Some(fft) })
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
        check_samples(samples)?;
        let output_len = self.output_len(samples.len());
        let Some(fft) = &mut self.fft else { return Ok(samples.to_vec()) };
        fft.reset();
        let (chunk_in, chunk_out, delay) = (fft.input_frames_next(), fft.output_frames_next(), fft.output_delay());
        let n_chunks = (output_len + delay).div_ceil(chunk_out);
        let mut output = vec![0.0; n_chunks * chunk_out];
        let output_frames = output.len();
        let refused = |found: String| Error::Signal { expected: "buffers that fit the converter".into(), found };
        let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|error| refused(error.to_string()))?;
        let mut out =
            SequentialSlice::new_mut(&mut output, 1, output_frames).map_err(|error| refused(error.to_string()))?;
        let mut indexing = Indexing::new();
        for i in 0..n_chunks {
            indexing.input_offset = (i * chunk_in).min(samples.len());
            indexing.output_offset = i * chunk_out;
            indexing.partial_len = Some(samples.len() - indexing.input_offset).filter(|&left| left < chunk_in);
            fft.process_into_buffer(&input, &mut out, Some(&indexing)).map_err(|error| refused(error.to_string()))?;
        }
        output.drain(..delay);
        output.truncate(output_len);
        Ok(output)
    }
}

/// Checks that every sample is a finite number of sensible size.
///
/// # Errors
/// [`Error::Signal`] naming the first sample that is not.
pub(crate) fn check_samples(samples: &[f32]) -> Result<()> {
    let sound = |sample: &f32| sample.abs() <= MAX_ABS_SAMPLE;
    // Without an early exit the compiler checks many samples at once.
    if samples.iter().fold(true, |all, sample| all & sound(sample)) {
        return Ok(());
    }
    let first = samples.iter().position(|sample| !sound(sample)).unwrap_or(0);
    Err(Error::Signal {
        expected: format!("finite samples within ±{MAX_ABS_SAMPLE:e}"),
        found: format!("{} at sample {first}", samples[first]),
    })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
