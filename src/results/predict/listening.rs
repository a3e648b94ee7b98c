//! Where in a recording the network listens.

use ndarray::{Array2, ArrayView3};
use tch::{Kind, Tensor};

use super::classifier::Classifier;
use crate::config::{ClipConfig, LongClips, View};
use crate::dataset::preprocess::clips_of;
use crate::error::{Error, Result};
use crate::front_end::audio::Waveform;
use crate::front_end::features::FeatureConfig;
use crate::training::input;
use crate::training::views;

/// Where the network listens in the first clip of a recording, by attention rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Listening {
    /// The clip's log-mel spectrogram in dB relative to its maximum, `(n_mels, n_frames)`.
    pub levels: Array2<f32>,
    /// How much each place counts in the prediction, `(rows of tokens, n_frames)`, low bands first. 1 is an even share, and 0 what no
    /// window shows; the mean is 1.
    pub attention: Array2<f32>,
    /// The part of all attention that lies on the silence around the clip, where windows reach beyond it; 0 to 1.
    pub beyond: f64,
    /// How the spectrogram was made.
    pub features: FeatureConfig,
    /// The most probable class of the recording, and its probability.
    pub prediction: (String, f32),
}

impl Classifier {
    /// Where the network listens in the first clip of a recording.
    ///
    /// The attention of all windows that the clip is judged by, each counting the same, is put where they lie in the clip.
    ///
    /// # Errors
    /// As [`Classifier::probabilities`].
    pub fn listening(&mut self, waveform: &Waveform) -> Result<Listening> {
        let (probabilities, _) = self.probabilities(waveform)?;
        let info = &self.checkpoint.info;
        let features = info.settings.features.clone();
        let samples = self.extractor.resample_parallel(&waveform.samples, waveform.sample_rate)?;
        let first = ClipConfig { long_clips: LongClips::Crop, ..info.settings.clip };
        let samples = clips_of(&samples, features.sample_rate, &first).next().map(|(_, clip)| clip).unwrap_or_default();
        let spectrogram = self.extractor.extract(&samples, features.sample_rate)?;
        let inputs = input::of_clip(&spectrogram, &info.model, &features).to_device(self.device);
        let shares = self.checkpoint.model.listened_to(&inputs).to_kind(Kind::Float);

        let n_frames = spectrogram.values.ncols();
        let windows = match info.model.view {
            View::Whole => vec![(0, n_frames)],
            View::Windows { n_views } => {
                let length = info.model.input_size.1;
                let starts = views::spread_starts(spectrogram.power().view(), length, n_views);
                starts.into_iter().map(|start| (start as isize, length)).collect()
            }
        };
        let (n_windows, rows, columns) = shares.size3().unwrap_or_default();
        let shares = read(&shares, (n_windows as usize, rows as usize, columns as usize))?;
        let (attention, beyond) = lay_over(shares.view(), &windows, n_frames);
        let best = (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).unwrap_or(0);
        let (gain, shift) = (spectrogram.scale.std_db, spectrogram.scale.mean_db);
        Ok(Listening {
            levels: spectrogram.values.mapv(|value| value * gain + shift),
            attention,
            beyond,
            features,
            prediction: (info.labels[best].clone(), probabilities[best]),
        })
    }
}

impl Listening {
    /// The shares `(rows, columns)` of one window over the first frames of a clip: `window` is its first frame and how many it covers.
    pub(crate) fn of_window(
        levels: Array2<f32>,
        features: FeatureConfig,
        shares: &Tensor,
        window: (isize, usize),
        prediction: (String, f32),
    ) -> Result<Self> {
        let (rows, columns) = shares.size2().unwrap_or_default();
        let shares = read(&shares.unsqueeze(0), (1, rows as usize, columns as usize))?;
        let (attention, beyond) = lay_over(shares.view(), &[window], levels.ncols());
        Ok(Listening { levels, attention, beyond, features, prediction })
    }
}

fn read(shares: &Tensor, shape: (usize, usize, usize)) -> Result<ndarray::Array3<f32>> {
    let values = Vec::<f32>::try_from(shares.flatten(0, 2))
        .map_err(|source| Error::Torch { action: "reading attention", source })?;
    ndarray::Array3::from_shape_vec(shape, values)
        .map_err(|error| Error::Plot { picture: "attention", reason: error.to_string() })
}

/// The attention of windows, `(windows, rows, columns)`, whose shares each add up to 1, on a clip of `n_frames` frames:
/// `(rows, n_frames)`, of mean 1, and the part that lies beyond the clip. A window is its first frame and its length in frames.
fn lay_over(shares: ArrayView3<f32>, windows: &[(isize, usize)], n_frames: usize) -> (Array2<f32>, f64) {
    let (n_windows, rows, columns) = shares.dim();
    let mut attention = Array2::<f32>::zeros((rows, n_frames));
    for (shares, &(start, length)) in shares.outer_iter().zip(windows) {
        // A column's share is spread over its frames.
        let per_frame = columns as f32 / length as f32 / n_windows as f32;
        for (within, frame) in (start..).take(length).enumerate() {
            let Some(frame) = usize::try_from(frame).ok().filter(|&frame| frame < n_frames) else { continue };
            let column = within * columns / length;
            attention.column_mut(frame).scaled_add(per_frame, &shares.column(column));
        }
    }
    let total: f64 = attention.iter().map(|&share| f64::from(share)).sum();
    let even = total / attention.len().max(1) as f64;
    if even > 0.0 {
        attention.mapv_inplace(|share| (f64::from(share) / even) as f32);
    }
    (attention, (1.0 - total).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    #[test]
    fn attention_lies_where_its_window_does() {
        // Two columns over eight frames, the second window starting at frame 4 of 8: its second half is beyond the clip.
        let shares = Array3::from_shape_vec((2, 1, 2), vec![0.75, 0.25, 0.5, 0.5]).unwrap();
        let (attention, beyond) = lay_over(shares.view(), &[(0, 8), (4, 8)], 8);
        assert!((beyond - 0.25).abs() < 1e-6, "{beyond}");
        // Frames 0 to 3 hold 0.375 of all, frames 4 to 7 hold 0.125 + 0.25: the same.
        assert!(attention.iter().all(|value| (value - 1.0).abs() < 1e-6), "{attention}");
    }

    #[test]
    fn a_window_before_the_clip_counts_from_its_own_start() {
        let shares = Array3::from_shape_vec((1, 2, 2), vec![0.1, 0.2, 0.3, 0.4]).unwrap();
        let (attention, beyond) = lay_over(shares.view(), &[(-2, 4)], 3);
        assert!((beyond - 0.4).abs() < 1e-6, "{beyond}");
        let expected = array![[0.1, 0.1, 0.0], [0.2, 0.2, 0.0]] * (6.0 / 0.6);
        assert!((attention - expected).iter().all(|difference: &f32| difference.abs() < 1e-5));
    }

    #[test]
    fn the_whole_clip_as_one_window_has_nothing_beyond() {
        let shares = Array3::from_elem((1, 4, 8), 1.0 / 32.0);
        let (attention, beyond) = lay_over(shares.view(), &[(0, 313)], 313);
        assert!(beyond < 1e-4 && attention.dim() == (4, 313));
        assert!(attention.iter().all(|value| (value - 1.0).abs() < 1e-4));
    }
}
