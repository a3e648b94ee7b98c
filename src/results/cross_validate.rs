//! Every fold held out once: what a recipe is worth, and how much chance there is in it.
//!
//! A held-out fold is scored once, after the last epoch of the run that did not see it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, TinyAstConfig, TrainConfig};
use crate::dataset::metadata::FeatureSettings;
use crate::dataset::processed::Dataset;
use crate::distributed::peers::{Alone, Peers};
use crate::error::{Error, Result};
use crate::files;
use crate::results::evaluate::evaluate_together;
use crate::results::metrics::Evaluation;
use crate::training::calibration::Calibration;
use crate::training::report::TrainingReport;
use crate::training::start;
use crate::training::train::train;

/// One training run and its score on the fold it did not see.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoldResult {
    /// The fold held out.
    pub fold: u32,
    /// The run's seed.
    pub seed: u64,
    /// Share of the fold's clips classified right, 0 to 1.
    pub accuracy: f64,
    /// Mean negative log probability of the right class, in nats.
    pub loss: f64,
    /// Seconds of training.
    pub training_s: f64,
    /// Every clip of the fold with its probabilities.
    pub evaluation: Evaluation,
    settings: Settings,
}

/// What a result was got with; those of another recipe or of other recordings do not stand in for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    /// [`Dataset::fingerprint`] of all clips; empty in results from before it was kept.
    #[serde(default)]
    data: String,
    /// What tells the weights that training started from; none where they were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    features: FeatureSettings,
    model: TinyAstConfig,
    train: TrainConfig,
}

/// The results of every fold and seed.
#[derive(Clone, Debug)]
pub struct CrossValidation {
    /// Seed by seed, and fold by fold within.
    pub results: Vec<FoldResult>,
}

/// The config of the run that holds out a fold; the run is named after both.
pub fn of_fold(config: &Config, fold: u32, seed: u64) -> Config {
    let run_name = format!("{}-fold{fold}-seed{seed}", config.train.run_name);
    let train = TrainConfig { run_name, test_fold: Some(fold), validate: false, seed, ..config.train.clone() };
    Config { train, ..config.clone() }
}

/// Where the result of a fold and seed is kept.
pub fn result_path(config: &Config, fold: u32, seed: u64) -> PathBuf {
    let name = format!("{}-{}.json", of_fold(config, fold, seed).train.run_name, config.data.name());
    config.data.models_dir.join(name)
}

/// Trains on all other folds and scores this one, unless that was done before with the very same settings and recordings.
///
/// # Errors
/// As [`train`] and [`evaluate_together`]; [`Error::Io`] when the result cannot be written.
pub fn fold_result(config: &Config, fold: u32, seed: u64) -> Result<FoldResult> {
    match known_result(config, fold, seed)? {
        Some(known) => Ok(known),
        None => score_fold(config, fold, seed, &train(&of_fold(config, fold, seed))?, &Alone),
    }
}

/// The result of a fold and seed, if it is there for the very same settings and recordings.
///
/// # Errors
/// As [`Dataset::open`].
pub fn known_result(config: &Config, fold: u32, seed: u64) -> Result<Option<FoldResult>> {
    let settings = Settings::of(&of_fold(config, fold, seed))?;
    Ok(read(&result_path(config, fold, seed)).filter(|known| known.settings == settings))
}

/// Scores the run that holds out this fold, which has ended, by all processes; the first one keeps the result.
///
/// # Errors
/// As [`evaluate_together`]; [`Error::Features`] when recordings, labels or folds have changed since it was trained; [`Error::Io`] when the result
/// cannot be written.
pub fn score_fold(
    config: &Config,
    fold: u32,
    seed: u64,
    report: &TrainingReport,
    peers: &dyn Peers,
) -> Result<FoldResult> {
    let run = of_fold(config, fold, seed);
    let training_s = report.history.last().map_or(0.0, |epoch| epoch.elapsed_s);
    let settings = Settings::of(&run)?;
    if settings.data != report.recordings {
        return Err(Error::Features {
            path: config.data.processed_dir.clone(),
            expected: format!("the recordings and folds that fold {fold} was held out of"),
            found: "others by now".into(),
        });
    }
    let evaluation = evaluate_together(&run, peers)?;
    let (accuracy, loss) = (evaluation.accuracy(), evaluation.mean_loss());
    let result = FoldResult { fold, seed, accuracy, loss, training_s, evaluation, settings };
    if peers.is_first() {
        files::write_bytes(&result_path(config, fold, seed), &serde_json::to_vec_pretty(&result).unwrap_or_default())?;
    }
    Ok(result)
}

