//! Data sets as people have them, made from ESC-10's recordings, and what the notebook's default path makes of each.
//!
//! own_data make ESC10_DIR            the sets, under target/own-data
//! own_data run SET RECIPE [FOLD]     train and score one: quick (the notebook's preset before it could fit), fitted, or by hand as
//!                                    SECONDS,HOP,N_FFT,FRAMES
//! own_data look SET                  what the check-up finds, and the settings that are proposed
//! own_data table                     every result so far, beside the best by hand
//!
//! `MINUTES`, `EPOCHS` and `BALANCE` in the environment stand in for `train.minutes`, `train.epochs` and `train.balance`. With `EPOCHS`
//! there is no budget, and settings can be told apart on a machine that does other work beside.
//!
//! Results are kept in `target/own-data/results`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio_transformer::config::{Config, DataConfig, DataSource, LongClips, Preset};
use audio_transformer::demo;
use audio_transformer::{Choice, Evaluation, Finding, acquire, audio, checkup, evaluate, preprocess, propose, train};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const HOME: &str = "target/own-data";
/// Clips of a class in the uneven set, class by class.
const UNEVEN: [usize; 10] = [40, 40, 40, 30, 20, 15, 10, 8, 6, 4];
/// The folds that choices are made on and scored on.
const CHOICE_FOLD: u32 = 5;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", recordings] => make(Path::new(recordings)),
        ["run", set, recipe] => run(set, recipe, CHOICE_FOLD),
        ["run", set, recipe, fold] => run(set, recipe, fold.parse()?),
        ["look", set] => look(set),
        ["table"] => table(),
        _ => Err(
            "usage: own_data make ESC10_DIR | run SET quick|fitted|SECONDS,HOP,N_FFT,FRAMES [FOLD] | look SET | table"
                .into(),
        ),
    }
}

/// A recording of ESC-10.
struct Recording {
    name: String,
    fold: u32,
    category: String,
    sound: audio::Waveform,
}

fn recordings(folder: &Path) -> Outcome<Vec<Recording>> {
    let mut rows = csv::Reader::from_path(folder.join("clips.csv"))?;
    let headers = rows.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header == name).ok_or(format!("no column {name}"));
    let (filename, fold, category) = (column("filename")?, column("fold")?, column("category")?);
    let mut found = Vec::new();
    for row in rows.records() {
        let row = row?;
        let name = row[filename].trim_end_matches(".wav").to_owned();
        let mut sound = audio::read(&folder.join("ogg").join(format!("{name}.ogg")))?;
        sound.samples.resize(5 * sound.sample_rate as usize, 0.0);
        found.push(Recording { name, fold: row[fold].parse()?, category: row[category].to_owned(), sound });
    }
    Ok(found)
}

/// The loudest stretch of `length_s` seconds.
fn loudest(sound: &audio::Waveform, length_s: f64) -> audio::Waveform {
    let length = ((length_s * f64::from(sound.sample_rate)) as usize).clamp(1, sound.samples.len());
    let mut sums = vec![0.0f64];
    sums.extend(sound.samples.iter().scan(0.0, |sum, &sample| {
        *sum += f64::from(sample).powi(2);
        Some(*sum)
    }));
    let power = |start: &usize| sums[start + length] - sums[*start];
    let starts = (0..=sound.samples.len() - length).step_by(100);
    let start = starts.max_by(|a, b| power(a).total_cmp(&power(b))).unwrap_or(0);
    audio::Waveform { samples: sound.samples[start..start + length].to_vec(), sample_rate: sound.sample_rate }
}

/// A number from 0 to 1 that depends on a name alone.
fn chance(name: &str) -> f64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

fn write(set: &str, category: &str, name: &str, sound: &audio::Waveform) -> Outcome {
    let folder = Path::new(HOME).join("sets").join(set).join(category);
    fs::create_dir_all(&folder)?;
    audio::write_wav(&folder.join(format!("{name}.wav")), sound)?;
    Ok(())
}

