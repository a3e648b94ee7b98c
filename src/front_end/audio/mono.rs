//! Mono samples on their way from a decoder: whole, or block by block.

use std::path::Path;

use super::balance::Balance;
use super::edit_list::Edit;
use super::waveform::{Waveform, check_length, check_sample_rate, check_samples, refuse};
use crate::error::Result;

/// A block is given out once it has so many samples.
const BLOCK_LEN: usize = 1 << 16;

/// Takes what a decoder gives, part by part: most files are one, a chain of Ogg streams or joined MP3s are several.
pub(super) struct Mono<'a> {
    path: &'a Path,
    sample_rate: u32,
    /// Frames of the parts before.
    before: u64,
    part: Part,
    /// Of every part, whether its channels cancel each other.
    cancelled: Vec<bool>,
    /// What an MP4 says is meant to be heard.
    pub edit: Option<Edit>,
    out: Out<'a>,
}

/// The part at hand.
#[derive(Default)]
struct Part {
    /// What was decoded and not given out yet.
    samples: Vec<f32>,
    /// Frames that were decoded before those, given out or passed over.
    given: u64,
    /// Frames at the start that an encoder added.
    skip: u64,
    /// Frames behind those that count; none for all.
    keep: Option<u64>,
    balance: Balance,
}

/// Where samples go.
enum Out<'a> {
    Whole(Vec<f32>),
    Blocks(Blocks<'a>),
}

/// Samples given out as they come.
pub(super) struct Blocks<'a> {
    /// Takes a block and the sample rate.
    pub take: &'a mut dyn FnMut(&[f32], u32) -> Result<()>,
    /// Parts whose channels are known to cancel each other, and which are silence.
    pub silent: &'a [bool],
}

impl<'a> Mono<'a> {
    /// For a file that is held in memory, within the bounds for such.
    pub fn whole(path: &'a Path) -> Self {
        Self::new(path, Out::Whole(Vec::new()))
    }

    /// For a file of any length.
    pub fn blocks(path: &'a Path, blocks: Blocks<'a>) -> Self {
        Self::new(path, Out::Blocks(blocks))
    }

    fn new(path: &'a Path, out: Out<'a>) -> Self {
        let (part, cancelled) = (Part::default(), Vec::new());
        Mono { path, sample_rate: 0, before: 0, part, cancelled, edit: None, out }
    }

    /// The file, for errors.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Frames of this part that were decoded so far.
    pub fn n_frames(&self) -> u64 {
        self.part.given + self.part.samples.len() as u64
    }

    /// Frames of the parts that have ended, as far as they count.
    pub fn n_frames_in_all(&self) -> u64 {
        self.before
    }

    /// Tells the rate, which stays the same throughout, and that so many frames come next.
    ///
    /// # Errors
    /// For a rate out of bounds or another than before; for more frames than may be held in memory.
    pub fn announce(&mut self, n_frames: u64, sample_rate: u32) -> Result<()> {
        let done = self.before + self.n_frames();
        if self.sample_rate != 0 && sample_rate != self.sample_rate {
            let found = format!("{sample_rate} Hz after {done} frames");
            return Err(refuse(self.path, None, format!("{} Hz throughout", self.sample_rate), found));
        }
        self.sample_rate = check_sample_rate(sample_rate, self.path)?;
        match &mut self.out {
            Out::Whole(_) => check_length(done + n_frames, sample_rate, self.path),
            // Of one that lets go of nothing, no more than of a whole file is held.
            Out::Blocks(_) => check_length(self.part.samples.len() as u64, sample_rate, self.path),
        }
    }

    /// Makes room for frames that are known to be there.
    pub fn reserve(&mut self, n_frames: usize) {
        if matches!(self.out, Out::Whole(_)) {
            self.part.samples.reserve_exact(n_frames);
        }
    }

    /// Has a decoder append samples and count their channels.
    pub fn append(&mut self, append: impl FnOnce(&mut Vec<f32>, &mut Balance)) {
        append(&mut self.part.samples, &mut self.part.balance);
    }

