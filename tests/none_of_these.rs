//! Sounds that are like none of those trained on, or no sounds at all, are called "none of these"; probabilities come true as often as they say.
#![cfg(feature = "pipeline")]

use std::fs;
use std::path::Path;

use audio_transformer::audio::{self, Waveform};
use audio_transformer::config::{Config, DataConfig, DataSource, Preset, TrainConfig};
use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::{
    Classifier, FolderPredictions, Listener, Standing, acquire, evaluate, predict_folder, preprocess, show, train,
};
use tch::Device;

/// Demo classes trained on.
const KNOWN: [usize; 5] = [0, 1, 3, 4, 5];

/// A network trained on folders of the known classes.
fn trained(root: &Path, change: impl Fn(&mut TrainConfig)) -> Config {
    for class in KNOWN {
        for take in 0..20u32 {
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
    config.train.epochs = 1;
    change(&mut config.train);
    acquire(&config).unwrap();
    preprocess(&config).unwrap();
    train(&config).unwrap();
    config
}

#[test]
fn the_released_model_takes_tones_and_chirps_for_none_of_its_classes() {
    let mut classifier = Classifier::released().unwrap();
    let mut n_none = 0;
    for (class, take) in [0, 1, 2, 3, 4].into_iter().flat_map(|class| (0..4).map(move |take| (class, take))) {
        let sound = demo::synthesize(0, class, 1 + take as u32, take, 0);
        let prediction = classifier.predict(&sound, Path::new("sound")).unwrap();
        assert_ne!(prediction.standing, Standing::Unknown);
        n_none += usize::from(prediction.standing.is_none_of_these());
    }
    assert!(n_none >= 10, "{n_none} of 20");
}

#[test]
fn the_validation_fold_calibrates_and_the_evaluation_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = trained(dir.path(), |_| ());
    let checkpoint = checkpoint::load(&checkpoint_path(&config), Device::Cpu).unwrap();
    let calibration = checkpoint.info.calibration.unwrap();
    assert_eq!(
        (calibration.recordings, checkpoint.familiarity.unwrap().reference().distances.len()),
        (20, 20),
        "the validation fold"
    );
    let evaluation = evaluate(&config).unwrap();
    let told = evaluation.to_string();
    assert!(told.contains("calibrated at temperature") && told.contains("calibration error"), "{told}");
    // A prediction says what the evaluation does.
    let clip = &evaluation.clips[0];
    let mut classifier = Classifier::of_run(&config).unwrap();
    let prediction = classifier.predict_file(&dir.path().join("sounds").join(&clip.filename)).unwrap();
    assert!((f64::from(prediction.ranked[0].1) - clip.confidence()).abs() < 1e-4);
}

#[test]
fn silence_and_channels_that_cancel_are_none_and_said_to_be_so_in_table_and_card() {
    let dir = tempfile::tempdir().unwrap();
    let config = trained(dir.path(), |_| ());
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
fn silence_around_a_sound_changes_nothing_of_what_is_said_of_it() {
    let sound: Vec<f32> = (0..80_000).map(|i| 0.3 * (i as f32 * (0.05 + i as f32 * 1e-6)).sin()).collect();
    let with_silence = [sound.clone(), vec![0.0; 400_000]].concat();
    let at_rate = |samples: &[f32]| Waveform { samples: samples.to_vec(), sample_rate: 16_000 };
    let path = Path::new("bell.wav");
    let mut released = Classifier::released().unwrap();
    let alone = released.predict(&at_rate(&sound), path).unwrap();
    let around = released.predict(&at_rate(&with_silence), path).unwrap();
    // One window goes through the network by itself, and then with silent ones: some processors sum in another order where they are several.
    assert_eq!((alone.name(), alone.standing), (around.name(), around.standing));
    for ((label, alone), (same, around)) in alone.ranked.iter().zip(&around.ranked) {
        assert!(label == same && (alone - around).abs() < 1e-6, "{label} {alone}, {same} {around}");
    }
    let [alone, silent] = [&sound, &with_silence].map(|sound| released.embedding(&at_rate(sound)).unwrap());
    let largest = alone.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(alone.iter().zip(&silent).all(|(alone, silent)| (alone - silent).abs() < 1e-6 * largest));
    let standings: Vec<bool> = around.timeline.iter().map(|window| window.standing == Standing::Silent).collect();
    assert_eq!(standings, [false, true, true, true, true, true]);
    // The same of a network from elsewhere, of whose pieces the first alone sounds.
    let mut published = Listener::open("tests/golden/ast/small", Device::Cpu).unwrap();
    let heard = published.predict(&at_rate(&[&sound[..8_000], &[0.0; 400_000]].concat()), path).unwrap();
    let standings: Vec<Standing> = heard.timeline.iter().map(|window| window.standing).collect();
    assert_eq!((standings[0], standings[1]), (Standing::Unknown, Standing::Silent));
    for ((_, whole), first) in heard.ranked.iter().zip(&heard.timeline[0].probabilities) {
        assert!((whole - first).abs() < 1e-6, "{whole} {first}");
    }
    // In the picture, too, no class stands where nothing sounds.
    let folder = FolderPredictions { predictions: vec![around], failed: Vec::new() };
    let cards = show::predictions(&folder, 0).unwrap().as_str().to_owned();
    assert!(cards.contains("none of these from"), "{cards:.3000}");
}

#[test]
fn a_network_that_kept_nothing_back_says_that_it_cannot_tell() {
    let dir = tempfile::tempdir().unwrap();
    let config = trained(dir.path(), |train| train.validate = false);
    let sound = demo::synthesize(0, 4, 1, 0, 0);
    let prediction = Classifier::of_run(&config).unwrap().predict(&sound, Path::new("bell")).unwrap();
    assert_eq!(prediction.standing, Standing::Unknown);
    assert!(evaluate(&config).unwrap().to_string().contains("not calibrated"));
    // And with some kept back it can, without a validation fold.
    let kept = Config { train: TrainConfig { keep_back: 0.25, ..config.train.clone() }, ..config };
    let report = train(&kept).unwrap();
    assert_eq!((report.train_clips, report.validation_clips), (60, 0));
    assert_eq!(report.calibration.unwrap().recordings, 20);
    assert_ne!(
        Classifier::of_run(&kept).unwrap().predict(&sound, Path::new("bell")).unwrap().standing,
        Standing::Unknown
    );
}
