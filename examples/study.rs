//! The good preset put to the test: five folds, the ablation, and the released model.
//!
//! ```text
//! study five-folds [SEED ...] every fold with every seed, two where none is named
//! study first                 every fold of the good preset's first version
//! study record                the tables of five-folds, counted from the record beside the released model
//! study ablation              that version without each of its ingredients, on the fold that choices are scored on
//! study release [SEED ...]       the network of the first seed that held out fold 1, whatever it scored, with what was measured
//! study tell                  tells the released model again how sure it may be and what is like the recordings it knows
//! study check                 the released model on its fold, beside what its sheet says
//! study quick                 the quick preset with three seeds
//! study run FOLD SEED [NAME]  one run, as the commands above start them; NAME is `first` or a row of the ablation
//! ```
//!
//! `DATASET` and `DATA_DIR` name the data as in the notebook. Runs are processes of one thread, as many at once as there are cores; a
//! run that was stopped goes on from its last epoch, and a finished one is not repeated.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::error::Error;
use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use audio_transformer::config::{AugmentConfig, Config, DeviceChoice, Mix, Pooling, Preset, Schedule, Stem, View};
use audio_transformer::internals::results::cross_validate::{CrossValidation, Spread, cross_validate, fold_result};
use audio_transformer::internals::results::evaluate::{evaluate, evaluate_checkpoint};
use audio_transformer::internals::results::metrics::{Confusion, Evaluation};
use audio_transformer::internals::training::calibration::Calibration;
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, Interval, RELEASED, acquire, preprocess, release, train};
use tch::Device;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const SEEDS: [u64; 2] = [0, 1];
/// Every choice of the recipe was scored on this fold, so the headline leaves it out.
const CHOICE_FOLD: u32 = 5;
const RELEASED_FOLD: u32 = 1;
/// What makes the released files again.
const COMMAND: &str = "make five-folds";
/// The good preset's first version, by name.
const FIRST: &str = "first";
/// How many pairs of classes are named that were taken for each other.
const SHOWN_CONFUSIONS: usize = 5;
/// An ablation trains for this share of the epochs.
const ABLATION_SHARE: usize = 3;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["five-folds", given @ ..] => five_folds(&good(), None, &seeds(given)?),
        ["first"] => five_folds(&first(), Some(FIRST), &SEEDS),
        ["record"] => {
            tables(&CrossValidation::load(&release::record_path(Path::new(RELEASED)))?);
            Ok(())
        }
        ["ablation"] => ablation(),
        ["release", given @ ..] => release_first(&seeds(given)?),
        ["tell"] => tell(),
        ["check"] => check(),
        ["quick"] => quick(),
        ["run", fold, seed] => run(&good(), fold, seed),
        ["run", fold, seed, name] => {
            let mut recipes = ablations();
            recipes.push((FIRST, first()));
            let (_, config) = recipes.iter().find(|(other, _)| other == name).ok_or_else(|| format!("no recipe is named {name}"))?;
            run(config, fold, seed)
        }
        _ => {
            Err("usage: study five-folds [SEED ...] | first | record | ablation | release [SEED ...] | tell | check | quick | run FOLD SEED [NAME]"
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

/// The good preset on the data set of the environment, on one CPU thread.
fn good() -> Config {
    let mut config = Config { model: Preset::Good.model(), train: Preset::Good.train(), ..Config::default() };
    config.train.device = DeviceChoice::Cpu;
    config
}

/// The good preset's first version: a third of the epochs, with time stretch.
fn first() -> Config {
    let mut config = good();
    config.train.epochs = 120;
    config.train.augment.time_stretch = 0.3;
    config.train.run_name = FIRST.into();
    config
}

/// A recipe by the name of what is different.
type Recipe = (&'static str, Config);

/// The first recipe, and that recipe without each of its ingredients or with another in its place, at a third of its epochs. What they
/// told made the present one.
fn ablations() -> Vec<Recipe> {
    let variant = |name: &'static str, change: &dyn Fn(&mut Config)| {
        let mut config = first();
        config.train.epochs /= ABLATION_SHARE;
        change(&mut config);
        config.train.run_name = format!("ablation-{name}");
        (name, config)
    };
    let augment = |name, change: fn(&mut AugmentConfig)| variant(name, &|config| change(&mut config.train.augment));
    vec![
        variant("recipe", &|_| ()),
        augment("no-random-crop", |augment| augment.random_crop = false),
        augment("no-time-stretch", |augment| augment.time_stretch = 0.0),
        augment("no-mel-shift-and-stretch", |augment| (augment.mel_shift, augment.mel_stretch) = (0.0, 0.0)),
        augment("no-equalizer", |augment| augment.equalizer_db = 0.0),
        augment("no-mix", |augment| augment.mix = Mix::Off),
        augment("mixup-of-logarithms", |augment| augment.mix = Mix::Mixup),
        augment("no-masks", |augment| (augment.mel_masks, augment.time_masks) = (0, 0)),
        variant("no-ema", &|config| config.train.ema_decay = 0.0),
        variant("no-label-smoothing", &|config| config.train.label_smoothing = 0.0),
        variant("no-weight-decay", &|config| config.train.weight_decay = 0.0),
        variant("no-warm-up-and-cosine", &|config| config.train.schedule = Schedule::Constant),
        variant("no-clipping-of-gradients", &|config| config.train.max_grad_norm = None),
        variant("one-view-for-a-prediction", &|config| config.model.view = View::Windows { n_views: 1 }),
        variant("four-second-window", &|config| config.model.input_size = (64, 256)),
        variant("no-stochastic-depth", &|config| config.model.stochastic_depth = 0.0),
        variant("class-token", &|config| config.model.pooling = Pooling::ClassToken),
        variant("patches-for-convolutions", &|config| config.model.stem = Stem::patches(16)),
    ]
}

fn run(config: &Config, fold: &str, seed: &str) -> Outcome {
    tch::set_num_threads(1);
    tch::set_num_interop_threads(1);
    fold_result(config, fold.parse()?, seed.parse()?)?;
    Ok(())
}

/// One run to start.
struct Job {
    fold: u32,
    seed: u64,
    ingredient: Option<&'static str>,
}

/// Runs every job in a process of its own, as many at once as there are cores; their output goes to files beside the results. When one
/// fails no other is started, and those under way are let end.
fn run_all(config: &Config, jobs: impl IntoIterator<Item = Job>) -> Outcome {
    let n_workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut waiting: VecDeque<Job> = jobs.into_iter().collect();
    let mut running: Vec<(String, Child)> = Vec::new();
    let mut failed: Option<String> = None;
    fs::create_dir_all(&config.data.models_dir)?;
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < n_workers
            && let Some(job) = waiting.pop_front()
        {
            let name = format!("{} fold {} seed {}", job.ingredient.unwrap_or("good"), job.fold, job.seed);
            let log = config.data.models_dir.join(format!("{}.log", name.replace(' ', "-")));
            let log = File::options().create(true).append(true).open(&log)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["run", &job.fold.to_string(), &job.seed.to_string()]).args(job.ingredient);
            println!("{name} ...");
            running.push((name, command.stdout(log).spawn()?));
        }
        thread::sleep(Duration::from_millis(200));
        let mut still = Vec::new();
        for (name, mut child) in running {
            match child.try_wait()? {
                None => still.push((name, child)),
                Some(status) if status.success() => (),
                Some(status) => {
                    failed.get_or_insert(format!("{name} ended with {status}; its words stand above"));
                    waiting.clear();
                }
            }
        }
        running = still;
    }
    failed.map_or(Ok(()), |reason| Err(reason.into()))
}

