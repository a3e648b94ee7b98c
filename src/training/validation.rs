//! The clips watched during training.

use tch::{Device, Kind, Tensor};

use crate::config::Config;
use crate::dataset::processed::Dataset;
use crate::distributed::peers::Peers;
use crate::error::Result;
use crate::model::tiny_ast::{TinyAst, predictions};
use crate::training::input;
use crate::training::loss::count_right;

/// Clips that a network is scored on, of which every process has its part.
pub(crate) struct Validation {
    inputs: Tensor,
    targets: Tensor,
    /// Clips of all processes.
    n_clips: usize,
    batch_size: i64,
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
        let (inputs, targets) = input::load(dataset, &clips[peers.part_of(clips.len())], &config.model)?;
        let (inputs, targets) = (inputs.to_device(device), targets.to_device(device));
        Ok(Validation { inputs, targets, n_clips: clips.len(), batch_size: config.train.batch_size as i64 })
    }

    /// Mean loss and accuracy, or `None` where there are no clips; a clip's views vote together.
    ///
    /// # Errors
    /// [`crate::Error::Process`] when another process is gone.
    pub fn score(&self, model: &TinyAst, peers: &dyn Peers) -> Result<Option<(f64, f64)>> {
        if self.n_clips == 0 {
            return Ok(None);
        }
        let (mut loss_sum, mut right) = (0.0, 0.0);
        if self.targets.size()[0] > 0 {
            let n_views = model.config().n_views() as i64;
            let batches = self.inputs.split(self.batch_size * n_views, 0);
            for (inputs, targets) in batches.iter().zip(self.targets.split(self.batch_size, 0)) {
                let said = predictions(model, inputs);
                let of_target = said.gather(1, &targets.unsqueeze(1), false).clamp_min(f64::from(f32::MIN_POSITIVE));
                loss_sum -= of_target.log().sum(Kind::Double).double_value(&[]);
                right += count_right(&said, &targets);
            }
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
