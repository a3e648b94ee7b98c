//! How long and how loud recordings are.

use rayon::prelude::*;

use crate::dataset::catalog::Catalog;
use crate::front_end::audio;

/// The level of digital silence, in dBFS: that of a 24-bit recorder's least step, below which nothing is told apart.
pub const FLOOR_DBFS: f64 = -144.0;

/// The length and level of one recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Its length in seconds.
    pub duration_s: f64,
    /// Its root-mean-square level over that length, in dB relative to full scale; see [`rms_dbfs`].
    pub rms_dbfs: f64,
}

/// 10 log₁₀ of the mean square of samples in [−1, 1], at least [`FLOOR_DBFS`]. A square wave from −1 to 1 has 0 dBFS, a sine of the
/// same peak −3.
pub fn rms_dbfs(samples: &[f32]) -> f64 {
    let squares: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    (10.0 * (squares / samples.len().max(1) as f64).log10()).max(FLOOR_DBFS)
}

/// The level of every recording of a data set as it lies on disk, on all cores; `None` for one that cannot be read.
pub fn survey(catalog: &Catalog) -> Vec<Option<Level>> {
    let level = |clip| {
        let waveform = audio::read(&catalog.path(clip)).ok()?;
        Some(Level { duration_s: waveform.duration_s(), rms_dbfs: rms_dbfs(&waveform.samples) })
    };
    catalog.clips.par_iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_scale_square_wave_is_at_zero_a_sine_three_below_and_half_of_it_six_lower() {
        let square: Vec<f32> = (0..1000).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let sine = |peak: f32| -> Vec<f32> {
            (0..1000).map(|i| peak * (i as f32 * std::f32::consts::TAU / 100.0).sin()).collect()
        };
        for (samples, expected) in [(square, 0.0), (sine(1.0), -3.0103), (sine(0.5), -9.0309)] {
            assert!((rms_dbfs(&samples) - expected).abs() < 1e-3, "{}", rms_dbfs(&samples));
        }
    }

    #[test]
    fn silence_is_at_the_floor() {
        assert_eq!((rms_dbfs(&[0.0; 100]), rms_dbfs(&[])), (FLOOR_DBFS, FLOOR_DBFS));
    }
}
