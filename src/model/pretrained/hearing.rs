//! A recording on its way into a published network, piece by piece, so that one of any length takes the memory of some.

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use super::folder::BATCH_SIZE;
use super::network::{Features, Pretrained};
use crate::dataset::measure::loudest_dbfs;
use crate::error::{Error, Result};
use crate::front_end::features::FeatureConfig;
use crate::front_end::pieces::{AstCutter, CedCutter, Piece};

/// Samples of a recording in memory that are taken at a time.
const BLOCK_LEN: usize = 1 << 20;

/// What a network makes of a recording.
#[derive(Debug)]
pub struct Heard {
    /// Where each piece that it heard at once starts and ends, in seconds.
    pub pieces: Vec<(f64, f64)>,
    /// The level of each piece's loudest 10 ms, in dBFS.
    pub loudest_dbfs: Vec<f64>,
    /// What the head sees of each piece, `(n_pieces, embed_dim)`, on the CPU.
    pub embeddings: Tensor,
}

/// How far a recording was heard.
pub struct Hearing {
    cutter: Cutter,
    /// Cut, and not yet heard.
    waiting: Vec<Piece>,
    pieces: Vec<(f64, f64)>,
    loudest_dbfs: Vec<f64>,
    embeddings: Vec<Tensor>,
}

/// How hearing a recording ends.
pub enum End {
    /// It was heard.
    Heard(Heard),
    /// It has to be heard once more, with this as its loudest power.
    Again(f32),
}

enum Cutter {
    Ced(CedCutter),
    Ast(AstCutter),
}

impl Pretrained {
    /// Listens to mono samples at [`Pretrained::sample_rate`], of any length. What is longer than the network hears at once it hears
    /// piece by piece: a CED as its authors let it, an AST in windows side by side of which the last ends with the recording.
    ///
    /// # Errors
    /// [`Error::Signal`] when a value is not finite, [`Error::Torch`] when libtorch fails.
    pub fn hear(&mut self, samples: &[f32]) -> Result<Heard> {
        let mut loudest = None;
        loop {
            let mut hearing = Hearing::new(self, loudest);
            samples.chunks(BLOCK_LEN).try_for_each(|block| hearing.take(self, block))?;
            match hearing.finish(self)? {
                End::Heard(heard) => return Ok(heard),
                End::Again(power) => loudest = Some(power),
            }
        }
    }

    /// What a recording's pieces are as the network takes them: of a CED `(n_pieces, n_mels, n_frames)`, normalised; of an AST
    /// `(n_pieces, n_frames, n_mels)`. All pieces of an AST have the same number of frames, those of a CED as many as they have.
    ///
    /// # Errors
    /// As [`Pretrained::hear`].
    pub fn listen(&mut self, samples: &[f32]) -> Result<Tensor> {
        let pieces = cut(self, samples)?;
        Ok(self.inputs_of(&pieces, pieces.len() == 1))
    }

    /// The first piece of what is heard of samples: its levels in dB below its loudest, `(n_mels, n_frames)`, how they are made, and the piece
    /// as [`Pretrained::listened_to`] takes it.
    ///
    /// # Errors
    /// As [`Pretrained::hear`].
    pub fn first_piece(&mut self, samples: &[f32]) -> Result<(Array2<f32>, FeatureConfig, Tensor)> {
        let pieces = cut(self, samples)?;
        let Some(first) = pieces.first() else {
            return Err(Error::Signal { expected: "samples".into(), found: "none".into() });
        };
        let inputs = self.inputs_of(&pieces[..1], pieces.len() == 1);
        let (levels, config) = match &mut self.features {
            Features::Ced(features) => (first.features.clone(), features.config().clone()),
            Features::Ast(features) => (features.levels(samples)?, features.config()),
        };
        let loudest = levels.fold(f32::NEG_INFINITY, |loudest, level| loudest.max(*level));
        Ok((levels.mapv(|level| level - loudest), config, inputs))
    }
}

impl Heard {
    /// What the head sees of the recording as a whole: the mean over its pieces, `(1, embed_dim)`.
    pub fn embedding(&self) -> Tensor {
        self.embeddings.mean_dim(0i64, true, Kind::Float)
    }

    /// The same over those pieces alone for which `sounds` holds; over all, where it holds for none.
    pub fn embedding_where(&self, sounds: &[bool]) -> Tensor {
        let sounding: Vec<i64> = (0..).zip(sounds).filter(|(_, sounds)| **sounds).map(|(piece, _)| piece).collect();
        if sounding.is_empty() || sounding.len() == self.pieces.len() {
            return self.embedding();
        }
        self.embeddings.index_select(0, &Tensor::from_slice(&sounding)).mean_dim(0i64, true, Kind::Float)
    }
}

