//! What a network takes of recordings that it is trained on: pieces, by chance, masked, side by side.

use std::path::PathBuf;

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;
use tch::Tensor;

use super::listener::Listener;
use super::recipe::FineTune;
use crate::error::Result;
use crate::front_end::audio;
use crate::model::pretrained::{Architecture, Pretrained};

/// Bytes that one number of a token takes while its gradient is due, for each of the numbers a block keeps of it.
const KEPT_PER_NUMBER: f64 = 4.0;

/// What the network takes of every recording.
pub(super) fn inputs_of(paths: &[PathBuf], network: &mut Pretrained) -> Result<Vec<Tensor>> {
    let rate = network.sample_rate();
    let mut resampler = Listener::resampler_to(rate)?;
    let mut all = Vec::with_capacity(paths.len());
    for path in paths {
        let sound = audio::read(path)?;
        all.push(resampler.resample(&sound.samples, sound.sample_rate).map_err(|error| error.in_file(path))?);
    }
    network.fit_to(all.iter().map(Vec::len).max().unwrap_or_default())?;
    let hear = |(samples, path): (Vec<f32>, &PathBuf)| network.listen(&samples).map_err(|error| error.in_file(path));
    all.into_iter().zip(paths).map(hear).collect()
}

/// Recordings of a batch that are gone through at once, so that a step takes no more memory than it may and each process has its part, and the
/// bytes that it takes; no more than are named.
pub(super) fn part_size(
    network: &Pretrained,
    inputs: &[Tensor],
    how: &FineTune,
    (named, processes): (Option<usize>, usize),
) -> (usize, f64) {
    let (tokens, kept) = match network.architecture() {
        Architecture::Ced(network) => {
            let config = network.config();
            let longest = inputs.iter().map(|input| input.size()[2]).max().unwrap_or_default() as usize;
            let tokens = (longest / config.patch_size).max(1) * config.grid().0;
            (tokens, config.embed_dim as f64 * (12.0 + 2.0 * config.mlp_ratio))
        }
        Architecture::Ast(network) => {
            let config = network.config();
            let (rows, columns) = config.grid();
            (rows * columns + 2, 12.0 * config.hidden_size as f64 + 2.0 * config.intermediate_size as f64)
        }
    };
    let weights: usize = network.variables().variables().values().map(Tensor::numel).sum();
    // The weights, their gradient and two moments, and one more while they are laid out.
    let of_weights = 5.0 * 4.0 * weights as f64;
    let of_one = KEPT_PER_NUMBER * (tokens * network.depth()) as f64 * kept;
    let most = named.unwrap_or_else(|| how.batch_size.div_ceil(processes)).clamp(1, how.batch_size);
    let part = (((how.memory_bytes - of_weights) / of_one).floor().max(1.0) as usize).min(most);
    (part, of_weights + part as f64 * of_one)
}

/// One of a recording's pieces, by chance.
pub(super) fn one_piece(pieces: &Tensor, rng: &mut Xoshiro256PlusPlus) -> Tensor {
    pieces.get(rng.random_range(0..pieces.size()[0].max(1)))
}

/// A piece with a band of frequencies and a stretch of time masked (SpecAugment, Park et al. 2019), each of a width by chance.
pub(super) fn masked(piece: &Tensor, how: &FineTune, network: &Pretrained, rng: &mut Xoshiro256PlusPlus) -> Tensor {
    let piece = piece.copy();
    let (freq, time) = if matches!(network.architecture(), Architecture::Ced(_)) { (0, 1) } else { (1, 0) };
    let fill = network.silence();
    for (dim, most) in [(freq, how.freq_mask), (time, how.time_mask)] {
        let length = piece.size()[dim as usize];
        let width = rng.random_range(0..=most as i64).min(length);
        let start = rng.random_range(0..=length - width);
        let _ = piece.narrow(dim, start, width).fill_(fill);
    }
    piece
}

/// Pieces as one batch; the shorter ones of a CED are followed by zeros, as the last piece of a long recording is.
pub(super) fn side_by_side(pieces: &[Tensor]) -> Tensor {
    let longest = pieces.iter().map(|piece| piece.size()[1]).max().unwrap_or_default();
    let padded = pieces.iter().map(|piece| piece.constant_pad_nd([0, longest - piece.size()[1]]));
    Tensor::stack(&padded.collect::<Vec<_>>(), 0)
}
