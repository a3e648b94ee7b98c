//! From spectrograms to a trained checkpoint.

#[cfg(feature = "torch")]
pub mod device;
pub mod views;
pub mod augment;
#[cfg(feature = "torch")]
pub mod input;
#[cfg(feature = "torch")]
pub mod loader;
pub mod history;
pub mod observe;
#[cfg(feature = "torch")]
pub mod optim;
#[cfg(feature = "torch")]
pub mod checkpoint;
#[cfg(feature = "torch")]
pub mod paths;
#[cfg(feature = "torch")]
pub(crate) mod run_lock;
#[cfg(feature = "torch")]
pub mod resume;
#[cfg(feature = "torch")]
pub mod trainer;
#[cfg(feature = "torch")]
mod budget;
#[cfg(feature = "torch")]
pub mod train;
#[cfg(feature = "torch")]
pub mod run;
