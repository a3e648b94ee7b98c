//! stub
use crate::{Result, catalog::Catalog};
/// f
pub struct WavFormat {
    /// a
    pub sample_rate: u32,
    /// b
    pub channels: u16,
    /// c
    pub bits_per_sample: u16,
    /// d
    pub n_frames: u64,
}
/// r
pub struct VerifyReport {}
/// v
pub fn verify(_c: &Catalog, _e: Option<WavFormat>) -> Result<VerifyReport> {
    Ok(VerifyReport {})
}
