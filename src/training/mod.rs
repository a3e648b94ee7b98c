//! From spectrograms to a trained checkpoint.

#[cfg(feature = "torch")]
pub mod device;
pub mod views;
#[cfg(any(feature = "onnx", test))]
pub mod resize;
pub mod drawn;
pub mod augment;
#[cfg(feature = "torch")]
pub mod input;
pub mod order;
#[cfg(feature = "torch")]
pub mod loader;
pub mod history;
pub mod observe;
#[cfg(feature = "torch")]
pub mod flat_weights;
#[cfg(feature = "torch")]
pub(crate) mod muon;
#[cfg(feature = "torch")]
pub mod optim;
#[cfg(feature = "torch")]
pub mod loss;
#[cfg(feature = "torch")]
pub mod loss_scale;
#[cfg(all(feature = "distributed", feature = "internals"))]
pub mod autocast;
pub mod calibration;
pub mod described;
#[cfg(any(feature = "torch", feature = "onnx"))]
pub(crate) mod seal;
pub mod reference;
#[cfg(feature = "torch")]
pub mod linear_head;
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
pub mod start;
#[cfg(feature = "torch")]
pub mod trainer;
#[cfg(feature = "torch")]
pub(crate) mod validation;
#[cfg(feature = "torch")]
pub(crate) mod known;
#[cfg(feature = "torch")]
pub(crate) mod words;
#[cfg(feature = "torch")]
mod budget;
#[cfg(feature = "torch")]
pub mod report;
#[cfg(feature = "torch")]
mod processes;
#[cfg(feature = "torch")]
pub mod train;
#[cfg(feature = "torch")]
pub mod find_rate;
#[cfg(feature = "torch")]
pub mod run;
#[cfg(feature = "torch")]
pub mod sweep;
