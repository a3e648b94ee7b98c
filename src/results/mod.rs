//! From a checkpoint to numbers, predictions and files for others.

pub mod metrics;
#[cfg(feature = "torch")]
pub mod evaluate;
#[cfg(feature = "torch")]
pub mod pca;
#[cfg(feature = "torch")]
pub mod embeddings;
pub mod predict;
#[cfg(feature = "torch")]
pub mod cross_validate;
#[cfg(feature = "torch")]
pub mod export;
#[cfg(feature = "torch")]
pub mod release;
