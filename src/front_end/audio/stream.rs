//! A recording of any length, block by block.

use std::io::Seek;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::decode::decode_from;
use super::mono::{Blocks, Mono};
use super::waveform::{open, refuse};
use crate::error::{Error, Result};
use crate::front_end::offset::{Sums, lowered};

/// Blocks that are decoded ahead of who listens.
const AHEAD: usize = 4;
/// A file up to so many bytes is decoded by who listens: a thread for it would take longer to start than it saves.
const SMALL: u64 = 8 << 20;

/// Who hears a recording as it is read.
pub trait Listen {
    /// The recording begins, mono samples at a rate in Hz follow. It can begin again: then what was heard before is void.
    ///
    /// # Errors
    /// What keeps it from listening; ends the reading.
    fn begin(&mut self, sample_rate: u32) -> Result<()>;

    /// The next samples.
    ///
    /// # Errors
    /// As [`Listen::begin`].
    fn take(&mut self, samples: &[f32]) -> Result<()>;

    /// How much of the file was read for the samples so far, 0 to 1.
    ///
    /// # Errors
    /// As [`Listen::begin`].
    fn follow(&mut self, _share: f64) -> Result<()> {
        Ok(())
    }
}

/// Reads a sound file of any length, in the memory of some blocks; otherwise as [`read`](super::read), without the constant offset that
/// [`FeatureExtractor::resample`](crate::front_end::features::FeatureExtractor::resample) takes off.
///
/// What only the whole file can tell (channels that cancel each other, an offset) is known once it was read; where it is so, which is seldom, the
/// recording begins again.
///
/// # Errors
/// As [`read`](super::read), but for the bounds of what is held in memory; what `listener` reports.
pub fn stream(path: &Path, listener: &mut impl Listen) -> Result<()> {
    if let (silent, Some(mean)) = as_recorded(path, listener)? {
        hear(path, &silent, Some(mean), listener)?;
    }
    Ok(())
}

/// [`stream`] with the very samples of [`read`](super::read), their offset among them. Returns whether they have one that counts.
///
/// # Errors
/// As [`stream`].
pub fn stream_as_recorded(path: &Path, listener: &mut impl Listen) -> Result<bool> {
    as_recorded(path, listener).map(|(_, offset)| offset.is_some())
}

/// Which parts of the file are silence because their channels cancel each other, and its offset.
fn as_recorded(path: &Path, listener: &mut impl Listen) -> Result<(Vec<bool>, Option<f64>)> {
    let mut silent: Vec<bool> = Vec::new();
    loop {
        let (cancelled, sums) = hear(path, &silent, None, listener)?;
        if cancelled.contains(&true) && silent.is_empty() {
            silent = cancelled;
            continue;
        }
        let blocks = |take: &mut dyn FnMut(&[f32])| {
            decode(path, &silent, |block, _, _| {
                take(block);
                Ok(())
            })
            .map(drop)
        };
        let offset = sums.offset(blocks)?;
        return Ok((silent, offset));
    }
}

/// Reads the file once; of every part whether its channels cancel each other, and what its samples add up to.
fn hear(path: &Path, silent: &[bool], offset: Option<f64>, listener: &mut impl Listen) -> Result<(Vec<bool>, Sums)> {
    let (mut sums, mut has_begun, mut level) = (Sums::default(), false, Vec::new());
    let cancelled = decode(path, silent, |block, sample_rate, share| {
        if !std::mem::replace(&mut has_begun, true) {
            listener.begin(sample_rate)?;
        }
        sums.take(block);
        match offset {
            None => listener.take(block)?,
            Some(mean) => {
                level.clear();
                level.extend(lowered(block, mean));
                listener.take(&level)?;
            }
        }
        listener.follow(share)
    })?;
    Ok((cancelled, sums))
}

/// Decodes, a larger file in a thread of its own, so that decoding goes on while somebody listens.
///
/// With each block comes its rate, and how much of the file was read for it.
fn decode(path: &Path, silent: &[bool], mut take: impl FnMut(&[f32], u32, f64) -> Result<()>) -> Result<Vec<bool>> {
    let (file, len) = open(path)?;
    // The same place in the file, seen from outside the decoder.
    let beside = file.try_clone().map_err(Error::io("read", path))?;
    let share = move || (&beside).stream_position().map_or(0.0, |at| at as f64 / len.max(1) as f64);
    if len <= SMALL {
        let mut give = |block: &[f32], sample_rate: u32| take(block, sample_rate, share());
        let mut mono = Mono::blocks(path, Blocks { take: &mut give, silent });
        decode_from(file, len, &mut mono)?;
        return mono.finish_blocks();
    }
    thread::scope(|scope| {
        let (send, receive) = sync_channel::<(Vec<f32>, u32, f64)>(AHEAD);
        let decoder = scope.spawn(move || {
            let mut give = |block: &[f32], sample_rate: u32| {
                send.send((block.to_vec(), sample_rate, share()))
                    .map_err(|_| refuse(path, None, "somebody to listen", "nobody"))
            };
            let mut mono = Mono::blocks(path, Blocks { take: &mut give, silent });
            decode_from(file, len, &mut mono)?;
            mono.finish_blocks()
        });
        let taken = receive.iter().try_for_each(|(block, sample_rate, share)| take(&block, sample_rate, share));
        // Who has no listener any more stops.
        drop(receive);
        let decoded = decoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        taken.and(decoded)
    })
}
