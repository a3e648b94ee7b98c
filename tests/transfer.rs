//! Other networks put to use: heads on their embeddings, classes taught by examples, networks saved for transformers.
#![cfg(feature = "torch")]

#[path = "support/demo_data.rs"]
mod demo_data;

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::audio::{self, Waveform, write_wav};
use audio_transformer::config::{Config, DataSource};
use audio_transformer::internals::training::observe::Observer;
use audio_transformer::internals::training::paths;
use audio_transformer::{
    Catalog, EpochRecord, Error, Evaluation, FeatureConfig, FeatureExtractor, FineTune, Listener, MultiLabelEvaluation,
    Pretrained, Probe, RELEASED, Taught, acquire, demo, fine_tune, fine_tune_observed, preprocess, probe,
};
use demo_data::data_under;
use tch::Device;

/// A folder as Hugging Face's with a small CED of random weights.
fn small_ced(dir: &Path) -> PathBuf {
    let folder = dir.join("ced");
    fs::create_dir_all(&folder).unwrap();
    fs::copy("tests/golden/ced/mean.config.json", folder.join("config.json")).unwrap();
    fs::copy("tests/golden/ced/mean.safetensors", folder.join("model.safetensors")).unwrap();
    folder
}

fn config(dir: &Path) -> Config {
    Config { data: data_under(dir), ..Default::default() }
}

/// Folders of four classes of the demo with `n` recordings each.
fn examples(dir: &Path, n: usize) -> PathBuf {
    let root = dir.join("teach");
    for class in 0..4 {
        for source in 0..n {
            let path = root.join(format!("class-{class}")).join(format!("{source}.wav"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_wav(&path, &demo::synthesize(7, class, 1, source, 0)).unwrap();
        }
    }
    root
}

/// What a probe says of recordings of one class each.
fn scored(probe: &Probe) -> &Evaluation {
    probe.evaluation.one_class().unwrap()
}

/// A recording of a class that no example is of.
fn asked(class: usize) -> Waveform {
    demo::synthesize(8, class, 2, 50, 0)
}

#[test]
fn a_probe_scores_a_fold_that_it_has_not_seen_and_keeps_its_embeddings() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    acquire(&config).unwrap();
    let folder = small_ced(dir.path());
    let mut listener = Listener::open(&folder, Device::Cpu).unwrap();
    let first = probe(&config, &mut listener).unwrap();
    let n_clips = first.train_clips + scored(&first).clips.len();
    assert_eq!(first.listened_to, n_clips);
    assert_eq!(scored(&first).test_fold, 5);
    assert!(first.tried.iter().any(|(l2, _)| *l2 == first.l2));
    // Random weights hear enough to tell a bell from noise.
    assert!(scored(&first).accuracy() > 2.0 / first.labels.len() as f64, "{first}");
    let again = probe(&config, &mut listener).unwrap();
    assert_eq!(again.listened_to, 0);
    assert_eq!(again.evaluation, first.evaluation);
    // One that cannot be read is left out, and the others go on.
    let catalog = audio_transformer::open_catalog(&config).unwrap();
    let (broken, sound) = (catalog.path(&catalog.clips[1]), fs::read(catalog.path(&catalog.clips[1])).unwrap());
    fs::write(&broken, "RIFF and no more").unwrap();
    let others = probe(&config, &mut listener).unwrap();
    assert_eq!(others.train_clips + scored(&others).clips.len(), n_clips - 1);
    assert!(others.untrained.is_empty());
    fs::write(&broken, sound).unwrap();
    // A recording that has changed is listened to again.
    write_wav(&catalog.path(&catalog.clips[0]), &asked(0)).unwrap();
    assert_eq!(probe(&config, &mut listener).unwrap().listened_to, 1);
}

#[test]
fn a_probed_network_is_saved_with_its_classes_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    acquire(&config).unwrap();
    for (name, folder) in [("ced", small_ced(dir.path())), ("ast", PathBuf::from("tests/golden/ast/small"))] {
        let mut listener = Listener::open(&folder, Device::Cpu).unwrap();
        let probe = probe(&config, &mut listener).unwrap();
        let saved = dir.path().join("saved").join(name);
        // A head on another network than it was fitted to would be wrong in silence.
        let other = Listener::open(RELEASED, Device::Cpu).unwrap();
        let message = probe.save(other, &saved).unwrap_err().to_string();
        assert!(message.contains("the network that was probed") && !saved.join("config.json").exists(), "{message}");
        probe.save(listener, &saved).unwrap();
        let mut again = Listener::open(&saved, Device::Cpu).unwrap();
        assert_eq!((again.labels(), again.is_multi_label()), (&probe.labels[..], false));
        let catalog = audio_transformer::open_catalog(&config).unwrap();
        for clip in &scored(&probe).clips {
            let path = catalog.audio_dir.join(&clip.filename);
            let prediction = again.predict_file(&path).unwrap();
            let (label, probability) = &prediction.ranked[0];
            assert_eq!(*label, probe.labels[clip.predicted]);
            assert!((f64::from(*probability) - clip.confidence()).abs() < 1e-4);
        }
    }
}

