//! "None of these" put to the test: two of ESC-10's ten classes are left out of training in turn, and have to be told from the other eight.
//!
//! unknown run PAIR [FOLD]   train without the pair's classes (0 to 4), the fold held out (5 where none is named)
//! unknown table             every result so far
//!
//! It takes the recordings that `own_data make` left in target/own-data, trains as `Preset::Fitted` does by default (`MINUTES` in the
//! environment stands in for its budget), and compares four scores: the highest probability, the energy of the logits (Liu et al. 2020), the
//! distance that the crate uses, and outlier exposure behind the network (ridge regression that tells what it makes of recordings
//! trained on from what it makes of mixed and synthesised sounds). The threshold of each is where 5 % of the recordings that were kept out of
//! training fall beyond it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::config::{Config, DataConfig, DataSource, Preset};
use audio_transformer::internals::dataset::catalog::Catalog;
use audio_transformer::internals::model::tiny_ast::{predictions, stages};
use audio_transformer::internals::training::checkpoint::{self, Checkpoint};
use audio_transformer::internals::training::input;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Dataset, FeatureExtractor, acquire, audio, demo, preprocess, propose, train};
use tch::nn::ModuleT;
use tch::{Device, Kind, Tensor};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HOME: &str = "target/own-data";
const CHOICE_FOLD: u32 = 5;
const N_PAIRS: usize = 5;
const SCORES: [&str; 4] = ["highest probability", "energy", "outlier exposure", "distance"];
/// Mixed and synthesised sounds that stand for what is unknown.
const N_OUTLIERS: usize = 150;
const RIDGE: f64 = 10.0;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", pair] => run(pair.parse()?, CHOICE_FOLD),
        ["run", pair, fold] => run(pair.parse()?, fold.parse()?),
        ["table"] => table(),
        _ => Err("usage: unknown run PAIR [FOLD] | table".into()),
    }
}

/// What a network makes of a recording.
struct Heard {
    stages: Tensor,
    highest: f64,
    energy: f64,
    right: bool,
}

/// A network and what turns a recording into what it takes.
struct Ear {
    config: Config,
    checkpoint: Checkpoint,
    extractor: FeatureExtractor,
}

impl Ear {
    fn hear(&mut self, sound: &audio::Waveform, class: Option<&str>) -> Outcome<Heard> {
        let rate = self.config.features.sample_rate;
        let mut samples = self.extractor.resample(&sound.samples, sound.sample_rate)?;
        samples.resize(self.config.clip.n_samples(rate), 0.0);
        let inputs =
            input::of_clip(&self.extractor.extract(&samples, rate)?, &self.config.model, &self.config.features);
        let model = &self.checkpoint.model;
        let logits = tch::no_grad(|| model.forward_t(&inputs, false));
        let said = predictions(model, &inputs);
        let best = said.argmax(1, false).int64_value(&[0]) as usize;
        Ok(Heard {
            stages: stages(model, &inputs),
            highest: said.max().double_value(&[]),
            energy: logits.logsumexp(1, false).mean(Kind::Double).double_value(&[]),
            right: class == Some(&self.checkpoint.info.labels[best]),
        })
    }
}

fn folder() -> PathBuf {
    Path::new(HOME).join("unknown")
}

fn run(pair: usize, fold: u32) -> Outcome {
    let sets = Path::new(HOME).join("sets");
    let official = fs::read_to_string(sets.join("official.csv"))?;
    let rows: Vec<Vec<&str>> = official.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let mut classes: Vec<&str> = rows.iter().map(|row| row[1]).collect();
    classes.sort_unstable();
    classes.dedup();
    let left_out = [classes[pair], classes[pair + N_PAIRS]];
    let known = official.lines().filter(|line| !left_out.iter().any(|class| line.contains(&format!(",{class},"))));
    fs::create_dir_all(folder())?;
    let csv = folder().join(format!("without-{pair}.csv"));
    fs::write(&csv, known.collect::<Vec<_>>().join("\n") + "\n")?;
    let data = DataConfig {
        source: DataSource::Demo,
        raw_dir: sets.join("whole"),
        metadata_path: Some(csv),
        processed_dir: folder().join(format!("processed-{pair}")),
        models_dir: folder().join("models"),
        ..DataConfig::default()
    };
    let mut config = propose(Preset::Fitted, &Config { data, ..Preset::Fitted.settings() })?.config;
    (config.train.run_name, config.train.test_fold) = (format!("unknown-{pair}-{fold}"), Some(fold));
    if let Some(minutes) = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()) {
        config.train.minutes = Some(minutes);
    }
    let catalog = acquire(&config)?;
    preprocess(&config)?;
    println!("{}", train(&config)?);
    let scores = score(&config, &catalog, &rows, left_out)?;
    let path = folder().join(format!("result-{pair}-{fold}.json"));
    fs::write(path, serde_json::to_string(&(left_out, fold, scores))?)?;
    table()
}

