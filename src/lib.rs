//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer.
//!
//! Data flows one way, and a module uses only what stands before it:
//! download → wav → resample → spectrogram → dataset → model → train → evaluate / predict → plot.
#![deny(missing_docs)]

pub mod audio;
mod error;
pub mod files;
#[cfg(feature = "plots")]
pub mod html;
pub mod npy;
#[cfg(feature = "plots")]
pub mod plot;
pub mod progress;

pub use error::{Error, Result};