#[test]
fn a_network_is_fine_tuned_saved_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    acquire(&config).unwrap();
    let how = FineTune { epochs: 4, learning_rate: 3e-4, ..Default::default() };
    let plain = FineTune { freq_mask: 0, time_mask: 0, dropped_columns: 0.0, stochastic_depth: 0.0, ..how.clone() };
    for (folder, first) in [
        (small_ced(dir.path()), "encoder.blocks.0.attn.qkv.weight"),
        (
            PathBuf::from("tests/golden/ast/small"),
            "audio_spectrogram_transformer.encoder.layer.0.attention.attention.query.weight",
        ),
    ] {
        let tuned = |how: &FineTune| fine_tune(&config, Listener::open(&folder, Device::Cpu).unwrap(), how).unwrap();
        let at_once = tuned(&plain);
        assert!(at_once.history[3].train_loss < at_once.history[0].train_loss, "{at_once}");
        let whole = tuned(&how);
        assert_eq!(whole.history.len(), 4);
        assert!(whole.history[0].validation_loss.is_some());
        // The same seed, the same network; and parts of a batch for want of memory come to the same but for rounding.
        assert_eq!(tuned(&how).evaluation, whole.evaluation);
        let in_parts = tuned(&FineTune { memory_bytes: 0.0, ..plain.clone() });
        for (part, whole) in in_parts.history.iter().zip(&at_once.history) {
            assert!((part.train_loss - whole.train_loss).abs() < 1e-3, "{} and {}", part.train_loss, whole.train_loss);
        }

        let saved = dir.path().join("tuned");
        whole.save(&saved).unwrap();
        let mut again = Listener::open(&saved, Device::Cpu).unwrap();
        let catalog = audio_transformer::open_catalog(&config).unwrap();
        for clip in &whole.evaluation.one_class().unwrap().clips {
            let (label, probability) =
                again.predict_file(&catalog.audio_dir.join(&clip.filename)).unwrap().ranked[0].clone();
            assert_eq!(label, whole.evaluation.one_class().unwrap().labels[clip.predicted]);
            assert!((f64::from(probability) - clip.confidence()).abs() < 1e-4);
        }
        let weights = |folder: &Path| {
            let all = tch::Tensor::read_safetensors(folder.join("model.safetensors")).unwrap();
            all.into_iter().find(|(name, _)| name == first).unwrap().1
        };
        assert_ne!(weights(&saved), weights(&folder));
        tuned(&FineTune { frozen_blocks: 1, ..how.clone() }).save(&saved).unwrap();
        assert_eq!(weights(&saved), weights(&folder));
    }
    let released = Listener::open(RELEASED, Device::Cpu).unwrap();
    let message = fine_tune(&config, released, &how).err().unwrap().to_string();
    assert!(message.contains("which `train` trains"), "{message}");
}

/// Ends a run before the second step of an epoch, as if its process had ended there.
struct StopIn {
    epoch: usize,
    now: usize,
    steps: usize,
    said: Vec<String>,
}

impl Observer for StopIn {
    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    fn epoch_begins(&mut self, epoch: usize, _epochs: usize, _n_clips: usize) {
        (self.now, self.steps) = (epoch, 0);
    }

    fn step_ends(&mut self, _n_clips: usize) {
        self.steps += 1;
    }

    fn epoch_ends(&mut self, _history: &[EpochRecord], _epochs: usize) {}