/// Accuracy on the classes known, and for each score the area under its curve, and the shares of unknown sounds taken for known and of known
/// ones for unknown.
fn score(config: &Config, catalog: &Catalog, rows: &[Vec<&str>], left_out: [&str; 2]) -> Outcome<(f64, Vec<[f64; 3]>)> {
    let checkpoint = checkpoint::load(&checkpoint_path(config), Device::Cpu)?;
    let familiarity = checkpoint.familiarity.as_ref().ok_or("nothing was kept back")?;
    let distances = |heard: &[Heard]| {
        familiarity.distances_of(&Tensor::cat(&heard.iter().map(|one| &one.stages).collect::<Vec<_>>(), 0))
    };
    let mut ear = Ear {
        config: config.clone(),
        checkpoint: checkpoint::load(&checkpoint_path(config), Device::Cpu)?,
        extractor: FeatureExtractor::new(&config.features)?,
    };
    let dataset = Dataset::open(config)?;
    let split = dataset.split(&config.train)?;
    let of_split = |ear: &mut Ear, indices: &[usize]| -> Outcome<Vec<Heard>> {
        let of = |index: &usize| {
            let clip = &dataset.clips[*index];
            ear.hear(&audio::read(&catalog.audio_dir.join(&clip.filename))?, Some(&clip.category))
        };
        indices.iter().map(of).collect()
    };
    let trained = of_split(&mut ear, &split.train)?;
    let kept_back = of_split(&mut ear, &split.calibration)?;
    let known = of_split(&mut ear, &split.test)?;
    // Of every fold: no recording of these classes was trained on.
    let of_class = rows.iter().filter(|row| left_out.contains(&row[1]));
    let unknown = of_class
        .map(|row| ear.hear(&audio::read(&Path::new(HOME).join("sets/whole").join(row[0]))?, None))
        .collect::<Outcome<Vec<_>>>()?;
    let outliers = outliers(&mut ear, &dataset, &split.train, catalog)?;
    let exposed = exposure(&trained, &outliers);

    let of = |heard: &[Heard], score: &str| -> Outcome<Vec<f64>> {
        Ok(match score {
            "highest probability" => heard.iter().map(|one| one.highest).collect(),
            "energy" => heard.iter().map(|one| one.energy).collect(),
            "outlier exposure" => heard.iter().map(|one| exposed(&one.stages)).collect(),
            _ => distances(heard)?.into_iter().map(|distance| -f64::from(distance)).collect(),
        })
    };
    let mut results = Vec::new();
    for score in SCORES {
        let (known, unknown, mut kept_back) = (of(&known, score)?, of(&unknown, score)?, of(&kept_back, score)?);
        kept_back.sort_by(f64::total_cmp);
        // As the crate's share of recordings as far away: with n of them, no more than one in twenty of n + 1.
        let beyond = (0.05 * (kept_back.len() + 1) as f64) as usize;
        let is_known = |value: &f64| beyond == 0 || *value > kept_back[beyond - 1];
        let wins = |a: f64, b: f64| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let pairs = known.iter().flat_map(|&a| unknown.iter().map(move |&b| wins(a, b)));
        let area = pairs.sum::<f64>() / (known.len() * unknown.len()) as f64;
        let share = |values: &[f64], wanted: bool| {
            values.iter().filter(|value| is_known(value) == wanted).count() as f64 / values.len() as f64
        };
        results.push([area, share(&unknown, true), share(&known, false)]);
    }
    Ok((known.iter().filter(|one| one.right).count() as f64 / known.len() as f64, results))
}