impl Hearing {
    /// Before a recording, whose loudest power is known where it is heard once more.
    pub fn new(network: &Pretrained, loudest: Option<f32>) -> Self {
        let (waiting, pieces, loudest_dbfs, embeddings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Hearing { cutter: Cutter::new(network, loudest), waiting, pieces, loudest_dbfs, embeddings }
    }

    /// Takes mono samples at [`Pretrained::sample_rate`].
    ///
    /// # Errors
    /// As [`Pretrained::hear`].
    pub fn take(&mut self, network: &mut Pretrained, samples: &[f32]) -> Result<()> {
        let waiting = &mut self.waiting;
        self.cutter.take(&mut network.features, samples, &mut |piece| {
            waiting.push(piece);
            Ok(())
        })?;
        // What comes behind tells whether a piece is the only one.
        while self.waiting.len() > BATCH_SIZE {
            let rest = self.waiting.split_off(BATCH_SIZE);
            self.hear_waiting(network);
            self.waiting = rest;
        }
        Ok(())
    }

    /// Hears what is left.
    ///
    /// # Errors
    /// As [`Pretrained::hear`].
    pub fn finish(mut self, network: &mut Pretrained) -> Result<End> {
        let mut rest = Vec::new();
        let cutter = std::mem::replace(&mut self.cutter, Cutter::new(network, None));
        let again = cutter.finish(&mut network.features, &mut |piece| {
            rest.push(piece);
            Ok(())
        })?;
        if let Some(loudest) = again {
            return Ok(End::Again(loudest));
        }
        for piece in rest {
            if self.waiting.len() == BATCH_SIZE {
                self.hear_waiting(network);
            }
            self.waiting.push(piece);
        }
        self.hear_waiting(network);
        let Hearing { pieces, loudest_dbfs, embeddings, .. } = self;
        Ok(End::Heard(Heard { pieces, loudest_dbfs, embeddings: Tensor::cat(&embeddings, 0) }))
    }

    fn hear_waiting(&mut self, network: &Pretrained) {
        let rate = network.sample_rate();
        let batch = std::mem::take(&mut self.waiting);
        let is_only = self.pieces.is_empty() && batch.len() == 1;
        let inputs = network.inputs_of(&batch, is_only);
        self.embeddings.push(tch::no_grad(|| network.embed(&inputs, false)).to_device(Device::Cpu));
        for Piece { start, samples, .. } in batch {
            let at_s = |sample: usize| sample as f64 / f64::from(rate);
            self.pieces.push((at_s(start), at_s(start + samples.len())));
            self.loudest_dbfs.push(loudest_dbfs(&samples, rate));
        }
    }
}

impl Cutter {
    fn new(network: &Pretrained, loudest: Option<f32>) -> Self {
        match network.piece_len() {
            Some(n_frames) => Cutter::Ced(CedCutter::new(n_frames, loudest.unwrap_or(0.0))),
            None => Cutter::Ast(AstCutter::default()),
        }
    }

    fn take(
        &mut self,
        features: &mut Features,
        samples: &[f32],
        give: &mut dyn FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        match (self, features) {
            (Cutter::Ced(cutter), Features::Ced(features)) => cutter.take(features, samples, give),
            (Cutter::Ast(cutter), Features::Ast(features)) => cutter.take(features, samples, give),
            _ => Err(Features::mixed_up()),
        }
    }

    fn finish(self, features: &mut Features, give: &mut dyn FnMut(Piece) -> Result<()>) -> Result<Option<f32>> {
        match (self, features) {
            (Cutter::Ced(cutter), Features::Ced(features)) => cutter.finish(features, give),
            (Cutter::Ast(cutter), Features::Ast(features)) => cutter.finish(features, give).map(|()| None),
            _ => Err(Features::mixed_up()),
        }
    }
}

/// All pieces of a recording in memory.
///
/// # Errors
/// As [`Pretrained::hear`].
pub(super) fn cut(network: &mut Pretrained, samples: &[f32]) -> Result<Vec<Piece>> {
    let mut loudest = None;
    loop {
        let (mut cutter, mut pieces) = (Cutter::new(network, loudest), Vec::new());
        let mut keep = |piece| {
            pieces.push(piece);
            Ok(())
        };
        cutter.take(&mut network.features, samples, &mut keep)?;
        match cutter.finish(&mut network.features, &mut keep)? {
            None => return Ok(pieces),
            again => loudest = again,
        }
    }
}
