//! rubato's FFT resampler, for pairs of rates that meet seldom: 44,101 Hz and the like.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use super::check::refused;
use crate::error::Result;

/// The filter spans at least this many samples of the lower rate: with the squared Blackman-Harris window, whose
/// transition is 27.5 / length of the Nyquist frequency wide, the passband reaches at least 0.945 × the lower Nyquist frequency.
const MIN_FILTER_LENGTH: usize = 500;

/// rubato's converter with room for one block of its output.
pub(super) struct Stream {
    fft: Fft<f32>,
    block: Vec<f32>,
    /// Samples that do not fill a block yet.
    held: Vec<f32>,
    /// Samples of the output that come before the sound.
    skip: usize,
}

impl Stream {
    /// Plans the conversion of `unit_in` samples into `unit_out`.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] when rubato refuses the rates.
    pub fn new(from: usize, to: usize, unit_in: usize, unit_out: usize) -> Result<Self> {
        // A power of two keeps the transforms fast; an even number puts the middle of the filter on a sample of
        // both rates, so that removing the delay leaves no shift.
        let n_units = MIN_FILTER_LENGTH.div_ceil(unit_in.min(unit_out)).next_power_of_two().max(2);
        let fft = Fft::new_custom(from, to, n_units * unit_in, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|error| refused(&error))?;
        let block = vec![0.0; fft.output_frames_next()];
        Ok(Stream { fft, block, held: Vec::new(), skip: 0 })
    }

    /// Appends `output_len` samples to `output`: what becomes of `samples`, silence beyond their ends.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] when rubato refuses its buffers.
    pub fn convert(&mut self, samples: &[f32], output_len: usize, output: &mut Vec<f32>) -> Result<()> {
        output.reserve_exact(output_len);
        let before = output.len();
        self.begin();
        self.take(samples, output)?;
        // More than there is may have come where the last block was whole.
        output.truncate(before + output_len);
        self.finish(before + output_len - output.len(), output)
    }

    /// Begins another sound.
    pub fn begin(&mut self) {
        self.fft.reset();
        self.held.clear();
        // The filter's delay: that much comes out before the sound begins.
        self.skip = self.fft.output_delay();
    }

    /// Takes the next samples, and appends what is ready.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] when rubato refuses its buffers.
    pub fn take(&mut self, samples: &[f32], output: &mut Vec<f32>) -> Result<()> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(samples);
        let block_len = self.fft.input_frames_next();
        let whole = held.len() / block_len * block_len;
        held[..whole].chunks_exact(block_len).try_for_each(|block| self.append(block, usize::MAX, output))?;
        held.drain(..whole);
        self.held = held;
        Ok(())
    }

    /// Appends `rest` samples: what becomes of those held, and of the silence behind them.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] when rubato refuses its buffers.
    pub fn finish(&mut self, rest: usize, output: &mut Vec<f32>) -> Result<()> {
        let (end, mut held) = (output.len() + rest, std::mem::take(&mut self.held));
        while output.len() < end {
            self.append(&held, end - output.len(), output)?;
            held.clear();
        }
        Ok(())
    }

    /// Appends what a block becomes, up to `most` samples of it.
    fn append(&mut self, block: &[f32], most: usize, output: &mut Vec<f32>) -> Result<()> {
        let skip = self.skip;
        let block_out = self.block(block)?;
        let fresh = &block_out[skip.min(block_out.len())..];
        output.extend_from_slice(&fresh[..fresh.len().min(most)]);
        self.skip = skip.saturating_sub(self.block.len());
        Ok(())
    }

    /// Converts the next block; one cut short stands before silence.
    fn block(&mut self, block_in: &[f32]) -> Result<&[f32]> {
        let n_out = self.block.len();
        let input = SequentialSlice::new(block_in, 1, block_in.len()).map_err(|error| refused(&error))?;
        let mut output = SequentialSlice::new_mut(&mut self.block, 1, n_out).map_err(|error| refused(&error))?;
        let indexing = Indexing::new().partial_len(block_in.len());
        self.fft.process_into_buffer(&input, &mut output, Some(&indexing)).map_err(|error| refused(&error))?;
        Ok(&self.block)
    }
}
