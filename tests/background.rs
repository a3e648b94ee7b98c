//! A run in the background: it ends as one in the foreground, it can be stopped and goes on, and two do not meet.
#![cfg(feature = "pipeline")]

#[path = "support/demo_data.rs"]
mod demo_data;

use std::path::Path;
use std::time::{Duration, Instant};

use audio_transformer::Error;
use audio_transformer::config::{Config, DataConfig, Preset, TrainConfig};
use audio_transformer::internals::dataset::acquire::acquire;
use audio_transformer::internals::dataset::preprocess::preprocess;
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::history;
use audio_transformer::internals::training::paths::{checkpoint_path, history_path};
use audio_transformer::internals::training::run::{Run, State};
use audio_transformer::internals::training::train::train;
use audio_transformer::show;
use tch::{Device, Tensor};

/// The demo data set ready to train on, with dropout so that every step draws random numbers.
fn prepared(root: &Path, epochs: usize) -> Config {
    let data = DataConfig { demo_clips_per_fold: 2, ..demo_data::data_under(root) };
    let train = TrainConfig { epochs, max_clips: 60, ..Preset::Quick.train() };
    let mut config = Config { data, train, model: Preset::Quick.model(), ..Config::default() };
    config.model.dropout = 0.1;
    acquire(&config).unwrap();
    preprocess(&config).unwrap();
    config
}

fn weights(config: &Config) -> Vec<(String, Tensor)> {
    let mut weights: Vec<_> =
        checkpoint::load(&checkpoint_path(config), Device::Cpu).unwrap().vs.variables().into_iter().collect();
    weights.sort_by(|a, b| a.0.cmp(&b.0));
    weights
}

fn named(config: &Config, run_name: &str) -> Config {
    Config { train: TrainConfig { run_name: run_name.into(), ..config.train.clone() }, ..config.clone() }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_in_the_background_goes_through_its_life() {
    // Below the project, as data/ is, so that the panel finds the history served.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let foreground = named(&prepared(dir.path(), 6), "foreground");
    let background = named(&foreground, "background");
    train(&foreground).unwrap();
    let expected = weights(&foreground);

    // It returns at once, tells how far it is, and cannot be started twice or trained beside itself.
    let run = Run::start(&background).unwrap();
    assert_eq!(run.status().state, State::Running);
    assert!(matches!(Run::start(&background), Err(Error::Busy { .. })));
    assert!(matches!(train(&background), Err(Error::Busy { .. })));
    until("an epoch is done", || run.status().last.is_some());

    // Stopped, it keeps its last whole epoch, on disk too.
    let stopped = run.stop();
    assert_eq!(stopped.state, State::Stopped, "{stopped}");
    let done = stopped.last.unwrap().epoch;
    assert!(done < 6, "the run ended before it could be stopped");
    assert_eq!(history::read(&history_path(&background)).unwrap().len(), done);
    assert!(checkpoint_path(&background).exists());
    let told = run.wait().unwrap_err().to_string();
    assert!(told.contains("was stopped after epoch"), "{told}");

    // Started again it goes on, while others use libtorch's generator, to the weights of an unbroken run.
    let again = Run::start(&background).unwrap();
    until("the run goes on", || {
        let _ = tch::no_grad(|| {
            audio_transformer::internals::model::seed::with_seed(9, || {
                Tensor::randn([8], (tch::Kind::Float, Device::Cpu))
            })
        });
        again.status().state != State::Running
    });
    let report = again.wait().unwrap();
    assert_eq!(again.status().state, State::Finished);
    assert_eq!(again.status().said, format!("going on after epoch {done} of 6"));
    assert_eq!(report.history.len(), 6);
    assert_eq!(report.history.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let found = weights(&background);
    assert_eq!(found.len(), expected.len());
    for ((name, value), (other, wanted)) in found.iter().zip(&expected) {
        assert!(name == other && value == wanted, "{name} differs from the unbroken run");
    }

    // The panel carries a picture of the moment, its words, and where a script finds more.
    let panel = show::panel(&again);
    for part in ["<img", "moves by itself only where scripts are trusted", "<script>"] {
        assert!(panel.as_str().contains(part), "no {part} in the panel");
    }
}

#[test]
fn what_cannot_start_says_so_at_once_and_a_dropped_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path(), 500);
    let mut missing = config.clone();
    missing.data.processed_dir = dir.path().join("nowhere");
    assert!(matches!(Run::start(&missing), Err(Error::StageMissing { .. })));

    drop(Run::start(&config).unwrap());
    until("the dropped run has let go", || match Run::start(&config) {
        Ok(run) => run.stop().state == State::Stopped,
        Err(Error::Busy { .. }) => false,
        Err(other) => panic!("{other}"),
    });
}

#[test]
fn a_run_that_fails_says_why_and_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = prepared(dir.path(), 5);
    (config.train.learning_rate, config.train.max_grad_norm) = (1e6, None);
    let run = Run::start(&config).unwrap();
    let told = run.wait().unwrap_err().to_string();
    assert!(told.contains("training stopped at epoch") && told.contains("Lower train.learning_rate"), "{told}");
    assert_eq!(run.status().state, State::Failed(told));
    // It has let go, and a history beyond the folder that Jupyter serves makes a panel that does not promise to move.
    drop(Run::start(&config).unwrap());
    let panel = show::panel(&run);
    assert!(panel.as_str().contains("outside the notebook") && !panel.as_str().contains("<script"));
}
