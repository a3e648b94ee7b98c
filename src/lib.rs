//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer.
//!
//! Data flows one way, and a module uses only what stands before it:
//! download → wav → resample → spectrogram → dataset → model → train → evaluate / predict → plot.
#![deny(missing_docs)]

#[cfg(feature = "download")]
pub mod archive;
pub mod audio;
pub mod catalog;
#[cfg(feature = "download")]
pub mod download;
mod error;
pub mod files;
pub mod progress;
pub mod verify;

pub use error::{Error, Result};
