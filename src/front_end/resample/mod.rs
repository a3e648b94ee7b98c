//! Sample-rate conversion with one filter in the frequency domain, set up once per pair of rates.

mod check;
mod overlap_save;
mod stream;
mod resampler;
mod running;

pub(crate) use check::check_samples;
pub use resampler::{Resampler, SAMPLE_RATES_HZ};
pub use running::Running;
