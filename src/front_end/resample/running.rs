//! Conversion of samples that come block by block.

use super::check::check_samples;
use super::resampler::{Converter, Resampler};
use crate::error::Result;

/// Blocks of the overlap-save converter that are worth waiting for, so that all threads have some.
const BLOCKS_AT_A_TIME: usize = 24;

/// A conversion under way: gives the very numbers of [`Resampler::process`] on everything that came, in the memory of a few blocks.
pub struct Running {
    resampler: Resampler,
    n_threads: usize,
    /// Samples that are still needed, and the place of the first.
    held: Vec<f32>,
    origin: usize,
    n_taken: usize,
    n_given: usize,
}

impl Running {
    /// Begins a conversion by the rates of a resampler, on all of rayon's threads.
    pub fn new(resampler: Resampler) -> Self {
        Self::on_threads(resampler, rayon::current_num_threads())
    }

    /// The same on the thread that asks, for one of many who do.
    pub fn on_one_thread(resampler: Resampler) -> Self {
        Self::on_threads(resampler, 1)
    }

    fn on_threads(mut resampler: Resampler, n_threads: usize) -> Self {
        if let Some(Converter::Stream(stream)) = resampler.converters.first_mut() {
            stream.begin();
        }
        Running { resampler, n_threads, held: Vec::new(), origin: 0, n_taken: 0, n_given: 0 }
    }

    /// Takes samples, and appends to `output` what is ready.
    ///
    /// # Errors
    /// As [`Resampler::process`].
    pub fn take(&mut self, samples: &[f32], output: &mut Vec<f32>) -> Result<()> {
        check_samples(samples)?;
        self.n_taken += samples.len();
        let before = output.len();
        match self.resampler.converters.first_mut() {
            None => output.extend_from_slice(samples),
            Some(Converter::Stream(stream)) => stream.take(samples, output)?,
            Some(Converter::OverlapSave(converter)) => {
                let (block_len, first) = (converter.block_len(), self.n_given / converter.block_len());
                self.held.extend_from_slice(samples);
                let n_ready = converter.n_ready(self.n_taken).saturating_sub(first);
                if n_ready < BLOCKS_AT_A_TIME {
                    return Ok(());
                }
                output.resize(before + n_ready * block_len, 0.0);
                self.resampler.convert_blocks(&self.held, self.origin, first, &mut output[before..], self.n_threads)?;
                self.forget(first + n_ready);
            }
        }
        self.n_given += output.len() - before;
        Ok(())
    }

    /// Appends the rest, and gives the resampler back.
    ///
    /// # Errors
    /// As [`Resampler::process`].
    pub fn finish(mut self, output: &mut Vec<f32>) -> Result<Resampler> {
        let rest = self.resampler.output_len(self.n_taken) - self.n_given;
        match self.resampler.converters.first_mut() {
            None => {}
            Some(Converter::Stream(stream)) => stream.finish(rest, output)?,
            Some(Converter::OverlapSave(converter)) => {
                let (first, before) = (self.n_given / converter.block_len(), output.len());
                output.resize(before + rest, 0.0);
                self.resampler.convert_blocks(&self.held, self.origin, first, &mut output[before..], self.n_threads)?;
            }
        }
        Ok(self.resampler)
    }

    /// Lets go of samples that no block from number `next` on needs.
    fn forget(&mut self, next: usize) {
        let Some(Converter::OverlapSave(converter)) = self.resampler.converters.first() else { return };
        let needed = converter.first_needed(next).min(self.n_taken);
        self.held.drain(..needed - self.origin);
        self.origin = needed;
    }
}
