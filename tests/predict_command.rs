//! The command `predict` as a cron job calls it: from another folder, its output read by a program.
#![cfg(feature = "torch")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use audio_transformer::internals::dataset::demo;
use audio_transformer::internals::front_end::audio::{Waveform, write_wav};
use audio_transformer::internals::results::predict::{Classifier, RELEASED};
use serde_json::Value;
use tempfile::TempDir;

/// Cargo builds examples for `cargo test`, into a folder beside the tests' own; for one test alone, `cargo build --example predict`
/// does it.
fn command() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let command = tests.ancestors().nth(2).unwrap().join("examples").join("predict");
    assert!(command.exists(), "{} is missing: cargo build --example predict", command.display());
    command
}

fn predict<A: AsRef<OsStr>>(dir: &Path, arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(command()).args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

fn sound() -> Waveform {
    demo::synthesize(0, 5, 1, 0, 0)
}

/// `sounds/a.wav`, `sounds/deep/b.wav`, `sounds/broken.wav`, `sounds/strange.wma`.
fn recordings() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("sounds/deep")).unwrap();
    for name in ["sounds/a.wav", "sounds/deep/b.wav"] {
        write_wav(&dir.path().join(name), &sound()).unwrap();
    }
    fs::write(dir.path().join("sounds/broken.wav"), "RIFF and no more").unwrap();
    fs::write(dir.path().join("sounds/strange.wma"), "no recording").unwrap();
    dir
}

