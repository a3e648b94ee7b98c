//! What other networks have learned, put to use: embeddings of any network, a head on them, fine-tuning, and classes taught by a few examples.

mod ear;
mod listener;
mod store;
mod probe;
mod recipe;
mod pieces;
mod scoring;
mod fine_tune;
mod metric;
mod teach;

pub use fine_tune::{FineTuned, fine_tune, fine_tune_observed, fine_tune_together};
pub use listener::Listener;
pub use probe::{Probe, probe};
pub use recipe::FineTune;
pub use teach::{Answer, Nearness, Taught};
