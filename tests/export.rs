//! An exported network answers as the checkpoint it came from, in each of its forms. What Python makes of the same files is
//! compared by `tests/export/check.py`.
#![cfg(feature = "torch")]

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::config::{Config, Pooling, Preset, Stem, TinyAstConfig};
use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::dataset::metadata::FeatureSettings;
use audio_transformer::internals::front_end::audio::{self, Waveform};
use audio_transformer::internals::front_end::features::{FeatureConfig, FeatureExtractor};
use audio_transformer::internals::model::seed::with_seed;
use audio_transformer::internals::model::tensors::Precision;
use audio_transformer::internals::model::tiny_ast::{TinyAst, hugging_face};
use audio_transformer::internals::results::export::{
    CONFIG_FILE, Form, ONNX_FILE, TORCHSCRIPT_FILE, WEIGHTS_FILE, Weights, export, export_pretrained, export_with,
};
use audio_transformer::internals::results::predict::{Classifier, RELEASED};
use audio_transformer::internals::training::checkpoint::{self, CheckpointInfo};
use audio_transformer::{Architecture, Error, Pretrained};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;
use tch::nn::{ModuleT, VarStore};
use tch::{CModule, Device, Kind, Tensor};

/// The folder that `tests/export/check.py` reads; without it the same files go to one that is removed.
const FOLDER_VARIABLE: &str = "EXPORT_DIR";
/// More than were traced.
const BATCH: i64 = 7;

/// A checkpoint of a network whose parameters are all different, so that none can stand in another's place unnoticed.
fn checkpoint(dir: &Path, model: TinyAstConfig, precision: Precision) -> PathBuf {
    let config = Config::default();
    let info = CheckpointInfo {
        dataset: "none".into(),
        labels: ["wind", "bell", "owl"].map(String::from).to_vec(),
        settings: FeatureSettings::new(&config.clip, &config.features),
        model,
        train: config.train,
        test_fold: 1,
        seen_sources: vec!["a".into(), "b".into()],
        epoch: 0,
        calibration: None,
    };
    let vs = VarStore::new(Device::Cpu);
    TinyAst::new(vs.root(), &info.model, info.labels.len(), 5).unwrap();
    with_seed(6, || {
        for (name, mut variable) in vs.variables() {
            let noise = variable.randn_like() * 0.1;
            // Variances stay positive.
            let noise = if name.ends_with("running_var") { noise.abs() } else { noise };
            tch::no_grad(|| variable += noise);
        }
    });
    let path = dir.join("checkpoint.safetensors");
    checkpoint::save(&path, &vs, &info, None, precision).unwrap();
    path
}

/// Views without a pattern, and the checkpoint's own logits for them.
fn answers(checkpoint: &Path) -> (Tensor, Tensor) {
    let network = checkpoint::load(checkpoint, Device::Cpu).unwrap();
    let (n_mels, n_frames) = network.info.model.input_size;
    let shape = [BATCH, 1, n_mels as i64, n_frames as i64];
    let inputs = with_seed(7, || Tensor::randn(shape, (Kind::Float, Device::Cpu)));
    let logits = tch::no_grad(|| network.model.forward_t(&inputs, false));
    (inputs, logits)
}

fn assert_close(ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.size(), theirs.size());
    let difference = (ours - theirs).abs().max().double_value(&[]);
    assert!(difference < 1e-5, "{difference:e}");
}

fn config_of(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(CONFIG_FILE)).unwrap()).unwrap()
}

/// Every architecture that is no `ViTForImageClassification`: the good preset's, overlapping patches, other poolings.
fn own_architectures() -> Vec<TinyAstConfig> {
    let small = TinyAstConfig { depth: 2, ..Default::default() };
    let overlapping = Stem::Patches { patch_size: 16, stride: 8 };
    vec![
        Preset::Good.model(),
        TinyAstConfig { pooling: Pooling::ClassToken, ..Preset::Good.model() },
        TinyAstConfig { pooling: Pooling::Attention, stem: overlapping.clone(), ..small.clone() },
        TinyAstConfig { stem: overlapping, ..small.clone() },
        TinyAstConfig { pooling: Pooling::Mean, ..small },
    ]
}

#[test]
fn the_torchscript_answers_as_the_checkpoint_for_any_batch() {
    for model in own_architectures().into_iter().chain([Preset::Quick.model()]) {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), model, Precision::Single);
        let folder = dir.path().join("exported");
        export(&checkpoint, &folder).unwrap();
        // Its weights must be inside.
        fs::remove_file(folder.join(WEIGHTS_FILE)).unwrap();
        let module = CModule::load(folder.join(TORCHSCRIPT_FILE)).unwrap();
        let (inputs, logits) = answers(&checkpoint);
        for n in [1, 2, BATCH] {
            let theirs = module.forward_ts(&[inputs.narrow(0, 0, n)]).unwrap();
            assert_eq!(theirs.kind(), Kind::Float);
            assert_close(&logits.narrow(0, 0, n), &theirs);
        }
    }
}

