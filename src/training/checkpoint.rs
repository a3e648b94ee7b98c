//! A trained network in one `.safetensors` file: weights, and in its metadata everything inference needs.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use tch::Device;
use tch::nn::VarStore;

use crate::distributed::peers::Peers;
use crate::error::{Error, Result};
use crate::model::tensors::{self, INFO_KEY, Precision};
use crate::model::tiny_ast::TinyAst;
pub use crate::training::described::CheckpointInfo;
use crate::training::familiarity::Familiarity;

/// A network read from a file.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the file says about itself.
    pub info: CheckpointInfo,
    /// The network, on the device asked for.
    pub model: TinyAst,
    /// What it knows of how the recordings lie that it was trained on, if it was told.
    pub familiarity: Option<Familiarity>,
    /// Owns the weights.
    pub vs: VarStore,
}

/// Writes the weights in `vs` with their description, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::Torch`] when weights cannot be read from the device.
pub fn save(
    path: &Path,
    vs: &VarStore,
    info: &CheckpointInfo,
    familiarity: Option<&Familiarity>,
    precision: Precision,
) -> Result<()> {
    let mut variables: Vec<_> = vs.variables().into_iter().collect();
    variables.extend(familiarity.into_iter().flat_map(Familiarity::stored));
    tensors::write(path, &variables, precision, &serde_json::to_string(info).unwrap_or_default())
}

/// Reads a checkpoint onto a device.
///
/// # Errors
/// [`Error::StageMissing`] when there is no such file; [`Error::Checkpoint`] when it is damaged, was not written by this
/// crate, or its weights do not fit the architecture it names.
pub fn load(path: &Path, device: Device) -> Result<Checkpoint> {
    parse(path, &read(path)?, device)
}

/// [`load`] by several processes: the first reads the file, and the others have it from there.
///
/// # Errors
/// As [`load`], and [`Error::Process`] when another process is gone.
pub(crate) fn load_together(path: &Path, device: Device, peers: &dyn Peers) -> Result<Checkpoint> {
    let own = if peers.is_first() { read(path)? } else { Vec::new() };
    parse(path, &peers.bytes_of_first(own)?, device)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if !path.exists() {
        return Err(Error::StageMissing { stage: "Train", path: path.into() });
    }
    fs::read(path).map_err(Error::io("read", path))
}

fn parse(path: &Path, bytes: &[u8], device: Device) -> Result<Checkpoint> {
    let info = parse_info(path, bytes)?;
    let weights = SafeTensors::deserialize(bytes).map_err(|error| invalid(path, "a whole safetensors file", error))?;

    // The sizes are checked against the file before anything of that size is allocated.
    let of_network = weights.iter().filter(|(name, _)| !Familiarity::is_named(name));
    let in_file: usize = of_network.map(|(_, view)| view.shape().iter().product::<usize>()).sum();
    let in_model = info.model.n_stored(info.labels.len());
    if in_model != Some(in_file) {
        let expected =
            format!("{} weights, as its architecture has", in_model.map_or("too many".into(), |n| n.to_string()));
        return Err(invalid(path, &expected, in_file));
    }
    let vs = VarStore::new(device);
    let model = TinyAst::new(vs.root(), &info.model, info.labels.len(), info.train.seed)?;
    for (name, mut variable) in vs.variables() {
        let values = tensors::read(&weights, &name);
        let values = values.map_err(|found| invalid(path, &format!("a tensor {name} as F32 or F16"), found))?;
        tensors::copy_into(&mut variable, &name, &values)
            .map_err(|(expected, found)| invalid(path, &expected, found))?;
        // A bit that tipped over, or a training that came to nothing, would be given as an answer.
        if variable.isfinite().all().int64_value(&[]) != 1 {
            return Err(invalid(path, &format!("numbers in the tensor {name}"), "some that are none"));
        }
    }
    let familiarity = Familiarity::read(&weights).map_err(|(expected, found)| invalid(path, &expected, found))?;
    Ok(Checkpoint { info, model, familiarity, vs })
}

/// Reads what a checkpoint says about itself, and not its weights.
fn parse_info(path: &Path, bytes: &[u8]) -> Result<CheckpointInfo> {
    let json = tensors::info(bytes).map_err(|error| invalid(path, "a safetensors file", error))?;
    let Some(json) = json else {
        return Err(invalid(path, &format!("a description under the key {INFO_KEY:?}"), "none"));
    };
    CheckpointInfo::parse(&json).map_err(|(expected, found)| invalid(path, &expected, found))
}

