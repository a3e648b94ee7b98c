//! Classifying recordings with a checkpoint alone: it brings labels, settings and weights.

mod classifier;
mod listening;
mod folder;

pub use classifier::{Classifier, Prediction, SHIPPED, Window};
pub use folder::{FolderPredictions, copy_examples, predict_folder};
pub use listening::Listening;
