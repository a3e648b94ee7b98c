//! Spectrograms as the network takes them: resized to a square, stacked into a batch.

use ndarray::ArrayView2;
use tch::{Kind, Tensor};

use crate::Result;
use crate::dataset::Dataset;

/// Resizes a spectrogram `(n_mels, n_frames)` to `(1, 1, size, size)`, bilinearly.
///
/// Where it shrinks, the triangle of the interpolation is as wide as the step between outputs (`antialias=True` in
/// PyTorch's `interpolate`), so that every frame counts.
pub fn resize(spectrogram: ArrayView2<f32>, size: usize) -> Tensor {
    let (n_mels, n_frames) = spectrogram.dim();
    let contiguous = spectrogram.as_standard_layout();
    let values = contiguous.as_slice().unwrap_or_default();
    let image = Tensor::from_slice(values).view([1, 1, n_mels as i64, n_frames as i64]);
    let size = size as i64;
    image.internal_upsample_bilinear2d_aa([size, size], false, None, None)
}

/// Reads clips of a data set as one batch: inputs `(n, 1, size, size)` and targets `(n)`.
///
/// # Errors
/// What [`Dataset::spectrogram`] reports for the first file that does not fit.
pub fn load(dataset: &Dataset, indices: &[usize], size: usize) -> Result<(Tensor, Tensor)> {
    let inputs = indices
        .iter()
        .map(|index| Ok(resize(dataset.spectrogram(*index)?.view(), size)))
        .collect::<Result<Vec<_>>>()?;
    let targets: Vec<i64> = indices.iter().map(|index| dataset.clips[*index].target as i64).collect();
    let inputs = match inputs.is_empty() {
        true => Tensor::zeros([0, 1, size as i64, size as i64], (Kind::Float, tch::Device::Cpu)),
        false => Tensor::cat(&inputs, 0),
    };
    Ok((inputs, Tensor::from_slice(&targets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_constant_stays_constant_and_a_short_sound_is_not_skipped() {
        let flat = resize(Array2::from_elem((64, 313), 0.5).view(), 64);
        assert_eq!(flat.size(), [1, 1, 64, 64]);
        assert!((flat - 0.5).abs().max().double_value(&[]) < 1e-6);
        for frame in 0..313 {
            let mut click = Array2::zeros((64, 313));
            click.column_mut(frame).fill(1.0);
            let total = resize(click.view(), 64).sum(Kind::Float).double_value(&[]);
            assert!(total > 1.0, "frame {frame} is lost: {total}");
        }
    }

    #[test]
    fn time_runs_along_the_last_axis() {
        let ramp = Array2::from_shape_fn((64, 313), |(_, frame)| frame as f32);
        let row = resize(ramp.view(), 64).select(2, 10).squeeze();
        let steps = row.narrow(0, 1, 63) - row.narrow(0, 0, 63);
        assert!(steps.min().double_value(&[]) > 0.0);
    }
}