impl Settings {
    fn of(run: &Config) -> Result<Self> {
        let dataset = Dataset::open(run)?;
        let data = dataset.fingerprint(0..dataset.clips.len());
        let (model, train) = (run.model.clone(), run.train.clone());
        Ok(Settings { data, start: start::fingerprint(train.start), features: dataset.settings, model, train })
    }
}

/// A result that was written whole, or nothing.
fn read(path: &Path) -> Option<FoldResult> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Every fold of the data set with every seed. What was computed before is not computed again.
///
/// # Errors
/// As [`train`] and [`evaluate_together`]; [`Error::Io`] when a result cannot be written; [`Error::Config`] without a seed.
pub fn cross_validate(config: &Config, seeds: &[u64]) -> Result<CrossValidation> {
    if seeds.is_empty() {
        return Err(Error::Config { field: "seeds", expected: "at least one".into(), found: "none".into() });
    }
    let folds = Dataset::open(config)?.folds();
    let mut results = Vec::new();
    for &seed in seeds {
        for &fold in &folds {
            results.push(fold_result(config, fold, seed)?);
            println!("seed {seed}, fold {fold}: {:.1} %", 100.0 * results[results.len() - 1].accuracy);
        }
    }
    Ok(CrossValidation { results })
}

/// A mean, and the deviation of single values from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The sample's standard deviation; 0 for a single value.
    pub std: f64,
}

impl Spread {
    /// Of some values; not a number for none.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread { mean, std: if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 } }
    }
}

impl fmt::Display for Spread {
    /// Shares as percent: `93.4 ± 1.2 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ± {:.1} %", 100.0 * self.mean, 100.0 * self.std)
    }
}

