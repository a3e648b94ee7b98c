//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer: the crate behind the notebook.
//!
//! Data flows one way, and a module uses only what stands before it.
//!
//! | stage | module | reads → leaves |
//! |---|---|---|
//! | settings | [`config`] | every number a person would turn |
//! | data set | [`acquire`]: [`demo`] or `download` + `archive`, [`catalog`], [`verify`], [`levels`] | a URL → `data/raw/` |
//! | front end | [`audio`] → [`resample`] → [`spectrogram`], [`mel`] → [`features`] | a file → a log-mel spectrogram |
//! | preprocess | [`preprocess`], [`metadata`], [`npy`] | `data/raw/` → `data/processed/` |
//! | folds | [`dataset`] | `data/processed/` → train, validation, test |
//! | inputs | [`views`], [`augment`], `input`, `loader` | spectrograms → batches of the network's size |
//! | model | `model` | an input → logits |
//! | train | `optim`, `train`, [`observe`], `run`, `resume`, `checkpoint`, [`history`] | train, validation → `data/models/` |
//! | evaluate, predict | `evaluate`, `embeddings`, `pca`, [`metrics`], `predict` | a checkpoint → numbers |
//! | life outside | `export` | a checkpoint → files that Python loads |
//! | a recipe's worth | `cross_validate`, `ship` | every fold held out → the network that ships |
//! | tables, pictures | `tables`, `plot`, `html`, `show` | what a stage returned → the notebook |
//!
//! Modules without a link need a cargo feature: `download`, `plots`, `tables` or `torch`, all on by default. Without them the
//! audio front end builds alone.
#![deny(missing_docs)]

pub mod acquire;
#[cfg(feature = "download")]
pub mod archive;
pub mod audio;
pub mod augment;
pub mod catalog;
#[cfg(feature = "torch")]
pub mod checkpoint;
pub mod config;
#[cfg(feature = "torch")]
pub mod cross_validate;
pub mod dataset;
pub mod demo;
#[cfg(feature = "torch")]
pub mod device;
mod differences;
#[cfg(feature = "download")]
pub mod download;
#[cfg(feature = "torch")]
pub mod embeddings;
mod error;
#[cfg(feature = "torch")]
pub mod evaluate;
#[cfg(feature = "torch")]
pub mod export;
pub mod features;
pub mod files;
mod hash;
pub mod history;
#[cfg(feature = "plots")]
pub mod html;
#[cfg(feature = "torch")]
pub mod input;
pub mod levels;
#[cfg(feature = "torch")]
pub mod loader;
pub mod mel;
pub mod metadata;
pub mod metrics;
#[cfg(feature = "torch")]
pub mod model;
pub mod npy;
pub mod observe;
#[cfg(feature = "torch")]
pub mod optim;
#[cfg(feature = "torch")]
pub mod pca;
#[cfg(feature = "plots")]
pub mod plot;
#[cfg(feature = "torch")]
pub mod predict;
pub mod preprocess;
pub mod progress;
pub mod resample;
#[cfg(feature = "torch")]
pub mod resume;
#[cfg(feature = "torch")]
pub mod run;
#[cfg(feature = "torch")]
mod run_lock;
#[cfg(feature = "torch")]
pub mod ship;
#[cfg(feature = "pipeline")]
pub mod show;
pub mod spectrogram;
mod staging;
#[cfg(all(feature = "tables", feature = "torch"))]
pub mod tables;
#[cfg(feature = "torch")]
pub mod tensors;
#[cfg(feature = "torch")]
pub mod train;
pub mod verify;
pub mod views;

pub use error::{Error, Result};

/// What the notebook's cells name: `use audio_transformer::prelude::*;`.
#[cfg(feature = "pipeline")]
pub mod prelude {
    pub use crate::acquire::{acquire, open_catalog};
    pub use crate::config::{
        AugmentConfig, ClipConfig, Config, DataConfig, DataSource, DeviceChoice, LongClips, Mix, Pooling, Preset,
        Schedule, Stem, TinyAstConfig, TrainConfig, View,
    };
    pub use crate::dataset::Dataset;
    pub use crate::device::cuda_report;
    pub use crate::embeddings::embeddings;
    pub use crate::evaluate::evaluate;
    pub use crate::features::FeatureConfig;
    pub use crate::predict::{Classifier, copy_examples, predict_folder};
    pub use crate::preprocess::preprocess;
    pub use crate::run::Run;
    pub use crate::train::train;
    pub use crate::{Error, Result, audio, demo, show, tables};
    pub use polars::prelude::DataFrame;
}
