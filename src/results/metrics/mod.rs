//! What the probabilities of a scored fold say.

mod interval;
mod evaluation;
mod calibration;

pub use calibration::{Reliability, ReliabilityBin};
pub use evaluation::{ClassScore, Confusion, Evaluation, RELIABILITY_BINS, ScoredClip};
pub use interval::Interval;
