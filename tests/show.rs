//! What the notebook shows of every stage, on a small demo data set and with the released model.
#![cfg(feature = "pipeline")]

#[path = "support/demo_data.rs"]
mod demo_data;

use std::path::Path;

use audio_transformer::config::{Config, Preset, TrainConfig};
use audio_transformer::internals::dataset::acquire;
use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::dataset::measure::measure;
use audio_transformer::internals::dataset::preprocess;
use audio_transformer::internals::front_end::audio::Waveform;
use audio_transformer::internals::results::embeddings;
use audio_transformer::internals::results::evaluate;
use audio_transformer::internals::results::predict::{Classifier, RELEASED};
use audio_transformer::internals::training::calibration::Calibration;
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::train;
use audio_transformer::show;
use audio_transformer::show::html::Html;
use audio_transformer::{Error, checkup, propose};
use tch::Device;
use tempfile::TempDir;

/// The demo data set, preprocessed and trained on for two epochs.
fn trained() -> (TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data: demo_data::data_under(dir.path()),
        train: TrainConfig { epochs: 2, ..Default::default() },
        ..Default::default()
    };
    acquire::acquire(&config).unwrap();
    preprocess::preprocess(&config).unwrap();
    train::train(&config).unwrap();
    (dir, config)
}

/// The pictures in a piece of HTML, each as its words and its size in bytes.
fn pictures(html: &Html) -> Vec<(String, usize)> {
    let picture = |markup: &str| {
        let (tag, _) = markup.split_once('>').unwrap();
        let (alt, _) = tag.strip_prefix("alt=\"").unwrap().split_once('"').unwrap();
        (alt.to_owned(), tag.len())
    };
    html.as_str().split("<img ").skip(1).map(picture).collect()
}

/// Five demo sounds one after another, 25 s.
fn five_sounds() -> Waveform {
    let samples = (0..5).flat_map(|target| demo::synthesize(0, 2 * target, 1, 0, 0).samples).collect();
    Waveform { samples, sample_rate: demo::SAMPLE_RATE }
}

#[test]
fn a_page_that_listens_lies_beside_the_notebook_and_not_in_it() {
    let listener = Classifier::released().unwrap();
    let shown = show::live(&listener).unwrap();
    let written = std::fs::read_to_string("data/pages/live.html").unwrap();
    assert!(written.len() > 1_000_000 && shown.as_str().len() < 20_000);
    // The cell knows the page by what is in it: another network's in its place would be told.
    let (_, told) = written.rsplit_once("<!-- ").unwrap();
    let mark = told.split_once(" -->").unwrap().0;
    assert!(mark.len() == 32 && shown.as_str().contains(mark), "{mark}");
    for placeholder in ["{{", "LIVE_ID", "KERNEL_FOLDER\n"] {
        assert!(!written.contains(placeholder) && !shown.as_str().contains(placeholder), "{placeholder}");
    }
    assert_eq!(shown.as_str().matches("</script").count(), 1);
}

#[test]
fn a_button_for_each_sound_and_none_for_what_is_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let buttons = show::record_each(dir.path(), &["snap", "door bell"]).unwrap();
    assert_eq!(buttons.as_str().matches("<script>").count(), 2);
    assert!(dir.path().join("door bell").is_dir());
    assert!(matches!(show::record_each(dir.path(), &["../snap"]), Err(Error::Config { .. })));
}

