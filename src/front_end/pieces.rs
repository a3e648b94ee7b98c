//! The pieces in which published networks hear a recording, cut from samples that come block by block: what they hold is what the whole would give.

use ndarray::{Array2, Axis, s};

use crate::error::Result;
use crate::front_end::fbank;
use crate::front_end::published::{AstFeatures, CedFeatures, loudest};

/// What a network hears at once.
pub struct Piece {
    /// Its first sample.
    pub start: usize,
    /// Its samples, at the rate of the features; fewer than a piece is long where the recording ends in it.
    pub samples: Vec<f32>,
    /// As the extractor makes them: of a CED `(n_mels, n_frames)`, of an AST `(n_frames, n_mels)`.
    pub features: Array2<f32>,
}

/// Cuts a recording into the pieces of a CED: so many frames each, one behind the other, and what is left.
///
/// Levels are taken down to 120 dB below the loudest of the *whole* recording, which nobody knows before its end. Where a piece turns out to have been
/// cut with too low a floor, and to have something below the right one, the recording has to come once more; that is so where something louder than
/// 20 dB, in power of a band, follows digital silence or what is hardly more.
pub struct CedCutter {
    piece_len: usize,
    held: Vec<f32>,
    /// The place of the first sample held.
    origin: usize,
    n_taken: usize,
    n_pieces: usize,
    /// The loudest power so far, or of the whole recording where it comes once more.
    loudest: f32,
    /// The lowest level of each piece before it was lifted to the floor, and that floor.
    lifted: Vec<(f32, f32)>,
}

impl CedCutter {
    /// For pieces of `n_frames`, of a recording whose loudest power is known to be at least so much; 0 for one that is not known.
    pub fn new(n_frames: usize, loudest: f32) -> Self {
        let (held, lifted) = (Vec::new(), Vec::new());
        CedCutter { piece_len: n_frames, held, origin: 0, n_taken: 0, n_pieces: 0, loudest, lifted }
    }

    /// Takes samples, and gives the pieces that are whole.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] when a value is not finite; what `give` reports.
    pub fn take(
        &mut self,
        features: &mut CedFeatures,
        samples: &[f32],
        mut give: impl FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        self.held.extend_from_slice(samples);
        self.n_taken += samples.len();
        let hop = features.config().hop_length;
        loop {
            // Some frames more than the piece has, so that its last ones have all their samples.
            let end = ((self.n_pieces + 1) * self.piece_len + features.margin()) * hop;
            if self.n_taken < end {
                return Ok(());
            }
            let power = self.power(features, end)?.slice(s![.., ..self.piece_len]).to_owned();
            give(self.piece(features, power))?;
        }
    }

    /// Gives what is left, and tells the loudest power of the recording where it has to come once more.
    ///
    /// # Errors
    /// As [`CedCutter::take`].
    pub fn finish(
        mut self,
        features: &mut CedFeatures,
        mut give: impl FnMut(Piece) -> Result<()>,
    ) -> Result<Option<f32>> {
        if self.n_pieces == 0 {
            self.held.resize(self.held.len().max(features.min_samples()), 0.0);
        }
        let mut rest = self.power(features, self.origin + self.held.len())?;
        while rest.ncols() > 0 {
            let n_frames = rest.ncols().min(self.piece_len);
            give(self.piece(features, rest.slice(s![.., ..n_frames]).to_owned()))?;
            rest.slice_axis_inplace(Axis(1), (n_frames..).into());
        }
        let floor_db = features.floor_db(self.loudest);
        let is_wrong = |(lowest, floor): &(f32, f32)| *floor < floor_db && *lowest < floor_db;
        Ok(self.lifted.iter().any(is_wrong).then_some(self.loudest))
    }

    /// The power of the frames from the next piece on that the samples up to `end` hold.
    fn power(&mut self, features: &mut CedFeatures, end: usize) -> Result<Array2<f32>> {
        let before = self.n_pieces * self.piece_len - self.origin / features.config().hop_length;
        let power = features.power(&self.held[..end - self.origin])?;
        Ok(power.slice_move(s![.., before..]))
    }

    /// The next piece, of its power; what no later one needs is let go.
    fn piece(&mut self, features: &CedFeatures, power: Array2<f32>) -> Piece {
        let hop = features.config().hop_length;
        let start = self.n_pieces * self.piece_len * hop;
        let end = (start + self.piece_len * hop).min(self.n_taken).max(start);
        let samples = self.held[start - self.origin..end - self.origin].to_vec();
        let mut levels = power.as_standard_layout().into_owned();
        self.loudest = loudest(&levels).max(self.loudest);
        let floor_db = features.floor_db(self.loudest);
        self.lifted.push((features.to_db(&mut levels, floor_db), floor_db));
        self.n_pieces += 1;
        let needed = (self.n_pieces * self.piece_len).saturating_sub(features.margin()) * hop;
        let gone = (needed - self.origin).min(self.held.len());
        self.held.drain(..gone);
        self.origin += gone;
        Piece { start, samples, features: levels }
    }
}

/// Cuts a recording into the windows of an AST, side by side, of which the last ends with it.
#[derive(Default)]
pub struct AstCutter {
    /// The last window's samples, and what came since.
    held: Vec<f32>,
    /// The place of the first sample held.
    origin: usize,
    n_given: usize,
}

impl AstCutter {
    /// As [`CedCutter::take`].
    ///
    /// # Errors
    /// As there.
    pub fn take(
        &mut self,
        features: &mut AstFeatures,
        samples: &[f32],
        mut give: impl FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        self.held.extend_from_slice(samples);
        let n_samples = features.n_samples();
        // Whether one is the last is known once there is more.
        while self.origin + self.held.len() > (self.n_given + 1) * n_samples {
            let start = self.n_given * n_samples;
            let window = self.held[start - self.origin..][..n_samples].to_vec();
            self.n_given += 1;
            give(Piece { start, features: features.extract(&window)?, samples: window })?;
            // The last window may begin within this one.
            self.held.drain(..start - self.origin);
            self.origin = start;
        }
        Ok(())
    }

    /// Gives the last window.
    ///
    /// # Errors
    /// As [`AstCutter::take`].
    pub fn finish(self, features: &mut AstFeatures, mut give: impl FnMut(Piece) -> Result<()>) -> Result<()> {
        let beyond = (self.origin + self.held.len()).saturating_sub(features.n_samples());
        // What is left beyond the last frame is no frame.
        if self.n_given > 0 && beyond < fbank::HOP_LENGTH {
            return Ok(());
        }
        let samples = self.held[beyond - self.origin..].to_vec();
        give(Piece { start: beyond, features: features.extract(&samples)?, samples })
    }
}
