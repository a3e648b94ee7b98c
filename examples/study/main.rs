//! The good preset put to the test: five folds, the ablation, and the released model.
//!
//! ```text
//! study five-folds [SEED ...] every fold with every seed, two where none is named
//! study first                 every fold of the good preset's first version
//! study curve NAME:EPOCHS ... the same with other recipes or numbers of epochs, and what accuracy each time of training buys
//! study record                the tables of five-folds, counted from the record beside the released model
//! study ablation              that version without each of its ingredients, on the fold that choices are scored on
//! study pretrain [CLASSES]    what networks may start from: makes sounds of so many classes by formulas and learns to tell them apart
//! study pretrain-again [CLASSES]  the same from where that left off, its second round
//! study inner RECIPE ...      recipes compared without a look at the folds that will judge them, the first with each of the others; RECIPE is
//!                             NAME, NAME@SEED, or several with + between them whose probabilities are averaged
//! study release [SEED ...]    the network of the first seed that held out fold 1, whatever it scored, with what was measured
//! study tell                  tells the released model again how sure it may be and what is like the recordings it knows
//! study check                 the released model on its fold, beside what its sheet says
//! study quick                 the quick preset with three seeds
//! study run FOLD SEED [NAME]  one run, as the commands above start them; NAME is `first`, a row of the ablation or a candidate
//! ```
//!
//! `DATASET` and `DATA_DIR` name the data as in the notebook. Runs are processes of one thread, as many at once as there are cores; a
//! run that was stopped goes on from its last epoch, and a finished one is not repeated.

mod curve;
mod formulas;
mod inner;
mod jobs;
mod kept;
mod pretrain;
mod recipes;
mod tables;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::config::{Config, DeviceChoice, Preset, Start};
use audio_transformer::internals::results::cross_validate::{CrossValidation, Spread, cross_validate, fold_result};
use audio_transformer::internals::results::evaluate::{evaluate, evaluate_checkpoint};
use audio_transformer::internals::results::metrics::Evaluation;
use audio_transformer::internals::training::calibration::Calibration;
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, RELEASED, acquire, preprocess, release, train};
use jobs::{Job, run_all};
use recipes::{FIRST, ablations, first, good, recipe};
use tables::{CHOICE_FOLD, is_unseen_by_choices, tables};
use tch::Device;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SEEDS: [u64; 2] = [0, 1];
const RELEASED_FOLD: u32 = 1;
/// What makes the released files again.
const COMMAND: &str = "make five-folds";

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["five-folds", given @ ..] => five_folds(&good(), None, &seeds(given)?),
        ["first"] => five_folds(&first(), Some(FIRST), &SEEDS),
        ["curve", names @ ..] => curve::curve(names),
        ["record"] => {
            tables(&CrossValidation::load(&release::record_path(Path::new(RELEASED)))?);
            Ok(())
        }
        ["ablation"] => ablation(),
        ["release", given @ ..] => release_first(&seeds(given)?),
        ["tell"] => tell(),
        ["check"] => check(),
        ["pretrain"] => pretrain::pretrain(pretrain::CLASSES, Start::Fresh),
        ["pretrain", classes] => pretrain::pretrain(classes.parse()?, Start::Fresh),
        ["pretrain-again"] => pretrain::pretrain(pretrain::CLASSES, Start::Formulas),
        ["pretrain-again", classes] => pretrain::pretrain(classes.parse()?, Start::Formulas),
        ["quick"] => quick(),
        ["run", fold, seed] => run(&good(), fold, seed),
        ["run", fold, seed, name] => run(&recipe(name)?, fold, seed),
        ["inner", names @ ..] => inner::compare(names),
        ["inner-run", a, b, seed, name] => inner::run(a, b, seed, name),
        _ => {
            Err("usage: study five-folds [SEED ...] | curve NAME:EPOCHS ... | first | record | ablation | inner RECIPE ... | release [SEED ...] | tell | check | quick \
                 | pretrain [CLASSES] | pretrain-again [CLASSES] \
                 | run FOLD SEED [NAME]"
                .into())
        }
    }
}

