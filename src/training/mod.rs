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
pub mod calibration;
#[cfg(feature = "torch")]
pub mod familiarity;
#[cfg(feature = "torch")]
pub(crate) mod recordings;
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
pub(crate) mod known;
#[cfg(feature = "torch")]
mod words;
#[cfg(feature = "torch")]
mod budget;
#[cfg(feature = "torch")]
pub mod train;
#[cfg(feature = "torch")]
pub mod find_rate;
#[cfg(feature = "torch")]
pub mod run;
#[cfg(feature = "torch")]
pub mod sweep;
