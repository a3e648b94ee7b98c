//! What a network makes of whole recordings of a data set.

use std::collections::HashMap;

use tch::{Device, Tensor};

use crate::config::TinyAstConfig;
use crate::dataset::metadata::ProcessedClip;
use crate::dataset::processed::Dataset;
use crate::dataset::stored::Stored;
use crate::distributed::peers::Peers;
use crate::error::{Error, Result};
use crate::training::input;

/// Clips run through the network at once.
const BATCH_SIZE: usize = 64;

/// What `network` makes of the inputs of clips, `(clips, n)`, as one row per recording: the mean of its windows. The order is that of the
/// recordings' first windows. Every process makes its part, and has all: what goes through the network at once is the same in any number of them,
/// and so are the numbers.
///
/// # Errors
/// As [`Dataset::spectrogram`]; [`Error::Torch`] when the network cannot run; [`Error::Process`] when another process is gone.
pub(crate) fn means<'a>(
    dataset: &'a Dataset,
    clips: &[usize],
    (model, device): (&TinyAstConfig, Device),
    action: &'static str,
    peers: &dyn Peers,
    network: impl Fn(&Tensor) -> Tensor,
) -> Result<Vec<(&'a ProcessedClip, Vec<f32>)>> {
    let batches: Vec<&[usize]> = clips.chunks(BATCH_SIZE).collect();
    let part = peers.part_of(batches.len());
    let mut rows = Vec::new();
    for batch in &batches[part.clone()] {
        let stored: Vec<Stored> = batch.iter().map(|index| dataset.stored(*index)).collect();
        let inputs = input::load(&stored, model, &dataset.settings.features)?;
        let of_batch = Vec::<Vec<f32>>::try_from(network(&inputs.to_device(device)));
        rows.extend(of_batch.map_err(|source| Error::Torch { action, source })?);
    }
    let rows = peers.rows_of_all(clips.len(), part.start * BATCH_SIZE, rows)?;
    let mut recordings: Vec<(&ProcessedClip, Vec<f32>)> = Vec::new();
    let mut n_windows: Vec<usize> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, row) in clips.iter().zip(rows) {
        let clip = &dataset.clips[*index];
        let place = *places.entry(&clip.filename).or_insert(recordings.len());
        if place == recordings.len() {
            recordings.push((clip, row));
            n_windows.push(1);
        } else {
            n_windows[place] += 1;
            recordings[place].1.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
    }
    for ((_, sums), n_windows) in recordings.iter_mut().zip(n_windows) {
        sums.iter_mut().for_each(|sum| *sum /= n_windows as f32);
    }
    Ok(recordings)
}
