//! A training run that was stopped, at whatever moment, ends as one that was not; and what stops a run by itself.
#![cfg(feature = "torch")]

#[path = "support/demo_data.rs"]
mod demo_data;
#[path = "support/edited.rs"]
mod edited;

use std::cell::RefCell;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs, thread};

use audio_transformer::config::{
    AugmentConfig, Config, DataConfig, DeviceChoice, Mix, OptimizerChoice, Pooling, Preset, Schedule, Start, Stem,
    TinyAstConfig, TrainConfig, View,
};
use audio_transformer::internals::dataset::acquire;
use audio_transformer::internals::dataset::metadata::{self, METADATA_FILE, ProcessedClip};
use audio_transformer::internals::dataset::preprocess;
use audio_transformer::internals::model::tensors::{self, Precision};
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::history::EpochRecord;
use audio_transformer::internals::training::observe::Observer;
use audio_transformer::internals::training::paths::state_path;
use audio_transformer::internals::training::paths::{checkpoint_path, history_path};
use audio_transformer::internals::training::report::TrainingReport;
use audio_transformer::internals::training::resume::Progress;
use audio_transformer::internals::training::train;
use audio_transformer::{Error, Result};
use tch::{Device, Kind, Tensor};

/// A run with a models folder of its own, on a demo data set that is preprocessed once: everything random that the good preset
/// has, and dropout, in a network of a few thousand weights.
fn config(run: &str) -> Config {
    static PREPARED: OnceLock<()> = OnceLock::new();
    let root = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/resume"));
    let config = Config {
        data: DataConfig { models_dir: root.join(run), ..demo_data::data_under(root) },
        model: TinyAstConfig {
            input_size: (64, 48),
            view: View::Windows { n_views: 2 },
            stem: Stem::Convolutions { channels: vec![4, 8, 16], first_stride: (2, 2), pool: (4, 1) },
            embed_dim: 16,
            depth: 2,
            num_heads: 2,
            dropout: 0.1,
            stochastic_depth: 0.3,
            pooling: Pooling::Mean,
            ..Preset::Good.model()
        },
        train: TrainConfig {
            epochs: 12,
            batch_size: 6,
            start: Start::Fresh,
            optimizer: OptimizerChoice::AdamW,
            schedule: Schedule::Cosine { warmup_steps: 10 },
            augment: AugmentConfig {
                mix: Mix::BetweenClass,
                gain_db: 6.0,
                time_stretch: 0.3,
                ..Preset::Good.train().augment
            },
            validate: true,
            device: DeviceChoice::Cpu,
            ..Preset::Good.train()
        },
        ..Default::default()
    };
    PREPARED.get_or_init(|| {
        _ = fs::remove_dir_all(root);
        acquire::acquire(&config).unwrap();
        preprocess::preprocess(&config).unwrap();
    });
    config
}

/// Trains with one thread of libtorch: on a busy machine several would wait for one another longer than they compute.
fn train(config: &Config) -> Result<TrainingReport> {
    tch::set_num_threads(1);
    train::train(config)
}

/// The run that nothing stopped.
fn unbroken() -> &'static TrainingReport {
    static REPORT: OnceLock<TrainingReport> = OnceLock::new();
    REPORT.get_or_init(|| train(&config("unbroken")).unwrap())
}

/// The numbers of a history that do not tell the time.
fn course(history: &[EpochRecord]) -> Vec<EpochRecord> {
    history.iter().map(|record| EpochRecord { clips_per_s: 0.0, elapsed_s: 0.0, ..record.clone() }).collect()
}

