//! A trained network in one `.safetensors` file: weights, and in its metadata everything inference needs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::config::{TinyAstConfig, TrainConfig};
use crate::features::FEATURE_VERSION;
use crate::files;
use crate::metadata::FeatureSettings;
use crate::model::TinyAst;
use crate::{Error, Result};

/// The metadata key under which a checkpoint describes itself as JSON.
const INFO_KEY: &str = "audio_transformer";

/// What a checkpoint knows beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// The data set trained on, by name.
    pub dataset: String,
    /// Class names in the order of the logits.
    pub labels: Vec<String>,
    /// How a recording becomes a spectrogram; values are normalised per clip to zero mean and unit deviation.
    pub settings: FeatureSettings,
    /// The architecture.
    pub model: TinyAstConfig,
    /// How it was trained.
    pub train: TrainConfig,
    /// The fold held out.
    pub test_fold: u32,
    /// The recordings trained on and validated with, sorted: what must not be in a test.
    pub seen_sources: Vec<String>,
    /// Epochs completed.
    pub epoch: usize,
}

/// A network read from a file.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the file says about itself.
    pub info: CheckpointInfo,
    /// The network, on the device asked for.
    pub model: TinyAst,
    /// Owns the weights.
    pub vs: VarStore,
}

/// Writes the weights in `vs` (float32) with their description, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::Torch`] when weights cannot be read from the device.
pub fn save(path: &Path, vs: &VarStore, info: &CheckpointInfo) -> Result<()> {
    let mut tensors = Vec::new();
    for (name, tensor) in vs.variables() {
        let shape: Vec<usize> = tensor.size().iter().map(|side| *side as usize).collect();
        tensors.push((name, shape, to_bytes(&tensor)?));
    }
    tensors.sort();
    let unfit = |error: safetensors::SafeTensorError| invalid(path, "weights that fit the format", error);
    let mut views = Vec::new();
    for (name, shape, bytes) in &tensors {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(unfit)?));
    }
    let json = serde_json::to_string(info).unwrap_or_default();
    let metadata = HashMap::from([(INFO_KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(unfit)?;
    files::write_bytes(path, &bytes)
}

/// Reads a checkpoint onto a device.
///
/// # Errors
/// [`Error::StageMissing`] when there is no such file; [`Error::Checkpoint`] when it is damaged, was not written by this
/// crate, or its weights do not fit the architecture it names.
pub fn load(path: &Path, device: Device) -> Result<Checkpoint> {
    if !path.exists() {
        return Err(Error::StageMissing { stage: "Train", path: path.into() });
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let info = parse_info(path, &bytes)?;
    let weights = SafeTensors::deserialize(&bytes).map_err(|error| invalid(path, "a whole safetensors file", error))?;

    // The sizes are checked against the file before anything of that size is allocated.
    let in_file: usize = weights.iter().map(|(_, view)| view.shape().iter().product::<usize>()).sum();
    let in_model = n_parameters(&info.model, info.labels.len());
    if in_model != Some(in_file) {
        let expected =
            format!("{} weights, as its architecture has", in_model.map_or("too many".into(), |n| n.to_string()));
        return Err(invalid(path, &expected, in_file));
    }
    let vs = VarStore::new(device);
    let model = TinyAst::new(vs.root(), &info.model, info.labels.len(), info.train.seed)?;
    for (name, mut variable) in vs.variables() {
        let view = weights.tensor(&name).map_err(|error| invalid(path, &format!("a tensor {name}"), error))?;
        let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
        if view.dtype() != Dtype::F32 || shape != variable.size() {
            let expected = format!("{name} as F32 {:?}", variable.size());
            return Err(invalid(path, &expected, format!("{:?} {shape:?}", view.dtype())));
        }
        let values = Tensor::f_from_data_size(view.data(), &shape, Kind::Float);
        let copied = values.and_then(|values| tch::no_grad(|| variable.f_copy_(&values)));
        copied.map_err(|source| Error::Torch { action: "copying weights", source })?;
    }
    Ok(Checkpoint { info, model, vs })
}

/// Reads what a checkpoint says about itself, and not its weights.
fn parse_info(path: &Path, bytes: &[u8]) -> Result<CheckpointInfo> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| invalid(path, "a safetensors file", error))?;
    let json = header.metadata().as_ref().and_then(|metadata| metadata.get(INFO_KEY));
    let Some(json) = json else {
        return Err(invalid(path, &format!("a description under the key {INFO_KEY:?}"), "none"));
    };
    let info: CheckpointInfo =
        serde_json::from_str(json).map_err(|error| invalid(path, "a description this version reads", error))?;
    let settings = &info.settings;
    let sound = info.model.validate().and(settings.clip.validate()).and(settings.features.validate());
    sound.map_err(|error| invalid(path, "settings in their range", error))?;
    if settings.feature_version != FEATURE_VERSION {
        let expected = format!("spectrograms of version {FEATURE_VERSION}");
        return Err(invalid(path, &expected, settings.feature_version));
    }
    Ok(info)
}

/// How many weights an architecture has, or `None` when the number overflows.
fn n_parameters(config: &TinyAstConfig, num_classes: usize) -> Option<usize> {
    let dim = config.embed_dim;
    let hidden = dim.checked_mul(config.mlp_ratio)?;
    let linear = |from: usize, to: usize| from.checked_mul(to)?.checked_add(to);
    let norms = dim.checked_mul(4)?;
    let parts =
        [linear(dim, dim.checked_mul(3)?)?, linear(dim, dim)?, linear(dim, hidden)?, linear(hidden, dim)?, norms];
    let block = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(*part))?;
    let tokens = config.n_patches().checked_add(2)?.checked_mul(dim)?;
    let ends = [linear(config.patch_size.pow(2), dim)?, tokens, dim.checked_mul(2)?, linear(dim, num_classes)?];
    ends.iter().try_fold(block.checked_mul(config.depth)?, |sum, part| sum.checked_add(*part))
}

fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let torch = |source| Error::Torch { action: "reading weights", source };
    let tensor = tensor.f_to_device(Device::Cpu).and_then(|tensor| tensor.f_contiguous()).map_err(torch)?;
    let mut values = vec![0f32; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel()).map_err(torch)?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn invalid(path: &Path, expected: &str, found: impl ToString) -> Error {
    let next = "Train again, or name another checkpoint.".to_owned();
    Error::Checkpoint { path: path.into(), expected: expected.to_owned(), found: found.to_string(), next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClipConfig;
    use crate::features::FeatureConfig;
    use crate::model::probabilities;

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
        };
        let vs = VarStore::new(Device::Cpu);
        let model = TinyAst::new(vs.root(), &info.model, info.labels.len(), 1).unwrap();
        let path = dir.join("m.safetensors");
        save(&path, &vs, &info).unwrap();
        (path, vs, model, info)
    }

    #[test]
    fn saving_and_loading_gives_the_same_probabilities_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _vs, model, info) = saved(dir.path());
        let loaded = load(&path, Device::Cpu).unwrap();
        assert_eq!(loaded.info, info);
        let inputs = Tensor::randn([2, 1, 64, 64], (Kind::Float, Device::Cpu));
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
    fn an_architecture_larger_than_its_file_is_refused_before_it_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let (path, vs, _, mut info) = saved(dir.path());
        info.model = TinyAstConfig { embed_dim: 4096, depth: 64, mlp_ratio: 16, ..Default::default() };
        save(&path, &vs, &info).unwrap();
        let message = load(&path, Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("as its architecture has"), "{message}");
    }

    #[test]
    fn settings_out_of_range_are_refused_as_the_files_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (path, vs, _, info) = saved(dir.path());
        let mut hostile = [info.clone(), info.clone(), info];
        hostile[0].settings.clip.duration_s = 0.0;
        hostile[1].settings.clip.duration_s = 1e30;
        hostile[2].settings.feature_version += 1;
        for info in hostile {
            save(&path, &vs, &info).unwrap();
            assert!(matches!(load(&path, Device::Cpu), Err(Error::Checkpoint { .. })), "{info:?}");
        }
    }

    #[test]
    fn the_number_of_weights_is_known_without_building_the_network() {
        let dir = tempfile::tempdir().unwrap();
        let (_, vs, _, info) = saved(dir.path());
        let built: usize = vs.variables().values().map(Tensor::numel).sum();
        assert_eq!(n_parameters(&info.model, info.labels.len()), Some(built));
    }

    #[test]
    fn a_missing_checkpoint_names_the_stage_that_makes_it() {
        let message = load(Path::new("nowhere/m.safetensors"), Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("run the stage \"Train\" first"), "{message}");
    }
}
