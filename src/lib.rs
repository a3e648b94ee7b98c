//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer.
//!
//! Data flows one way, and a module uses only what stands before it:
//! download → wav → resample → spectrogram → dataset → model → train → evaluate / predict → plot.
#![deny(missing_docs)]

pub mod audio;
mod error;
pub mod files;
pub mod npy;
pub mod progress;

pub use error::{Error, Result};