#[test]
fn a_vit_comes_back_from_its_hugging_face_names() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint =
        checkpoint(dir.path(), TinyAstConfig { input_size: (64, 96), ..Preset::Quick.model() }, Precision::Half);
    let exported = export(&checkpoint, dir.path()).unwrap();
    assert_eq!((exported.form, exported.input_size, exported.num_classes), (Form::HuggingFace, (64, 96), 3));
    let info = checkpoint::load(&checkpoint, Device::Cpu).unwrap().info;
    let vs = VarStore::new(Device::Cpu);
    let model = TinyAst::new(vs.root(), &info.model, info.labels.len(), 0).unwrap();
    hugging_face::load(&dir.path().join(WEIGHTS_FILE), &vs).unwrap();
    let (inputs, logits) = answers(&checkpoint);
    assert_eq!(tch::no_grad(|| model.forward_t(&inputs, false)), logits);
    let config = config_of(dir.path());
    assert_eq!(config["image_size"], serde_json::json!([64, 96]));
    assert_eq!(
        (&config["patch_size"], &config["id2label"]["2"], &config["label2id"]["bell"]),
        (&8.into(), &"owl".into(), &1.into())
    );
}

#[test]
fn other_architectures_come_back_as_the_checkpoint_they_were() {
    for architecture in own_architectures() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), architecture, Precision::Half);
        let exported = export(&checkpoint, dir.path()).unwrap();
        assert_eq!(exported.form, Form::TinyAst);
        let (ours, weights) = (answers(&checkpoint), dir.path().join(WEIGHTS_FILE));
        assert_eq!(answers(&weights), ours);
        let (info, again) =
            [&checkpoint, &weights].map(|path| checkpoint::load(path, Device::Cpu).unwrap().info).into();
        assert_eq!(info, again);
    }
}

#[test]
fn the_configuration_loses_nothing_and_half_precision_becomes_whole() {
    for model in [Preset::Quick.model(), Preset::Good.model()] {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), model, Precision::Half);
        export(&checkpoint, dir.path()).unwrap();
        let told = config_of(dir.path())["audio_transformer"].take();
        let told: CheckpointInfo = serde_json::from_value(told).unwrap();
        assert_eq!(told, checkpoint::load(&checkpoint, Device::Cpu).unwrap().info);
        let bytes = fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert!(file.tensors().iter().all(|(_, view)| view.dtype() == Dtype::F32));
    }
}

#[test]
fn two_exports_of_one_checkpoint_are_the_same_to_the_byte() {
    for model in [Preset::Quick.model(), Preset::Good.model()] {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = checkpoint(dir.path(), model, Precision::Single);
        let [first, second] = ["first", "second"].map(|name| {
            let folder = dir.path().join(name);
            export(&checkpoint, &folder).unwrap();
            contents(&folder)
        });
        assert_eq!(first.len(), 4);
        assert!(first == second);
    }
}

/// Every file of a folder, hidden ones too.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| (path.file_name().unwrap().into(), fs::read(&path).unwrap());
    let mut contents: Vec<_> = entries.map(named).collect();
    contents.sort();
    contents
}

#[test]
fn a_checkpoint_that_cannot_be_read_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), Preset::Quick.model(), Precision::Half);
    let folder = dir.path().join("exported");
    export(&checkpoint, &folder).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let before = contents(&folder);
    let whole = fs::read(&checkpoint).unwrap();
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&checkpoint, &whole[..length]).unwrap();
        let error = export(&checkpoint, &folder).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }), "cut to {length} bytes: {error}");
    }
    fs::remove_file(&checkpoint).unwrap();
    assert!(matches!(export(&checkpoint, &folder).unwrap_err(), Error::StageMissing { .. }));
    assert!(before == contents(&folder));
    assert!(export(&checkpoint, &dir.path().join("another")).is_err() && !dir.path().join("another").exists());
}

#[test]
fn what_cannot_be_written_is_named_where_it_should_have_been() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path(), Preset::Quick.model(), Precision::Single);
    let file = dir.path().join("file");
    fs::write(&file, "no folder").unwrap();
    assert!(matches!(export(&checkpoint, &file).unwrap_err(), Error::Io { path, .. } if path == file));
    let folder = dir.path().join("exported");
    fs::create_dir_all(folder.join(WEIGHTS_FILE)).unwrap();
    let place = folder.join(WEIGHTS_FILE);
    assert!(matches!(export(&checkpoint, &folder).unwrap_err(), Error::Io { path, .. } if path == place));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "what was staged is gone");
}

