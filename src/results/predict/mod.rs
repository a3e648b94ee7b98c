//! Classifying recordings with a checkpoint alone: it brings labels, settings and weights.

mod classifier;
mod listening;
mod recognize;
mod folder;
mod examples;

pub(crate) use classifier::SILENCE_DBFS;
pub use classifier::{Classifier, NONE_OF_THESE, Prediction, RELEASED, Standing, Window};
pub use examples::copy_examples;
pub use folder::{FolderPredictions, predict_folder};
pub use listening::Listening;
pub use recognize::Recognize;