    fn is_stopped(&self) -> bool {
        self.now == self.epoch && self.steps == 1
    }
}

#[test]
fn a_fine_tuning_that_was_stopped_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    acquire(&config).unwrap();
    let folder = small_ced(dir.path());
    let how = FineTune { epochs: 4, learning_rate: 3e-4, ..Default::default() };
    let run = |how: &FineTune, epoch: usize| {
        let mut observer = StopIn { epoch, now: 0, steps: 0, said: Vec::new() };
        let tuned = fine_tune_observed(&config, Listener::open(&folder, Device::Cpu).unwrap(), how, &mut observer);
        (tuned, observer.said)
    };
    let weights = |tuned: audio_transformer::FineTuned| {
        tuned.save(&dir.path().join("tuned")).unwrap();
        fs::read(dir.path().join("tuned/model.safetensors")).unwrap()
    };
    let whole = weights(run(&how, 0).0.unwrap());
    // TinyAST's own run of this name has other files.
    let mut named = config.clone();
    named.train.run_name.push_str("-tuned");
    let state = paths::state_path(&named);
    assert!(!state.exists() && paths::history_path(&named).exists() && !paths::history_path(&config).exists());
    for epoch in [3, 4] {
        let error = run(&how, epoch).0.err().unwrap();
        assert!(matches!(&error, Error::Stopped { epoch: done, epochs: 4, .. } if *done == epoch - 1), "{error}");
    }
    // Of other settings, it begins anew.
    let (other, said) = run(&FineTune { layer_decay: 0.5, ..how.clone() }, 2);
    assert!(other.is_err() && said.iter().any(|line| line.contains("other settings")), "{said:?}");
    assert!(run(&how, 3).0.is_err());
    let (tuned, said) = run(&how, 0);
    let tuned = tuned.unwrap();
    assert!(said.iter().any(|line| line == "going on after epoch 2 of 4"), "{said:?}");
    assert_eq!(tuned.history.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(weights(tuned) == whole, "other weights than without a stop");
    assert!(!state.exists());
}

/// Recordings of one or two of four sounds of the demo, by a table with their labels, in five folds.
fn one_or_two_at_once(dir: &Path) -> Config {
    let root = dir.join("both");
    fs::create_dir_all(&root).unwrap();
    let names = ["tone", "chirp", "bell", "noise"];
    let kinds = [0, 1, 4, 7];
    let mut table = "fname,labels,fold\n".to_owned();
    for fold in 1..=5 {
        for (a, b) in [(0, 0), (1, 1), (2, 2), (3, 3), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let mut sound = demo::synthesize(9, kinds[a], fold, 10 * a + b, 0);
            let other = demo::synthesize(9, kinds[b], fold, 50 + 10 * a + b, 0);
            if a != b {
                sound.samples.iter_mut().zip(&other.samples).for_each(|(x, y)| *x = 0.5 * (*x + y));
            }
            write_wav(&root.join(format!("{fold}{a}{b}.wav")), &sound).unwrap();
            let labels = if a == b { names[a].to_owned() } else { format!("\"{},{}\"", names[a], names[b]) };
            table += &format!("{fold}{a}{b},{labels},{fold}\n");
        }
    }
    fs::write(root.join("labels.csv"), table).unwrap();
    let mut config = config(dir);
    config.data.source = DataSource::Folder(root);
    config
}

