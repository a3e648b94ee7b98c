//! The held-out fold, scored once with the finished checkpoint.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use ndarray::Array2;

use crate::checkpoint::{self, Checkpoint, CheckpointInfo};
use crate::config::Config;
use crate::dataset::{Dataset, Split};
use crate::train::checkpoint_path;
use crate::{Error, Result, device, input};

/// Clips run through the network at once.
const BATCH_SIZE: usize = 64;

/// One clip of the held-out fold.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredClip {
    /// The recording.
    pub filename: String,
    /// Its class, from 0.
    pub actual: usize,
    /// The most probable class.
    pub predicted: usize,
    /// Probability of every class, in the order of the labels.
    pub probabilities: Vec<f32>,
}

impl ScoredClip {
    /// Whether the most probable class is the right one.
    pub fn is_right(&self) -> bool {
        self.actual == self.predicted
    }
}

/// How well a checkpoint does on the fold it never saw.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The fold.
    pub test_fold: u32,
    /// Class names in the order of their targets.
    pub labels: Vec<String>,
    /// Every clip of the fold.
    pub clips: Vec<ScoredClip>,
}

impl Evaluation {
    /// Share of the fold's clips classified right, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.clips.iter().filter(|clip| clip.is_right()).count() as f64 / self.clips.len().max(1) as f64
    }

    /// The accuracy of always naming the fold's most frequent class, 0 to 1.
    pub fn chance(&self) -> f64 {
        let mut counts = vec![0usize; self.labels.len()];
        for clip in &self.clips {
            counts[clip.actual] += 1;
        }
        counts.into_iter().max().unwrap_or(0) as f64 / self.clips.len().max(1) as f64
    }

    /// Counts of clips, `(num_classes, num_classes)`: rows are actual, columns predicted classes.
    pub fn confusion(&self) -> Array2<u32> {
        let mut counts = Array2::zeros((self.labels.len(), self.labels.len()));
        for clip in &self.clips {
            counts[(clip.actual, clip.predicted)] += 1;
        }
        counts
    }

    /// Share of each class's clips classified right, 0 to 1; `None` for a class without a clip in the fold.
    pub fn recall(&self) -> Vec<Option<f64>> {
        let confusion = self.confusion();
        let recall = |class: usize| {
            let total = confusion.row(class).sum();
            (total > 0).then(|| f64::from(confusion[(class, class)]) / f64::from(total))
        };
        (0..self.labels.len()).map(recall).collect()
    }

    /// `n` clips to show, as many classes as possible among them, in table order within a class.
    pub fn examples(&self, n: usize) -> Vec<&ScoredClip> {
        let mut seen = vec![0usize; self.labels.len()];
        let mut ranked: Vec<(usize, usize, &ScoredClip)> = Vec::new();
        for clip in &self.clips {
            ranked.push((seen[clip.actual], clip.actual, clip));
            seen[clip.actual] += 1;
        }
        ranked.sort_by_key(|(rank, target, _)| (*rank, *target));
        ranked.into_iter().take(n).map(|(.., clip)| clip).collect()
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = self.clips.iter().filter(|clip| clip.is_right()).count();
        let (accuracy, chance) = (100.0 * self.accuracy(), 100.0 * self.chance());
        let (fold, total) = (self.test_fold, self.clips.len());
        write!(
            f,
            "held-out fold {fold}: {right} of {total} clips right, {accuracy:.1} % (always naming one class: {chance:.1} %)"
        )
    }
}

