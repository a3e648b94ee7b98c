//! The clips watched during training.

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::dataset::processed::Dataset;
use crate::dataset::stored::Stored;
use crate::distributed::peers::Peers;
use crate::error::Result;
use crate::front_end::features::FeatureConfig;
use crate::model::tiny_ast::{TinyAst, predictions};
use crate::training::input;
use crate::training::loader::fit;
use crate::training::loss::count_right;

/// Clips that a network is scored on, of which every process has its part, in memory where they fit there.
pub(crate) struct Validation {
    clips: Vec<Stored>,
    targets: Tensor,
    /// Inputs of all clips, or nothing.
    inputs: Option<Tensor>,
    /// Clips of all processes.
    n_clips: usize,
    batch_size: usize,
    features: FeatureConfig,
    device: Device,
}

impl Validation {
    /// Reads this process' part of the clips onto a device.
    ///
    /// # Errors
    /// As [`Dataset::spectrogram`].
    pub fn load(
        dataset: &Dataset,
        clips: &[usize],
        config: &Config,
        device: Device,
        peers: &dyn Peers,
    ) -> Result<Self> {
        let (n_clips, batch_size) = (clips.len(), config.train.batch_size);
        let part = &clips[peers.part_of(n_clips)];
        let targets: Vec<i64> = part.iter().map(|index| dataset.clips[*index].target as i64).collect();
        let clips: Vec<Stored> = part.iter().map(|index| dataset.stored(*index)).collect();
        let features = dataset.settings.features.clone();
        let inputs = match fit(&clips, config.train.memory_mb) {
            true => Some(input::load(&clips, &config.model, &features)?.to_device(device)),
            false => None,
        };
        let targets = Tensor::from_slice(&targets).to_device(device);
        Ok(Validation { clips, targets, inputs, n_clips, batch_size, features, device })
    }

    /// Mean loss and accuracy, or `None` where there are no clips; a clip's views vote together.
    ///
    /// # Errors
    /// [`crate::Error::Process`] when another process is gone; as [`Dataset::spectrogram`] where the clips stay on disk.
    pub fn score(&self, model: &TinyAst, peers: &dyn Peers) -> Result<Option<(f64, f64)>> {
        if self.n_clips == 0 {
            return Ok(None);
        }
        let (mut loss_sum, mut right) = (0.0, 0.0);
        let n_views = model.config().n_views();
        for (batch, clips) in self.clips.chunks(self.batch_size).enumerate() {
            let first = batch * self.batch_size;
            let targets = self.targets.narrow(0, first as i64, clips.len() as i64);
            let inputs = match &self.inputs {
                Some(inputs) => inputs.narrow(0, (first * n_views) as i64, (clips.len() * n_views) as i64),
                None => input::load(clips, model.config(), &self.features)?.to_device(self.device),
            };
            let said = predictions(model, &inputs);
            let of_target = said.gather(1, &targets.unsqueeze(1), false).clamp_min(f64::from(f32::MIN_POSITIVE));
            loss_sum -= of_target.log().sum(Kind::Double).double_value(&[]);
            right += count_right(&said, &targets);
        }
        if peers.size() > 1 {
            let sums = Tensor::from_slice(&[loss_sum, right]);
            peers.sum(&sums)?;
            (loss_sum, right) = (sums.double_value(&[0]), sums.double_value(&[1]));
        }
        let n_clips = self.n_clips as f64;
        Ok(Some((loss_sum / n_clips, right / n_clips)))
    }
}
