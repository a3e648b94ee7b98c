//! Spectrograms as tensors of the network's size, one clip or a whole set.

use ndarray::ArrayView2;
use tch::{Kind, Tensor};

use crate::config::{TinyAstConfig, View};
use crate::dataset::stored::Stored;
use crate::error::Result;
use crate::front_end::features::{FeatureConfig, Spectrogram};
use crate::training::views;

/// Resizes a spectrogram `(n_mels, n_frames)` to `(1, 1, input_size.0, input_size.1)`.
pub fn resize(spectrogram: ArrayView2<f32>, input_size: (usize, usize)) -> Tensor {
    let (n_mels, n_frames) = spectrogram.dim();
    let contiguous = spectrogram.as_standard_layout();
    let values = contiguous.as_slice().unwrap_or_default();
    resize_batch(&Tensor::from_slice(values).view([1, 1, n_mels as i64, n_frames as i64]), input_size)
}

/// Resizes spectrograms `(batch, 1, n_mels, n_frames)` bilinearly.
///
/// Where it shrinks, the triangle of the interpolation is as wide as the step between outputs (`antialias=True` in
/// PyTorch's `interpolate`), so that every frame counts.
pub fn resize_batch(spectrograms: &Tensor, (n_mels, n_frames): (usize, usize)) -> Tensor {
    spectrograms.internal_upsample_bilinear2d_aa([n_mels as i64, n_frames as i64], false, None, None)
}

/// A clip as the network takes it: `(n_views, 1, n_mels, n_frames)`.
pub fn of_clip(spectrogram: &Spectrogram, model: &TinyAstConfig, features: &FeatureConfig) -> Tensor {
    let (n_mels, n_frames) = model.input_size;
    match model.view {
        View::Whole => resize(spectrogram.values.view(), model.input_size),
        View::Windows { n_views } => {
            let mut windows = Vec::with_capacity(n_views * n_mels * n_frames);
            for mut window in views::spread(spectrogram.power().view(), n_frames, n_views) {
                views::to_input(&mut window, features);
                windows.extend(window);
            }
            Tensor::from_slice(&windows).view([n_views as i64, 1, n_mels as i64, n_frames as i64])
        }
    }
}

/// Reads clips: inputs `(clips · n_views, 1, n_mels, n_frames)`, clip after clip.
///
/// # Errors
/// What [`Stored::read`] reports for the first file that does not fit.
pub fn load(clips: &[Stored], model: &TinyAstConfig, features: &FeatureConfig) -> Result<Tensor> {
    let of_clip = |clip: &Stored| Ok(of_clip(&clip.read()?, model, features));
    let inputs = clips.iter().map(of_clip).collect::<Result<Vec<_>>>()?;
    let (n_mels, n_frames) = model.input_size;
    Ok(match inputs.is_empty() {
        true => Tensor::zeros([0, 1, n_mels as i64, n_frames as i64], (Kind::Float, tch::Device::Cpu)),
        false => Tensor::cat(&inputs, 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front_end::features::normalize;
    use ndarray::Array2;

    #[test]
    fn a_constant_stays_constant_and_a_short_sound_is_not_skipped() {
        let flat = resize(Array2::from_elem((64, 313), 0.5).view(), (64, 64));
        assert_eq!(flat.size(), [1, 1, 64, 64]);
        assert!((flat - 0.5).abs().max().double_value(&[]) < 1e-6);
        for frame in 0..313 {
            let mut click = Array2::zeros((64, 313));
            click.column_mut(frame).fill(1.0);
            let total = resize(click.view(), (64, 64)).sum(Kind::Float).double_value(&[]);
            assert!(total > 1.0, "frame {frame} is lost: {total}");
        }
    }

    #[test]
    fn time_runs_along_the_last_axis() {
        let ramp = Array2::from_shape_fn((64, 313), |(_, frame)| frame as f32);
        let row = resize(ramp.view(), (64, 64)).select(2, 10).squeeze();
        let steps = row.narrow(0, 1, 63) - row.narrow(0, 0, 63);
        assert!(steps.min().double_value(&[]) > 0.0);
    }

    #[test]
    fn a_window_as_long_as_the_clip_is_the_stored_spectrogram() {
        let mut values = Array2::from_shape_fn((64, 313), |(mel, frame)| -(((mel * 7 + frame * 13) % 80) as f32));
        let scale = normalize(&mut values);
        let spectrogram = Spectrogram { values, scale };
        let model = TinyAstConfig { input_size: (64, 313), view: View::Windows { n_views: 1 }, ..Default::default() };
        let window = of_clip(&spectrogram, &model, &FeatureConfig::default());
        let stored = Tensor::from_slice(spectrogram.values.as_slice().unwrap()).view([1, 1, 64, 313]);
        assert!((window - stored).abs().max().double_value(&[]) < 1e-4);
    }
}