/// Mixed sounds of two classes at the same level, and synthesised ones.
fn outliers(ear: &mut Ear, dataset: &Dataset, train: &[usize], catalog: &Catalog) -> Outcome<Vec<Heard>> {
    let mut heard = Vec::new();
    let sound = |place: usize| {
        let clip = &dataset.clips[train[place % train.len()]];
        Ok::<_, Box<dyn Error>>((clip.target, audio::read(&catalog.audio_dir.join(&clip.filename))?))
    };
    // Steps that share no factor with the number of clips meet every one.
    for i in 0..N_OUTLIERS {
        let ((one, a), (other, b)) = (sound(7 * i)?, sound(31 * i + 11)?);
        if one == other {
            continue;
        }
        let level = |sound: &audio::Waveform| {
            let square = sound.samples.iter().map(|sample| sample * sample).sum::<f32>();
            (square / sound.samples.len() as f32).sqrt().max(1e-6)
        };
        let (a_level, b_level) = (level(&a), level(&b));
        let samples = a.samples.iter().zip(&b.samples).map(|(x, y)| 0.1 * (x / a_level + y / b_level)).collect();
        heard.push(ear.hear(&audio::Waveform { samples, sample_rate: a.sample_rate }, None)?);
    }
    for i in 0..N_OUTLIERS {
        let take = i / 10;
        heard.push(ear.hear(&demo::synthesize(0, i % 10, 1 + take as u32 % 5, take, 0), None)?);
    }
    Ok(heard)
}

/// Ridge regression from what the network makes of a sound to 1 for recordings trained on and −1 for outliers.
fn exposure(trained: &[Heard], outliers: &[Heard]) -> impl Fn(&Tensor) -> f64 + use<> {
    let rows = |heard: &[Heard]| Tensor::cat(&heard.iter().map(|one| &one.stages).collect::<Vec<_>>(), 0);
    let all = Tensor::cat(&[rows(trained), rows(outliers)], 0).to_kind(Kind::Double);
    let (mean, std) = (all.mean_dim(0i64, true, Kind::Double), all.std_dim(0i64, true, true) + 1e-6);
    let x = (&all - &mean) / &std;
    let wanted: Vec<f64> = (0..x.size()[0]).map(|i| if (i as usize) < trained.len() { 1.0 } else { -1.0 }).collect();
    let n = x.size()[1];
    let normal = x.tr().matmul(&x) + Tensor::eye(n, (Kind::Double, Device::Cpu)) * RIDGE;
    let weights = Tensor::linalg_solve(&normal, &x.tr().matmul(&Tensor::from_slice(&wanted).unsqueeze(1)), true);
    move |stages| ((stages.to_kind(Kind::Double) - &mean) / &std).matmul(&weights).double_value(&[0, 0])
}

fn table() -> Outcome {
    type Result = ((String, String), u32, (f64, Vec<[f64; 3]>));
    let mut results: Vec<Result> = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("result-")) {
            results.push(serde_json::from_slice(&fs::read(path)?)?);
        }
    }
    results.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    println!(
        "| left out | fold | accuracy on the rest |{} |",
        SCORES.map(|score| format!(" AUROC of the {score}")).join(" |")
    );
    println!("|---|---|---|{}", "---|".repeat(SCORES.len()));
    for ((one, other), fold, (accuracy, scores)) in &results {
        let areas = scores.iter().map(|[area, ..]| format!(" {area:.3}")).collect::<Vec<_>>().join(" |");
        println!("| {one}, {other} | {fold} | {:.1} % |{areas} |", 100.0 * accuracy);
    }
    for (place, score) in SCORES.into_iter().enumerate() {
        let mean = |column: usize| {
            results.iter().map(|(.., (_, scores))| scores[place][column]).sum::<f64>() / results.len().max(1) as f64
        };
        println!(
            "{score}: AUROC {:.3}; at a threshold for 5 % of recordings kept out of training, {:.1} % of unknown sounds are taken for known, and \
             {:.1} % of known ones for unknown (mean of {} runs)",
            mean(0),
            100.0 * mean(1),
            100.0 * mean(2),
            results.len()
        );
    }
    Ok(())
}
