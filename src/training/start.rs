//! What a network knows before it trains: nothing, or what sounds made by formulas have taught another of its layers.
//!
//! `study pretrain` makes those sounds, trains on them and writes the file; see `docs/accuracy.md`.

#[cfg(feature = "internals")]
use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

use crate::config::{Start, TinyAstConfig};
use crate::error::{Error, Result};
use crate::files::content;
use crate::model::tensors;

/// The file within the project.
#[cfg(feature = "internals")]
pub const FORMULAS: &str = "data/models/tinyast-formulas.safetensors";
const WEIGHTS: &[u8] = include_bytes!("../../data/models/tinyast-formulas.safetensors");

/// The layer that is each network's own, since it has as many outputs as there are classes.
const HEAD: &str = "head.";
/// A vector for each place of the grid of tokens.
const POSITIONS: &str = "pos_embed";

/// What the file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// The architecture that learned.
    pub model: TinyAstConfig,
    /// Classes of sounds it learned to tell apart.
    pub classes: u64,
    /// Takes of each that it heard.
    pub takes: u64,
    /// How often it heard each in the last of its rounds.
    pub epochs: usize,
    /// The share of takes that it had not heard and named right, of so many classes.
    pub accuracy: f64,
}

/// Writes the weights of a network, all but its head, for others to start from.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
#[cfg(feature = "internals")]
pub fn write(path: &Path, vs: &VarStore, learned: &Learned) -> Result<()> {
    let variables: Vec<_> = vs.variables().into_iter().filter(|(name, _)| !name.starts_with(HEAD)).collect();
    tensors::write(path, &variables, tensors::Precision::Half, &serde_json::to_string(learned).unwrap_or_default())
}

/// What tells the weights of a start from those of another release; none where they are drawn.
pub fn fingerprint(start: Start) -> Option<String> {
    match start {
        Start::Fresh => None,
        Start::Formulas => Some(content::hash_bytes(WEIGHTS).to_string()),
    }
}

/// Puts what a network is to know before it trains in the place of the weights in `vs`.
///
/// # Errors
/// [`Error::Config`] when it is of other layers.
pub(crate) fn take_up(start: Start, vs: &VarStore, model: &TinyAstConfig) -> Result<()> {
    match start {
        Start::Fresh => Ok(()),
        Start::Formulas => copy(WEIGHTS, vs, model).map_err(|(expected, found)| Error::Config {
            field: "train.start",
            expected: format!("Fresh, or a network with {expected}"),
            found: format!("Formulas, which has {found}"),
        }),
    }
}

/// # Errors
/// What the network has, and what the file.
fn copy(bytes: &[u8], vs: &VarStore, model: &TinyAstConfig) -> Result<(), (String, String)> {
    let damaged = |found: String| ("weights that are whole".to_owned(), found);
    let described = tensors::info(bytes).map_err(damaged)?.unwrap_or_default();
    let learned: Learned = serde_json::from_str(&described).map_err(|error| damaged(error.to_string()))?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    for (name, mut variable) in vs.variables().into_iter().filter(|(name, _)| !name.starts_with(HEAD)) {
        let mut values = tensors::read(&file, &name).map_err(|found| (name.clone(), found))?;
        if name == POSITIONS {
            values = spread(&values, learned.model.token_grid(), model.token_grid());
        }
        tensors::copy_into(&mut variable, &name, &values)?;
    }
    Ok(())
}

/// Vectors of a grid's places `(1, rows · columns, dim)` for a grid of another size over the same sound, between them in a straight line.
fn spread(positions: &Tensor, from: (usize, usize), to: (usize, usize)) -> Tensor {
    if from == to {
        return positions.shallow_clone();
    }
    let dim = positions.size()[2];
    let map = positions.transpose(1, 2).reshape([1, dim, from.0 as i64, from.1 as i64]);
    let map = map.upsample_bilinear2d([to.0 as i64, to.1 as i64], false, None, None);
    map.reshape([1, dim, -1]).transpose(1, 2).contiguous()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::config::Preset;
    use crate::model::tiny_ast::TinyAst;

    fn started(model: &TinyAstConfig, start: Start, seed: u64) -> VarStore {
        let vs = VarStore::new(Device::Cpu);
        TinyAst::new(vs.root(), model, 7, seed).unwrap();
        take_up(start, &vs, model).unwrap();
        vs
    }

    #[test]
    fn all_but_the_head_is_known_before() {
        let model = Preset::Fitted.model();
        let (one, other) = (started(&model, Start::Formulas, 1), started(&model, Start::Formulas, 2));
        let fresh = started(&model, Start::Fresh, 1);
        for (name, variable) in one.variables() {
            let is_head = name.starts_with(HEAD);
            // A head's bias begins at 0.
            assert_eq!(variable == other.variables()[&name], !is_head || name == "head.bias", "{name}");
            assert_eq!(variable == fresh.variables()[&name], is_head, "{name}");
            assert_eq!(variable.isfinite().all().int64_value(&[]), 1, "{name}");
        }
    }

    #[test]
    fn the_file_says_what_was_learned_by_the_layers_of_the_fitted_preset() {
        let learned: Learned = serde_json::from_str(&tensors::info(WEIGHTS).unwrap().unwrap()).unwrap();
        assert_eq!(learned.model, Preset::Fitted.model());
        assert!(learned.accuracy > 0.2 && learned.classes >= 500, "{learned:?}");
    }

    #[test]
    fn positions_keep_their_place_in_another_grid() {
        // A vector that tells its row and its column.
        let (rows, columns) = (4, 10);
        let row = Tensor::arange(rows, (Kind::Float, Device::Cpu)).view([rows, 1]).expand([rows, columns], false);
        let column =
            Tensor::arange(columns, (Kind::Float, Device::Cpu)).view([1, columns]).expand([rows, columns], false);
        let positions = Tensor::stack(&[row.reshape([-1]), column.reshape([-1])], 1).unsqueeze(0);
        assert_eq!(spread(&positions, (4, 10), (4, 10)), positions);
        let finer = spread(&positions, (4, 10), (4, 20)).view([4, 20, 2]);
        for (at, expected) in
            [((0, 0), [0.0, 0.0]), ((2, 9), [2.0, 4.25]), ((3, 10), [3.0, 4.75]), ((3, 19), [3.0, 9.0])]
        {
            let found = finer.select(0, at.0).select(0, at.1);
            assert_eq!(found, Tensor::from_slice(&expected).to_kind(Kind::Float), "{at:?}");
        }
    }

    #[test]
    fn other_layers_are_refused_by_name() {
        let model = TinyAstConfig { embed_dim: 128, ..Preset::Fitted.model() };
        let vs = VarStore::new(Device::Cpu);
        TinyAst::new(vs.root(), &model, 7, 0).unwrap();
        let message = take_up(Start::Formulas, &vs, &model).unwrap_err().to_string();
        assert!(message.contains("train.start") && message.contains("128"), "{message}");
    }

    #[test]
    fn a_bit_that_tipped_over_is_told() {
        let model = Preset::Fitted.model();
        let vs = VarStore::new(Device::Cpu);
        TinyAst::new(vs.root(), &model, 7, 0).unwrap();
        let mut bytes = WEIGHTS.to_vec();
        let place = bytes.len() / 2;
        bytes[place] ^= 4;
        let (_, found) = copy(&bytes, &vs, &model).unwrap_err();
        assert!(found.contains("changed"), "{found}");
    }
}
