//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer.
//!
//! Data flows one way, and a module uses only what stands before it:
//! download → wav → resample → spectrogram → dataset → model → train → evaluate / predict → plot.
#![deny(missing_docs)]

pub mod audio;
pub mod catalog;
mod error;
pub mod features;
pub mod files;
pub mod mel;
pub mod progress;
pub mod resample;
pub mod spectrogram;

pub use error::{Error, Result};
