//! A run in several processes, from one that is not among them: a notebook's. It starts the program `train`, follows it and stops it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files;
use crate::training::history::EpochRecord;
use crate::training::observe::Observer;
use crate::training::paths::checkpoint_path;
use crate::training::report::TrainingReport;

/// Names the program, where it is not to be built.
const PROGRAM: &str = "TINYAST_TRAIN";
/// How the names begin of what cargo tells a program that it builds or runs.
const OF_A_BUILD: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];
/// How often one looks whether the run is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Lines of what the processes say of an error.
const WORDS: usize = 6;

/// Trains as the config says in `config.train.processes` processes of this machine; see [`crate::train`].
///
/// # Errors
/// [`Error::Background`] with the words of the process that failed, or of the build of the program; [`Error::Stopped`] when the observer ends the
/// run; [`Error::Io`] when the settings cannot be written.
pub(crate) fn train(config: &Config, observer: &mut dyn Observer) -> Result<TrainingReport> {
    let program = program(observer)?;
    let checkpoint = checkpoint_path(config);
    let settings = checkpoint.with_extension("settings.json");
    let json = serde_json::to_vec_pretty(config).map_err(|error| Error::io("write", &settings)(error.into()))?;
    files::write_bytes(&settings, &json)?;
    let mut command = Command::new(&program);
    command.arg(&settings).args(["--processes", &config.train.processes.to_string(), "--events"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome =
        command.spawn().map_err(Error::io("start", &program)).and_then(|child| follow(child, config, observer));
    // What is left of it says nothing that the checkpoint does not.
    let _ = fs::remove_file(&settings);
    outcome
}

fn follow(mut child: Child, config: &Config, observer: &mut dyn Observer) -> Result<TrainingReport> {
    let lines = lines(child.stdout.take());
    let words = {
        let errors = child.stderr.take();
        thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read is not told.
            let _ = errors.map(|mut errors| errors.read_to_string(&mut text));
            text
        })
    };
    let mut input = child.stdin.take();
    let (mut history, mut epochs): (Vec<EpochRecord>, usize) = (Vec::new(), config.train.epochs);
    let mut report = None;
    loop {
        // They stop where their input ends.
        if observer.is_stopped() {
            input = None;
        }
        let line = match lines.recv_timeout(LOOK) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let Ok(Value::Object(mut told)) = serde_json::from_str(&line) else { continue };
        let mut taken = |name: &str| told.remove(name).unwrap_or(Value::Null);
        if let Some(words) = taken("say").as_str() {
            observer.say(words);
        }
        if let Some(planned) = taken("plan").as_u64() {
            epochs = planned as usize;
            observer.plan(epochs);
        }
        if let Ok(record) = serde_json::from_value::<EpochRecord>(taken("epoch")) {
            history.push(record);
            observer.epoch_ends(&history, epochs);
        }
        report = serde_json::from_value::<TrainingReport>(taken("report")).ok().or(report);
    }
    let stopped = input.is_none();
    drop(input);
    let status = child.wait().map_err(Error::io("wait for the training of", checkpoint_path(config)))?;
    let words = words.join().unwrap_or_default();
    match report {
        Some(report) if status.success() => Ok(report),
        _ if stopped => {
            let epoch = history.last().map_or(0, |last| last.epoch);
            Err(Error::Stopped { checkpoint: checkpoint_path(config), epoch, epochs })
        }
        _ => {
            let words: Vec<&str> = words.lines().filter(|line| line.starts_with("train: ")).take(WORDS).collect();
            let reason = if words.is_empty() { format!("the processes ended with {status}") } else { words.join("\n") };
            Err(Error::Background { reason })
        }
    }
}

/// The lines of a program's output as they come.
fn lines(output: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(std::io::Result::ok)
        {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The program `train`: the one that is named, or the one that cargo builds of this very source.
fn program(observer: &mut dyn Observer) -> Result<PathBuf> {
    if let Some(program) = env::var_os(PROGRAM) {
        return Ok(program.into());
    }
    observer
        .say("building the program that trains in several processes: a minute or two the first time, nothing later");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--locked", "--example", "train", "--features", "distributed"]);
    build.args(["--target", env!("BUILT_FOR"), "--message-format", "json-render-diagnostics"]);
    // As the set-up builds, whose work serves this, too.
    build.arg("--manifest-path").arg(root.join("Cargo.toml"));
    build.env("RUSTFLAGS", "-Cprefer-dynamic").env("CARGO_TARGET_DIR", root.join("target/evcxr/target"));
    // What cargo tells the programs it runs would have it build again what it has built without.
    for (name, _) in env::vars_os() {
        let of_a_build = |name: &str| OF_A_BUILD.iter().any(|start| name.starts_with(start));
        if name.to_str().is_some_and(of_a_build) {
            build.env_remove(name);
        }
    }
    build.stdin(Stdio::null());
    let failed = |reason: String| Error::Background {
        reason: format!(
            "the program that trains in several processes cannot be built: {reason}\nSet train.processes to 1, or {PROGRAM} to a program that `cargo \
             build --example train --features distributed` has built."
        ),
    };
    let output = build.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(words.lines().take(WORDS).collect::<Vec<_>>().join("\n")));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_example = built.filter(|message| message["target"]["name"] == "train");
    let executable = of_example.filter_map(|message| Some(message["executable"].as_str()?.into())).next_back();
    executable.ok_or_else(|| failed("cargo did not say where it is".into()))
}
