//! A spectrogram in another size, without libtorch.

use ndarray::{Array2, ArrayView2};

/// Resizes `(n_mels, n_frames)` bilinearly to another size, as `interpolate(mode="bilinear", antialias=True)` of PyTorch does: where it shrinks,
/// the triangle of the interpolation is as wide as the step between outputs.
pub fn resize(spectrogram: ArrayView2<f32>, (n_mels, n_frames): (usize, usize)) -> Array2<f32> {
    let columns = weights(spectrogram.ncols(), n_frames);
    let rows = weights(spectrogram.nrows(), n_mels);
    rows.dot(&spectrogram.dot(&columns.t()))
}

/// How much of each of `from` places is in each of `to`: `(to, from)`, every row of which adds up to 1.
fn weights(from: usize, to: usize) -> Array2<f32> {
    let step = from as f64 / to as f64;
    let reach = step.max(1.0);
    let mut weights = Array2::zeros((to, from));
    for (i, mut row) in weights.outer_iter_mut().enumerate() {
        let centre = step * (i as f64 + 0.5) - 0.5;
        for (place, weight) in row.iter_mut().enumerate() {
            *weight = (1.0 - (place as f64 - centre).abs() / reach).max(0.0) as f32;
        }
        let total = row.sum();
        row /= total;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up_and_the_same_size_changes_nothing() {
        for (from, to) in [(313, 64), (64, 64), (20, 313), (1, 8)] {
            assert!(weights(from, to).outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-6));
        }
        assert_eq!(weights(9, 9), Array2::<f32>::eye(9));
    }

    #[test]
    #[cfg(feature = "torch")]
    fn it_is_what_libtorch_makes_of_it() {
        for size in [(64, 64), (64, 96), (32, 400), (80, 313)] {
            let spectrogram =
                Array2::from_shape_fn((64, 313), |(mel, frame)| ((mel * 7 + frame * 13) % 17) as f32 / 16.0);
            let theirs = Vec::<f32>::try_from(crate::training::input::resize(spectrogram.view(), size).flatten(0, -1));
            let ours = resize(spectrogram.view(), size);
            let difference = |(a, b): (&f32, f32)| (a - b).abs();
            let largest = ours.iter().zip(theirs.unwrap()).map(difference).fold(0.0, f32::max);
            // It finds its places in 32 bits.
            assert!(largest < 2e-5, "{size:?}: {largest:e}");
        }
    }
}