/// The seeds named, or the usual ones.
fn seeds(given: &[&str]) -> Outcome<Vec<u64>> {
    if given.is_empty() {
        return Ok(SEEDS.to_vec());
    }
    Ok(given.iter().map(|seed| seed.parse()).collect::<Result<_, _>>()?)
}

fn one_thread() {
    tch::set_num_threads(1);
    tch::set_num_interop_threads(1);
}

fn run(config: &Config, fold: &str, seed: &str) -> Outcome {
    one_thread();
    fold_result(config, fold.parse()?, seed.parse()?)?;
    Ok(())
}

fn prepare(config: &Config) -> Outcome {
    acquire(config)?;
    println!("{}", preprocess(config)?);
    Ok(())
}

/// A fold held out by the good preset, or by another recipe.
fn fold_job(recipe: Option<&str>, fold: u32, seed: u64) -> Job {
    let name = format!("{} fold {fold} seed {seed}", recipe.unwrap_or("good"));
    let arguments = ["run".to_owned(), fold.to_string(), seed.to_string()].into_iter();
    Job { name, arguments: arguments.chain(recipe.map(str::to_owned)).collect() }
}

fn results(config: &Config, ingredient: Option<&str>, seeds: &[u64]) -> Outcome<CrossValidation> {
    let folds = Dataset::open(config)?.folds();
    let jobs = seeds.iter().flat_map(|&seed| folds.iter().map(move |&fold| fold_job(ingredient, fold, seed)));
    run_all(&config.data.models_dir, jobs)?;
    Ok(cross_validate(config, seeds)?)
}