#[test]
fn recordings_of_several_classes_are_probed_fine_tuned_and_named_each_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let config = one_or_two_at_once(dir.path());
    let catalog = acquire(&config).unwrap();
    assert!(catalog.is_multi_label());
    for (name, folder) in [("ced", small_ced(dir.path())), ("ast", PathBuf::from("tests/golden/ast/small"))] {
        let mut listener = Listener::open(&folder, Device::Cpu).unwrap();
        let probe = probe(&config, &mut listener).unwrap();
        let scored = probe.evaluation.several_classes().unwrap();
        assert_eq!((scored.clips.len(), scored.test_fold, probe.tried.len()), (10, 5, 9));
        assert_eq!(scored.clips.iter().map(|clip| clip.actual.len()).sum::<usize>(), 16);
        // Random weights hear more than nothing.
        assert!(scored.mean_average_precision() > scored.chance() + 0.1, "{probe}");
        // The picture has the recordings of one class.
        assert_eq!(probe.embeddings.clips.len(), 4);
        let saved = dir.path().join("saved").join(name);
        probe.save(listener, &saved).unwrap();
        same_probabilities(&saved, &catalog, scored);

        let plain = FineTune { freq_mask: 0, time_mask: 0, dropped_columns: 0.0, ..Default::default() };
        let how = FineTune { epochs: 5, learning_rate: 3e-4, stochastic_depth: 0.0, ..plain };
        let tuned = fine_tune(&config, Listener::open(&folder, Device::Cpu).unwrap(), &how).unwrap();
        let scored = tuned.evaluation.several_classes().unwrap();
        assert!(scored.mean_average_precision() > scored.chance(), "{tuned}");
        // Of classes by themselves, a network that knows nothing has the loss ln 2.
        assert!(tuned.history.iter().any(|epoch| epoch.train_loss < 2f64.ln() - 0.1), "{:?}", tuned.history);
        assert!(tuned.history[4].validation_loss.is_some());
        tuned.save(&saved).unwrap();
        same_probabilities(&saved, &catalog, scored);
    }
    // TinyAST's embeddings as well.
    let mut released = Listener::open(RELEASED, Device::Cpu).unwrap();
    let probe = probe(&config, &mut released).unwrap();
    assert!(probe.to_string().contains("mean average precision"), "{probe}");
    // What stands on one class a recording refuses, and names those that take several.
    for message in [
        preprocess(&config).unwrap_err().to_string(),
        Taught::from_catalog(released, &catalog, 2, 5).err().unwrap().to_string(),
    ] {
        assert!(message.contains("fine_tune") && message.contains("one class each"), "{message}");
    }
}

/// A saved network says of a fold's recordings what was scored, each class by itself.
fn same_probabilities(saved: &Path, catalog: &Catalog, scored: &MultiLabelEvaluation) {
    let mut again = Listener::open(saved, Device::Cpu).unwrap();
    assert!(again.is_multi_label() && again.labels() == &scored.labels[..]);
    for clip in &scored.clips {
        let prediction = again.predict_file(&catalog.audio_dir.join(&clip.filename)).unwrap();
        for (label, probability) in prediction.ranked {
            let class = scored.labels.iter().position(|other| *other == label).unwrap();
            assert!((probability - clip.probabilities[class]).abs() < 1e-4, "{}: {label}", clip.filename);
        }
    }
}

