//! Accuracy over training time: recipes with few epochs and with many, every fold held out once.
//!
//! What networks said stands in the record beside the project, so that the curve can be counted again without training them.

use std::fs;
use std::path::Path;

use audio_transformer::config::DataSource;
use audio_transformer::internals::results::cross_validate::CrossValidation;
use audio_transformer::{RELEASED, release};

use crate::recipes::{good, recipe};
use crate::tables::{averaged, interval, is_unseen_by_choices};
use crate::{Outcome, SEEDS, prepare, results};

/// Of ESC-10; runs on other data stay with their networks.
const RECORD: &str = "data/curve";
/// Threads that the time of a row is told for.
const CORES: f64 = 2.0;

/// Trains what is missing of the recipes named, `NAME:EPOCHS`, and prints a row for each that has all its runs, the preset's own among them.
pub fn curve(names: &[&str]) -> Outcome {
    for name in names {
        let config = recipe(name)?;
        prepare(&config)?;
        let all = results(&config, Some(name), &SEEDS)?;
        if config.data.source == DataSource::Esc10 {
            all.save(&Path::new(RECORD).join(format!("{}.jsonl", name.replace(':', "-"))))?;
        }
    }
    println!(
        "\n| recipe, epochs | five folds on two cores, minutes | seeds {SEEDS:?} | all five folds | folds 1 to 4 | both seeds averaged | calibration error, calibrated |\n|---|---|---|---|---|---|---|"
    );
    for (name, all) in recorded()? {
        println!("{}", row(&name, &all));
    }
    Ok(())
}

/// The records by name, the quickest first.
fn recorded() -> Outcome<Vec<(String, CrossValidation)>> {
    let released = CrossValidation::load(&release::record_path(Path::new(RELEASED)))?;
    let mut all = vec![(format!("good {}", good().train.epochs), released)];
    let Ok(folder) = fs::read_dir(RECORD) else { return Ok(all) };
    for file in folder {
        let path = file?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            all.push((stem.replace('-', " "), CrossValidation::load(&path)?));
        }
    }
    let seconds = |all: &CrossValidation| all.seeds().iter().map(|seed| all.training_s(*seed)).sum::<f64>();
    all.sort_by(|a, b| seconds(&a.1).total_cmp(&seconds(&b.1)));
    Ok(all)
}

fn row(name: &str, all: &CrossValidation) -> String {
    let seeds = all.seeds();
    let minutes: Vec<String> =
        seeds.iter().map(|seed| format!("{:.1}", all.training_s(*seed) / 60.0 / CORES)).collect();
    let pooled: Vec<_> = seeds.iter().filter_map(|seed| all.pooled(*seed)).collect();
    let each: Vec<String> = pooled.iter().map(|one| format!("{:.2} %", 100.0 * one.accuracy())).collect();
    let calibrated = all.calibrated();
    let errors = seeds.iter().filter_map(|seed| Some(format!("{:.3}", calibrated.pooled(*seed)?.reliability(10).ece)));
    let averaged = averaged(&pooled.iter().map(|one| one.clips.as_slice()).collect::<Vec<_>>());
    let right = averaged.iter().filter(|clip| clip.is_right()).count() as f64 / averaged.len().max(1) as f64;
    format!(
        "| {name} | {} | {} | {:.1} % ({}) | {:.1} % ({}) | {:.1} % | {} |",
        minutes.join(", "),
        each.join(", "),
        100.0 * all.over_seeds(|_| true).mean,
        interval(all, |_| true),
        100.0 * all.over_seeds(is_unseen_by_choices).mean,
        interval(all, is_unseen_by_choices),
        100.0 * right,
        errors.collect::<Vec<_>>().join(", "),
    )
}