    /// Takes frames of floats, each as the mean of its channels, and refuses them where one is no finite number of a sane size.
    ///
    /// # Errors
    /// See there.
    pub fn mix(&mut self, interleaved: &[f32], channels: usize) -> Result<()> {
        let (done, Part { samples, balance, .. }) = (self.n_frames(), &mut self.part);
        let before = samples.len();
        let frames = interleaved.chunks_exact(channels);
        samples.extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32));
        balance.count(interleaved, channels, &samples[before..]);
        self.check_from(done, |_| None)
    }

    /// Refuses the last samples, from frame `done` of this part on, if one is no finite number of a sane size; `offset` tells where a frame is.
    ///
    /// # Errors
    /// See there.
    pub fn check_from(&self, done: u64, offset: impl Fn(usize) -> Option<u64>) -> Result<()> {
        let fresh = &self.part.samples[(done - self.part.given) as usize..];
        check_samples(fresh, done as usize, offset, self.path)
    }

    /// Passes over so many frames at the part's start; to be told before the first [`Mono::release`].
    pub fn skip(&mut self, n_frames: u64) {
        self.part.skip = n_frames;
    }

    /// Lets go of what was decoded: nothing that comes later takes any of it back.
    ///
    /// # Errors
    /// What takes the samples reports.
    pub fn release(&mut self) -> Result<()> {
        if self.part.samples.len() >= BLOCK_LEN { self.give() } else { Ok(()) }
    }

    fn give(&mut self) -> Result<()> {
        let Out::Blocks(Blocks { take, silent }) = &mut self.out else { return Ok(()) };
        let Part { samples, given, skip, keep, .. } = &mut self.part;
        if let Some(edit) = self.edit {
            (*skip, *keep) = edit.stretch(self.sample_rate);
        }
        let n = samples.len() as u64;
        let end = keep.map_or(u64::MAX, |keep| skip.saturating_add(keep));
        let place = |frame: u64| frame.saturating_sub(*given).min(n) as usize;
        let heard = place(*skip)..place(end);
        if !heard.is_empty() {
            if silent.get(self.cancelled.len()).copied().unwrap_or(false) {
                samples[heard.clone()].fill(0.0);
            }
            take(&samples[heard], self.sample_rate)?;
        }
        *given += n;
        samples.clear();
        Ok(())
    }

    /// Ends the part, of which `keep` frames behind those passed over count, where that is told.
    ///
    /// # Errors
    /// When there are none, or such that were to be taken back are gone; what takes the samples reports.
    pub fn end_part(&mut self, keep: Option<u64>) -> Result<()> {
        let n_frames = self.n_frames();
        let part = &mut self.part;
        if let Some(keep) = keep {
            part.keep = Some(keep);
            let end = part.skip.saturating_add(keep);
            if end < part.given {
                let found = format!("one that ends it after {end}, behind {} of them", part.given);
                return Err(refuse(self.path, None, "a position that counts the frames before it", found));
            }
        }
        if let Some(edit) = self.edit {
            // One that keeps nothing is a mistake, and changes nothing.
            let (skip, keep) = edit.stretch(self.sample_rate);
            match skip < n_frames {
                true => (part.skip, part.keep) = (skip, keep),
                false if part.given == 0 => self.edit = None,
                false => {
                    return Err(refuse(
                        self.path,
                        None,
                        "an edit list that keeps some of the sound",
                        "one that keeps none",
                    ));
                }
            }
        }
        let kept = n_frames.saturating_sub(part.skip).min(part.keep.unwrap_or(u64::MAX));
        if kept == 0 {
            return Err(refuse(self.path, None, "at least one frame of samples", "none"));
        }
        self.give()?;
        let Part { mut samples, skip, keep, balance, .. } = std::mem::take(&mut self.part);
        let cancels = balance.cancels();
        self.cancelled.push(cancels);
        self.before += kept;
        if let Out::Whole(whole) = &mut self.out {
            samples.drain(..skip as usize);
            samples.truncate(keep.map_or(usize::MAX, |keep| usize::try_from(keep).unwrap_or(usize::MAX)));
            if cancels {
                samples.fill(0.0);
            }
            if whole.is_empty() { *whole = samples } else { whole.extend(samples) }
        }
        Ok(())
    }

    /// Ends the file: its samples, where they were held.
    ///
    /// # Errors
    /// When there are none.
    pub fn finish(self) -> Result<Waveform> {
        match self.out {
            Out::Whole(samples) if self.before > 0 => Ok(Waveform { samples, sample_rate: self.sample_rate }),
            _ => Err(refuse(self.path, None, "at least one frame of samples", "none")),
        }
    }

    /// Ends a file that was given out in blocks: of every part, whether its channels cancel each other.
    ///
    /// # Errors
    /// When it had none.
    pub fn finish_blocks(self) -> Result<Vec<bool>> {
        if self.cancelled.is_empty() {
            return Err(refuse(self.path, None, "at least one frame of samples", "none"));
        }
        Ok(self.cancelled)
    }
}