/// Scores the checkpoint of the config's run on the held-out fold. A recording of several windows counts once, by the mean
/// of its windows' probabilities.
///
/// # Errors
/// [`Error::StageMissing`] before preprocessing or training; [`Error::Checkpoint`] when the checkpoint was trained for other
/// classes, on other spectrograms, or on recordings of the fold that is to be held out.
pub fn evaluate(config: &Config) -> Result<Evaluation> {
    let path = checkpoint_path(config);
    let device = device::select(config.train.device)?;
    let dataset = Dataset::open(config)?;
    let Checkpoint { info, model, vs: _vs } = checkpoint::load(&path, device)?;
    let split = dataset.split(&config.train)?;
    check_fit(&path, &info, &dataset, &split)?;

    let mut clips: Vec<ScoredClip> = Vec::new();
    let mut n_windows: Vec<usize> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for batch in split.test.chunks(BATCH_SIZE) {
        let (inputs, _) = input::load(&dataset, batch, &info.model)?;
        let rows = Vec::<Vec<f32>>::try_from(input::verdicts(&model, &inputs.to_device(device)))
            .map_err(|source| Error::Torch { action: "reading probabilities", source })?;
        for (index, probabilities) in batch.iter().zip(rows) {
            let clip = &dataset.clips[*index];
            let place = *places.entry(&clip.filename).or_insert(clips.len());
            if place == clips.len() {
                let (filename, actual) = (clip.filename.clone(), clip.target);
                clips.push(ScoredClip { filename, actual, predicted: 0, probabilities });
                n_windows.push(1);
            } else {
                n_windows[place] += 1;
                clips[place].probabilities.iter_mut().zip(probabilities).for_each(|(sum, more)| *sum += more);
            }
        }
    }
    for (clip, n_windows) in clips.iter_mut().zip(n_windows) {
        clip.probabilities.iter_mut().for_each(|sum| *sum /= n_windows as f32);
        clip.predicted = most_probable(&clip.probabilities);
    }
    Ok(Evaluation { test_fold: split.test_fold, labels: dataset.labels, clips })
}

/// Refuses a checkpoint whose score on this data would not mean what it says.
fn check_fit(path: &Path, info: &CheckpointInfo, dataset: &Dataset, split: &Split) -> Result<()> {
    let unfit = |expected: String, found: String| {
        let next = "Run the stage \"Train\" again with this config.".to_owned();
        Err(Error::Checkpoint { path: path.into(), expected, found, next })
    };
    if info.labels != dataset.labels {
        return unfit(format!("the classes {:?}", dataset.labels), format!("{:?}", info.labels));
    }
    if info.settings != dataset.settings {
        let (expected, found) = dataset.settings.differences(&info.settings);
        return unfit(expected, found);
    }
    if info.dataset != dataset.name {
        return unfit(format!("a network trained on {}", dataset.name), format!("one trained on {}", info.dataset));
    }
    let seen = |index: &&usize| info.seen_sources.binary_search(&dataset.clips[**index].source).is_ok();
    match split.test.iter().filter(seen).count() {
        0 => Ok(()),
        n_seen => unfit(format!("fold {} held out", split.test_fold), format!("{n_seen} of its clips trained on")),
    }
}

fn most_probable(probabilities: &[f32]) -> usize {
    let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation() -> Evaluation {
        let clip = |actual: usize, predicted: usize| ScoredClip {
            filename: format!("{actual}-{predicted}.wav"),
            actual,
            predicted,
            probabilities: vec![],
        };
        let labels = ["a", "b", "c"].map(String::from).to_vec();
        Evaluation { test_fold: 5, labels, clips: vec![clip(0, 0), clip(0, 1), clip(0, 0), clip(1, 1)] }
    }

    #[test]
    fn accuracy_confusion_and_recall_agree_with_a_count_by_hand() {
        let evaluation = evaluation();
        assert_eq!(evaluation.accuracy(), 0.75);
        assert_eq!(evaluation.chance(), 0.75);
        assert_eq!(evaluation.confusion(), ndarray::array![[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!(evaluation.recall(), [Some(2.0 / 3.0), Some(1.0), None]);
    }

    #[test]
    fn examples_show_every_class_before_any_class_twice() {
        let evaluation = evaluation();
        let actual: Vec<usize> = evaluation.examples(3).iter().map(|clip| clip.actual).collect();
        assert_eq!(actual, [0, 1, 0]);
    }
}
