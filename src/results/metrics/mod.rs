//! What the probabilities of a scored fold say.

mod interval;
mod evaluation;
mod calibration;
mod multi_label;
mod scored;

pub use calibration::{Reliability, ReliabilityBin};
pub use evaluation::{ClassScore, Confusion, Evaluation, RELIABILITY_BINS, ScoredClip};
pub use interval::Interval;
pub use multi_label::{ClassPrecision, MultiLabelClip, MultiLabelEvaluation};
pub use scored::Scored;
