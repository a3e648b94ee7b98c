//! Several runs after one another, the choice of a step size, and a run that ends when it gets no better.
#![cfg(feature = "pipeline")]

#[path = "support/demo_data.rs"]
mod demo_data;

use std::path::Path;

use audio_transformer::config::{Config, DataConfig, Preset, TrainConfig};
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::history::{self, EpochRecord};
use audio_transformer::internals::training::observe::Observer;
use audio_transformer::internals::training::paths::{checkpoint_path, history_path, state_path};
use audio_transformer::internals::training::run::State;
use audio_transformer::internals::training::train::train_observed;
use audio_transformer::{Error, acquire, find_learning_rate, preprocess, show, sweep, train};
use tch::Device;

fn prepared(root: &Path) -> Config {
    let data = DataConfig { demo_clips_per_fold: 2, ..demo_data::data_under(root) };
    let train = TrainConfig { epochs: 2, max_clips: 60, ..Preset::Quick.train() };
    let config = Config { data, train, model: Preset::Quick.model(), ..Config::default() };
    acquire(&config).unwrap();
    preprocess(&config).unwrap();
    config
}

fn with(config: &Config, run_name: &str, change: impl Fn(&mut TrainConfig)) -> Config {
    let mut config = config.clone();
    config.train.run_name = run_name.into();
    change(&mut config.train);
    config
}

#[test]
fn a_sweep_runs_its_settings_one_after_another_and_shows_them_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let fails = with(&config, "none", |train| train.test_fold = Some(77));
    let configs = [with(&config, "one", |_| ()), fails, with(&config, "slow", |train| train.learning_rate = 1e-5)];
    let runs = sweep(&configs).unwrap();
    runs.wait();
    let status = runs.status();
    let states: Vec<Option<State>> =
        status.iter().map(|status| status.as_ref()?.as_ref().ok().map(|status| status.state.clone())).collect();
    assert_eq!(states, [Some(State::Finished), None, Some(State::Finished)]);
    let reason = status[1].as_ref().unwrap().as_ref().unwrap_err();
    assert!(reason.contains("train.test_fold"), "{reason}");
    let shown = show::sweep(&runs).unwrap().as_str().to_owned();
    for word in ["train.learning_rate 0.00001", "finished", "could not begin", "lowest validation loss", "<img"] {
        assert!(shown.contains(word), "{word}: {shown:.3000}");
    }
    // The better one comes first.
    assert!(shown.find(">one<").unwrap() < shown.find(">slow<").unwrap());
}

#[test]
fn a_sweep_that_is_stopped_begins_no_other_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let long = |name: &str| with(&config, name, |train| train.epochs = 10_000);
    let runs = sweep(&[long("first"), long("second")]).unwrap();
    while runs.status()[0].as_ref().is_none_or(|status| status.as_ref().unwrap().last.is_none()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    runs.stop();
    assert!(matches!(&runs.status()[..], [Some(Ok(first)), None] if first.state == State::Stopped));
    assert!(state_path(&long("first")).exists());
}

#[test]
fn two_runs_of_one_name_and_none_at_all_are_refused() {
    let config = Config::default();
    assert!(matches!(sweep(&[config.clone(), config]), Err(Error::Config { field: "train.run_name", .. })));
    assert!(sweep(&[]).is_err());
}

#[test]
fn a_step_size_to_begin_with_lies_below_the_one_at_which_the_loss_grows() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let test = find_learning_rate(&config).unwrap();
    assert!((1e-5..=1e-2).contains(&test.proposed), "{test}");
    assert!(test.points.is_sorted_by(|a, b| a.0 < b.0) && test.points.len() > 60);
    assert!(!checkpoint_path(&config).exists() && !state_path(&config).exists());
    assert!(show::learning_rates(&test).unwrap().as_str().contains("<img"));
}

#[test]
fn a_run_ends_when_it_gets_no_better_and_keeps_its_best_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    // A step size at which the validation loss soon goes up and down.
    let patient = with(&config, "patient", |train| {
        (train.epochs, train.patience, train.learning_rate) = (200, Some(2), 3e-3);
    });
    let report = train(&patient).unwrap();
    let best = history::best_epoch(&report.history).unwrap();
    assert!(report.history.len() < 200, "it never got worse");
    assert_eq!(report.history.len(), best + 2);
    assert!(!state_path(&patient).exists());
    assert_eq!(history::read(&history_path(&patient)).unwrap().len(), report.history.len());
    let kept = checkpoint::load(&checkpoint_path(&patient), Device::Cpu).unwrap();
    assert_eq!(kept.info.epoch, best);
    assert!(kept.info.calibration.is_some() && kept.familiarity.is_some());
    // The weights are those of a run of as many epochs.
    let short = with(&config, "short", |train| (train.epochs, train.learning_rate) = (best, 3e-3));
    train(&short).unwrap();
    let weights = |config: &Config| {
        let mut all: Vec<_> =
            checkpoint::load(&checkpoint_path(config), Device::Cpu).unwrap().vs.variables().into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(weights(&patient), weights(&short));
}

/// Stops a run after so many epochs.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn say(&mut self, _line: &str) {}

    fn plan(&mut self, _epochs: usize) {}

    fn epoch_ends(&mut self, _history: &[EpochRecord], _epochs: usize) {
        self.0 -= 1;
    }

    fn is_stopped(&self) -> bool {
        self.0 == 0
    }
}

#[test]
fn a_run_that_goes_on_takes_no_other_runs_weights_for_its_best() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let patient = |name: &str, seed: u64| {
        with(&config, name, |train| {
            (train.epochs, train.patience, train.learning_rate, train.seed) = (200, Some(2), 3e-3, seed);
        })
    };
    let report = train(&patient("whole", 0)).unwrap();
    let best = history::best_epoch(&report.history).unwrap();
    train(&patient("other", 1)).unwrap();
    let broken = patient("broken", 0);
    let stopped = train_observed(&broken, &mut StopAfter(best + 1));
    assert!(matches!(stopped, Err(Error::Stopped { .. })));
    let own = std::fs::read(checkpoint_path(&broken)).unwrap();
    std::fs::copy(checkpoint_path(&patient("other", 1)), checkpoint_path(&broken)).unwrap();
    let message = train(&broken).map(|report| report.to_string()).unwrap_err().to_string();
    assert!(
        message.contains(&format!("after epoch {best}, its best")) && message.contains("of another run"),
        "{message}"
    );
    // With its own weights it ends as a run that was not stopped.
    std::fs::write(checkpoint_path(&broken), own).unwrap();
    assert_eq!(train(&broken).unwrap().history.len(), report.history.len());
}
