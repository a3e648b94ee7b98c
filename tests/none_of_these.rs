//! Sounds that are like none of those trained on, or no sounds at all, are called "none of these"; probabilities come true as often as they say.
#![cfg(feature = "pipeline")]

use std::fs;
use std::path::Path;

use audio_transformer::audio::{self, Waveform};
use audio_transformer::config::{Config, DataConfig, DataSource, Preset, TrainConfig};
use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{Classifier, Standing, acquire, evaluate, predict_folder, preprocess, show, train};
use tch::Device;

/// Demo classes trained on: tones of several kinds, and clicks. Noise is unknown.
const KNOWN: [usize; 5] = [0, 1, 3, 4, 5];
const UNKNOWN: [usize; 3] = [6, 8, 9];

/// A network trained on folders of the known classes.
fn trained(root: &Path, change: impl Fn(&mut TrainConfig)) -> Config {
    for class in KNOWN {
        for take in 0..25u32 {
            let dir = root.join(format!("sounds/class {class}"));
            fs::create_dir_all(&dir).unwrap();
            let sound = demo::synthesize(0, class, 1 + take % 5, take as usize, 0);
            audio::write_wav(&dir.join(format!("{take}.wav")), &sound).unwrap();
        }
    }
    let data = DataConfig {
        source: DataSource::Folder(root.join("sounds")),
        raw_dir: root.join("raw"),
        processed_dir: root.join("processed"),
        models_dir: root.join("models"),
        test_dir: root.join("test"),
        ..DataConfig::default()
    };
    let mut config = Config { data, ..Preset::Quick.settings() };
    config.train.epochs = 12;
    change(&mut config.train);
    acquire(&config).unwrap();
    preprocess(&config).unwrap();
    train(&config).unwrap();
    config
}

#[test]
fn what_is_unlike_all_that_was_trained_on_is_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = trained(dir.path(), |_| ());
    let info = checkpoint::load(&checkpoint_path(&config), Device::Cpu).unwrap().info;
    let calibration = info.calibration.unwrap();
    assert_eq!(calibration.recordings, 25, "the validation fold");
    let told = evaluate(&config).unwrap().to_string();
    assert!(told.contains("calibrated at temperature") && told.contains("calibration error"), "{told}");

    let mut classifier = Classifier::of_run(&config).unwrap();
    let mut share = |classes: &[usize], takes: std::ops::Range<usize>| {
        let sounds = classes.iter().flat_map(|class| takes.clone().map(move |take| (*class, take)));
        let none: Vec<bool> = sounds
            .map(|(class, take)| {
                let sound = demo::synthesize(7, class, 1 + take as u32 % 5, take, 0);
                classifier.predict(&sound, Path::new("sound")).unwrap().standing.is_none_of_these()
            })
            .collect();
        none.iter().filter(|none| **none).count() as f64 / none.len() as f64
    };
    // Other sounds of the classes known, and sounds of others.
    let (known, unknown) = (share(&KNOWN, 0..12), share(&UNKNOWN, 0..12));
    assert!(known <= 0.2 && unknown >= 0.6, "{known} of the known, {unknown} of the unknown");
}

#[test]
fn silence_and_channels_that_cancel_are_none_and_said_to_be_so_in_table_and_card() {
    let dir = tempfile::tempdir().unwrap();
    let config = trained(dir.path(), |train| train.epochs = 1);
    let test = dir.path().join("test");
    fs::create_dir_all(&test).unwrap();
    audio::write_wav(&test.join("silence.wav"), &Waveform { samples: vec![0.0; 44_100], sample_rate: 44_100 }).unwrap();
    let sound = demo::synthesize(0, 4, 1, 0, 0);
    audio::write_wav(&test.join("sound.wav"), &sound).unwrap();
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(test.join("cancels.wav"), spec).unwrap();
    for sample in &sound.samples {
        let sample = (sample * 20_000.0) as i16;
        writer.write_sample(sample).unwrap();
        writer.write_sample(-sample).unwrap();
    }
    writer.finalize().unwrap();

    let predictions = predict_folder(&config).unwrap();
    let standing = |name: &str| {
        let of_name = |prediction: &&audio_transformer::Prediction| prediction.path.ends_with(name);
        predictions.predictions.iter().find(of_name).unwrap()
    };
    for name in ["silence.wav", "cancels.wav"] {
        assert_eq!((standing(name).standing, standing(name).name()), (Standing::Silent, "none of these"), "{name}");
    }
    assert_ne!(standing("sound.wav").standing, Standing::Silent);
    let cards = show::predictions(&predictions, 0).unwrap().as_str().to_owned();
    assert_eq!(cards.matches("nothing to hear").count(), 2, "{cards:.2000}");
    let table = show::prediction_table(&predictions, 1).unwrap().as_str().to_owned();
    assert_eq!(table.matches(">none of these<").count(), 2, "{table}");
}

#[test]
fn a_network_that_kept_nothing_back_says_that_it_cannot_tell() {
    let dir = tempfile::tempdir().unwrap();
    let config = trained(dir.path(), |train| (train.epochs, train.validate) = (1, false));
    let sound = demo::synthesize(0, 4, 1, 0, 0);
    let prediction = Classifier::of_run(&config).unwrap().predict(&sound, Path::new("bell")).unwrap();
    assert_eq!(prediction.standing, Standing::Unknown);
    assert!(evaluate(&config).unwrap().to_string().contains("not calibrated"));
    // And with some kept back it can, without a validation fold.
    let kept = Config { train: TrainConfig { keep_back: 0.25, ..config.train.clone() }, ..config };
    let report = train(&kept).unwrap();
    assert_eq!((report.train_clips, report.validation_clips), (75, 0));
    assert_eq!(report.calibration.unwrap().recordings, 25);
    assert_ne!(
        Classifier::of_run(&kept).unwrap().predict(&sound, Path::new("bell")).unwrap().standing,
        Standing::Unknown
    );
}
