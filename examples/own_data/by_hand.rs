//! The settings that the crate proposes beside settings by hand: the same network, the same number of epochs, every fold held out once.
//!
//! The last fold chooses among the settings by hand, and is not counted; on the others the chosen ones and the proposed ones are
//! scored once. A number of epochs in place of a budget of time, so that nothing depends on what else the machine does.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::config::{Config, DeviceChoice};
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, Evaluation, Interval, acquire, evaluate, preprocess, train};

use crate::jobs::{Job, run_all};
use crate::{HOME, Outcome, settings};

/// What the crate proposes.
const FITTED: &str = "fitted";
/// Bins of confidence of the expected calibration error.
const BINS: usize = 10;

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

/// Trains what is missing, and prints a row for every set named, or for all.
pub fn compare(names: &[&str]) -> Outcome {
    let chosen = |tries: &&Tries| names.is_empty() || names.contains(&tries.set);
    let mut rows = Vec::new();
    for tries in ALL.iter().filter(chosen) {
        rows.push(row(tries)?);
    }
    println!(
        "\n| set | epochs | by hand, and what the last fold says of it | clips | fitted | best by hand | ratio | fitted less by hand | calibration error of fitted (by chance) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// One of the runs that [`compare`] starts.
pub fn run(set: &str, recipe: &str, fold: u32) -> Outcome {
    tch::set_num_threads(1);
    tch::set_num_interop_threads(1);
    let tries = tries_of(set)?;
    if found(tries, recipe, fold)?.is_some() {
        return Ok(());
    }
    let config = of_fold(tries, recipe, fold)?;
    train(&config)?;
    let evaluation = evaluate(&config)?;
    let path = result_path(tries, recipe, fold);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(&path, serde_json::to_vec(&(made_with(&config)?, evaluation))?)?;
    // The next of the hundred needs the room.
    fs::remove_file(checkpoint_path(&config))?;
    Ok(())
}

fn tries_of(set: &str) -> Outcome<&'static Tries> {
    Ok(ALL.iter().find(|tries| tries.set == set).ok_or_else(|| format!("no set by hand is named {set}"))?)
}

fn result_path(tries: &Tries, recipe: &str, fold: u32) -> PathBuf {
    let name = format!("{}--{recipe}--{fold}--{}.json", tries.set, tries.epochs);
    Path::new(HOME).join("results/by-hand").join(name)
}

/// The settings of a run.
fn of_fold(tries: &Tries, recipe: &str, fold: u32) -> Outcome<Config> {
    let mut config = settings(tries.set, recipe, fold)?;
    (config.train.minutes, config.train.epochs) = (None, tries.epochs);
    config.train.device = DeviceChoice::Cpu;
    config.train.run_name = format!("by-hand-{}-fold{fold}-{}", config.train.run_name, tries.epochs);
    Ok(config)
}

/// What a result follows from.
fn made_with(config: &Config) -> Outcome<String> {
    Ok(serde_json::to_string(&(&config.clip, &config.features, &config.model, &config.train))?)
}

/// The result of a run, where there is one with the settings of today.
fn found(tries: &Tries, recipe: &str, fold: u32) -> Outcome<Option<Evaluation>> {
    let Ok(bytes) = fs::read(result_path(tries, recipe, fold)) else { return Ok(None) };
    let (made, evaluation): (String, Evaluation) = serde_json::from_slice(&bytes)?;
    Ok((made == made_with(&of_fold(tries, recipe, fold)?)?).then_some(evaluation))
}

fn result(tries: &Tries, recipe: &str, fold: u32) -> Outcome<Evaluation> {
    Ok(found(tries, recipe, fold)?.ok_or_else(|| format!("{recipe} without fold {fold} has no result"))?)
}

fn row(tries: &Tries) -> Outcome<String> {
    let recipes = || tries.by_hand.into_iter().chain([FITTED]);
    let mut folds = Vec::new();
    for recipe in recipes() {
        let config = settings(tries.set, recipe, 1)?;
        acquire(&config)?;
        println!("{} {recipe}: {}", tries.set, preprocess(&config)?);
        folds = Dataset::open(&config)?.folds();
    }
    let (choosing, scored) = folds.split_last().ok_or("a set without folds")?;
    let job = |recipe: &str, fold: u32| Job {
        name: format!("{} {recipe} fold {fold}", tries.set),
        arguments: ["by-hand-run", tries.set, recipe, &fold.to_string()].map(str::to_owned).to_vec(),
    };
    let logs = Path::new(HOME).join("models");
    run_all(&logs, tries.by_hand.map(|recipe| job(recipe, *choosing)))?;
    // The more of them right, and of equals the one that is surer of it.
    let mut told = Vec::new();
    for recipe in tries.by_hand {
        let result = result(tries, recipe, *choosing)?;
        told.push((recipe, result.accuracy(), result.mean_loss()));
    }
    let best = told.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.2.total_cmp(&a.2)));
    let best = best.ok_or("nothing by hand")?.0;
    run_all(&logs, scored.iter().flat_map(|fold| [job(FITTED, *fold), job(best, *fold)]))?;
    let of = |recipe: &str| scored.iter().map(|fold| result(tries, recipe, *fold)).collect::<Outcome<Vec<_>>>();
    let (fitted, by_hand) = (joined(of(FITTED)?)?, joined(of(best)?)?);
    let tried: Vec<String> =
        told.iter().map(|(recipe, right, _)| format!("{recipe}: {:.1} %", 100.0 * right)).collect();
    let (ratio, by, within) = beside(&fitted, &by_hand)?;
    let reliability = fitted.reliability(BINS);
    Ok(format!(
        "| {} | {} | {} | {} | {} | {best}: {} | {ratio:.3} | {:+.1} ({:+.1} to {:+.1}) | {:.3} ({:.3}) |",
        tries.set,
        tries.epochs,
        tried.join(", "),
        fitted.clips.len(),
        share(&fitted),
        share(&by_hand),
        100.0 * by,
        100.0 * within.low,
        100.0 * within.high,
        reliability.ece,
        reliability.ece_by_chance,
    ))
}