fn five_folds(config: &Config, ingredient: Option<&'static str>, seeds: &[u64]) -> Outcome {
    prepare(config)?;
    let started = Instant::now();
    tables(&results(config, ingredient, seeds)?);
    println!("this took {:.1} minutes of wall time", started.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

fn ablation() -> Outcome {
    let config = good();
    prepare(&config)?;
    let recipes = ablations();
    let jobs = recipes.iter().flat_map(|(name, _)| SEEDS.map(|seed| fold_job(Some(name), CHOICE_FOLD, seed)));
    run_all(&config.data.models_dir, jobs)?;
    println!("\n| recipe | accuracy on fold {CHOICE_FOLD}, seeds {SEEDS:?} | mean | loss, nats |\n|---|---|---|---|");
    for (name, config) in &recipes {
        let results = SEEDS.map(|seed| fold_result(config, CHOICE_FOLD, seed));
        let (mut accuracies, mut losses) = (Vec::new(), Vec::new());
        for result in results {
            let result = result?;
            accuracies.push(result.accuracy);
            losses.push(result.loss);
        }
        let each: Vec<String> = accuracies.iter().map(|accuracy| format!("{:.2}", 100.0 * accuracy)).collect();
        let mean = 100.0 * Spread::of(&accuracies).mean;
        println!("| {} | {} | {mean:.2} | {:.3} |", name.replace('-', " "), each.join(", "), Spread::of(&losses).mean);
    }
    Ok(())
}

fn release_first(seeds: &[u64]) -> Outcome {
    let config = good();
    prepare(&config)?;
    let all = results(&config, None, seeds)?;
    let sibling = sibling(seeds[0])?;
    let report = release::release(&config, &all, RELEASED_FOLD, seeds[0], is_unseen_by_choices, COMMAND, &sibling)?;
    println!("{report}");
    Ok(())
}

/// A network of the same recipe that also kept a fold out of its training: how far that fold's recordings lie from it tells the released
/// model, which was trained on all of them, how far such recordings lie that it does not know. Not trained again where it stands.
fn sibling(seed: u64) -> Outcome<PathBuf> {
    let mut config = good();
    config.train.run_name = format!("sibling-seed{seed}");
    (config.train.test_fold, config.train.validate, config.train.seed) = (Some(RELEASED_FOLD), true, seed);
    let path = checkpoint_path(&config);
    if !checkpoint::load(&path, Device::Cpu).is_ok_and(|sibling| sibling.familiarity.is_some()) {
        println!("{}", train(&config)?);
    }
    Ok(path)
}

fn tell() -> Outcome {
    let path = Path::new(RELEASED);
    let config = of_its_sheet(path)?;
    prepare(&config)?;
    let record = CrossValidation::load(&release::record_path(path))?;
    release::tell(path, &config, &record, &sibling(config.train.seed)?)?;
    tables(&record);
    Ok(())
}

/// The recipe of released weights and the fold they have not heard, as their sheet says.
fn of_its_sheet(path: &Path) -> Outcome<Config> {
    let sheet: release::Sheet = serde_json::from_slice(&fs::read(path.with_extension("json"))?)?;
    let mut config = Config { train: sheet.settings.train, model: sheet.settings.model, ..Config::default() };
    (config.train.test_fold, config.train.device) = (Some(sheet.released_fold), DeviceChoice::Cpu);
    Ok(config)
}

/// Scores the released file on the fold that its sheet names.
fn check() -> Outcome {
    let path = Path::new(RELEASED);
    let sheet: release::Sheet = serde_json::from_slice(&fs::read(path.with_extension("json"))?)?;
    let config = of_its_sheet(path)?;
    prepare(&config)?;
    let record = CrossValidation::load(&release::record_path(path))?;
    let run = record.results.iter().find(|run| (run.fold, run.seed) == (sheet.released_fold, sheet.seeds[0]));
    let recorded = &run.ok_or("no run of the released fold in the record")?.evaluation;
    let today = evaluate_checkpoint(&config, path)?;
    let (accuracy, said) = (100.0 * today.accuracy(), 100.0 * sheet.released_accuracy);
    println!("{RELEASED} on fold {}: {accuracy:.2} %, its sheet says {said:.2} %", sheet.released_fold);
    let reliability = today.reliability(10);
    println!("expected calibration error {:.3}, by chance {:.3}", reliability.ece, reliability.ece_by_chance);
    let mut plain = today.clone();
    if let Some(calibration) = plain.calibration.take() {
        // The record has the network's own words.
        let undone = Calibration { temperature: 1.0 / calibration.temperature, ..calibration };
        plain.clips.iter_mut().for_each(|clip| undone.apply(&mut clip.probabilities));
    }
    compare(recorded, &plain)
}

/// How far a probability may be from the record, since another processor sums in another order and version 0.2 resamples with another filter:
/// measured, 0.01.
const MAX_DRIFT: f32 = 0.02;

/// Holds every clip's probabilities to the record's, and names the clips that came out another class: none but those that were close.
fn compare(recorded: &Evaluation, today: &Evaluation) -> Outcome {
    let mut worst: f32 = 0.0;
    let mut clips: Vec<_> = today.clips.iter().map(|clip| (&clip.filename, clip)).collect();
    for before in &recorded.clips {
        let at = clips.iter().position(|(name, _)| **name == before.filename);
        let (name, now) = clips.swap_remove(at.ok_or_else(|| format!("{} was not scored", before.filename))?);
        let drift = before.probabilities.iter().zip(&now.probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        worst = worst.max(drift);
        if before.predicted != now.predicted {
            let [was, is] = [before.predicted, now.predicted].map(|class| &today.labels[class]);
            let margin = before.probabilities[before.predicted] - before.probabilities[now.predicted];
            println!("{name}: {was} in the record, by {margin:.3} over {is}; now {is}");
        }
    }
    println!("{} clips, probabilities within {worst:.4} of the record's", recorded.clips.len());
    if !clips.is_empty() || worst > MAX_DRIFT {
        return Err(format!("expected the clips of the record, within {MAX_DRIFT}").into());
    }
    Ok(())
}

/// The quick preset as the notebook runs it, on the fold it holds out by itself.
fn quick() -> Outcome {
    let mut config = Config { model: Preset::Quick.model(), train: Preset::Quick.train(), ..Config::default() };
    prepare(&config)?;
    let mut accuracies = Vec::new();
    for seed in 0..3 {
        config.train.seed = seed;
        let report = train(&config)?;
        let evaluation = evaluate(&config)?;
        println!("seed {seed}: {evaluation}; trained in {:.1} s", report.elapsed.as_secs_f64());
        accuracies.push(evaluation.accuracy());
    }
    println!("quick preset over three seeds: {}", Spread::of(&accuracies));
    Ok(())
}
