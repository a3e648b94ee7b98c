//! Our side of `bench/run.py training`: takes jobs as lines of JSON, answers each with a line of JSON.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::config::{
    Config, DataConfig, DataSource, DeviceChoice, OptimizerChoice, Preset, TinyAstConfig, TrainConfig,
};
use audio_transformer::internals::dataset::demo::{self, Recipe};
use audio_transformer::internals::dataset::metadata::FeatureSettings;
use audio_transformer::internals::dataset::preprocess::preprocess;
use audio_transformer::internals::dataset::processed::Dataset;
use audio_transformer::internals::distributed::peers::Alone;
use audio_transformer::internals::model::seed::with_seed;
use audio_transformer::internals::model::tensors::{self, Precision};
use audio_transformer::internals::model::tiny_ast::TinyAst;
use audio_transformer::internals::results::predict::{Classifier, Prediction};
use audio_transformer::internals::training::checkpoint::{self, CheckpointInfo};
use audio_transformer::internals::training::device;
use audio_transformer::internals::training::flat_weights::FlatWeights;
use audio_transformer::internals::training::loader::Loader;
use audio_transformer::internals::training::loss::cross_entropy;
use audio_transformer::internals::training::optim::{Average, Optimizer, clip};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, Tensor};

/// As in ESC-10 and the demo data set.
const NUM_CLASSES: usize = 10;
/// The most probable classes that an answer names.
const TOP: usize = 5;

#[derive(Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
enum Job {
    /// How many threads libtorch works with.
    Threads,
    /// Starts a run: its network, its batch and the logits of both go to a file, described by the preset's settings.
    Start { preset: Name, path: PathBuf },
    /// Steps of a run that was started.
    Steps { preset: Name, n_steps: usize },
    /// Writes a checkpoint of the quick preset with fresh weights.
    Checkpoint { path: PathBuf },
    /// WAV → most probable classes, the checkpoint being loaded.
    Predict { checkpoint: PathBuf, recording: PathBuf, times: usize },
    /// Data set in the folder → batches of the good preset.
    Batches { folder: PathBuf, n_batches: usize },
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
enum Name {
    Quick,
    Good,
}

impl Name {
    fn preset(self) -> Preset {
        match self {
            Name::Quick => Preset::Quick,
            Name::Good => Preset::Good,
        }
    }
}

type Answer = Result<Value, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut runs, mut classifier, mut loader) = (HashMap::new(), None, None);
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Job::Threads => json!({ "threads": tch::get_num_threads() }),
            Job::Start { preset, path } => {
                let run = Run::new(preset.preset(), &path)?;
                let answer = json!({ "parameters": run.model.config().n_parameters(NUM_CLASSES) });
                runs.insert(preset, run);
                answer
            }
            Job::Steps { preset, n_steps } => runs.get_mut(&preset).ok_or("no such run was started")?.steps(n_steps)?,
            Job::Checkpoint { path } => write_checkpoint(&path)?,
            Job::Predict { checkpoint, recording, times } => {
                let classifier = match &mut classifier {
                    Some(classifier) => classifier,
                    none => none.insert(Classifier::load(&checkpoint, Device::Cpu)?),
                };
                predict(classifier, &recording, times)?
            }
            Job::Batches { folder, n_batches } => {
                let loader = match &loader {
                    Some(loader) => loader,
                    None => loader.insert(open_loader(&folder)?),
                };
                batches(loader, n_batches)
            }
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// A run over one batch that stays the same.
struct Run {
    model: TinyAst,
    weights: FlatWeights,
    optimizer: Optimizer,
    average: Average,
    config: TrainConfig,
    inputs: Tensor,
    targets: Tensor,
}

impl Run {
    fn new(preset: Preset, path: &Path) -> Result<Self, Box<dyn Error>> {
        let (model_config, config) = (preset.model(), training(preset));
        let device = device()?;
        let vs = VarStore::new(device);
        let model = TinyAst::new(vs.root(), &model_config, NUM_CLASSES, config.seed)?;
        let (inputs, targets) = batch(&model_config, &config);
        let (inputs, targets) = (inputs.to_device(device), targets.to_device(device));
        let logits = tch::no_grad(|| model.forward_t(&inputs, false));
        let mut contents: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
        for (name, tensor) in [("inputs", &inputs), ("targets", &targets), ("logits", &logits)] {
            contents.push((name.to_owned(), tensor.shallow_clone()));
        }
        contents.iter_mut().for_each(|(_, tensor)| *tensor = tensor.to_device(Device::Cpu));
        tensors::write(
            path,
            &contents,
            Precision::Single,
            &json!({ "model": model_config, "train": config }).to_string(),
        )?;
        let weights = FlatWeights::new(&vs)?;
        let optimizer = Optimizer::new(&weights, config.optimizer, config.weight_decay);
        let average = Average::new(&weights, config.ema_decay);
        Ok(Run { model, weights, optimizer, average, config, inputs, targets })
    }

    /// Median seconds of a step and of its parts.
    fn steps(&mut self, n_steps: usize) -> Answer {
        let mut clocks = BTreeMap::<&str, Vec<f64>>::new();
        for _ in 0..n_steps {
            for (part, seconds) in self.step()? {
                clocks.entry(part).or_default().push(seconds);
            }
        }
        let mut medians: BTreeMap<_, _> = clocks.into_iter().map(|(part, seconds)| (part, median(seconds))).collect();
        Ok(json!({ "seconds": medians.remove("step"), "parts": medians }))
    }

