//! Classifying recordings with a trained network alone: it brings labels, settings and weights.

mod prediction;
mod events;
#[cfg(feature = "network")]
mod hearing;
#[cfg(feature = "torch")]
mod classifier;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "torch")]
mod listening;
#[cfg(feature = "torch")]
mod recognize;
#[cfg(feature = "torch")]
mod folder;
#[cfg(feature = "torch")]
mod examples;

#[cfg(feature = "torch")]
pub use classifier::{Classifier, RELEASED};
pub use events::Event;
#[cfg(feature = "torch")]
pub use examples::copy_examples;
#[cfg(feature = "torch")]
pub use folder::{FolderPredictions, predict_folder};
#[cfg(feature = "torch")]
pub use listening::Listening;
#[cfg(feature = "onnx")]
pub use onnx::OnnxClassifier;
pub use prediction::{NONE_OF_THESE, Prediction, Standing, Window};
#[cfg(feature = "torch")]
pub use recognize::Recognize;
