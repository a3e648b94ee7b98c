//! How a run is told of and stopped: lines for a person, or lines of JSON for the notebook that started it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use audio_transformer::{Console, EpochRecord, Observer, TrainingReport};
use serde_json::{Value, json};

/// Set in the environment of a process whose standard input ends when it is to stop.
pub const STOPS_WITH_INPUT: &str = "TINYAST_STOPS_WITH_INPUT";

/// Tells of a run.
pub struct Follower {
    /// None, where it is told in JSON.
    console: Option<Console>,
    is_stopped: Arc<AtomicBool>,
}

impl Follower {
    pub fn new(in_json: bool) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        if in_json || std::env::var_os(STOPS_WITH_INPUT).is_some() {
            let stop = Arc::clone(&is_stopped);
            thread::spawn(move || {
                let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
                stop.store(true, Ordering::Relaxed);
            });
        }
        Follower { console: (!in_json).then(Console::default), is_stopped }
    }

    /// The run is over.
    pub fn ends(&mut self, report: &TrainingReport) {
        match &self.console {
            Some(_) => println!("{report}"),
            None => write(&json!({ "report": report })),
        }
    }
}

impl Observer for Follower {
    fn say(&mut self, line: &str) {
        match &mut self.console {
            Some(console) => console.say(line),
            None => write(&json!({ "say": line })),
        }
    }

    fn plan(&mut self, epochs: usize) {
        match &mut self.console {
            Some(console) => console.plan(epochs),
            None => write(&json!({ "plan": epochs })),
        }
    }

    fn epoch_begins(&mut self, epoch: usize, epochs: usize, n_clips: usize) {
        if let Some(console) = &mut self.console {
            console.epoch_begins(epoch, epochs, n_clips);
        }
    }

    fn step_ends(&mut self, n_clips: usize) {
        if let Some(console) = &mut self.console {
            console.step_ends(n_clips);
        }
    }

    fn epoch_ends(&mut self, history: &[EpochRecord], epochs: usize) {
        match &mut self.console {
            Some(console) => console.epoch_ends(history, epochs),
            None => write(&json!({ "epoch": history.last(), "epochs": epochs })),
        }
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

/// A line that nobody reads any more ends nothing: the run does, by its standard input.
fn write(line: &Value) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}