/// The numbers of a safetensors file without its description.
fn payload(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

/// What the state on disk says, if there is one.
fn progress(config: &Config) -> Option<Progress> {
    let bytes = fs::read(state_path(config)).ok()?;
    serde_json::from_str(&tensors::info(&bytes).ok()??).ok()
}

/// Trains until the next epoch is over and its state is on disk; then the history cannot be written, and the run ends.
fn stop_after_an_epoch(config: &Config) -> Progress {
    _ = fs::remove_file(history_path(config));
    fs::create_dir_all(history_path(config)).unwrap();
    let error = train(config).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    fs::remove_dir(history_path(config)).unwrap();
    progress(config).unwrap()
}

const CONFIG_OF_CHILD: &str = "CONFIG_OF_A_RUN_TO_BE_KILLED";

/// Does nothing but in a process that `kill` starts.
#[test]
fn a_child_process_trains() {
    if let Ok(json) = env::var(CONFIG_OF_CHILD) {
        train(&serde_json::from_str(&json).unwrap()).unwrap();
    }
}

/// Trains in a process of its own until the state of an epoch is on disk and some time has passed; then kills it.
fn kill(config: &Config, epoch: usize, wait: Duration) -> Vec<EpochRecord> {
    let history = || progress(config).map_or(Vec::new(), |progress| progress.history);
    let mut child: Child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_child_process_trains"])
        .env(CONFIG_OF_CHILD, serde_json::to_string(config).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while history().len() < epoch {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before the state of epoch {epoch} was seen");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(wait);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the run ended before it was killed");
    history()
}

#[test]
fn a_run_killed_at_any_moment_ends_as_one_that_was_not_to_the_bit() {
    let unbroken = unbroken();
    let epoch_s = (unbroken.history[11].elapsed_s - unbroken.history[0].elapsed_s) / 11.0;
    // After the state of which epoch, and how many epochs later.
    let moments: [&[(usize, f64)]; 4] = [&[(0, 1.0)], &[(1, 0.0)], &[(2, 0.5)], &[(1, 0.9), (3, 0.3)]];
    for (number, moments) in moments.iter().enumerate() {
        let config = config(&format!("killed-{number}"));
        let mut before = Vec::new();
        for (epoch, share) in *moments {
            before = kill(&config, *epoch, Duration::from_secs_f64(share * epoch_s));
            assert!(before.len() >= *epoch);
        }
        let report = train(&config).unwrap();
        assert_eq!(report.history[..before.len()], before, "{moments:?}: it went on, timings and all");
        assert_eq!(course(&report.history), course(&unbroken.history), "{moments:?}");
        let same = fs::read(&report.checkpoint).unwrap() == fs::read(&unbroken.checkpoint).unwrap();
        assert!(same, "{moments:?}: other weights");
    }
}

#[test]
fn a_run_stopped_after_every_epoch_ends_as_one_that_was_not_to_the_bit() {
    let with_muon = |run: &str| {
        let mut config = config(run);
        config.train.optimizer = OptimizerChoice::Muon;
        config
    };
    let unbroken_with_muon = train(&with_muon("unbroken-muon")).unwrap();
    assert_ne!(payload(&unbroken_with_muon.checkpoint), payload(&unbroken().checkpoint));
    for (config, unbroken) in
        [(config("step-by-step"), unbroken()), (with_muon("step-by-step-muon"), &unbroken_with_muon)]
    {
        for epoch in 1..=config.train.epochs {
            assert_eq!(stop_after_an_epoch(&config).history.len(), epoch);
        }
        let report = train(&config).unwrap();
        assert_eq!(course(&report.history), course(&unbroken.history));
        assert!(fs::read(&report.checkpoint).unwrap() == fs::read(&unbroken.checkpoint).unwrap());
        assert!(!state_path(&config).exists(), "a finished run is over");
        assert_eq!(stop_after_an_epoch(&config).history.len(), 1);
    }
}

/// The state after the first epoch of a run that found none.
fn fresh(config: &Config) -> (Vec<EpochRecord>, Vec<u8>) {
    let mut config = config.clone();
    config.data.models_dir.push("fresh");
    config.train.resume = false;
    (course(&stop_after_an_epoch(&config).history), payload(&state_path(&config)))
}

/// Whether the run passes over the state on disk and begins as one that found none.
fn begins_afresh(config: &Config, fresh: &(Vec<EpochRecord>, Vec<u8>)) -> bool {
    (course(&stop_after_an_epoch(config).history), payload(&state_path(config))) == *fresh
}

#[test]
fn a_state_of_other_settings_is_passed_over() {
    let mut config = config("settings");
    config.train.learning_rate = 0.0019509221155799418; // of so many digits that JSON read carelessly gives its neighbour
    let others: [fn(&mut Config); 7] = [
        |other| other.train.optimizer = OptimizerChoice::Muon,
        |other| other.train.learning_rate *= 2.0,
        |other| other.train.epochs += 1,
        |other| other.train.seed += 1,
        |other| other.train.augment.gain_db = 0.0,
        |other| other.model.dropout = 0.2,
        |other| other.model.depth = 1,
    ];
    let fresh = fresh(&config);
    for change in others {
        let mut other = config.clone();
        change(&mut other);
        stop_after_an_epoch(&other);
        assert!(begins_afresh(&config, &fresh), "{:?} {:?}", other.model, other.train);
    }
    config.train.loader_threads = 2;
    assert_eq!(stop_after_an_epoch(&config).history.len(), 2, "the same settings but for the threads");
}

#[test]
fn a_state_of_other_spectrograms_labels_or_folds_is_passed_over() {
    type Change = fn(&mut [ProcessedClip]);
    let mut config = config("data");
    let original = config.data.processed_dir.clone();
    config.data.processed_dir = original.with_file_name("processed-again");
    fs::create_dir(&config.data.processed_dir).unwrap();
    for file in fs::read_dir(&original).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), config.data.processed_dir.join(file.file_name())).unwrap();
    }
    edited::as_written(&config.data.processed_dir);
    let changes: [(&str, Change); 3] = [
        ("a recording that was replaced", |clips| clips[0].file_xxh3 = Default::default()),
        ("two clips whose labels were mixed up", |clips| {
            let (a, b) = clips.split_at_mut(1);
            (a[0].target, b[0].target) = (b[0].target, a[0].target);
            std::mem::swap(&mut a[0].category, &mut b[0].category);
        }),
        ("a clip that moves to the validation fold", |clips| {
            clips.iter_mut().rfind(|clip| clip.fold == 3).unwrap().fold = 4;
        }),
    ];
    for (why, change) in changes {
        let mut clips = metadata::read(&original.join(METADATA_FILE)).unwrap();
        let table = config.data.processed_dir.join(METADATA_FILE);
        metadata::write(&table, &clips).unwrap();
        stop_after_an_epoch(&config);
        change(&mut clips);
        metadata::write(&table, &clips).unwrap();
        assert!(begins_afresh(&config, &fresh(&config)), "{why}");
    }
}

