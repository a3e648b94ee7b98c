//! Every fold is held out once, nothing is computed twice, and what is released is measured from its own file.
#![cfg(feature = "torch")]

#[path = "support/demo_data.rs"]
mod demo_data;

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::Error;
use audio_transformer::config::{Config, Preset, TrainConfig};
use audio_transformer::internals::dataset::acquire;
use audio_transformer::internals::dataset::preprocess;
use audio_transformer::internals::distributed::peers::Alone;
use audio_transformer::internals::model::tensors::Precision;
use audio_transformer::internals::results::cross_validate::{
    CrossValidation, cross_validate, fold_result, of_fold, result_path, score_fold,
};
use audio_transformer::internals::results::evaluate::evaluate_checkpoint;
use audio_transformer::internals::results::release::{Sheet, record_path, release, released_path};
use audio_transformer::internals::training::checkpoint::{self, Checkpoint};
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::internals::training::train::train;
use tch::Device;

fn prepared(dir: &Path) -> Config {
    // The threads of several libtorch tests at once would wait for each other.
    tch::set_num_threads(1);
    let data = demo_data::data_under(dir);
    let train = TrainConfig { epochs: 1, ..Preset::Quick.train() };
    let config = Config { data, train, ..Default::default() };
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    config
}

#[test]
fn every_fold_is_held_out_once_with_every_seed_and_nothing_is_computed_twice() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    assert!(matches!(cross_validate(&config, &[]), Err(Error::Config { field: "seeds", .. })));
    let all = cross_validate(&config, &[0, 7]).unwrap();
    let runs: Vec<(u64, u32)> = all.results.iter().map(|result| (result.seed, result.fold)).collect();
    assert_eq!(runs, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (7, 1), (7, 2), (7, 3), (7, 4), (7, 5)]);
    for result in &all.results {
        let held_out = format!("{}-", result.fold);
        assert_eq!(result.evaluation.clips.len(), 10);
        assert!(result.evaluation.clips.iter().all(|clip| clip.filename.starts_with(&held_out)));
    }
    assert_eq!(all.pooled(0).unwrap().clips.len(), 50);

    let written = |fold: u32| fs::metadata(result_path(&config, fold, 0)).unwrap().modified().unwrap();
    let before: Vec<_> = (1..=5).map(written).collect();
    let again = cross_validate(&config, &[0]).unwrap();
    assert_eq!(again.accuracies(0), all.accuracies(0));
    assert_eq!((1..=5).map(written).collect::<Vec<_>>(), before);

    let other = Config { train: TrainConfig { learning_rate: 2e-3, ..config.train.clone() }, ..config.clone() };
    fold_result(&other, 1, 0).unwrap();
    assert!(written(1) > before[0], "another recipe is another result");

    // Another sound for one clip, of a fold that is not even trained on.
    let audio = dir.path().join("raw/demo/audio");
    let clips = &all.results[1].evaluation.clips;
    fs::copy(audio.join(&clips[0].filename), audio.join(&clips[1].filename)).unwrap();
    preprocess::preprocess(&config).unwrap();
    fold_result(&config, 2, 0).unwrap();
    assert!(written(2) > before[1], "other recordings make another result");
}

#[test]
fn a_score_on_folds_that_moved_after_the_training_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let run = of_fold(&config, 3, 0);
    let report = train(&run).unwrap();
    // A take of fold 1 and one of fold 3 change places.
    let table = dir.path().join("raw/demo/meta/esc50.csv");
    let rows = fs::read_to_string(&table).unwrap();
    let file = |fold: char| {
        let name = rows.lines().find(|row| row.starts_with(fold)).and_then(|row| row.split(',').next()).unwrap();
        dir.path().join("raw/demo/audio").join(name)
    };
    let (one, three) = (fs::read(file('1')).unwrap(), fs::read(file('3')).unwrap());
    fs::write(file('1'), three).unwrap();
    fs::write(file('3'), one).unwrap();
    preprocess::preprocess(&config).unwrap();
    let refused = score_fold(&config, 3, 0, &report, &Alone);
    assert!(matches!(refused, Err(Error::Features { .. })));
    assert!(!result_path(&config, 3, 0).exists());
    assert!(score_fold(&config, 3, 0, &train(&run).unwrap(), &Alone).is_ok());
}