#[test]
fn every_picture_of_the_notebook_has_words_and_takes_at_most_300_kb() {
    let (_dir, config) = trained();
    let catalog = acquire::open_catalog(&config).unwrap();
    let evaluation = evaluate::evaluate(&config).unwrap();
    let good = Config { model: Preset::Good.model(), train: Preset::Good.train(), ..config.clone() };
    let mut released = Classifier::released().unwrap();
    let bell = demo::synthesize(0, 4, 1, 0, 0);
    let shown: Vec<(&str, usize, Html)> = vec![
        ("sound", 2, show::sound(&bell, &config.features, "a bell").unwrap()),
        ("overview", 2, show::overview(&catalog).unwrap()),
        ("classes", 10, show::classes(&config, &catalog).unwrap()),
        ("clip", 2, show::clip(&config, &catalog, 0).unwrap()),
        ("compare", 3, show::compare(&good, &catalog, 0).unwrap()),
        ("filterbank", 1, show::filterbank(&config.features).unwrap().html()),
        ("patches", 1, show::patches(&config, 0).unwrap().html()),
        ("patches of a window", 1, show::patches(&good, 0).unwrap().html()),
        ("augmented", 6, show::augmented(&good, 0).unwrap()),
        ("history", 3, show::history(&config).unwrap()),
        ("histories", 5, show::histories(&[&config, &config]).unwrap()),
        ("confusion", 1, show::confusion(&evaluation).unwrap().html()),
        ("recall", 1, show::recall(&evaluation).unwrap().html()),
        ("reliability", 1, show::reliability(&evaluation).unwrap().html()),
        ("worst", 2, show::worst(&config, &evaluation, 2).unwrap()),
        ("embedding map", 1, show::embedding_map(&embeddings::embeddings(&config).unwrap()).unwrap().html()),
        ("attention", 1, show::attention(&mut released, &bell, "a bell").unwrap().html()),
        ("prediction", 1, show::prediction(&mut released, &bell, "a bell").unwrap()),
        ("prediction of a long recording", 2, show::prediction(&mut released, &five_sounds(), "five sounds").unwrap()),
    ];
    for (name, expected, html) in shown {
        let found = pictures(&html);
        assert_eq!(found.len(), expected, "{name}");
        for (words, bytes) in found {
            assert!(bytes <= 300_000, "{name}: {bytes} bytes");
            assert!(words.split_whitespace().count() >= 4, "{name}: {words}");
        }
    }
}

#[test]
fn a_long_recording_has_a_timeline_whose_mean_is_the_verdict() {
    let mut released = Classifier::released().unwrap();
    let mut recording = five_sounds();
    recording.samples.truncate(23 * demo::SAMPLE_RATE as usize);
    let prediction = released.predict(&recording, Path::new("five sounds")).unwrap();
    assert_eq!((prediction.windows, prediction.timeline.len()), (5, 5));
    let places: Vec<(f64, f64)> = prediction.timeline.iter().map(|window| (window.start_s, window.end_s)).collect();
    assert_eq!(places, [(0.0, 5.0), (5.0, 10.0), (10.0, 15.0), (15.0, 20.0), (18.0, 23.0)]);
    // Windows and their mean are calibrated each for itself: what the network itself said of the windows has the mean of what it said of all.
    let calibration = checkpoint::load(Path::new(RELEASED), Device::Cpu).unwrap().info.calibration.unwrap();
    let undone = Calibration { temperature: 1.0 / calibration.temperature, ..calibration };
    let mut whole: Vec<f32> = prediction.ranked.iter().map(|(_, probability)| *probability).collect();
    undone.apply(&mut whole);
    let mut mean = vec![0.0; whole.len()];
    for window in &prediction.timeline {
        let mut said = window.probabilities.clone();
        undone.apply(&mut said);
        mean.iter_mut().zip(said).for_each(|(mean, share)| *mean += share / 5.0);
    }
    for ((label, _), (mean, whole)) in prediction.ranked.iter().zip(mean.iter().zip(whole)) {
        assert!((mean - whole).abs() < 1e-4, "{label}: {mean} and {whole}");
    }
    let first = Waveform { samples: recording.samples[..5 * 44_100].to_vec(), ..recording };
    let alone = released.predict(&first, Path::new("the first")).unwrap();
    for (label, probability) in &alone.ranked {
        let place = prediction.ranked.iter().position(|(other, _)| other == label).unwrap();
        // Resampling sees what follows the cut.
        assert!((prediction.timeline[0].probabilities[place] - probability).abs() < 1e-2, "{label}");
    }
}

#[test]
fn attention_lies_on_the_first_clip_and_has_a_mean_of_one() {
    let mut released = Classifier::released().unwrap();
    let listening = released.listening(&five_sounds()).unwrap();
    assert_eq!((listening.levels.dim(), listening.attention.dim()), ((64, 313), (4, 313)));
    assert!((listening.attention.mean().unwrap() - 1.0).abs() < 1e-4);
    assert!(listening.attention.iter().all(|&value| value >= 0.0));
    assert!((0.0..1.0).contains(&listening.beyond));
    let loudest = listening.levels.iter().fold(f32::MIN, |loudest, &level| loudest.max(level));
    assert!(loudest.abs() < 1e-3, "decibels relative to the loudest: {loudest}");
    let best = &released.predict(&five_sounds(), Path::new("five sounds")).unwrap().ranked[0];
    assert_eq!(listening.prediction.0, best.0);
}