/// Several folds as one.
fn joined(folds: Vec<Evaluation>) -> Outcome<Evaluation> {
    let all = folds.into_iter().reduce(|mut all, more| {
        all.clips.extend(more.clips);
        all
    });
    Ok(all.ok_or("a set with one fold")?)
}

/// The share of right answers, with its interval.
fn share(evaluation: &Evaluation) -> String {
    let clips = evaluation.clips.iter();
    let interval =
        Interval::clustered(clips.map(|clip| (recording(&clip.filename), f64::from(u8::from(clip.is_right())))));
    format!("{:.1} % ({:.1} to {:.1})", 100.0 * evaluation.accuracy(), 100.0 * interval.low, 100.0 * interval.high)
}

/// One's accuracy over the other's, their difference, and its 95 % interval over recordings that both were scored on.
fn beside(one: &Evaluation, other: &Evaluation) -> Outcome<(f64, f64, Interval)> {
    let right = |evaluation: &Evaluation| -> std::collections::BTreeMap<String, f64> {
        evaluation.clips.iter().map(|clip| (clip.filename.clone(), f64::from(u8::from(clip.is_right())))).collect()
    };
    let (of_one, of_other) = (right(one), right(other));
    if !of_one.keys().eq(of_other.keys()) {
        return Err("two settings were scored on different clips".into());
    }
    let by = of_one.iter().zip(of_other.values()).map(|((name, one), other)| (recording(name), one - other));
    let within = Interval::clustered(by);
    Ok((one.accuracy() / other.accuracy(), one.accuracy() - other.accuracy(), within))
}

/// The recording that a clip was cut from where its name says so as ESC-50's do, fold-recording-take-class; else the clip.
fn recording(filename: &str) -> &str {
    let stem = filename.rsplit('/').next().unwrap_or(filename);
    match stem.split('-').collect::<Vec<_>>()[..] {
        [_, recording, _, _] => recording,
        _ => filename,
    }
}