fn make(folder: &Path) -> Outcome {
    let recordings = recordings(folder)?;
    let mut n_of_class: BTreeMap<&str, usize> = BTreeMap::new();
    let classes: BTreeSet<&String> = recordings.iter().map(|one| &one.category).collect();
    let mut rows: Vec<&Recording> = recordings.iter().collect();
    rows.sort_by(|a, b| chance(&a.name).total_cmp(&chance(&b.name)));
    let mut official = String::from("filename,category,fold\n");
    for Recording { name, category, sound, fold } in &rows {
        write("whole", category, name, sound)?;
        official.push_str(&format!("{category}/{name}.wav,{category},{fold}\n"));
        write("short", category, name, &loudest(sound, 0.4))?;
        write("mixed", category, name, &loudest(sound, 0.1 * 50f64.powf(chance(name))))?;
        let n = n_of_class.entry(category).or_default();
        *n += 1;
        if *n <= 5 {
            write("few", category, name, sound)?;
        }
        let class = classes.iter().position(|class| *class == category).unwrap_or(0);
        if *n <= UNEVEN[class % UNEVEN.len()] {
            write("uneven", category, name, sound)?;
        }
        let mut extractor = audio_transformer::Resampler::new(sound.sample_rate, 8_000)?;
        let mut low = extractor.process(&sound.samples)?;
        // A quiet recorder of 8 bits.
        low.iter_mut().for_each(|sample| *sample = (*sample * 0.25 * 128.0).round() / 128.0);
        write("quiet-rate", category, name, &audio::Waveform { samples: low, sample_rate: 8_000 })?;
    }
    fs::write(Path::new(HOME).join("sets/official.csv"), official)?;
    let mut groups: BTreeMap<(&str, u32), Vec<&Recording>> = BTreeMap::new();
    recordings.iter().for_each(|one| groups.entry((&one.category, one.fold)).or_default().push(one));
    for ((category, fold), group) in groups {
        let mut samples = Vec::new();
        for one in group.iter().take(5) {
            samples.extend_from_slice(&one.sound.samples);
            samples.extend(vec![0.0; one.sound.sample_rate as usize]);
        }
        write(
            "long",
            category,
            &format!("day-{fold}"),
            &audio::Waveform { samples, sample_rate: group[0].sound.sample_rate },
        )?;
    }
    for class in 0..10 {
        for take in 0..8 {
            let sound = demo::synthesize(0, class, 1 + take as u32 % 5, take, 0);
            write("demo", &format!("sound {class}"), &format!("take-{take}"), &sound)?;
        }
    }
    many(&recordings)?;
    println!("{HOME}/sets: whole, short, mixed, long, few, uneven, quiet-rate, many, demo");
    Ok(())
}

/// 3,000 pieces of half a second with a table that tells which recording each was cut from.
fn many(recordings: &[Recording]) -> Outcome {
    let mut table = String::from("filename,category,source\n");
    let mut n = 0;
    for Recording { name, category, sound, .. } in recordings {
        let length = sound.sample_rate as usize / 2;
        for (place, piece) in sound.samples.chunks_exact(length).enumerate() {
            // What is left of a recording behind its end is silence.
            if n == 3_000 || piece.iter().all(|sample| sample.abs() < 0.001) {
                continue;
            }
            n += 1;
            let file = format!("{name}-{place}");
            write("many", category, &file, &audio::Waveform { samples: piece.to_vec(), ..*sound })?;
            table.push_str(&format!("{category}/{file}.wav,{category},{name}\n"));
        }
    }
    fs::write(Path::new(HOME).join("sets/many/metadata.csv"), table)?;
    Ok(())
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
    Ok(config)
}

fn result_path(set: &str, recipe: &str, fold: u32) -> PathBuf {
    Path::new(HOME).join("results").join(format!("{set}--{recipe}--{fold}.json"))
}

fn run(set: &str, recipe: &str, fold: u32) -> Outcome {
    let started = Instant::now();
    let mut config = settings(set, recipe, fold)?;
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
