//! What a network that is trained on says of recordings of a fold.

use tch::{Device, Kind, Tensor};

use crate::distributed::peers::Peers;
use crate::error::{Error, Result};
use crate::model::pretrained::Pretrained;
use crate::training::loss::count_hits;

/// Pieces of a recording that go through the network at once.
const PIECES_AT_ONCE: usize = 8;

/// The class probabilities of recordings, each heard to its end, by all processes.
pub(super) fn probabilities(
    network: &Pretrained,
    inputs: &[Tensor],
    indices: &[usize],
    peers: &dyn Peers,
) -> Result<Vec<Vec<f32>>> {
    let of_one = |index: &usize| {
        let embedded: Vec<Tensor> = tch::no_grad(|| {
            let parts = inputs[*index].split(PIECES_AT_ONCE as i64, 0);
            parts.iter().map(|part| network.embed(part, false)).collect()
        });
        let embedding = Tensor::cat(&embedded, 0).mean_dim(0i64, true, Kind::Float);
        Vec::try_from(network.probabilities(&embedding).to_device(Device::Cpu).flatten(0, 1))
            .map_err(|source| Error::Torch { action: "reading probabilities", source })
    };
    let own = peers.part_of(indices.len());
    let rows = indices[own.clone()].iter().map(of_one).collect::<Result<_>>()?;
    peers.rows_of_all(indices.len(), own.start, rows)
}

/// Mean loss of recordings, and the share of them whose most probable class is theirs, by their marks `(n, classes)`; `None` for none.
pub(super) fn score(
    network: &Pretrained,
    inputs: &[Tensor],
    indices: &[usize],
    marks: &Tensor,
    peers: &dyn Peers,
) -> Result<Option<(f64, f64)>> {
    if indices.is_empty() {
        return Ok(None);
    }
    let said = probabilities(network, inputs, indices, peers)?;
    let said = Tensor::from_slice2(&said);
    let not_said: Tensor = 1.0 - &said;
    let not_marked: Tensor = 1.0 - marks;
    let log = |share: &Tensor| share.clamp_min(f64::from(f32::MIN_POSITIVE)).log();
    let loss = match network.is_multi_label() {
        false => -(marks * log(&said)).sum_dim_intlist(1i64, false, Kind::Double).mean(Kind::Double),
        true => -(marks * log(&said) + not_marked * log(&not_said)).mean(Kind::Double),
    };
    Ok(Some((loss.double_value(&[]), count_hits(&said, marks) / indices.len() as f64)))
}