    /// What `train` does with a batch.
    fn step(&mut self) -> Result<[(&'static str, f64); 4], Box<dyn Error>> {
        let start = Instant::now();
        let seed = self.optimizer.step as u64;
        let logits = with_seed(seed, || self.model.forward_t(&self.inputs, true));
        let loss = cross_entropy(&logits, &self.targets, self.config.label_smoothing);
        let forward_s = start.elapsed().as_secs_f64();
        let mut gradient = self.weights.gradient(&loss)?;
        let backward_s = start.elapsed().as_secs_f64();
        if let Some(max_norm) = self.config.max_grad_norm {
            clip(&mut gradient, max_norm);
        }
        self.optimizer.step(&mut self.weights, &gradient, self.config.learning_rate);
        self.average.update(&self.weights, self.optimizer.step);
        let loss = loss.double_value(&[]);
        let step_s = start.elapsed().as_secs_f64();
        if !loss.is_finite() {
            return Err(format!("the loss is {loss}").into());
        }
        let (backward, update) = (backward_s - forward_s, step_s - backward_s);
        Ok([("step", step_s), ("forward", forward_s), ("backward", backward), ("update", update)])
    }
}

/// Where steps are taken: `BENCH_DEVICE=cuda`, or the processor.
fn device() -> Result<Device, Box<dyn Error>> {
    let is_cuda = std::env::var("BENCH_DEVICE").is_ok_and(|name| name == "cuda");
    Ok(device::select(if is_cuda { DeviceChoice::Cuda } else { DeviceChoice::Cpu })?)
}

/// A preset's training, the good one's in batches of 64 and, as its peer, by AdamW.
fn training(preset: Preset) -> TrainConfig {
    match preset {
        Preset::Quick => preset.train(),
        Preset::Good | Preset::Fitted => {
            TrainConfig { batch_size: 64, optimizer: OptimizerChoice::AdamW, ..preset.train() }
        }
    }
}

/// A batch without a pattern: noise, and targets as soft as mixing makes them; whole ones when nothing is mixed.
fn batch(model: &TinyAstConfig, train: &TrainConfig) -> (Tensor, Tensor) {
    let (batch, classes) = (train.batch_size as i64, NUM_CLASSES as i64);
    let (n_mels, n_frames) = (model.input_size.0 as i64, model.input_size.1 as i64);
    with_seed(train.seed, || {
        let inputs = Tensor::randn([batch, 1, n_mels, n_frames], (Kind::Float, Device::Cpu));
        let target =
            || Tensor::randint(classes, [batch], (Kind::Int64, Device::Cpu)).one_hot(classes).to_kind(Kind::Float);
        let targets = match train.augment.is_off() {
            true => target(),
            false => target() * 0.75 + target() * 0.25,
        };
        (inputs, targets)
    })
}

fn write_checkpoint(path: &Path) -> Answer {
    let config = Config::default();
    let vs = VarStore::new(Device::Cpu);
    TinyAst::new(vs.root(), &config.model, NUM_CLASSES, config.train.seed)?;
    let info = CheckpointInfo {
        dataset: "none".into(),
        labels: (0..NUM_CLASSES).map(|class| format!("class {class}")).collect(),
        settings: FeatureSettings::new(&config.clip, &config.features),
        model: config.model,
        train: config.train,
        test_fold: 1,
        seen_sources: Vec::new(),
        epoch: 0,
        calibration: None,
    };
    checkpoint::save(path, &vs, &info, None, Precision::Single)?;
    Ok(json!({}))
}

fn predict(classifier: &mut Classifier, recording: &Path, times: usize) -> Answer {
    let (mut seconds, mut answer) = (Vec::with_capacity(times), Vec::new());
    for _ in 0..times {
        let start = Instant::now();
        answer = top(&classifier.predict_file(recording)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(json!({ "seconds": median(seconds), "top": answer }))
}

fn top(prediction: &Prediction) -> Vec<(String, f32)> {
    prediction.ranked.iter().take(TOP).cloned().collect()
}

/// The training clips of the demo data set, which is made when missing.
fn open_loader(folder: &Path) -> Result<Loader, Box<dyn Error>> {
    let (root, processed_dir) = (folder.join("demo"), folder.join("processed"));
    demo::make(&root, Recipe::new(0, 8))?;
    let source = DataSource::Folder(root);
    let data = DataConfig { source, processed_dir, metadata_path: None, ..DataConfig::default() };
    let train = TrainConfig { loader_threads: 0, ..training(Preset::Good) };
    let config = Config { data, model: Preset::Good.model(), train, ..Config::default() };
    preprocess(&config)?;
    let dataset = Dataset::open(&config)?;
    let split = dataset.split(&config.train)?;
    Ok(Loader::new(&config, &dataset, &split.train, Device::Cpu, &Alone)?)
}

fn batches(loader: &Loader, n_batches: usize) -> Value {
    let mut seconds = Vec::with_capacity(n_batches);
    for epoch in 0.. {
        let mut batches = loader.epoch(epoch);
        loop {
            let start = Instant::now();
            if black_box(batches.next()).is_none() {
                break;
            }
            seconds.push(start.elapsed().as_secs_f64());
        }
        if seconds.len() >= n_batches {
            break;
        }
    }
    json!({ "seconds": median(seconds) })
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
