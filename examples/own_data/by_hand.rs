//! The settings that the crate proposes beside settings by hand: the same network, the same number of epochs, every fold held out once.
//!
//! The last fold chooses among the settings by hand, and is not counted; on the others the chosen ones and the proposed ones are
//! scored once. A number of epochs in place of a budget of time, so that nothing depends on what else the machine does.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::config::{Config, DeviceChoice};
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, Evaluation, acquire, evaluate, preprocess, train};

use crate::jobs::{Job, run_all};
use crate::scores::{beside, made_with, share};
use crate::{HOME, Outcome, settings};

/// What the crate proposes.
const FITTED: &str = "fitted";
/// Bins of confidence of the expected calibration error.
const BINS: usize = 10;
/// Up to this part more steps in an epoch count as equally many.
const AS_MANY: usize = 5;

/// A set, the epochs that all of its runs get, and what a person might try: seconds, hop, n_fft, frames.
struct Tries {
    set: &'static str,
    epochs: usize,
    by_hand: [&'static str; 3],
}

const ALL: [Tries; 7] = [
    Tries { set: "short", epochs: 100, by_hand: ["0.4,40,512,160", "0.4,80,1024,80", "0.5,64,1024,128"] },
    Tries { set: "mixed", epochs: 60, by_hand: ["5,256,1024,320", "2,128,1024,256", "1,64,1024,256"] },
    Tries { set: "whole", epochs: 60, by_hand: ["5,160,1024,320", "5,256,1024,320", "2,128,1024,256"] },
    Tries { set: "uneven", epochs: 60, by_hand: ["5,160,1024,320", "5,256,1024,320", "2,128,1024,256"] },
    Tries { set: "quiet-rate", epochs: 60, by_hand: ["5,256,1024,320", "5,160,1024,320", "2,128,512,256"] },
    Tries { set: "long", epochs: 100, by_hand: ["30,256,1024,320", "5,256,1024,320", "10,512,1024,320"] },
    Tries { set: "few", epochs: 100, by_hand: ["5,160,1024,320", "5,256,1024,320", "2,128,1024,256"] },
];

/// Trains what is missing, and prints a row for every set named, or for all; a second one where by hand recordings are cut into more clips, so
/// that an epoch has more steps: there the proposed settings get as many.
pub fn compare(names: &[&str]) -> Outcome {
    let chosen = |tries: &&Tries| names.is_empty() || names.contains(&tries.set);
    let mut table = Vec::new();
    for tries in ALL.iter().filter(chosen) {
        table.extend(rows(tries)?);
    }
    println!(
        "\n| set | epochs | by hand, and what the last fold says of it | clips | fitted | best by hand | ratio | fitted less by hand | calibration error of fitted (by chance) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    table.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// One of the runs that [`compare`] starts.
pub fn run(set: &str, recipe: &str, fold: u32, epochs: usize) -> Outcome {
    tch::set_num_threads(1);
    tch::set_num_interop_threads(1);
    let course = Course { set, epochs };
    if course.found(recipe, fold)?.is_some() {
        return Ok(());
    }
    let config = course.config(recipe, fold)?;
    train(&config)?;
    let evaluation = evaluate(&config)?;
    let path = course.path(recipe, fold);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(&path, serde_json::to_vec(&(made_with(&config)?, evaluation))?)?;
    // The next of the hundred needs the room.
    fs::remove_file(checkpoint_path(&config))?;
    Ok(())
}

/// Runs on a set of so many epochs.
#[derive(Clone, Copy)]
struct Course<'a> {
    set: &'a str,
    epochs: usize,
}

impl Course<'_> {
    fn path(self, recipe: &str, fold: u32) -> PathBuf {
        let name = format!("{}--{recipe}--{fold}--{}.json", self.set, self.epochs);
        Path::new(HOME).join("results/by-hand").join(name)
    }

    /// The settings of a run.
    fn config(self, recipe: &str, fold: u32) -> Outcome<Config> {
        let mut config = settings(self.set, recipe, fold)?;
        (config.train.minutes, config.train.epochs) = (None, self.epochs);
        config.train.device = DeviceChoice::Cpu;
        config.train.run_name = format!("by-hand-{}-fold{fold}-{}", config.train.run_name, self.epochs);
        Ok(config)
    }

    /// The result of a run, where there is one with the settings of today.
    fn found(self, recipe: &str, fold: u32) -> Outcome<Option<Evaluation>> {
        let Ok(bytes) = fs::read(self.path(recipe, fold)) else { return Ok(None) };
        let (made, evaluation): (String, Evaluation) = serde_json::from_slice(&bytes)?;
        Ok((made == made_with(&self.config(recipe, fold)?)?).then_some(evaluation))
    }

    fn result(self, recipe: &str, fold: u32) -> Outcome<Evaluation> {
        Ok(self.found(recipe, fold)?.ok_or_else(|| format!("{recipe} without fold {fold} has no result"))?)
    }

    /// Several folds as one.
    fn joined(self, recipe: &str, folds: &[u32]) -> Outcome<Evaluation> {
        let folds = folds.iter().map(|fold| self.result(recipe, *fold)).collect::<Outcome<Vec<_>>>()?;
        let all = folds.into_iter().reduce(|mut all, more| {
            all.clips.extend(more.clips);
            all
        });
        Ok(all.ok_or("a set with one fold")?)
    }

    fn job(self, recipe: &str, fold: u32) -> Job {
        let Course { set, epochs } = self;
        Job {
            name: format!("{set} {recipe} fold {fold}, {epochs} epochs"),
            arguments: ["by-hand-run", set, recipe, &fold.to_string(), &epochs.to_string()].map(str::to_owned).to_vec(),
        }
    }

    /// Clips that are trained on where a fold is held out.
    fn n_trained_on(self, recipe: &str, fold: u32) -> Outcome<usize> {
        let config = self.config(recipe, fold)?;
        Ok(Dataset::open(&config)?.split(&config.train)?.train.len())
    }
}

fn rows(tries: &Tries) -> Outcome<Vec<String>> {
    let course = Course { set: tries.set, epochs: tries.epochs };
    let mut folds = Vec::new();
    for recipe in tries.by_hand.into_iter().chain([FITTED]) {
        let config = settings(tries.set, recipe, 1)?;
        acquire(&config)?;
        println!("{} {recipe}: {}", tries.set, preprocess(&config)?);
        folds = Dataset::open(&config)?.folds();
    }
    let (choosing, scored) = folds.split_last().ok_or("a set without folds")?;
    let logs = Path::new(HOME).join("models");
    run_all(&logs, tries.by_hand.map(|recipe| course.job(recipe, *choosing)))?;
    // The more of them right, and of equals the one that is surer of it.
    let mut told = Vec::new();
    for recipe in tries.by_hand {
        let result = course.result(recipe, *choosing)?;
        told.push((recipe, result.accuracy(), result.mean_loss()));
    }
    let best = told.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)));
    let best = best.ok_or("nothing by hand")?.0;
    run_all(&logs, scored.iter().flat_map(|fold| [course.job(FITTED, *fold), course.job(best, *fold)]))?;
    let tried = told.iter().map(|(recipe, right, _)| format!("{recipe}: {:.1} %", 100.0 * right));
    let tried = tried.collect::<Vec<_>>().join(", ");
    let by_hand = course.joined(best, scored)?;
    let mut rows = vec![row(course, &tried, &course.joined(FITTED, scored)?, (best, &by_hand))?];

    let of = |recipe: &str| course.n_trained_on(recipe, scored[0]);
    let epochs = (tries.epochs as f64 * of(best)? as f64 / of(FITTED)? as f64).round() as usize;
    if epochs > tries.epochs + tries.epochs / AS_MANY {
        let longer = Course { epochs, ..course };
        run_all(&logs, scored.iter().map(|fold| longer.job(FITTED, *fold)))?;
        let tried = format!("fitted for as many steps as by hand in {} epochs", tries.epochs);
        rows.push(row(longer, &tried, &longer.joined(FITTED, scored)?, (best, &by_hand))?);
    }
    Ok(rows)
}

fn row(course: Course, tried: &str, fitted: &Evaluation, (best, by_hand): (&str, &Evaluation)) -> Outcome<String> {
    let (ratio, by, within) = beside(fitted, by_hand)?;
    let reliability = fitted.reliability(BINS);
    Ok(format!(
        "| {} | {} | {tried} | {} | {} | {best}: {} | {ratio:.3} | {:+.1} ({:+.1} to {:+.1}) | {:.3} ({:.3}) |",
        course.set,
        course.epochs,
        fitted.clips.len(),
        share(fitted),
        share(by_hand),
        100.0 * by,
        100.0 * within.low,
        100.0 * within.high,
        reliability.ece,
        reliability.ece_by_chance,
    ))
}