#[test]
fn every_held_out_recording_is_embedded_once_in_the_order_of_the_evaluation() {
    let (_dir, config) = trained();
    let (embedded, evaluation) = (embeddings::embeddings(&config).unwrap(), evaluate::evaluate(&config).unwrap());
    assert_eq!((embedded.test_fold, &embedded.labels), (evaluation.test_fold, &evaluation.labels));
    assert_eq!(embedded.clips.len(), evaluation.clips.len());
    for (clip, scored) in embedded.clips.iter().zip(&evaluation.clips) {
        assert_eq!((&clip.filename, clip.actual), (&scored.filename, scored.actual));
        assert_eq!(clip.values.len(), config.model.embed_dim);
    }
    assert!(embedded.clips[0].values != embedded.clips[1].values);
}

#[test]
fn the_overview_counts_what_cannot_be_read() {
    let (_dir, config) = trained();
    let catalog = acquire::open_catalog(&config).unwrap();
    std::fs::write(catalog.path(&catalog.clips[3]), b"no sound at all").unwrap();
    let found = measure(&catalog);
    assert_eq!(found.iter().filter(|level| level.is_none()).count(), 1);
    assert!(found.iter().flatten().all(|level| level.duration_s == 5.0 && (-60.0..0.0).contains(&level.rms_dbfs)));
    assert!(show::overview(&catalog).unwrap().as_str().contains("1 of 50 recordings could not be read"));
}

#[test]
fn a_comparison_plays_the_recording_at_its_own_rate_and_at_that_of_the_features() {
    let (_dir, config) = trained();
    let catalog = acquire::open_catalog(&config).unwrap();
    let shown = show::compare(&config, &catalog, 7).unwrap();
    assert_eq!(shown.as_str().matches("<audio").count(), 2);
    assert!(shown.as_str().len() < 600_000, "{} bytes", shown.as_str().len());
    let tops: Vec<String> = pictures(&shown).into_iter().map(|(alt, _)| alt).collect();
    let top_hz =
        |alt: &str| -> f64 { alt.split("bands up to ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap() };
    assert!(top_hz(&tops[0]) > 20_000.0 && top_hz(&tops[0]) < 22_050.0, "{}", tops[0]);
    assert!(top_hz(&tops[1]) > 7_000.0 && top_hz(&tops[1]) < 8_000.0, "{}", tops[1]);
    let beyond = show::compare(&config, &catalog, 50).map(drop).unwrap_err();
    assert!(matches!(beyond, Error::Config { field: "clip number", .. }), "{beyond}");
}

#[test]
fn a_run_without_a_history_is_told_by_its_stage() {
    let (_dir, config) = trained();
    let mut other = config.clone();
    other.train.run_name = "never".into();
    let error = show::histories(&[&config, &other]).map(drop).unwrap_err();
    assert!(error.to_string().contains("run the stage \"Train\" first"), "{error}");
    assert!(show::histories(&[]).is_err());
}

#[test]
fn the_most_confused_classes_stand_in_a_table_with_their_share() {
    let (_dir, config) = trained();
    let evaluation = evaluate::evaluate(&config).unwrap();
    let mistakes = evaluation.most_confused(3);
    let table = show::confused(&evaluation, 3).unwrap();
    assert_eq!(table.as_str().matches("<tr>").count(), 1 + mistakes.len());
    let first = &mistakes[0];
    // Every class has one clip in the fold.
    for text in [&evaluation.labels[first.actual], &evaluation.labels[first.predicted], "1.00"] {
        assert!(table.as_str().contains(text), "{text}");
    }
}

#[test]
fn the_check_up_and_the_proposal_are_tables_of_what_was_found_and_chosen() {
    let (_dir, config) = trained();
    let catalog = acquire::open_catalog(&config).unwrap();
    assert_eq!(show::checkup(&checkup(&catalog)).as_str().matches("<table").count(), 0, "the demo is clean");
    // The same sound in two folds.
    let [one, other] = [1, 2].map(|fold| catalog.clips.iter().find(|clip| clip.fold == fold).unwrap());
    std::fs::copy(catalog.path(one), catalog.path(other)).unwrap();
    let shown = show::checkup(&checkup(&catalog));
    for word in ["Serious", &one.filename, &other.filename, "flatters", "Remove one"] {
        assert!(shown.as_str().contains(word), "{word}: {}", shown.as_str());
    }
    let quick = show::proposal(&propose(Preset::Quick, &config).unwrap());
    assert!(quick.as_str().contains("stays as it is"), "{}", quick.as_str());
    let settings = Config { data: config.data, ..Preset::Fitted.settings() };
    let fitted = show::proposal(&propose(Preset::Fitted, &settings).unwrap());
    for word in ["clip.duration_s", "train.minutes", "fill the network"] {
        assert!(fitted.as_str().contains(word), "{word}: {}", fitted.as_str());
    }
}