#[test]
fn a_line_tells_what_the_classifier_says() {
    let dir = recordings();
    let output = predict(dir.path(), ["--top", "3", "sounds/a.wav"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = lines(&output);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let path = dir.path().join("sounds/a.wav");
    let prediction = Classifier::load(Path::new(RELEASED), tch::Device::Cpu).unwrap().predict_file(&path).unwrap();
    assert_eq!(line["file"], "sounds/a.wav");
    assert_eq!(line["duration_s"], prediction.duration_s);
    assert_eq!(line["windows"], prediction.windows);
    let top = line["top"].as_array().unwrap();
    assert_eq!(top.len(), 3);
    for (class, (label, probability)) in top.iter().zip(&prediction.ranked) {
        assert_eq!(class["label"], label.as_str());
        assert!((class["probability"].as_f64().unwrap() - f64::from(*probability)).abs() < 1e-5);
        assert_eq!(class.as_object().unwrap().len(), 2);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_others_are_done() {
    let dir = recordings();
    let output = predict(dir.path(), ["nowhere.wav", "sounds"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output);
    let files: Vec<&str> = lines.iter().map(|line| line["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["nowhere.wav", "sounds/a.wav", "sounds/broken.wav", "sounds/deep/b.wav"]);
    let errors: Vec<bool> = lines.iter().map(|line| line["error"].is_string()).collect();
    assert_eq!(errors, [true, false, true, false]);
    for line in lines {
        assert_ne!(line["error"].is_string(), line["top"].is_array(), "{line}");
    }
    assert!(String::from_utf8_lossy(&output.stderr).contains("strange.wma"));
}

#[test]
fn a_recording_comes_through_standard_input() {
    let dir = recordings();
    let recording = File::open(dir.path().join("sounds/a.wav")).unwrap();
    let output = Command::new(command()).arg("-").stdin(recording).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let (piped, named) = (lines(&output), lines(&predict(dir.path(), ["sounds/a.wav"])));
    assert_eq!((&piped[0]["file"], &piped[0]["top"]), (&"-".into(), &named[0]["top"]));
}

#[test]
fn an_empty_folder_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let output = predict(dir.path(), ["."]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no recording in it"));
}

#[test]
fn another_network_is_named_and_one_that_is_missing_stops_everything() {
    let dir = recordings();
    let released = std::path::absolute(RELEASED).unwrap();
    fs::copy(released, dir.path().join("copy.safetensors")).unwrap();
    let named = predict(dir.path(), ["--model", "copy.safetensors", "sounds/a.wav"]);
    assert_eq!(named.stdout, predict(dir.path(), ["sounds/a.wav"]).stdout);
    let missing = predict(dir.path(), ["--model", "none.safetensors", "sounds/a.wav"]);
    assert_eq!((missing.status.code(), missing.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("none.safetensors"));
}

#[test]
fn a_network_of_hugging_face_tags_and_any_network_can_be_taught() {
    let dir = recordings();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ced");
    fs::create_dir(dir.path().join("ced")).unwrap();
    fs::copy(golden.join("mean.config.json"), dir.path().join("ced/config.json")).unwrap();
    fs::copy(golden.join("mean.safetensors"), dir.path().join("ced/model.safetensors")).unwrap();
    let tagged = predict(dir.path(), ["--model", "ced", "--top", "11", "sounds/a.wav"]);
    let line = &lines(&tagged)[0];
    let probabilities: Vec<f64> =
        line["top"].as_array().unwrap().iter().map(|class| class["probability"].as_f64().unwrap()).collect();
    // Classes do not exclude each other.
    assert_eq!(probabilities.len(), 11);
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() > 0.1, "{probabilities:?}");
    assert_eq!((&line["standing"], &line["windows"]), (&Value::from("unknown"), &Value::from(1)));

    for (class, target) in [("bell", 4), ("clicks", 5)] {
        for source in 0..3 {
            let path = dir.path().join(format!("teach/{class}/{source}.wav"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write_wav(&path, &demo::synthesize(1, target, 1, source, 0)).unwrap();
        }
    }
    let asked = predict(dir.path(), ["--teach", "teach", "teach/bell/1.wav", "sounds/broken.wav"]);
    assert_eq!(asked.status.code(), Some(1));
    let lines = lines(&asked);
    assert_eq!((&lines[0]["name"], &lines[0]["classes"][0]["label"]), (&Value::from("bell"), &Value::from("bell")));
    assert!(lines[1]["error"].as_str().unwrap().contains("broken.wav"));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("taught bell, clicks"));
}

#[test]
fn help_is_the_answer_to_help_and_wrong_arguments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let help = predict(dir.path(), ["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).starts_with("usage: predict"));
    let wrong: [&[&str]; 6] =
        [&[], &["--top", "0", "a"], &["--top"], &["--model"], &["--tpo", "a"], &["--top", "x", "a"]];
    for arguments in wrong {
        let output = predict(dir.path(), arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: predict"), "{arguments:?}");
    }
    // Behind two dashes a name may begin with one.
    let named = predict(dir.path(), ["--", "--top"]);
    assert_eq!(lines(&named)[0]["file"], "--top");
}

#[test]
fn a_table_has_a_row_for_each_class_and_one_for_what_cannot_be_read() {
    let dir = recordings();
    let output = predict(dir.path(), ["--format", "csv", "--top", "2", "sounds"]);
    assert_eq!(output.status.code(), Some(1));
    let mut table = csv::Reader::from_reader(&output.stdout[..]);
    assert_eq!(
        table.headers().unwrap(),
        &["file", "standing", "rank", "label", "probability", "distance", "error"][..]
    );
    let rows: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().unwrap();
    let path = dir.path().join("sounds/a.wav");
    let prediction = Classifier::load(Path::new(RELEASED), tch::Device::Cpu).unwrap().predict_file(&path).unwrap();
    let of_a: Vec<_> = rows.iter().filter(|row| &row[0] == "sounds/a.wav" && &row[2] != "0").collect();
    assert_eq!(of_a.len(), 2);
    for (rank, (row, (label, probability))) in of_a.iter().zip(&prediction.ranked).enumerate() {
        assert_eq!((&row[1], &row[2], &row[3]), (prediction.standing.word(), &*(rank + 1).to_string(), label.as_str()));
        assert!((row[4].parse::<f32>().unwrap() - probability).abs() < 1e-5);
    }
    // What is none of the classes says so before them.
    let none = rows.iter().filter(|row| &row[0] == "sounds/a.wav" && &row[2] == "0").count();
    assert_eq!(none, usize::from(prediction.standing.is_none_of_these()));
    let broken = rows.iter().find(|row| &row[0] == "sounds/broken.wav").unwrap();
    assert!(!broken[6].is_empty() && broken[3].is_empty(), "{broken:?}");
}

#[test]
fn labels_for_audacity_cover_the_recording_without_overlaps() {
    let dir = tempfile::tempdir().unwrap();
    // Three sounds one after another, 15 s.
    let mut scene = sound();
    scene.samples.extend(demo::synthesize(0, 8, 1, 0, 0).samples);
    scene.samples.extend(demo::synthesize(0, 0, 1, 0, 0).samples);
    write_wav(&dir.path().join("scene.wav"), &scene).unwrap();
    let output = predict(dir.path(), ["--format", "audacity", "scene.wav"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut end_s = 0.0;
    for line in text.lines() {
        let [start, end, label] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(start.parse::<f64>().unwrap(), end_s, "{text}");
        end_s = end.parse().unwrap();
        assert!(!label.is_empty());
    }
    assert!((end_s - scene.duration_s()).abs() < 0.1, "{text}");
    // A silent stretch of a recording that is of a class bears no class's name.
    let silent = format!("\t{}", "none of these");
    assert!(!text.is_empty());
    let mut night = sound();
    night.samples = [night.samples.clone(), vec![0.0; 2 * night.samples.len()]].concat();
    write_wav(&dir.path().join("night.wav"), &night).unwrap();
    let output = predict(dir.path(), ["--format", "audacity", "night.wav"]);
    assert!(std::str::from_utf8(&output.stdout).unwrap().trim_end().ends_with(&silent), "{output:?}");
    for (arguments, reason) in [
        (&["--format", "audacity", "scene.wav", "scene.wav"][..], "one recording"),
        (&["--format", "audacity", "."], "one recording"),
        (&["--format", "xml", "scene.wav"], "json, csv, audacity or raven"),
        (&["--watch", "scene.wav"], "--watch wants folders"),
        (&["--microphone", "scene.wav"], "--microphone takes no recordings"),
        #[cfg(not(feature = "microphone"))]
        (&["--microphone"], "build it with --features microphone"),
    ] {
        let output = predict(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{arguments:?}");
    }
}

/// Three demo sounds one after another, 15 s, as `scene.wav`.
fn scene(dir: &Path) {
    let mut scene = sound();
    scene.samples.extend(demo::synthesize(0, 8, 1, 0, 0).samples);
    scene.samples.extend(vec![0.0; scene.samples.len() / 2]);
    write_wav(&dir.join("scene.wav"), &scene).unwrap();
}

#[test]
fn events_are_stretches_that_are_to_be_believed_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let prediction = Classifier::load(Path::new(RELEASED), tch::Device::Cpu).unwrap();
    let prediction = { prediction }.predict_file(&dir.path().join("scene.wav")).unwrap();
    let expected = prediction.events(0.2);
    // What the network says of silence is none, whatever it is.
    assert!(prediction.timeline[2].standing.is_none_of_these());
    assert!(expected.iter().all(|event| event.end_s <= 10.0) && prediction.timeline.len() == 3);
    let output = |format: &str, more: &[&str]| {
        let arguments = [&["--events", "0.2", "--format", format], more, &["scene.wav"]].concat();
        let output = predict(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let said = lines(&output("json", &[]));
    let events = said[0]["events"].as_array().unwrap();
    assert_eq!((events.len(), &said[0]["duration_s"]), (expected.len(), &Value::from(15.0)));
    for (said, event) in events.iter().zip(&expected) {
        assert_eq!((&said["start_s"], &said["label"]), (&Value::from(event.start_s), &Value::from(&*event.label)));
    }
    let rows = csv::Reader::from_reader(&output("csv", &[]).stdout[..]).records().count();
    let of = |format| String::from_utf8(output(format, &[]).stdout).unwrap();
    let (audacity, raven) = (of("audacity"), of("raven"));
    assert_eq!((rows, audacity.lines().count(), raven.lines().count()), (events.len(), events.len(), events.len() + 1));
    assert!(
        raven.starts_with("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t")
    );
    let columns: Vec<usize> = raven.lines().map(|line| line.split('\t').count()).collect();
    assert!(columns.iter().all(|n| *n == 10), "{columns:?}");
    // Windows that overlap begin where they were told to.
    let overlapping = lines(&output("json", &["--hop", "2.5"]));
    let starts = overlapping[0]["events"].as_array().unwrap().iter().map(|event| event["start_s"].as_f64().unwrap());
    assert!(starts.into_iter().all(|start_s| start_s % 2.5 == 0.0));
    for (arguments, reason) in [
        (&["--hop", "5.5", "scene.wav"][..], "hop_s"),
        (&["--hop", "0", "scene.wav"], "hop_s"),
        (&["--events", "1.5", "scene.wav"], "up to 1"),
        (&["--format", "raven", "scene.wav"], "--events"),
        (&["--out", "a", "--format", "csv", "scene.wav"], "json"),
    ] {
        let output = predict(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{arguments:?}");
    }
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped() {
    let dir = recordings();
    let run = |more: &[&str]| predict(dir.path(), [&["--out", "results.jsonl"], more, &["sounds"]].concat());
    assert_eq!(run(&[]).status.code(), Some(1), "one recording is broken");
    let path = dir.path().join("results.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(whole.lines().count(), 1 + 3);
    // Cut inside the last line that tells of a recording, as a kill leaves it: that one is asked again, the other is not.
    let cut = whole.find("sounds/deep").unwrap() + 4;
    fs::write(&path, &whole[..cut]).unwrap();
    fs::remove_file(dir.path().join("sounds/a.wav")).unwrap();
    let output = run(&[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("recordings are in results.jsonl already"));
    let again = fs::read_to_string(&path).unwrap();
    let files = |text: &str| {
        let mut files: Vec<String> = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["file"].as_str().unwrap().to_owned())
            .collect();
        files.sort();
        files.dedup();
        files
    };
    assert_eq!(files(&again), files(&whole));
    // A recording that has changed is heard again, and what was said of the one before it goes.
    let of = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["file"] == name).collect()
    };
    let deep: Vec<_> = files(&whole).into_iter().filter(|name| name.contains("deep")).collect();
    let before = of(&deep[0]);
    let Waveform { samples, sample_rate } = sound();
    let half = Waveform { samples: samples[..samples.len() / 2].to_vec(), sample_rate };
    write_wav(&dir.path().join(&deep[0]), &half).unwrap();
    let output = run(&[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 of those in it have changed since"), "{output:?}");
    let after = of(&deep[0]);
    assert_eq!((before.len(), after.len()), (1, 1));
    assert!(after[0]["duration_s"] != before[0]["duration_s"] && after[0]["stamp"] != before[0]["stamp"]);
    assert_eq!(files(&fs::read_to_string(&path).unwrap()), files(&whole));
    // Results of other settings are not mixed with these, and what is no such file is left alone.
    let others = [(again.as_str(), &["--top", "2"][..]), ("my notes\n", &[]), ("{\"a\":1}\n", &[]), ("no line", &[])];
    for (text, arguments) in others {
        fs::write(&path, text).unwrap();
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn results_are_one_runs_at_a_time_and_of_the_files_that_are_there() {
    let dir = recordings();
    for (name, take) in [("sounds/a.wav", 5), ("sounds/deep/b.wav", 8)] {
        write_wav(&dir.path().join(name), &demo::synthesize(0, take, 1, 0, 0)).unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        File::options().write(true).open(dir.path().join(name)).unwrap().set_modified(then).unwrap();
    }
    let path = dir.path().join("results.jsonl");
    let run = || predict(dir.path(), ["--out", "results.jsonl", "sounds/a.wav", "sounds/deep/b.wav"]);
    let said = || -> Vec<(String, String)> {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut said: Vec<_> = lines.map(|line| (line["file"].to_string(), line["top"].to_string())).collect();
        said.sort();
        said
    };
    assert_eq!(run().status.code(), Some(0));
    let before = said();
    // Two recordings of one length and time change places.
    let [a, b] = ["sounds/a.wav", "sounds/deep/b.wav"].map(|name| dir.path().join(name));
    fs::rename(&a, dir.path().join("aside")).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(dir.path().join("aside"), &b).unwrap();
    assert_eq!(run().status.code(), Some(0));
    let after = said();
    assert_eq!((&after[0].1, &after[1].1), (&before[1].1, &before[0].1));
    // While a run watches, another does not write; what is replaced meanwhile is named again.
    let mut child = Command::new(command())
        .args(["--watch", "--out", "results.jsonl", "sounds"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(words.any(|line| line.unwrap().contains("watching")));
    let other = run();
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("another run writes into it"), "{other:?}");
    write_wav(&a, &sound()).unwrap();
    let begun = std::time::Instant::now();
    while said().len() < 3 && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said().len(), 3);
    assert_eq!(run().status.code(), Some(0));
    let tops: Vec<String> = said().into_iter().map(|(_, top)| top).collect();
    assert_eq!(tops, [before[0].1.as_str(); 2], "both hold one sound now");
    // A link leads where it did, and what is no file is left alone.
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(predict(dir.path(), ["--out", "link", "sounds/a.wav"]).status.code(), Some(0));
        assert!(link.is_symlink());
        assert_eq!(predict(dir.path(), ["--out", "/dev/null", "sounds/a.wav"]).status.code(), Some(2));
    }
}

#[test]
fn recordings_are_named_as_they_come() {
    let dir = recordings();
    let mut child = Command::new(command())
        .args(["--watch", "sounds"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It begins once the network is there.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("watching")));
    write_wav(&dir.path().join("sounds/new.wav"), &sound()).unwrap();
    fs::write(dir.path().join("sounds/deep/notes.txt"), "no recording").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["file"], "sounds/new.wav");
    // One that is written anew is named again; what was there at the start and stayed is not.
    write_wav(&dir.path().join("sounds/deep/b.wav"), &demo::synthesize(0, 8, 1, 0, 0)).unwrap();
    let second: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(second["file"], "sounds/deep/b.wav");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupt_tells_what_was_heard_of_a_long_recording_and_keeps_it_out_of_results() {
    let dir = tempfile::tempdir().unwrap();
    let take = demo::synthesize(0, 8, 1, 0, 0);
    // Ninety minutes, which take longer than the interrupt is away.
    let samples = take.samples.iter().step_by(11).copied().cycle().take(90 * 60 * 4_000).collect();
    write_wav(&dir.path().join("long.wav"), &Waveform { samples, sample_rate: 4_000 }).unwrap();
    let start = |arguments: &[&str]| {
        let mut command = Command::new(command());
        command.args(arguments).arg("long.wav").current_dir(dir.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let stop = |mut child: std::process::Child| {
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let line = said.find(|line| line.contains("long.wav: ") && line.contains(" % heard, ")).unwrap();
        assert!(line.ends_with(" left"), "{line}");
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success() && said.any(|line| line.contains("stopped in long.wav")));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        output
    };
    let (told, kept) = (start(&[]), start(&["--out", "results.jsonl"]));
    let told = lines(&stop(told));
    let heard_s = told[0]["stopped_at_s"].as_f64().unwrap();
    assert!(heard_s > 60.0 && heard_s < 5_000.0 && told[0]["duration_s"] == told[0]["stopped_at_s"], "{told:?}");
    stop(kept);
    let results = fs::read_to_string(dir.path().join("results.jsonl")).unwrap();
    assert!(!results.contains("long.wav"), "{results}");
}