fn invalid(path: &Path, expected: &str, found: impl ToString) -> Error {
    let next = "Train again, or name another checkpoint.".to_owned();
    Error::Checkpoint { path: path.into(), expected: expected.to_owned(), found: found.to_string(), next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClipConfig, TinyAstConfig, TrainConfig, View};
    use crate::dataset::metadata::FeatureSettings;
    use crate::front_end::features::FeatureConfig;
    use crate::model::tiny_ast::probabilities;
    use crate::model::transformer::noise;
    use crate::training::calibration::Calibration;

    fn saved(dir: &Path) -> (std::path::PathBuf, VarStore, TinyAst, CheckpointInfo) {
        let info = CheckpointInfo {
            dataset: "demo".into(),
            labels: vec!["a".into(), "b".into(), "c".into()],
            settings: FeatureSettings::new(&ClipConfig::default(), &FeatureConfig::default()),
            model: TinyAstConfig { depth: 1, ..Default::default() },
            train: TrainConfig::default(),
            test_fold: 5,
            seen_sources: vec!["1".into(), "2".into()],
            epoch: 2,
            calibration: None,
        };
        let vs = VarStore::new(Device::Cpu);
        let model = TinyAst::new(vs.root(), &info.model, info.labels.len(), 1).unwrap();
        let path = dir.join("m.safetensors");
        save(&path, &vs, &info, None, Precision::Single).unwrap();
        (path, vs, model, info)
    }

    #[test]
    fn saving_and_loading_gives_the_same_probabilities_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _vs, model, info) = saved(dir.path());
        let loaded = load(&path, Device::Cpu).unwrap();
        assert_eq!(loaded.info, info);
        let inputs = noise(&[2, 1, 64, 64]);
        assert_eq!(probabilities(&model, &inputs), probabilities(&loaded.model, &inputs));
    }

    #[test]
    fn a_damaged_file_is_refused_wherever_it_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let (path, ..) = saved(dir.path());
        let whole = fs::read(&path).unwrap();
        for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(load(&path, Device::Cpu), Err(Error::Checkpoint { .. })), "cut to {length} bytes");
        }
    }

    #[test]
    fn a_bit_that_tipped_over_is_refused_or_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _vs, model, info) = saved(dir.path());
        let whole = fs::read(&path).unwrap();
        let inputs = noise(&[2, 1, 64, 64]);
        let said = probabilities(&model, &inputs);
        let weights = whole.len() - 4 * info.model.n_stored(info.labels.len()).unwrap();
        let mut harmless = 0;
        // All of what describes the weights, and of them some.
        for place in (0..weights).step_by(7).chain((weights..whole.len()).step_by(9_973)) {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            fs::write(&path, &damaged).unwrap();
            if let Ok(loaded) = load(&path, Device::Cpu) {
                harmless += 1;
                assert!(place < weights, "byte {place}");
                assert_eq!((&loaded.info, probabilities(&loaded.model, &inputs)), (&info, said.shallow_clone()));
            }
        }
        // In the very letters that say that a hash follows.
        assert!(harmless < 4, "{harmless}");
    }

    #[test]
    fn an_architecture_larger_than_its_file_is_refused_before_it_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let (path, vs, _, mut info) = saved(dir.path());
        info.model = TinyAstConfig { embed_dim: 4096, depth: 64, mlp_ratio: 16, ..Default::default() };
        save(&path, &vs, &info, None, Precision::Single).unwrap();
        let message = load(&path, Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("as its architecture has"), "{message}");
    }

    #[test]
    fn settings_out_of_range_are_refused_as_the_files_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (path, vs, _, info) = saved(dir.path());
        let mut hostile = [info.clone(), info.clone(), info.clone(), info.clone(), info];
        hostile[0].settings.clip.duration_s = 0.0;
        hostile[1].settings.clip.duration_s = 1e30;
        hostile[2].settings.feature_version += 1;
        (hostile[3].model.view, hostile[3].settings.features.n_mels) = (View::Windows { n_views: 1 }, 32);
        hostile[4].calibration = Some(Calibration { temperature: 0.0, recordings: 9 });
        for info in hostile {
            save(&path, &vs, &info, None, Precision::Single).unwrap();
            assert!(matches!(load(&path, Device::Cpu), Err(Error::Checkpoint { .. })), "{info:?}");
        }
    }

    #[test]
    fn half_precision_halves_the_file_and_keeps_the_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let (path, vs, model, info) = saved(dir.path());
        let whole = fs::metadata(&path).unwrap().len();
        save(&path, &vs, &info, None, Precision::Half).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < whole * 6 / 10);
        let loaded = load(&path, Device::Cpu).unwrap();
        let inputs = noise(&[2, 1, 64, 64]);
        let difference = probabilities(&model, &inputs) - probabilities(&loaded.model, &inputs);
        assert!(difference.abs().max().double_value(&[]) < 1e-2);
    }

    #[test]
    fn a_missing_checkpoint_names_the_stage_that_makes_it() {
        let message = load(Path::new("nowhere/m.safetensors"), Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("run the stage \"Train\" first"), "{message}");
    }
}
