//! From a URL or a folder to recordings with labels and folds in `data/raw`, and on to their spectrograms in `data/processed`.

pub mod catalog;
pub mod verify;
pub mod measure;
pub mod copies;
pub mod checkup;
pub mod demo;
mod unpacked;
#[cfg(feature = "download")]
pub mod archive;
#[cfg(feature = "download")]
pub mod download;
mod together;
pub mod acquire;
pub mod propose;
pub(crate) mod chosen_folds;
pub mod metadata;
pub(crate) mod stored;
pub(crate) mod in_use;
pub mod preprocess;
mod current;
pub mod processed;
pub mod split;
