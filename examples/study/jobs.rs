//! Runs of one thread each, in processes of their own.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::Outcome;

/// One run to start.
pub struct Job {
    /// What it is called.
    pub name: String,
    /// What this program is told to do.
    pub arguments: Vec<String>,
}

/// Runs every job in a process of its own, as many at once as there are cores; their output goes to files in `logs`. When one fails no
/// other is started, and those under way are let end.
pub fn run_all(logs: &Path, jobs: impl IntoIterator<Item = Job>) -> Outcome {
    let n_workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut waiting: VecDeque<Job> = jobs.into_iter().collect();
    let mut running: Vec<(String, Child)> = Vec::new();
    let mut failed: Option<String> = None;
    fs::create_dir_all(logs)?;
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < n_workers
            && let Some(Job { name, arguments }) = waiting.pop_front()
        {
            let log = logs.join(format!("{}.log", name.replace(' ', "-")));
            let log = File::options().create(true).append(true).open(&log)?;
            println!("{name} ...");
            running.push((name, Command::new(std::env::current_exe()?).args(arguments).stdout(log).spawn()?));
        }
        thread::sleep(Duration::from_millis(200));
        let mut still = Vec::new();
        for (name, mut child) in running {
            match child.try_wait()? {
                None => still.push((name, child)),
                Some(status) if status.success() => (),
                Some(status) => {
                    failed.get_or_insert(format!("{name} ended with {status}; its words stand above"));
                    waiting.clear();
                }
            }
        }
        running = still;
    }
    failed.map_or(Ok(()), |reason| Err(reason.into()))
}
