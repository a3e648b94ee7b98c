//! The whole state of a training run after an epoch, in one file, so that a run that was stopped goes on as if it had not been.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::model::tensors::{self, Precision};
use crate::training::checkpoint::CheckpointInfo;
use crate::training::flat_weights::FlatWeights;
use crate::training::history::EpochRecord;
use crate::training::loss_scale::LossScale;
use crate::training::observe::Observer;
use crate::training::optim::{Average, Optimizer};

/// What tells a run from others.
pub trait RunInfo: Serialize + DeserializeOwned {
    /// Whether both describe moments of one run.
    fn is_of_the_run(&self, other: &Self) -> bool;
}

impl RunInfo for CheckpointInfo {
    fn is_of_the_run(&self, other: &Self) -> bool {
        let essence = |run: &Self| CheckpointInfo { epoch: 0, train: same_run(&run.train), ..run.clone() };
        essence(self) == essence(other)
    }
}

/// What a saved state says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress<R = CheckpointInfo> {
    /// The run as its checkpoint describes it; `epoch` is the last whole one.
    pub run: R,
    /// What tells the spectrograms trained on, their labels and folds from others.
    pub data: String,
    /// Optimiser steps taken.
    pub step: usize,
    /// A record per epoch.
    pub history: Vec<EpochRecord>,
    /// How losses are scaled in half precision.
    #[serde(default)]
    pub loss_scale: LossScale,
}

/// The tensors of a run.
pub struct State<'a> {
    /// The network.
    pub weights: &'a mut FlatWeights,
    /// The optimiser.
    pub optimizer: &'a mut Optimizer,
    /// The moving average.
    pub average: &'a mut Average,
}

impl State<'_> {
    /// All of them by name.
    pub(crate) fn tensors(&mut self) -> [(&'static str, &mut Tensor); 6] {
        [
            ("weights", &mut self.weights.values),
            ("buffers", &mut self.weights.buffers),
            ("mean", &mut self.optimizer.mean),
            ("square", &mut self.optimizer.square),
            ("average.weights", &mut self.average.values),
            ("average.buffers", &mut self.average.buffers),
        ]
    }

    /// Writes the state, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written, [`Error::Torch`] when numbers cannot be read from the device.
    pub fn save<R: RunInfo>(&mut self, path: &Path, progress: &Progress<R>) -> Result<()> {
        let tensors = self.tensors().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
        tensors::write(path, &tensors, Precision::Single, &serde_json::to_string(progress).unwrap_or_default())
    }

    /// Takes up a saved state if there is one of this very run; a state of other settings or data, or a damaged one, is passed over.
    ///
    /// # Errors
    /// [`Error::Io`] when the file is there and cannot be read.
    pub fn restore<R: RunInfo>(&mut self, path: &Path, wanted: &Progress<R>) -> Result<Option<Progress<R>>> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let Some(progress) = progress_in(&bytes).filter(|found| found.is_of_the_run(wanted)) else { return Ok(None) };
        let Ok(file) = SafeTensors::deserialize(&bytes) else { return Ok(None) };
        let mut read = Vec::new();
        for (name, tensor) in self.tensors() {
            match tensors::read(&file, name) {
                Ok(values) if values.size() == tensor.size() => read.push(values),
                _ => return Ok(None),
            }
        }
        for ((name, tensor), values) in self.tensors().into_iter().zip(&read) {
            let copied = tensors::copy_into(tensor, name, values);
            copied.map_err(|(_, found)| Error::io("read", path)(std::io::Error::other(found)))?;
        }
        self.optimizer.step = progress.steps_taken();
        Ok(Some(progress))
    }

    /// Takes up the state of this run if it was stopped, and says so.
    ///
    /// # Errors
    /// As [`State::restore`].
    pub(crate) fn go_on<R: RunInfo>(
        &mut self,
        path: &Path,
        epochs: usize,
        begun: Progress<R>,
        observer: &mut dyn Observer,
    ) -> Result<Progress<R>> {
        match self.restore(path, &begun)? {
            Some(progress) => {
                observer.say(&format!("going on after epoch {} of {epochs}", progress.history.len()));
                Ok(progress)
            }
            None if path.exists() => {
                let path = path.display();
                observer.say(&format!("{path} is of other settings or data, or damaged: starting from the beginning"));
                Ok(begun)
            }
            None => Ok(begun),
        }
    }
}

/// The epochs that a run with a time budget chose when it began, if the state is of this very run.
pub(crate) fn begun_epochs(path: &Path, wanted: &Progress) -> Option<usize> {
    let progress: Progress = progress_in(&fs::read(path).ok()?)?;
    let epochs = progress.run.train.epochs;
    let mut wanted = wanted.clone();
    wanted.run.train.epochs = epochs;
    progress.is_of_the_run(&wanted).then_some(epochs)
}

fn progress_in<R: RunInfo>(bytes: &[u8]) -> Option<Progress<R>> {
    serde_json::from_str(&tensors::info(bytes).ok()??).ok()
}

impl<R> Progress<R> {
    /// Optimiser steps without those that were skipped.
    pub(crate) fn steps_taken(&self) -> usize {
        self.step - self.history.iter().map(|epoch| epoch.skipped_steps).sum::<usize>().min(self.step)
    }
}

impl<R: RunInfo> Progress<R> {
    /// Whether both are moments of one run: the same data, architecture and settings.
    fn is_of_the_run(&self, other: &Self) -> bool {
        self.data == other.data && self.run.is_of_the_run(&other.run)
    }
}

/// The settings without those that cannot change a number of the run.
pub(crate) fn same_run(config: &TrainConfig) -> TrainConfig {
    let memory_mb = TrainConfig::default().memory_mb;
    TrainConfig { loader_threads: 0, memory_mb, resume: true, processes: 1, ..config.clone() }
}
