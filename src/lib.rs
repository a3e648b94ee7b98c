//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer.
//!
//! Data flows one way, and a module uses only what stands before it:
//! download → wav → resample → spectrogram → dataset → model → train → evaluate / predict → plot.
#![deny(missing_docs)]

pub mod acquire;
pub mod audio;
pub mod catalog;
#[cfg(feature = "torch")]
pub mod checkpoint;
pub mod config;
pub mod dataset;
pub mod demo;
#[cfg(feature = "torch")]
pub mod device;
mod error;
#[cfg(feature = "torch")]
pub mod evaluate;
pub mod features;
pub mod files;
pub mod history;
#[cfg(feature = "torch")]
pub mod input;
pub mod mel;
pub mod metadata;
#[cfg(feature = "torch")]
pub mod model;
pub mod npy;
#[cfg(feature = "torch")]
pub mod predict;
pub mod preprocess;
pub mod progress;
pub mod resample;
pub mod spectrogram;
#[cfg(feature = "torch")]
pub mod train;
pub mod verify;

pub use error::{Error, Result};
