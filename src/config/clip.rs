//! The length every clip is brought to.

use serde::{Deserialize, Serialize};

use super::check::check;
use crate::error::Result;

/// What becomes of a recording longer than one clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LongClips {
    /// Its first `duration_s` seconds are used.
    #[default]
    Crop,
    /// It becomes several clips, one after the other, the last one aligned with its end.
    Windows,
}

/// The length every clip is brought to; shorter ones are padded with silence at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Seconds, 0.1 to 60.
    pub duration_s: f32,
    /// What becomes of longer recordings.
    pub long_clips: LongClips,
}

impl Default for ClipConfig {
    fn default() -> Self {
        ClipConfig { duration_s: 5.0, long_clips: LongClips::Crop }
    }
}

impl ClipConfig {
    /// Checks the length.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] when it is out of range.
    pub fn validate(&self) -> Result<()> {
        check("clip.duration_s", (0.1..=60.0).contains(&self.duration_s), "0.1 to 60 seconds", self.duration_s)
    }

    /// The length of a clip in samples.
    pub fn n_samples(&self, sample_rate: u32) -> usize {
        (f64::from(self.duration_s) * f64::from(sample_rate)).round() as usize
    }
}