/// A run of the same recipe that kept a fold out of its training.
fn sibling(config: &Config, test_fold: u32) -> PathBuf {
    let (run_name, test_fold) = (format!("sibling-{test_fold}"), Some(test_fold));
    let train_config = TrainConfig { run_name, test_fold, validate: true, ..config.train.clone() };
    let sibling = Config { train: train_config, ..config.clone() };
    train(&sibling).unwrap();
    checkpoint_path(&sibling)
}

#[test]
fn weights_of_another_recipe_are_not_released_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let all = cross_validate(&config, &[0]).unwrap();
    let other = Config { train: TrainConfig { label_smoothing: 0.2, ..config.train.clone() }, ..config.clone() };
    train(&of_fold(&other, 2, 0)).unwrap();
    let sibling = sibling(&config, 4);
    let refused = |fold: u32| release(&config, &all, fold, 0, |_| true, "make something", &sibling).map(drop);
    let message = refused(2).unwrap_err().to_string();
    assert!(
        message.contains("quick-fold2-seed0-demo-1.safetensors") && message.contains("found train.label_smoothing 0.2"),
        "{message}"
    );
    // Of an unfinished run, whose last whole epoch the checkpoint tells.
    let path = checkpoint_path(&of_fold(&config, 3, 0));
    let Checkpoint { mut info, vs, .. } = checkpoint::load(&path, Device::Cpu).unwrap();
    info.epoch = 0;
    checkpoint::save(&path, &vs, &info, None, Precision::Single).unwrap();
    let message = refused(3).unwrap_err().to_string();
    assert!(message.contains("expected train.epochs 1, found train.epochs 0"), "{message}");
    assert!(!released_path(&config).exists());
    // Distances from another network, or from one that held out another fold, would say nothing of the released weights.
    let released = |sibling: &Path| release(&config, &all, 4, 0, |_| true, "make something", sibling).map(drop);
    let message = released(&checkpoint_path(&of_fold(&config, 1, 0))).unwrap_err().to_string();
    assert!(message.contains("expected test_fold 4, found test_fold 1"), "{message}");
    let message = released(&checkpoint_path(&of_fold(&config, 4, 0))).unwrap_err().to_string();
    assert!(message.contains("kept recordings out of its training"), "{message}");
    assert!(!released_path(&config).exists());
    refused(4).unwrap();
}

#[test]
fn what_is_released_is_half_as_large_and_measured_from_its_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepared(dir.path());
    let all = cross_validate(&config, &[0]).unwrap();
    let sibling = sibling(&config, 2);
    let sheet = release(&config, &all, 2, 0, |fold| fold != 5, "make something", &sibling).unwrap();
    let path = released_path(&config);
    let full = config.data.models_dir.join("quick-fold2-seed0-demo-1.safetensors");
    assert!(fs::metadata(&path).unwrap().len() < fs::metadata(full).unwrap().len() * 6 / 10);
    // It knows how sure it may be from the runs of the other folds, and what is like its recordings from the sibling.
    let told = checkpoint::load(&path, Device::Cpu).unwrap();
    assert_eq!(told.info.calibration, all.calibration_without(2));
    assert_eq!(told.info.calibration.unwrap().recordings, 40);
    let reference =
        |path| checkpoint::load(path, Device::Cpu).unwrap().familiarity.map(|known| known.reference().distances.len());
    assert_eq!(
        (reference(&path), reference(&sibling)),
        (reference(&sibling), told.familiarity.map(|known| known.reference().distances.len()))
    );
    let written: Sheet = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
    assert_eq!((written.released_fold, written.released_accuracy), (2, sheet.released_accuracy));

    let record = record_path(&path);
    let recorded = CrossValidation::load(&record).unwrap();
    assert_eq!(recorded.pooled(0).unwrap(), all.pooled(0).unwrap(), "the record holds every prediction, to the bit");
    let cut = fs::read_to_string(&record).unwrap();
    fs::write(&record, &cut[..cut.len() - 9]).unwrap();
    let message = CrossValidation::load(&record).unwrap_err().to_string();
    assert!(message.contains("tinyast-demo-1.runs.jsonl, line 5: expected a run and its predictions"), "{message}");

    let held_out = |fold: u32| {
        let train = TrainConfig { test_fold: Some(fold), validate: false, ..config.train.clone() };
        evaluate_checkpoint(&Config { train, ..config.clone() }, &path)
    };
    assert_eq!(held_out(2).unwrap().accuracy(), sheet.released_accuracy);
    let message = held_out(3).map(drop).unwrap_err().to_string();
    assert!(message.contains("fold 3 held out, found 10 of its clips trained on"), "{message}");
}