impl CrossValidation {
    /// Writes a line of JSON per run, every held-out clip with its probabilities in it: what all that is said of a recipe can be counted
    /// from again.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut lines = String::new();
        for result in &self.results {
            lines += &serde_json::to_string(result).map_err(|error| Error::io("write", path)(error.into()))?;
            lines.push('\n');
        }
        files::write_bytes(path, lines.as_bytes())
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Record`] with the line that is no run.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let run = |(i, line): (usize, &str)| {
            let broken =
                |error: serde_json::Error| Error::Record { path: path.into(), line: i + 1, found: error.to_string() };
            serde_json::from_str(line).map_err(broken)
        };
        Ok(CrossValidation { results: text.lines().enumerate().map(run).collect::<Result<_>>()? })
    }

    /// The seeds, in their order.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.results.iter().map(|result| result.seed).collect();
        seeds.dedup();
        seeds
    }

    /// How sure a network of this recipe may be that held out `fold`: from what the networks of all other folds said of recordings that they
    /// had not seen. `None` with fewer than two folds.
    pub fn calibration_without(&self, fold: u32) -> Option<Calibration> {
        let others = self.results.iter().filter(|result| result.fold != fold);
        let clips = others.flat_map(|result| &result.evaluation.clips);
        Calibration::fit(clips.map(|clip| (clip.probabilities.as_slice(), clip.actual)))
    }

    /// Every run with probabilities calibrated on the other folds, see [`calibration_without`](Self::calibration_without).
    pub fn calibrated(&self) -> Self {
        let mut calibrated = self.clone();
        for result in &mut calibrated.results {
            let calibration = self.calibration_without(result.fold);
            for clip in &mut result.evaluation.clips {
                calibration.iter().for_each(|calibration| calibration.apply(&mut clip.probabilities));
            }
            result.evaluation.calibration = calibration;
        }
        calibrated
    }

    /// The accuracies of a seed, fold by fold.
    pub fn accuracies(&self, seed: u64) -> Vec<(u32, f64)> {
        let of_seed = self.results.iter().filter(|result| result.seed == seed);
        of_seed.map(|result| (result.fold, result.accuracy)).collect()
    }

    /// Accuracy over the folds that satisfy `counts`: each fold's mean over the seeds, and their spread.
    pub fn over_folds(&self, counts: impl Fn(u32) -> bool) -> Spread {
        let mut folds: Vec<u32> = self.results.iter().map(|result| result.fold).filter(|fold| counts(*fold)).collect();
        folds.sort_unstable();
        folds.dedup();
        let mean_of = |fold: &u32| {
            let accuracies: Vec<f64> = self.of(|result| result.fold == *fold);
            Spread::of(&accuracies).mean
        };
        Spread::of(&folds.iter().map(mean_of).collect::<Vec<_>>())
    }

    /// Accuracy over the seeds: each seed's mean over the folds that satisfy `counts`, and their spread.
    pub fn over_seeds(&self, counts: impl Fn(u32) -> bool) -> Spread {
        let mean_of = |seed: &u64| Spread::of(&self.of(|result| result.seed == *seed && counts(result.fold))).mean;
        Spread::of(&self.seeds().iter().map(mean_of).collect::<Vec<_>>())
    }

    /// Seconds that training all folds took with a seed, one after another.
    pub fn training_s(&self, seed: u64) -> f64 {
        self.results.iter().filter(|result| result.seed == seed).map(|result| result.training_s).sum()
    }

    /// All held-out clips of a seed as one evaluation; `test_fold` is 0.
    pub fn pooled(&self, seed: u64) -> Option<Evaluation> {
        let of_seed: Vec<&FoldResult> = self.results.iter().filter(|result| result.seed == seed).collect();
        let labels = of_seed.first()?.evaluation.labels.clone();
        let clips = of_seed.iter().flat_map(|result| result.evaluation.clips.clone()).collect();
        Some(Evaluation { test_fold: 0, labels, clips, calibration: None })
    }

    fn of(&self, counts: impl Fn(&FoldResult) -> bool) -> Vec<f64> {
        self.results.iter().filter(|result| counts(result)).map(|result| result.accuracy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use crate::results::metrics::ScoredClip;

    fn result(fold: u32, seed: u64, accuracy: f64) -> FoldResult {
        let features = FeatureSettings::new(&Default::default(), &Default::default());
        let settings = Settings {
            data: String::new(),
            start: None,
            features,
            model: Preset::Good.model(),
            train: Preset::Good.train(),
        };
        let clips = vec![ScoredClip::new(format!("{fold}.wav"), 0, vec![0.9, 0.1])];
        let evaluation = Evaluation { test_fold: fold, labels: vec!["a".into(), "b".into()], clips, calibration: None };
        FoldResult { fold, seed, accuracy, loss: 0.1, training_s: 10.0, evaluation, settings }
    }

    #[test]
    fn means_and_spreads_agree_with_a_count_by_hand() {
        let results = vec![result(1, 0, 0.8), result(2, 0, 1.0), result(1, 1, 0.6), result(2, 1, 0.8)];
        let all = CrossValidation { results };
        let folds = all.over_folds(|_| true);
        assert!((folds.mean - 0.8).abs() < 1e-12 && (folds.std - 0.02f64.sqrt()).abs() < 1e-12, "0.7 and 0.9");
        let seeds = all.over_seeds(|_| true);
        assert!((seeds.mean - 0.8).abs() < 1e-12 && (seeds.std - 0.02f64.sqrt()).abs() < 1e-12, "0.9 and 0.7");
        assert_eq!(all.over_folds(|fold| fold == 2), Spread { mean: 0.9, std: 0.0 });
        assert_eq!(all.training_s(1), 20.0);
        assert_eq!(all.accuracies(1), [(1, 0.6), (2, 0.8)]);
        assert_eq!(all.pooled(0).unwrap().clips.len(), 2);
        assert_eq!(folds.to_string(), "80.0 ± 14.1 %");
    }

    #[test]
    fn a_fold_has_a_run_of_its_own_name() {
        let config = Config { train: Preset::Good.train(), ..Default::default() };
        let run = of_fold(&config, 3, 1);
        assert_eq!(
            (run.train.run_name.as_str(), run.train.test_fold, run.train.seed),
            ("good-fold3-seed1", Some(3), 1)
        );
    }
}
