//! What the fitted settings gain where the network starts from sounds made by formulas.
//!
//! The last fold is left out and not looked at. The fold before it is left out as well, and scored: this is a choice, and no choice is made on what
//! will be reported.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::config::{Config, DeviceChoice, Start};
use audio_transformer::internals::results::evaluate::evaluate_checkpoint;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, Evaluation, acquire, preprocess, train};

use crate::jobs::{Job, run_all};
use crate::scores::{beside, made_with, share};
use crate::{HOME, Outcome, settings};

/// Sets, and about the epochs that five minutes of two cores have for them; of the sets of a few minutes, a few times as many as for the larger.
const ALL: [(&str, usize); 6] =
    [("short", 150), ("mixed", 75), ("uneven", 90), ("quiet-rate", 75), ("long", 200), ("few", 180)];
const STARTS: [(&str, Start); 2] = [("fresh", Start::Fresh), ("formulas", Start::Formulas)];

/// Trains what is missing, and prints a row for every set named, or for all.
pub fn compare(names: &[&str]) -> Outcome {
    let chosen: Vec<_> = ALL.iter().filter(|(set, _)| names.is_empty() || names.contains(set)).collect();
    let mut jobs = Vec::new();
    for (set, epochs) in &chosen {
        let config = settings(set, "fitted", 1)?;
        acquire(&config)?;
        println!("{set}: {}", preprocess(&config)?);
        for (name, _) in STARTS {
            let arguments = ["starts-run", set, name, &epochs.to_string()].map(str::to_owned).to_vec();
            jobs.push(Job { name: format!("{set} {name}, {epochs} epochs"), arguments });
        }
    }
    run_all(&Path::new(HOME).join("models"), jobs)?;
    println!(
        "\n| set | epochs | clips | fresh | loss, nats | from formulas | loss, nats | more right |\n|---|---|---|---|---|---|---|---|"
    );
    for (set, epochs) in chosen {
        let [fresh, formulas] = STARTS.map(|(_, start)| found(&course(set, start, *epochs)?));
        let missing = || format!("{set} has no result");
        let (fresh, formulas) = (fresh?.ok_or_else(missing)?, formulas?.ok_or_else(missing)?);
        let (_, by, within) = beside(&formulas, &fresh)?;
        println!(
            "| {set} | {epochs} | {} | {} | {:.3} | {} | {:.3} | {:+.1} ({:+.1} to {:+.1}) |",
            fresh.clips.len(),
            share(&fresh),
            fresh.mean_loss(),
            share(&formulas),
            formulas.mean_loss(),
            100.0 * by,
            100.0 * within.low,
            100.0 * within.high,
        );
    }
    Ok(())
}

/// One of the runs that [`compare`] starts.
pub fn run(set: &str, start: &str, epochs: usize) -> Outcome {
    tch::set_num_threads(1);
    tch::set_num_interop_threads(1);
    let (_, start) = STARTS.into_iter().find(|(name, _)| *name == start).ok_or("fresh or formulas")?;
    let config = course(set, start, epochs)?;
    if found(&config)?.is_some() {
        return Ok(());
    }
    train(&config)?;
    let mut scored = config.clone();
    (scored.train.test_fold, scored.train.choice_fold) = (config.train.choice_fold, config.train.test_fold);
    let evaluation = evaluate_checkpoint(&scored, &checkpoint_path(&config))?;
    fs::write(path(&config), serde_json::to_vec(&(made_with(&config)?, evaluation))?)?;
    Ok(())
}

/// The fitted settings without the last fold and the one before it.
fn course(set: &str, start: Start, epochs: usize) -> Outcome<Config> {
    let mut config = settings(set, "fitted", 1)?;
    let folds = Dataset::open(&config)?.folds();
    let [.., scored, held_out] = folds[..] else { return Err("a set without folds".into()) };
    (config.train.test_fold, config.train.choice_fold) = (Some(held_out), Some(scored));
    (config.train.minutes, config.train.epochs, config.train.start) = (None, epochs, start);
    config.train.device = DeviceChoice::Cpu;
    config.train.run_name = format!("starts-{set}-{start:?}-{epochs}");
    Ok(config)
}

fn path(config: &Config) -> PathBuf {
    checkpoint_path(config).with_extension("starts.json")
}

/// The result of a run, where there is one with the settings of today.
fn found(config: &Config) -> Outcome<Option<Evaluation>> {
    let Ok(bytes) = fs::read(path(config)) else { return Ok(None) };
    let (made, evaluation): (String, Evaluation) = serde_json::from_slice(&bytes)?;
    Ok((made == made_with(config)?).then_some(evaluation))
}
