//! What networks said that left two folds out, kept beside the project: five runs of a recipe and a seed are a file of five lines.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::Dataset;
use audio_transformer::config::{Config, DataSource, TinyAstConfig, TrainConfig};
use audio_transformer::internals::files;
use audio_transformer::internals::results::metrics::ScoredClip;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::internals::training::start;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::Outcome;

/// Of ESC-10; runs on other data stay with their networks.
const RECORD: &str = "data/inner-folds";

/// A run that left two folds out, and what it made of them.
#[derive(Clone, Serialize, Deserialize)]
pub struct InnerRun {
    model: TinyAstConfig,
    train: TrainConfig,
    /// Tells recordings, folds and how they were heard from others.
    data: String,
    /// Seconds of one thread, on a machine that may have done other work.
    pub training_s: f64,
    /// Of the held-out fold, and of the other.
    said: [Vec<Said>; 2],
}

/// What a network said of a clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    clip: String,
    actual: usize,
    /// Natural logarithms of the probabilities of all classes, in thousandths.
    ln_e3: Vec<i32>,
}

impl Said {
    /// Rounded: a loss stays within 0.0005 nats.
    pub fn of(clip: &ScoredClip) -> Self {
        let rounded = |&probability: &f32| (1e3 * f64::from(probability.max(f32::MIN_POSITIVE)).ln()).round() as i32;
        let ln_e3 = clip.probabilities.iter().map(rounded).collect();
        Said { clip: clip.filename.clone(), actual: clip.actual, ln_e3 }
    }

    fn scored(&self) -> ScoredClip {
        let probabilities = self.ln_e3.iter().map(|&ln| (f64::from(ln) / 1e3).exp() as f32).collect();
        ScoredClip::new(self.clip.clone(), self.actual, probabilities)
    }
}

impl InnerRun {
    /// Clips of the held-out fold (0), or of the other (1).
    pub fn scored(&self, place: usize) -> Vec<ScoredClip> {
        self.said[place].iter().map(Said::scored).collect()
    }
}

/// The run, if it was done with the very same settings and recordings, today or on another day.
pub fn find(config: &Config) -> Outcome<Option<InnerRun>> {
    let data = of_data(config)?;
    let is_it = |run: &InnerRun| run.model == config.model && run.train == config.train && run.data == data;
    let mut places = vec![path_of_run(config)];
    if let Ok(folder) = fs::read_dir(RECORD) {
        places.extend(folder.flatten().map(|file| file.path()));
    }
    for place in places {
        let Ok(lines) = fs::read_to_string(&place) else { continue };
        for line in lines.lines() {
            // Runs with settings that this version does not know are others.
            if let Some(run) = serde_json::from_str(line).ok().filter(is_it) {
                return Ok(Some(run));
            }
        }
    }
    Ok(None)
}

/// Puts a run beside its network.
pub fn put(config: &Config, training_s: f64, said: [Vec<Said>; 2]) -> Outcome {
    let (model, train, data) = (config.model.clone(), config.train.clone(), of_data(config)?);
    let run = InnerRun { model, train, data, training_s, said };
    files::write_bytes(&path_of_run(config), &serde_json::to_vec(&run)?)?;
    Ok(())
}

/// Puts all runs of a recipe and a seed into the record.
pub fn keep(recipe: &Config, seed: u64, runs: &[InnerRun]) -> Outcome {
    if recipe.data.source != DataSource::Esc10 {
        return Ok(());
    }
    let path = Path::new(RECORD).join(format!("{}-seed{seed}.jsonl", recipe.train.run_name));
    let mut lines = String::new();
    for run in runs {
        lines += &serde_json::to_string(run)?;
        lines.push('\n');
    }
    if fs::read_to_string(&path).is_ok_and(|before| before == lines) {
        return Ok(());
    }
    fs::create_dir_all(RECORD)?;
    files::write_bytes(&path, lines.as_bytes())?;
    Ok(())
}

fn path_of_run(config: &Config) -> PathBuf {
    checkpoint_path(config).with_extension("inner.json")
}

fn of_data(config: &Config) -> Outcome<String> {
    let clips = Dataset::open(config)?.clips;
    let names: Vec<_> = clips.iter().map(|clip| (clip.filename.to_string(), clip.fold)).collect();
    let mut told = serde_json::to_vec(&(names, &config.clip, &config.features))?;
    // Weights to start from that are made anew make another run.
    told.extend(start::fingerprint(config.train.start).unwrap_or_default().bytes());
    Ok(format!("{:016x}", xxh3_64(&told)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_comes_back_from_the_record_within_its_rounding() {
        let clip = ScoredClip::new("1-r-A-0".into(), 1, vec![1e-4, 0.7, 0.2999, 0.0]);
        let text = serde_json::to_string(&Said::of(&clip)).unwrap();
        let back = serde_json::from_str::<Said>(&text).unwrap().scored();
        assert_eq!((&back.filename, back.actual, back.predicted), (&clip.filename, 1, 1));
        assert!((back.loss() - clip.loss()).abs() < 5.1e-4);
        for (now, before) in back.probabilities.iter().zip(&clip.probabilities) {
            assert!((now - before).abs() < 5.1e-4 * before + 1e-12, "{now} {before}");
        }
    }
}
