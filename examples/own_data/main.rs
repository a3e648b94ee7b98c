//! Data sets as people have them, made from ESC-10's recordings, and what the notebook's default path makes of each.
//!
//! own_data make ESC10_DIR            the sets, under target/own-data
//! own_data run SET RECIPE [FOLD]     train and score one: quick (the notebook's preset before it could fit), fitted, or by hand as
//!                                    SECONDS,HOP,N_FFT,FRAMES
//! own_data look SET                  what the check-up finds, and the settings that are proposed
//! own_data table                     every result so far
//! own_data starts [SET ...]          the fitted settings from random weights and from sounds made by formulas, on a fold that is not held out
//! own_data by-hand [SET ...]         the fitted settings beside the best of some by hand, all folds (an hour and a half of two cores)
//!
//! `MINUTES`, `EPOCHS` and `BALANCE` in the environment stand in for `train.minutes`, `train.epochs` and `train.balance`. With `EPOCHS`
//! there is no budget, and settings can be told apart on a machine that does other work beside.
//!
//! Results are kept in `target/own-data/results`.

mod by_hand;
#[path = "../study/jobs.rs"]
mod jobs;
mod scores;
mod sets;
mod starts;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::config::{Config, DataConfig, DataSource, LongClips, Preset};
use audio_transformer::{Choice, Evaluation, Finding, acquire, checkup, evaluate, preprocess, propose, train};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HOME: &str = "target/own-data";
/// The folds that choices are made on and scored on.
const CHOICE_FOLD: u32 = 5;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", recordings] => sets::make(Path::new(recordings)),
        ["run", set, recipe] => run(set, recipe, CHOICE_FOLD),
        ["run", set, recipe, fold] => run(set, recipe, fold.parse()?),
        ["look", set] => look(set),
        ["table"] => table(),
        ["by-hand", ref names @ ..] => by_hand::compare(names),
        ["starts", ref names @ ..] => starts::compare(names),
        ["starts-run", set, start, epochs] => starts::run(set, start, epochs.parse()?),
        ["by-hand-run", set, recipe, fold, epochs] => by_hand::run(set, recipe, fold.parse()?, epochs.parse()?),
        _ => Err(
            "usage: own_data make ESC10_DIR | run SET quick|fitted|SECONDS,HOP,N_FFT,FRAMES [FOLD] | look SET | table \
             | starts [SET ...] | by-hand [SET ...]"
                .into(),
        ),
    }
}

/// The settings of a recipe for a set.
fn settings(set: &str, recipe: &str, fold: u32) -> Outcome<Config> {
    let sets = Path::new(HOME).join("sets");
    let mut data = DataConfig {
        source: DataSource::Folder(sets.join(set)),
        raw_dir: Path::new(HOME).join("raw"),
        processed_dir: Path::new(HOME).join("processed").join(format!("{set}-{recipe}")),
        models_dir: Path::new(HOME).join("models"),
        ..DataConfig::default()
    };
    match set {
        "esc10" => data.source = DataSource::Esc10,
        "official" => {
            data.source = DataSource::Demo;
            (data.raw_dir, data.metadata_path) = (sets.join("whole"), Some(sets.join("official.csv")));
        }
        _ => (),
    }
    let mut config = match recipe {
        "quick" => Config { data, ..Preset::Quick.settings() },
        "fitted" => propose(Preset::Fitted, &Config { data, ..Preset::Fitted.settings() })?.config,
        by_hand => {
            let numbers = by_hand.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
            let [seconds, hop, n_fft, frames] = numbers[..] else { return Err("SECONDS,HOP,N_FFT,FRAMES".into()) };
            let mut config = Config { data, ..Preset::Fitted.settings() };
            (config.clip.duration_s, config.clip.long_clips) = (seconds as f32, LongClips::Windows);
            let features = &mut config.features;
            (features.hop_length, features.n_fft, features.win_length) = (hop as usize, n_fft as usize, n_fft as usize);
            config.model.input_size.1 = frames as usize;
            config
        }
    };
    config.train.run_name = format!("{set}-{}", recipe.replace(',', "-"));
    config.train.test_fold = Some(fold);
    Ok(config)
}

/// What the environment puts in the place of settings.
fn from_environment(config: &mut Config) {
    if let Some(minutes) = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()) {
        config.train.minutes = config.train.minutes.and(Some(minutes));
    }
    if let Some(epochs) = std::env::var("EPOCHS").ok().and_then(|text| text.parse().ok()) {
        (config.train.minutes, config.train.epochs) = (None, epochs);
    }
    if let Some(balance) = std::env::var("BALANCE").ok().and_then(|text| text.parse().ok()) {
        config.train.balance = balance;
        config.train.run_name = format!("{}-balance-{balance}", config.train.run_name);
    }
}

fn result_path(set: &str, recipe: &str, fold: u32) -> PathBuf {
    Path::new(HOME).join("results").join(format!("{set}--{recipe}--{fold}.json"))
}

fn run(set: &str, recipe: &str, fold: u32) -> Outcome {
    let started = Instant::now();
    let mut config = settings(set, recipe, fold)?;
    from_environment(&mut config);
    acquire(&config)?;
    let proposed_s = started.elapsed().as_secs_f64();
    preprocess(&config)?;
    let folds = audio_transformer::Dataset::open(&config)?.folds();
    if !folds.contains(&fold) {
        config.train.test_fold = folds.last().copied();
    }
    let report = train(&config)?;
    let evaluation = evaluate(&config)?;
    println!("{report}\n{evaluation}");
    let (accuracy, train_s) = (evaluation.accuracy(), report.elapsed.as_secs_f64());
    println!("{set} {recipe} fold {fold}: {:.1} % after {train_s:.0} s; proposal {proposed_s:.1} s", 100.0 * accuracy);
    let path = result_path(set, recipe, fold);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, serde_json::to_string(&(&evaluation, report.history.len(), train_s))?)?;
    Ok(())
}

fn look(set: &str) -> Outcome {
    let config = settings(set, "quick", CHOICE_FOLD)?;
    let catalog = acquire(&config)?;
    let started = Instant::now();
    for Finding { severity, what, means, next } in checkup(&catalog).findings {
        println!("{severity:?}: {what}. {means} {next}");
    }
    println!("check-up in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let wished = Config { data: config.data, ..Preset::Fitted.settings() };
    for Choice { setting, value, reason } in propose(Preset::Fitted, &wished)?.choices {
        println!("{setting}: {value} ({reason})");
    }
    println!("proposal in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn table() -> Outcome {
    println!("| set | recipe | fold | accuracy | clips | epochs | training |\n|---|---|---|---|---|---|---|");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(Path::new(HOME).join("results"))?.map(|entry| Ok(entry?.path())).collect::<Outcome<_>>()?;
    paths.sort();
    for path in paths {
        let (evaluation, epochs, train_s): (Evaluation, usize, f64) = serde_json::from_slice(&fs::read(&path)?)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().replace("--", " | ");
        let (accuracy, n) = (100.0 * evaluation.accuracy(), evaluation.clips.len());
        println!("| {name} | {accuracy:.1} % | {n} | {epochs} | {train_s:.0} s |");
    }
    Ok(())
}