#[test]
fn a_damaged_state_is_passed_over() {
    let config = config("damaged");
    stop_after_an_epoch(&config);
    let (path, whole) = (state_path(&config), fs::read(state_path(&config)).unwrap());
    let of_another = [("weights".to_owned(), Tensor::zeros([3], (Kind::Float, Device::Cpu)))];
    tensors::write(&path, &of_another, Precision::Single, &tensors::info(&whole).unwrap().unwrap()).unwrap();
    let mut damaged = vec![fs::read(&path).unwrap(), vec![0; whole.len()]];
    damaged.extend([0, 7, 100, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    damaged.push(flipped);
    let fresh = fresh(&config);
    for (number, bytes) in damaged.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert!(begins_afresh(&config, &fresh), "damage {number}, {} bytes", bytes.len());
    }
}

#[test]
fn without_resume_a_run_starts_afresh() {
    let mut config = config("afresh");
    stop_after_an_epoch(&config);
    let stopped = stop_after_an_epoch(&config);
    assert_eq!(stopped.history.len(), 2);
    config.train.resume = false;
    let again = stop_after_an_epoch(&config);
    assert_eq!(course(&again.history), course(&stopped.history[..1]));
}

#[test]
fn the_number_of_loader_threads_changes_no_bit_and_another_seed_does() {
    let weights_of = |loader_threads: usize, seed: u64| {
        let mut config = config(&format!("threads-{loader_threads}-{seed}"));
        (config.train.epochs, config.train.loader_threads, config.train.seed) = (2, loader_threads, seed);
        let report = train(&config).unwrap();
        (course(&report.history), payload(&report.checkpoint))
    };
    let inside = weights_of(0, 0);
    assert!(inside == weights_of(1, 0));
    assert!(inside == weights_of(3, 0));
    assert!(inside.1 != weights_of(0, 1).1);
}

#[test]
fn a_run_that_diverges_names_step_rate_and_the_last_good_checkpoint() {
    let mut config = config("diverges");
    (config.train.batch_size, config.train.schedule) = (64, Schedule::Constant); // an epoch is one step
    let path = checkpoint_path(&config);
    let mut stops = |learning_rate: f64, validate: bool| {
        (config.train.learning_rate, config.train.validate) = (learning_rate, validate);
        let error = train(&config).map(drop).unwrap_err();
        assert!(error.to_string().contains(&format!("learning rate {learning_rate:e}")), "{error}");
        let Error::Training { epoch, step, reason, next, .. } = error else { panic!("{error}") };
        assert_eq!(epoch, step);
        (step, reason, next)
    };
    for (learning_rate, what) in [(1e3, "the mean loss is "), (1e37, "the loss is NaN")] {
        let (step, reason, next) = stops(learning_rate, false);
        assert!(step == 2 && reason.starts_with(what), "step {step}: {reason}");
        assert!(next.contains(&format!("{} holds epoch 1", path.display())), "{next}");
        assert_eq!(checkpoint::load(&path, Device::Cpu).unwrap().info.epoch, 1);
    }
    let before = fs::read(&path).unwrap();
    for (learning_rate, what) in [(1e37, "the validation loss"), (1e308, "the weights")] {
        let (step, reason, _) = stops(learning_rate, true);
        assert!(step == 1 && reason.starts_with(what) && reason.contains("no longer"), "step {step}: {reason}");
        assert!(fs::read(&path).unwrap() == before, "what gives no numbers replaces no checkpoint");
    }
}

#[test]
fn a_time_budget_chooses_epochs_that_train_to_the_same_weights_by_their_number() {
    let mut budget = config("budget");
    budget.train.minutes = Some(0.05);
    let by_time = train(&budget).unwrap();
    let epochs = checkpoint::load(&by_time.checkpoint, Device::Cpu).unwrap().info.train.epochs;
    assert_eq!(by_time.history.len(), epochs);
    let mut by_number = config("budget-by-number");
    by_number.train.epochs = epochs;
    let by_number = train(&by_number).unwrap();
    assert_eq!(payload(&by_time.checkpoint), payload(&by_number.checkpoint), "{epochs} epochs");
}

#[test]
fn a_run_with_a_time_budget_goes_on_with_the_epochs_it_chose() {
    let mut config = config("budget-resumed");
    config.train.minutes = Some(0.05);
    let epochs = RefCell::new(Vec::new());
    let stopped = train::train_observed(&config, &mut StopAfter { epochs: &epochs, left: 1 });
    assert!(matches!(stopped, Err(Error::Stopped { .. })), "{stopped:?}");
    // More time would hold more epochs, but is not asked for a second time.
    train::train_observed(&config, &mut StopAfter { epochs: &epochs, left: usize::MAX }).unwrap();
    let epochs = epochs.into_inner();
    assert_eq!((epochs.len(), epochs[0]), (2, epochs[1]));
}

/// Notes how many epochs a run has, and stops it after some.
struct StopAfter<'a> {
    epochs: &'a RefCell<Vec<usize>>,
    left: usize,
}

impl Observer for StopAfter<'_> {
    fn say(&mut self, _line: &str) {}

    fn plan(&mut self, epochs: usize) {
        self.epochs.borrow_mut().push(epochs);
    }

    fn epoch_ends(&mut self, _history: &[EpochRecord], _epochs: usize) {
        self.left -= 1;
    }

    fn is_stopped(&self) -> bool {
        self.left == 0
    }
}