fn prepare(config: &Config) -> Outcome {
    acquire(config)?;
    println!("{}", preprocess(config)?);
    Ok(())
}

fn results(config: &Config, ingredient: Option<&'static str>, seeds: &[u64]) -> Outcome<CrossValidation> {
    let folds = Dataset::open(config)?.folds();
    let jobs = seeds.iter().flat_map(|&seed| folds.iter().map(move |&fold| Job { fold, seed, ingredient }));
    run_all(config, jobs)?;
    Ok(cross_validate(config, seeds)?)
}

fn five_folds(config: &Config, ingredient: Option<&'static str>, seeds: &[u64]) -> Outcome {
    prepare(config)?;
    let started = Instant::now();
    tables(&results(config, ingredient, seeds)?);
    println!("this took {:.1} minutes of wall time", started.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

/// The 95 % interval of a recipe's accuracy over recordings; each clip counts by the share of its runs that were right.
fn interval(all: &CrossValidation, counts: fn(u32) -> bool) -> Interval {
    let mut clips: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for result in all.results.iter().filter(|result| counts(result.fold)) {
        for clip in &result.evaluation.clips {
            let sums = clips.entry(&clip.filename).or_default();
            sums.0 += f64::from(u8::from(clip.is_right()));
            sums.1 += 1.0;
        }
    }
    // ESC-50 names its files fold-recording-take-class.
    let recording = |filename: &'_ str| filename.split('-').nth(1).map_or(filename.to_owned(), str::to_owned);
    let clips: Vec<(String, f64)> = clips.into_iter().map(|(name, (right, n))| (recording(name), right / n)).collect();
    Interval::clustered(clips.iter().map(|(recording, right)| (recording.as_str(), *right)))
}

/// What docs/accuracy.md says of a recipe.
fn tables(all: &CrossValidation) {
    let Some(first) = all.seeds().first().map(|seed| all.accuracies(*seed)) else { return };
    let heads: String = first.iter().map(|(fold, _)| format!(" fold {fold} |")).collect();
    println!("\n| seed |{heads} without fold {CHOICE_FOLD} | all | minutes, one thread |");
    println!("|---|{}---|---|---|", "---|".repeat(first.len()));
    for seed in all.seeds() {
        let accuracies = all.accuracies(seed);
        let cells: String = accuracies.iter().map(|(_, accuracy)| format!(" {:.2} |", 100.0 * accuracy)).collect();
        let mean = |counts: fn(u32) -> bool| {
            let counted = accuracies.iter().filter(|(fold, _)| counts(*fold)).map(|(_, accuracy)| *accuracy);
            100.0 * Spread::of(&counted.collect::<Vec<_>>()).mean
        };
        let minutes = all.training_s(seed) / 60.0;
        println!("| {seed} |{cells} {:.2} | {:.2} | {minutes:.1} |", mean(is_unseen_by_choices), mean(|_| true));
    }
    // One seed has no spread.
    let over = |counts: fn(u32) -> bool| match all.seeds().len() {
        1 => format!("{} over folds, one seed", all.over_folds(counts)),
        _ => format!("{} over folds, {} over seeds", all.over_folds(counts), all.over_seeds(counts)),
    };
    println!("\nwithout fold {CHOICE_FOLD}, which choices were scored on: {}", over(is_unseen_by_choices));
    println!("  95 % interval, whole recordings drawn anew: {}", interval(all, is_unseen_by_choices));
    println!("all folds: {}", over(|_| true));
    println!("  95 % interval: {}", interval(all, |_| true));
    for result in &all.results {
        let (right, total) =
            (result.evaluation.clips.iter().filter(|clip| clip.is_right()).count(), result.evaluation.clips.len());
        let wilson = Interval::wilson(right, total);
        println!("  seed {}, fold {}: {right} of {total}, 95 % interval {wilson}", result.seed, result.fold);
    }
    for seed in all.seeds() {
        let Some(pooled) = all.pooled(seed) else { continue };
        println!(
            "seed {seed}, all held-out clips: top-2 {:.1} %, macro F1 {:.3}, mean loss {:.3} nats, ECE {:.3}",
            100.0 * pooled.top_k(2),
            pooled.macro_f1(),
            pooled.mean_loss(),
            pooled.reliability(10).ece
        );
        if let Some(calibrated) = all.calibrated().pooled(seed) {
            let temperatures = all.results.iter().filter(|result| result.seed == seed);
            let temperatures = temperatures.filter_map(|result| all.calibration_without(result.fold));
            let temperatures: Vec<String> = temperatures.map(|one| format!("{:.2}", one.temperature)).collect();
            let ece = calibrated.reliability(10).ece;
            println!(
                "  calibrated on the other folds: ECE {ece:.3}; temperatures fold by fold {}",
                temperatures.join(", ")
            );
        }
        for Confusion { actual, predicted, clips } in pooled.most_confused(SHOWN_CONFUSIONS) {
            println!("  {clips} clips of {} taken for {}", pooled.labels[actual], pooled.labels[predicted]);
        }
    }
}

fn is_unseen_by_choices(fold: u32) -> bool {
    fold != CHOICE_FOLD
}

fn ablation() -> Outcome {
    let config = good();
    prepare(&config)?;
    let recipes = ablations();
    let jobs =
        recipes.iter().flat_map(|(name, _)| SEEDS.map(|seed| Job { fold: CHOICE_FOLD, seed, ingredient: Some(name) }));
    run_all(&config, jobs)?;
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
