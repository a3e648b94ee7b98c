//! Signs of life: every process counts up a number of its own each second, and whoever waits too long looks at those of the others.
//!
//! Why one is gone is told by the name of the process, where a broken connection has an address alone, and a machine that vanished has not even
//! that. A thread of its own talks to the store: a store that no longer answers stops this thread and not the training.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::c10d::Store;

/// From one sign of life to the next.
const BEAT: Duration = Duration::from_secs(1);
/// How often the thread looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(50);
/// The name under which the first failure stands.
const FAILED: &str = "failed";

/// A process that is no longer there, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Its number.
    pub rank: usize,
    /// What is known of it.
    pub reason: String,
}

/// The signs of life of all processes, as one of them sees them.
pub struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    rank: usize,
    is_over: AtomicBool,
    watches: AtomicBool,
    seen: Mutex<Seen>,
}

struct Seen {
    /// When the store answered last; never again, where it failed.
    contact: Instant,
    store_error: Option<String>,
    /// The number of each process, and since when it stands.
    beats: Vec<(i64, Instant)>,
    /// When the others were looked at last, if they are being looked at.
    looked: Option<Instant>,
    failed: Option<Failure>,
    /// What this process has to say of a failure.
    to_tell: Option<Failure>,
}

impl Pulse {
    /// Begins to beat.
    pub fn start(store: Store, rank: usize, size: usize) -> Self {
        let now = Instant::now();
        let seen = Seen {
            contact: now,
            store_error: None,
            beats: vec![(0, now); size],
            looked: None,
            failed: None,
            to_tell: None,
        };
        let shared = Arc::new(Shared { rank, is_over: false.into(), watches: false.into(), seen: Mutex::new(seen) });
        let beating = Arc::clone(&shared);
        let thread = thread::Builder::new().name("signs of life".into()).spawn(move || beating.beat(&store)).ok();
        Pulse { shared, thread }
    }

    /// Looks at the others from now on, or no longer.
    pub fn watch(&self, watches: bool) {
        if self.shared.watches.swap(watches, Ordering::Relaxed) != watches {
            let mut seen = self.shared.seen();
            let now = Instant::now();
            seen.looked = None;
            seen.beats.iter_mut().for_each(|(_, since)| *since = now);
        }
    }

    /// The process that has failed, or has given no sign of life for so long; while the others are looked at.
    pub fn lost(&self, silent_for: Duration) -> Option<Failure> {
        let seen = self.shared.seen();
        if let Some(failed) = &seen.failed {
            return Some(failed.clone());
        }
        if let Some(error) = &seen.store_error {
            let first = error.lines().next().unwrap_or_default();
            return Some(Failure { rank: 0, reason: format!("it no longer answers ({first})") });
        }
        if seen.contact.elapsed() > silent_for {
            let seconds = seen.contact.elapsed().as_secs();
            return Some(Failure { rank: 0, reason: format!("it has not answered for {seconds} s") });
        }
        let looked = seen.looked?;
        let silence = |since: &Instant| looked.saturating_duration_since(*since);
        let others = seen.beats.iter().enumerate().filter(|(rank, _)| *rank != self.shared.rank);
        let (rank, (_, since)) = others.max_by_key(|(_, (_, since))| silence(since))?;
        let silence = silence(since);
        let reason = format!("it has given no sign of life for {} s: it ended, or it is stopped", silence.as_secs());
        (silence > silent_for).then_some(Failure { rank, reason })
    }

    /// Tells the others of a failure, if none was told before.
    pub fn tell(&self, failure: Failure) {
        self.shared.seen().to_tell = Some(failure);
    }

    /// Whether the thread has passed on what it was told, or never can.
    pub fn has_told(&self) -> bool {
        let seen = self.shared.seen();
        seen.to_tell.is_none() || seen.store_error.is_some()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // A thread that waits for a store that no longer answers would be waited for without end.
        let answers = self.shared.seen().contact.elapsed() < 3 * BEAT;
        if let Some(thread) = self.thread.take().filter(|_| answers) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self, store: &Store) {
        let mut last: Option<Instant> = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let is_due = last.is_none_or(|last| last.elapsed() >= BEAT);
            if is_due || self.seen().to_tell.is_some() {
                last = Some(Instant::now());
                if let Err(error) = self.beat_once(store) {
                    self.seen().store_error = Some(error);
                    return;
                }
            }
            thread::sleep(LOOK);
        }
    }

    fn beat_once(&self, store: &Store) -> Result<(), String> {
        store.add(&key(self.rank), 1)?;
        self.seen().contact = Instant::now();
        let to_tell = self.seen().to_tell.clone();
        if let Some(failure) = to_tell {
            if store.get(FAILED)?.is_none() {
                store.set(FAILED, &serde_json::to_string(&failure).unwrap_or_default())?;
            }
            self.seen().to_tell = None;
        }
        if !self.watches.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failed = store.get(FAILED)?.and_then(|json| serde_json::from_str(&json).ok());
        let size = self.seen().beats.len();
        let counts = (0..size).map(|rank| store.add(&key(rank), 0)).collect::<Result<Vec<_>, _>>()?;
        let (mut seen, now) = (self.seen(), Instant::now());
        seen.failed = failed;
        for (beat, count) in seen.beats.iter_mut().zip(counts) {
            if beat.0 != count {
                *beat = (count, now);
            }
        }
        (seen.contact, seen.looked) = (now, Some(now));
        Ok(())
    }
}

fn key(rank: usize) -> String {
    format!("alive/{rank}")
}
