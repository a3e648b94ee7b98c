//! A training run in the background: a cell starts it and returns at once, later cells ask how it goes, wait for it or stop it.
//!
//! The run is a thread of the notebook's process that prints nothing, and leaves on disk after every epoch what [`crate::training::train`]
//! leaves. A kernel that ends takes the thread with it and not those files: started again, the run goes on from there.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::dataset::processed::Dataset;
use crate::error::{Error, Result};
use crate::training::history::EpochRecord;
use crate::training::observe::{EpochLine, Observer};
use crate::training::paths::{checkpoint_path, history_path};
use crate::training::report::TrainingReport;
use crate::training::run_lock::RunLock;
use crate::training::train::train_locked;

/// A run that trains in the background. Dropping it asks the run to stop.
pub struct Run {
    config: Config,
    started: SystemTime,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the run's thread and the notebook's cells both see.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// What the run said last of itself.
    said: String,
    /// Epochs of the whole run, once it is known.
    epochs: Option<usize>,
    history: Vec<EpochRecord>,
    /// How the run ended, once it has: its report, or whether it was stopped and the error in words.
    outcome: Option<std::result::Result<TrainingReport, (bool, String)>>,
}

/// How a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It trains.
    Running,
    /// It was stopped before its last epoch; its last whole epoch is on disk.
    Stopped,
    /// It has trained all its epochs.
    Finished,
    /// It ended with this error.
    Failed(String),
}

/// What a run tells when asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// How it stands.
    pub state: State,
    /// What it said last of itself: what it trains on, or where it goes on from.
    pub said: String,
    /// Its last whole epoch, if it has one.
    pub last: Option<EpochRecord>,
    /// Epochs of the whole run; `None` while a run with a time budget has not chosen them yet.
    pub epochs: Option<usize>,
    /// Where its weights are after the first epoch.
    pub checkpoint: PathBuf,
}

impl Run {
    /// Starts training with this config and returns at once. A run that was stopped before goes on, as [`crate::training::train::train`] says.
    ///
    /// # Errors
    /// [`Error::Busy`] when this run is already under way; [`Error::StageMissing`], [`Error::Features`], [`Error::Config`] as
    /// [`crate::training::train::train`]. What goes wrong later is told by [`Run::status`] and [`Run::wait`].
    pub fn start(config: &Config) -> Result<Self> {
        config.validate()?;
        let lock = RunLock::take(config)?;
        Dataset::open(config)?.split(&config.train)?;
        let shared = Arc::new(Shared::default());
        let (notes, settings) = (Arc::clone(&shared), config.clone());
        let train = move || {
            let outcome = train_locked(&settings, &mut Silent(&notes), lock);
            notes.notes().outcome = Some(outcome.map_err(|error| {
                let stopped = matches!(error, Error::Stopped { .. });
                (stopped, error.to_string())
            }));
        };
        let thread = thread::Builder::new().name("training".into()).spawn(train);
        let thread = thread.map_err(Error::io("start a thread for", checkpoint_path(config)))?;
        let started = SystemTime::now();
        Ok(Run { config: config.clone(), started, shared, thread: Mutex::new(Some(thread)) })
    }

    /// How far the run is, at this moment.
    pub fn status(&self) -> Status {
        let ended = self.lock_thread().as_ref().is_none_or(JoinHandle::is_finished);
        let notes = self.shared.notes();
        let state = match &notes.outcome {
            Some(Ok(_)) => State::Finished,
            Some(Err((true, _))) => State::Stopped,
            Some(Err((false, reason))) => State::Failed(reason.clone()),
            None if ended => State::Failed("training panicked; its words are on stderr".into()),
            None => State::Running,
        };
        let last = notes.history.last().cloned();
        let epochs = notes.epochs.or(self.config.train.minutes.is_none().then_some(self.config.train.epochs));
        let checkpoint = checkpoint_path(&self.config);
        Status { state, said: notes.said.clone(), last, epochs, checkpoint }
    }

    /// Epochs of the whole run; of one with a time budget as soon as it has measured its speed, for which this waits some seconds. 0 when
    /// it ended before.
    pub fn epochs(&self) -> usize {
        loop {
            let status = self.status();
            match status.epochs {
                Some(epochs) => return epochs,
                None if status.state != State::Running => return 0,
                None => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until the run has ended. Interrupt the kernel to stop waiting: that ends the run too, after its last whole epoch.
    ///
    /// # Errors
    /// [`Error::Background`] when the run was stopped or failed.
    pub fn wait(&self) -> Result<TrainingReport> {
        self.join();
        match &self.shared.notes().outcome {
            Some(Ok(report)) => Ok(report.clone()),
            Some(Err((_, reason))) => Err(Error::Background { reason: reason.clone() }),
            None => Err(Error::Background { reason: "training panicked; its words are on stderr.".into() }),
        }
    }

    /// Ends the run after the step it is at. The checkpoint and the state of its last whole epoch stay, and [`Run::start`] with the
    /// same config goes on from there.
    pub fn stop(&self) -> Status {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
        self.status()
    }

    /// The settings it trains with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// When it was started, here and now; a run that goes on began earlier.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Where its history grows, epoch by epoch.
    pub fn history_path(&self) -> PathBuf {
        history_path(&self.config)
    }

    fn join(&self) {
        if let Some(thread) = self.lock_thread().take() {
            // A panic shows as a run that ended without an outcome.
            let _ = thread.join();
        }
    }

    fn lock_thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({})", self.status())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Running => write!(f, "training")?,
            State::Stopped => write!(f, "stopped, and Run::start with the same config goes on")?,
            State::Finished => write!(f, "finished")?,
            State::Failed(reason) => write!(f, "failed: {reason}")?,
        }
        match &self.last {
            Some(last) if self.state == State::Running => {
                write!(f, ": {}", EpochLine { last, epochs: self.epochs.unwrap_or(0) })
            }
            Some(last) => {
                let (epoch, epochs) = (last.epoch, self.epochs.unwrap_or(0));
                write!(f, ": epoch {epoch} of {epochs}, loss {:.3}; {}", last.train_loss, self.checkpoint.display())
            }
            None => match self.epochs {
                Some(epochs) => write!(f, ", before the end of the first of {epochs} epochs"),
                None => write!(f, ", measuring how many epochs fit into its time"),
            },
        }?;
        match self.state {
            State::Running if !self.said.is_empty() => write!(f, "\n{}", self.said),
            _ => Ok(()),
        }
    }
}

impl Status {
    /// Shows the status in an evcxr notebook, which calls this on a cell's last expression.
    pub fn evcxr_display(&self) {
        println!("EVCXR_BEGIN_CONTENT text/plain\n{self}\nEVCXR_END_CONTENT");
    }
}

impl Shared {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes instead of lines: what a thread prints would land in whatever cell runs at that moment, maybe inside a picture.
struct Silent<'a>(&'a Shared);

impl Observer for Silent<'_> {
    fn say(&mut self, line: &str) {
        self.0.notes().said = line.to_owned();
    }

    fn plan(&mut self, epochs: usize) {
        self.0.notes().epochs = Some(epochs);
    }

    fn epoch_ends(&mut self, history: &[EpochRecord], _epochs: usize) {
        self.0.notes().history = history.to_vec();
    }

    fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }
}
