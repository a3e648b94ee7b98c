//! From a recording to a prediction by way of whatever runs the network: windows, their mean, calibration, standing.

use std::path::Path;

use crate::config::{ClipConfig, LongClips};
use crate::dataset::measure::loudest_dbfs;
use crate::dataset::preprocess::clips_of;
use crate::error::Result;
use crate::front_end::audio::Waveform;
use crate::front_end::features::{FeatureExtractor, Spectrogram};
use crate::results::predict::prediction::{Prediction, SILENCE_DBFS, Standing, Window};
use crate::training::described::CheckpointInfo;
use crate::training::reference::{Reference, UNLIKE};

/// Windows of a long recording run through the network at once.
const BATCH_SIZE: usize = 64;

/// What a network makes of one clip.
pub(super) struct Verdict {
    /// Of every class, as the mean over its views.
    pub probabilities: Vec<f32>,
    /// What says how familiar it is, and what the head sees of it, in the order of the runtime.
    pub seen: Vec<f32>,
}

/// What a network makes of a recording.
pub(super) struct Heard {
    /// Probability of every class as the mean over windows, calibrated.
    pub mean: Vec<f32>,
    /// The same of each window.
    pub timeline: Vec<Window>,
    /// [`Verdict::seen`] as the mean over windows.
    pub seen: Vec<f32>,
}

/// Cuts a recording into windows as long as a clip, shows some of them at a time to a network, and takes the mean of what it says.
///
/// # Errors
/// [`crate::Error::Signal`] for samples that are no sound, and what the network reports.
pub(super) fn hear(
    info: &CheckpointInfo,
    extractor: &mut FeatureExtractor,
    waveform: &Waveform,
    mut network: impl FnMut(&[Spectrogram]) -> Result<Vec<Verdict>>,
) -> Result<Heard> {
    let sample_rate = info.settings.features.sample_rate;
    let samples = extractor.resample_parallel(&waveform.samples, waveform.sample_rate)?;
    let windows_config = ClipConfig { long_clips: LongClips::Windows, ..info.settings.clip };
    let windows: Vec<_> = clips_of(&samples, sample_rate, &windows_config).collect();
    let n_windows = windows.len() as f32;
    let mut mean = vec![0.0; info.labels.len()];
    let mut seen: Vec<f32> = Vec::new();
    let mut timeline = Vec::with_capacity(windows.len());
    for batch in windows.chunks(BATCH_SIZE) {
        let spectrograms =
            batch.iter().map(|(_, window)| extractor.extract(window, sample_rate)).collect::<Result<Vec<_>>>()?;
        for ((start_s, samples), Verdict { probabilities, seen: of_window }) in
            batch.iter().zip(network(&spectrograms)?)
        {
            add(&mut mean, &probabilities, n_windows);
            seen.resize(of_window.len(), 0.0);
            add(&mut seen, &of_window, n_windows);
            let start_s = f64::from(*start_s);
            let end_s = start_s + samples.len() as f64 / f64::from(sample_rate);
            timeline.push(Window { start_s, end_s: end_s.min(waveform.duration_s()), probabilities });
        }
    }
    if let Some(calibration) = &info.calibration {
        calibration.apply(&mut mean);
        timeline.iter_mut().for_each(|window| calibration.apply(&mut window.probabilities));
    }
    Ok(Heard { mean, timeline, seen })
}

/// Adds one of `n` to their mean.
fn add(mean: &mut [f32], values: &[f32], n: f32) {
    mean.iter_mut().zip(values).for_each(|(mean, value)| *mean += value / n);
}

/// How a recording stands that lies as far as `familiar` says from what a network knows; it is not asked about silence.
pub(super) fn standing<'a>(
    waveform: &Waveform,
    familiar: impl FnOnce() -> Result<Option<(&'a Reference, f32)>>,
) -> Result<Standing> {
    if loudest_dbfs(waveform) <= SILENCE_DBFS {
        return Ok(Standing::Silent);
    }
    Ok(match familiar()? {
        None => Standing::Unknown,
        Some((reference, distance)) => {
            let share = reference.share_as_far(distance);
            if share <= UNLIKE { Standing::Unlike(share) } else { Standing::Like(share) }
        }
    })
}

impl Heard {
    /// The classes by their probability, with everything that goes by their order.
    pub(super) fn prediction(
        self,
        labels: &[String],
        standing: Standing,
        waveform: &Waveform,
        path: &Path,
    ) -> Prediction {
        let Heard { mean, mut timeline, .. } = self;
        let mut order: Vec<usize> = (0..mean.len()).collect();
        order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]));
        let ranked = order.iter().map(|&class| (labels[class].clone(), mean[class])).collect();
        for window in &mut timeline {
            window.probabilities = order.iter().map(|&class| window.probabilities[class]).collect();
        }
        let (duration_s, windows) = (waveform.duration_s(), timeline.len());
        Prediction { path: path.into(), duration_s, windows, ranked, timeline, standing }
    }
}
