//! Several runs in the background, one after another.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::training::paths::checkpoint_path;
use crate::training::run::{Run, State, Status};

/// How often a run under way is asked whether it has ended.
const PERIOD: Duration = Duration::from_millis(100);

/// Runs in the background, one after another, each with its own settings. Dropping it asks the run under way to stop, and no other begins.
#[derive(Debug)]
pub struct Sweep {
    configs: Vec<Config>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// The runs that have begun, or why they did not.
    begun: Mutex<Vec<std::result::Result<Run, String>>>,
}

/// Trains with each of these settings in the background, one after another, and returns at once. A run that fails is told, and the next one
/// begins. What was trained before under the same name is trained again.
///
/// # Errors
/// [`Error::Config`] for settings out of range, for none at all, and for two of one `train.run_name`, which would write over each other.
pub fn sweep(configs: &[Config]) -> Result<Sweep> {
    let mut names = BTreeSet::new();
    for config in configs {
        config.validate()?;
        if !names.insert(checkpoint_path(config)) {
            let (expected, found) = ("a name of its own for every run".into(), config.train.run_name.clone());
            return Err(Error::Config { field: "train.run_name", expected, found });
        }
    }
    if configs.is_empty() {
        return Err(Error::Config { field: "configs", expected: "at least one".into(), found: "none".into() });
    }
    let shared = Arc::new(Shared::default());
    let (ours, settings) = (Arc::clone(&shared), configs.to_vec());
    let work = move || {
        for config in &settings {
            if ours.stop.load(Ordering::Relaxed) {
                return;
            }
            let run = Run::start(config).map_err(|error| error.to_string());
            ours.begun().push(run);
            while ours.is_running() {
                if ours.stop.load(Ordering::Relaxed) {
                    ours.stop_last();
                    return;
                }
                thread::sleep(PERIOD);
            }
        }
    };
    let thread = thread::Builder::new().name("sweep".into()).spawn(work);
    thread.map_err(Error::io("start a thread for", checkpoint_path(&configs[0])))?;
    Ok(Sweep { configs: configs.to_vec(), shared })
}

impl Shared {
    fn begun(&self) -> MutexGuard<'_, Vec<std::result::Result<Run, String>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        matches!(self.begun().last(), Some(Ok(run)) if run.status().state == State::Running)
    }

    fn stop_last(&self) {
        if let Some(Ok(run)) = self.begun().last() {
            run.stop();
        }
    }
}

impl Sweep {
    /// The settings of every run, in their order.
    pub fn configs(&self) -> &[Config] {
        &self.configs
    }

    /// How every run stands: `None` of one that has not begun, and in words why one could not begin.
    pub fn status(&self) -> Vec<Option<std::result::Result<Status, String>>> {
        let begun = self.shared.begun();
        let of = |place: usize| Some(begun.get(place)?.as_ref().map(Run::status).map_err(Clone::clone));
        (0..self.configs.len()).map(of).collect()
    }

    /// Whether every run has ended, or will not begin.
    pub fn is_over(&self) -> bool {
        let begun = self.shared.begun().len();
        let ended = begun == self.configs.len() || self.shared.stop.load(Ordering::Relaxed);
        ended && !self.shared.is_running()
    }

    /// Waits until every run has ended. Interrupt the kernel to stop waiting.
    pub fn wait(&self) {
        while !self.is_over() {
            thread::sleep(PERIOD);
        }
    }

    /// Ends the run under way after the step it is at; no other begins.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wait();
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (config, status) in self.configs.iter().zip(self.status()) {
            let name = &config.train.run_name;
            match status {
                None => writeln!(f, "{name}: waits")?,
                Some(Ok(status)) => writeln!(f, "{name}: {status}")?,
                Some(Err(reason)) => writeln!(f, "{name}: could not begin: {reason}")?,
            }
        }
        Ok(())
    }
}