#[test]
fn both_presets_are_exported_beside_what_python_compares() {
    let temporary = tempfile::tempdir().unwrap();
    let root = std::env::var_os(FOLDER_VARIABLE).map_or(temporary.path().to_path_buf(), PathBuf::from);
    let quick = checkpoint(temporary.path(), Preset::Quick.model(), Precision::Single);
    for (name, checkpoint) in [("quick", quick.as_path()), ("good", Path::new(RELEASED))] {
        let folder = root.join(name);
        export(checkpoint, &folder.join("exported")).unwrap();
        let (inputs, logits) = answers(checkpoint);
        inputs.write_npy(folder.join("inputs.npy")).unwrap();
        logits.write_npy(folder.join("logits.npy")).unwrap();
        assert_eq!(Tensor::read_npy(folder.join("logits.npy")).unwrap(), logits);
    }
    write_recording(&root.join("good"));
}

/// A recording at the network's own rate, so that no resampler stands between us and Python, and what the released model makes of it.
fn write_recording(folder: &Path) {
    let bell = demo::synthesize(0, 4, 1, 0, 0);
    let features = FeatureConfig::default();
    let samples = FeatureExtractor::new(&features).unwrap().resample(&bell.samples, bell.sample_rate).unwrap();
    let path = folder.join("recording.wav");
    audio::write_wav(&path, &Waveform { samples, sample_rate: features.sample_rate }).unwrap();
    let (probabilities, _) = Classifier::released().unwrap().probabilities(&audio::read(&path).unwrap()).unwrap();
    Tensor::from_slice(&probabilities).write_npy(folder.join("probabilities.npy")).unwrap();
}

/// Networks as ONNX for `tests/export/check.py`, in whole and in 8-bit numbers, each beside an input and what we say of it.
#[test]
fn every_network_is_left_for_the_runtimes_of_onnx() {
    let temporary = tempfile::tempdir().unwrap();
    let root = std::env::var_os(FOLDER_VARIABLE).map_or(temporary.path().to_path_buf(), PathBuf::from).join("onnx");
    let models = own_architectures().into_iter().chain([Preset::Quick.model()]);
    for (i, model) in models.enumerate() {
        let checkpoint = checkpoint(temporary.path(), model, Precision::Single);
        leave_checkpoint(&checkpoint, &root.join(format!("architecture-{i}")));
    }
    leave_checkpoint(Path::new(RELEASED), &root.join("released"));
    let ced = Pretrained::untrained(3).unwrap();
    with_seed(8, || {
        for (name, mut variable) in ced.variables().variables() {
            let noise = if name.contains("running") { variable.zeros_like() } else { variable.randn_like() * 0.1 };
            tch::no_grad(|| variable += noise);
        }
    });
    let ast = Pretrained::open(Path::new("tests/golden/ast/small"), Device::Cpu).unwrap();
    let Architecture::Ced(sizes) = ced.architecture() else { panic!("another architecture") };
    let whole = sizes.config().target_length as i64;
    let levels =
        |frames: i64| with_seed(9, || Tensor::randn([3, 64, frames], (Kind::Float, Device::Cpu)) * 16.0 - 30.0);
    leave_pretrained(&ced, &levels(whole), &root.join("ced"));
    leave_pretrained(&ced, &levels(48), &root.join("ced-short"));
    let Architecture::Ast(sizes) = ast.architecture() else { panic!("another architecture") };
    let shape = [3, sizes.config().max_length as i64, sizes.config().num_mel_bins as i64];
    let features = with_seed(10, || Tensor::randn(shape, (Kind::Float, Device::Cpu)));
    leave_pretrained(&ast, &features, &root.join("ast"));
}

fn leave_checkpoint(checkpoint: &Path, folder: &Path) {
    for (weights, name) in [(Weights::Int8, "int8"), (Weights::Float, "float")] {
        export_with(checkpoint, folder, weights).unwrap();
        fs::rename(folder.join(ONNX_FILE), folder.join(format!("{name}.onnx"))).unwrap();
    }
    let (inputs, logits) = answers(checkpoint);
    let embedding = checkpoint::load(checkpoint, Device::Cpu).unwrap().model.embed(&inputs, false).detach();
    leave(&inputs, &logits, &embedding, folder);
}

fn leave_pretrained(network: &Pretrained, features: &Tensor, folder: &Path) {
    for (weights, name) in [(Weights::Int8, "int8"), (Weights::Float, "float")] {
        export_pretrained(network, folder, weights).unwrap();
        fs::rename(folder.join(ONNX_FILE), folder.join(format!("{name}.onnx"))).unwrap();
    }
    let inputs = match network.architecture() {
        Architecture::Ced(ced) => ced.pieces(features),
        Architecture::Ast(_) => features.shallow_clone(),
    };
    let embedding = network.embed(&inputs, false);
    leave(features, &network.logits(&embedding).detach(), &embedding.detach(), folder);
}

fn leave(inputs: &Tensor, logits: &Tensor, embedding: &Tensor, folder: &Path) {
    for (name, tensor) in [("inputs", inputs), ("logits", logits), ("embedding", embedding)] {
        tensor.write_npy(folder.join(format!("{name}.npy"))).unwrap();
    }
}
