//! The held-out fold, scored once with the finished checkpoint.

use std::fmt;

use ndarray::Array2;

use crate::checkpoint::{self, Checkpoint};
use crate::config::Config;
use crate::dataset::Dataset;
use crate::model::probabilities;
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
        write!(f, "held-out fold {fold}: {right} of {total} clips right, {accuracy:.1} % (chance: {chance:.1} %)")
    }
}

/// Scores the checkpoint of the config's run on the held-out fold.
///
/// # Errors
/// [`Error::StageMissing`] before preprocessing or training; [`Error::Checkpoint`] when the checkpoint was trained for other
/// classes, on other spectrograms, or on the very fold that is to be held out.
pub fn evaluate(config: &Config) -> Result<Evaluation> {
    let path = checkpoint_path(config);
    let device = device::select(config.train.device)?;
    let dataset = Dataset::open(config)?;
    let Checkpoint { info, model, vs: _vs } = checkpoint::load(&path, device)?;
    let unfit = |expected: String, found: String| {
        let next = "Run the stage \"Train\" again with this config.".to_owned();
        Err(Error::Checkpoint { path: path.clone(), expected, found, next })
    };
    if info.labels != dataset.labels {
        return unfit(format!("the classes {:?}", dataset.labels), format!("{:?}", info.labels));
    }
    if info.settings != dataset.settings {
        return unfit(format!("spectrograms made with {:?}", dataset.settings), format!("{:?}", info.settings));
    }
    if info.train.test_fold != config.train.test_fold {
        let found = format!("fold {}, so fold {} was trained on", info.train.test_fold, config.train.test_fold);
        return unfit(format!("fold {} held out", config.train.test_fold), found);
    }
    let test = dataset.split(&config.train)?.test;
    let mut clips = Vec::with_capacity(test.len());
    for batch in test.chunks(BATCH_SIZE) {
        let (inputs, _) = input::load(&dataset, batch, info.model.input_size)?;
        let rows = Vec::<Vec<f32>>::try_from(probabilities(&model, &inputs.to_device(device)))
            .map_err(|source| Error::Torch { action: "reading probabilities", source })?;
        for (index, probabilities) in batch.iter().zip(rows) {
            let clip = &dataset.clips[*index];
            let predicted = most_probable(&probabilities);
            clips.push(ScoredClip { filename: clip.filename.clone(), actual: clip.target, predicted, probabilities });
        }
    }
    Ok(Evaluation { test_fold: config.train.test_fold, labels: dataset.labels, clips })
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