#[test]
fn an_ast_hears_no_more_frames_than_the_recordings_have() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("short");
    for class in 0..3 {
        for source in 0..3 {
            let mut sound = demo::synthesize(7, class, 1, source, 0);
            sound.samples.truncate(44_100 / 2);
            let path = root.join(format!("class-{class}/{source}.wav"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_wav(&path, &sound).unwrap();
        }
    }
    let mut config = config(dir.path());
    config.data.source = DataSource::Folder(root.clone());
    acquire(&config).unwrap();
    let listener = Listener::open("tests/golden/ast/small", Device::Cpu).unwrap();
    let tuned = fine_tune(&config, listener, &FineTune { epochs: 1, ..Default::default() }).unwrap();
    let saved = dir.path().join("tuned");
    tuned.save(&saved).unwrap();
    let text = fs::read_to_string(saved.join("config.json")).unwrap();
    assert!(text.contains("\"max_length\": 48"), "{text}");
    let mut again = Listener::open(&saved, Device::Cpu).unwrap();
    for clip in &tuned.evaluation.one_class().unwrap().clips {
        let prediction = again.predict_file(&root.join(&clip.filename)).unwrap();
        assert_eq!(prediction.windows, 1);
        assert!((f64::from(prediction.ranked[0].1) - clip.confidence()).abs() < 1e-4);
    }
}

/// Networks for `tests/export/check.py`, with what they say of an input, where `EXPORT_DIR` names a folder for them.
#[test]
fn fine_tuned_networks_are_left_for_python() {
    let Some(exports) = std::env::var_os("EXPORT_DIR").map(PathBuf::from) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    acquire(&config).unwrap();
    for (name, folder) in [("ced", small_ced(dir.path())), ("ast", PathBuf::from("tests/golden/ast/small"))] {
        let listener = Listener::open(&folder, Device::Cpu).unwrap();
        let how = FineTune { epochs: 1, learning_rate: 1e-3, ..Default::default() };
        let saved = exports.join(format!("fine-tuned-{name}"));
        fine_tune(&config, listener, &how).unwrap().save(&saved).unwrap();
        let mut network = Pretrained::open(&saved, Device::Cpu).unwrap();
        let sound = demo::synthesize(7, 4, 1, 0, 0);
        let mut resampler = FeatureExtractor::new(&FeatureConfig::default()).unwrap();
        let samples = resampler.resample(&sound.samples, sound.sample_rate).unwrap();
        let samples = &samples[..20_000];
        let heard = network.hear(samples).unwrap();
        let logits = network.logits(&heard.embedding()).detach();
        let pair = [("samples", tch::Tensor::from_slice(samples)), ("logits", logits)];
        tch::Tensor::write_safetensors(&pair, saved.join("answer.safetensors")).unwrap();
    }
}

#[test]
fn classes_are_taught_by_examples_and_another_one_changes_none_before() {
    let dir = tempfile::tempdir().unwrap();
    let root = examples(dir.path(), 5);
    for network in [small_ced(dir.path()), PathBuf::from(RELEASED)] {
        let mut taught = Taught::from_folder(Listener::open(&network, Device::Cpu).unwrap(), &root).unwrap();
        let (right, all) = taught.leave_one_out();
        // A network of random weights hears too little to be asked; one that has learned hears sounds that it was not trained on.
        if network == Path::new(RELEASED) {
            assert!(all == 20 && right >= 15, "{right} of {all}");
            let others = (0..40).filter(|i| {
                let sound = demo::synthesize(8, i % 4, 2, 50 + i, 0);
                taught.ask(&sound, Path::new("asked")).unwrap().classes[0].label == format!("class-{}", i % 4)
            });
            let right = others.count();
            assert!(right >= 30, "{right} of 40");
        }
        let before = taught.ask(&asked(0), Path::new("asked")).unwrap();
        let fifth: Vec<PathBuf> = (0..5)
            .map(|source| {
                let path = dir.path().join(format!("fifth-{source}.wav"));
                write_wav(&path, &demo::synthesize(7, 5, 1, source, 0)).unwrap();
                path
            })
            .collect();
        taught.teach("fifth", &fifth).unwrap();
        assert_eq!(taught.labels().len(), 5);
        let after = taught.ask(&asked(0), Path::new("asked")).unwrap();
        for class in &before.classes {
            let again = after.classes.iter().find(|other| other.label == class.label).unwrap();
            assert_eq!(again.probability, class.probability);
        }
        if network == Path::new(RELEASED) {
            assert_eq!(taught.ask(&demo::synthesize(7, 5, 1, 0, 0), Path::new("asked")).unwrap().name, "fifth");
        }

        let path = dir.path().join("taught.json");
        taught.save(&path).unwrap();
        let mut again = Taught::load(Listener::open(&network, Device::Cpu).unwrap(), &path).unwrap();
        assert_eq!(again.ask(&asked(0), Path::new("asked")).unwrap(), after);
    }
    // What one network was taught means nothing to another.
    let path = dir.path().join("taught.json");
    let error = Taught::load(Listener::open(small_ced(dir.path()), Device::Cpu).unwrap(), &path).err().unwrap();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
}

#[test]
fn what_cannot_be_taught_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let listener = || Listener::open(small_ced(dir.path()), Device::Cpu).unwrap();
    let told = |root: &Path| Taught::from_folder(listener(), root).err().unwrap().to_string();
    let root = examples(dir.path(), 1);
    assert!(Taught::from_folder(listener(), &root).is_ok());
    fs::create_dir_all(root.join("empty")).unwrap();
    assert!(told(&root).contains("none of \"empty\""), "{}", told(&root));
    let silence = Waveform { samples: vec![0.0; 16_000], sample_rate: 16_000 };
    write_wav(&root.join("empty/silent.wav"), &silence).unwrap();
    assert!(told(&root).contains("silent"), "{}", told(&root));
    fs::write(root.join("empty/silent.wav"), "RIFF and no more").unwrap();
    assert!(told(&root).contains("silent.wav"), "{}", told(&root));
    assert!(told(&root.join("empty")).contains("a folder for each of two classes"));
    // Silence is none of what was taught.
    let mut taught = Taught::from_folder(listener(), &examples(&dir.path().join("other"), 2)).unwrap();
    assert_eq!(taught.ask(&silence, Path::new("silence")).unwrap().name, "none of these");
}

#[test]
fn what_was_recorded_is_taught_and_before_it_what_was_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let by_ear = |root: &Path| Taught::by_ear(Listener::open(small_ced(dir.path()), Device::Cpu).unwrap(), root);
    let stand_ins = by_ear(&dir.path().join("not yet")).unwrap();
    assert_eq!(stand_ins.labels(), ["bell (synthesised)", "clicks (synthesised)", "noise (synthesised)"]);
    assert_eq!(stand_ins.leave_one_out().1, 9);
    // A button that was not pressed leaves an empty folder, which is no class; one sound alone is told from nothing.
    let root = dir.path().join("mine");
    for sound in ["snap", "whistle", "knock"] {
        fs::create_dir_all(root.join(sound)).unwrap();
    }
    assert_eq!(by_ear(&root).unwrap().labels(), stand_ins.labels());
    write_wav(&root.join("snap/take.wav"), &demo::synthesize(7, 5, 1, 0, 0)).unwrap();
    let message = by_ear(&root).err().unwrap().to_string();
    assert!(message.contains("two sounds or more") && message.contains("\"snap\" alone"), "{message}");
    write_wav(&root.join("whistle/take.wav"), &demo::synthesize(7, 4, 1, 0, 0)).unwrap();
    let mut taught = by_ear(&root).unwrap();
    assert_eq!(taught.labels(), ["snap", "whistle"]);
    let answer = taught.ask(&demo::synthesize(7, 4, 1, 1, 0), Path::new("asked")).unwrap();
    assert_eq!(answer.classes.len(), 2);
}

#[test]
fn what_is_saved_is_the_very_network() {
    let dir = tempfile::tempdir().unwrap();
    for folder in [small_ced(dir.path()), PathBuf::from("tests/golden/ast/small")] {
        let network = Pretrained::open(&folder, Device::Cpu).unwrap();
        let saved = dir.path().join("saved");
        network.save(&saved).unwrap();
        let again = Pretrained::open(&saved, Device::Cpu).unwrap();
        let (ours, theirs) = (again.variables().variables(), network.variables().variables());
        assert_eq!(ours.len(), theirs.len());
        for (name, values) in theirs {
            assert_eq!(ours[&name], values, "{name}");
        }
        // Training a network does not reach the file that it was read from.
        let before = fs::read(saved.join("model.safetensors")).unwrap();
        tch::no_grad(|| again.variables().variables().values_mut().for_each(|values| _ = values.fill_(1.0)));
        assert_eq!(fs::read(saved.join("model.safetensors")).unwrap(), before);
    }
}

/// Something done to a folder.
type Change = Box<dyn FnOnce(&Path)>;

/// What opening a folder says after a change to it.
fn refused(change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let folder = small_ced(dir.path());
    change(&folder);
    let error = Pretrained::open(&folder, Device::Cpu).err().expect("an error");
    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
    error.to_string()
}

fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn folders_that_hold_something_else_are_refused_by_name() {
    let weights = "model.safetensors";
    let cases: [(&str, Change); 15] = [
        (
            "feature_extractor_type CedFeatureExtractor, found Wav2Vec2FeatureExtractor",
            Box::new(|folder| {
                let other = "{\"feature_extractor_type\": \"Wav2Vec2FeatureExtractor\"}";
                fs::write(folder.join("preprocessor_config.json"), other).unwrap();
            }),
        ),
        ("found no such file", Box::new(|folder| fs::remove_file(folder.join("config.json")).unwrap())),
        ("expected JSON", Box::new(|folder| fs::write(folder.join("config.json"), "{").unwrap())),
        ("found \"wav2vec2\"", Box::new(|folder| edit(folder, "\"ced\"", "\"wav2vec2\""))),
        ("found no weights", Box::new(move |folder| fs::remove_file(folder.join(weights)).unwrap())),
        (
            "found pytorch_model.bin alone",
            Box::new(move |folder| fs::rename(folder.join(weights), folder.join("pytorch_model.bin")).unwrap()),
        ),
        (
            "a whole safetensors file",
            Box::new(move |folder| {
                let bytes = fs::read(folder.join(weights)).unwrap();
                fs::write(folder.join(weights), &bytes[..bytes.len() / 2]).unwrap();
            }),
        ),
        ("missing encoder.blocks.3.attn.proj.bias", Box::new(|folder| edit(folder, "\"depth\": 3", "\"depth\": 4"))),
        ("unexpected encoder.blocks.2.attn.proj.bias", Box::new(|folder| edit(folder, "\"depth\": 3", "\"depth\": 2"))),
        (
            "outputlayer.1.bias as [11] in place of [12]",
            Box::new(|folder| edit(folder, "\"outputdim\": 11", "\"outputdim\": 12")),
        ),
        ("num_heads", Box::new(|folder| edit(folder, "\"num_heads\": 3", "\"num_heads\": 5"))),
        (
            "unknown variant `token`, expected `mean` or `logit`",
            Box::new(|folder| edit(folder, "\"mean\"", "\"token\"")),
        ),
        ("as its config has", Box::new(|folder| edit(folder, "\"embed_dim\": 48", "\"embed_dim\": 4080"))),
        ("id2label", Box::new(|folder| edit(folder, "\"outputdim\"", "\"id2label\": {\"0\": \"a\"}, \"outputdim\""))),
        (
            "feature_size 64",
            Box::new(|folder| fs::write(folder.join("preprocessor_config.json"), "{\"feature_size\": 128}").unwrap()),
        ),
    ];
    for (words, change) in cases {
        let message = refused(change);
        assert!(message.contains(words), "{words:?} is not in: {message}");
    }
    // An AST's normalisation cannot be guessed.
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(Path::new("tests/golden/ast/small").join(name), dir.path().join(name)).unwrap();
    }
    let message = Pretrained::open(dir.path(), Device::Cpu).err().unwrap().to_string();
    assert!(message.contains("preprocessor_config.json"), "{message}");
}

#[test]
fn a_recording_that_is_heard_twice_is_told_as_far_as_it_was_heard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.wav");
    // Silence, something faint, and behind it something so loud that what was before has to be heard once more.
    let mut samples: Vec<f32> =
        (0..40 * 16_000).map(|n| 0.5 * (n as f32 * 0.37).sin() * (n as f32 * 1e-3).cos()).collect();
    samples[..64_000].fill(0.0);
    samples[64_000..200_000].iter_mut().for_each(|sample| *sample *= 1e-3);
    write_wav(&path, &Waveform { samples, sample_rate: 16_000 }).unwrap();
    let samples = audio::read(&path).unwrap().samples;
    let mut listener = Listener::open(small_ced(dir.path()), Device::Cpu).unwrap();
    let mut until = |calls: usize| {
        let mut shares = Vec::new();
        let (prediction, is_whole) = listener
            .predict_file_while(&path, &mut |share| {
                shares.push(share);
                shares.len() < calls
            })
            .unwrap();
        (prediction, is_whole, shares)
    };
    let (whole, is_whole, shares) = until(usize::MAX);
    let first = 1 + shares.windows(2).position(|pair| pair[1] < pair[0]).expect("it comes twice");
    assert!(is_whole && whole.duration_s == 40.0 && shares.len() == 2 * first);
    for calls in [first - 2, first + first / 2] {
        let (told, is_whole, shares) = until(calls);
        assert!(!is_whole && shares.len() == calls, "nobody is asked again");
        let n_samples = (told.duration_s * 16_000.0).round() as usize;
        let share = shares[calls - 1];
        assert!((told.duration_s / 40.0 - share).abs() < 0.06, "{} s at {share}", told.duration_s);
        if calls < first {
            // As if the file had ended there.
            let beginning = Waveform { samples: samples[..n_samples].to_vec(), sample_rate: 16_000 };
            let expected = until_end(&mut Listener::open(small_ced(dir.path()), Device::Cpu).unwrap(), &beginning);
            assert_eq!((told.ranked, told.timeline.len()), expected);
        }
    }
}

fn until_end(listener: &mut Listener, waveform: &Waveform) -> (Vec<(String, f32)>, usize) {
    let prediction = listener.predict(waveform, Path::new("beginning")).unwrap();
    (prediction.ranked, prediction.timeline.len())
}
