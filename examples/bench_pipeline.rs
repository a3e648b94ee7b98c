//! Our side of `bench/run.py pipeline`: takes jobs as lines of JSON, answers each with a line of JSON.

use std::error::Error;
use std::fs;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use audio_transformer::PreprocessReport;
use audio_transformer::config::{Config, DataConfig, DataSource};
use audio_transformer::internals::dataset::demo::{self, Recipe};
use audio_transformer::internals::dataset::download::{ArchiveSource, DownloadOptions, fetch_dataset};
use audio_transformer::internals::dataset::preprocess::preprocess_with;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
enum Job {
    /// Synthesises the demo data set.
    Demo { root: PathBuf, clips_per_fold: usize },
    /// Archive → verified folder.
    Unpack { archive: PathBuf, destination: PathBuf },
    /// Data set → spectrograms in an empty folder.
    Preprocess { dataset: PathBuf, processed: PathBuf, n_workers: usize },
    /// The same data set again: nothing is computed, every file compared with what was read of it.
    Compare { dataset: PathBuf, processed: PathBuf, n_workers: usize },
    /// The memory of this process, in MB: what it holds now, and the most it ever held.
    Memory,
}

type Answer = Result<Value, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Job::Demo { root, clips_per_fold } => {
                demo::make(&root, Recipe::new(0, clips_per_fold))?;
                json!({})
            }
            Job::Unpack { archive, destination } => {
                let fetched = fetch_dataset(&ArchiveSource::File(archive), &destination, &DownloadOptions::default())?;
                json!({ "clips": fetched.report.clips })
            }
            Job::Preprocess { dataset, processed, n_workers } => {
                let report = preprocess(dataset, processed, n_workers)?;
                if report.reused > 0 || !report.failed.is_empty() {
                    return Err(format!("not every clip was computed: {report}").into());
                }
                json!({ "clips": report.computed })
            }
            Job::Compare { dataset, processed, n_workers } => {
                let report = preprocess(dataset, processed, n_workers)?;
                if report.computed > 0 || !report.failed.is_empty() {
                    return Err(format!("not every clip was reused: {report}").into());
                }
                json!({ "clips": report.reused, "compared_s": report.compared.as_secs_f64() })
            }
            Job::Memory => memory()?,
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn preprocess(dataset: PathBuf, processed: PathBuf, n_workers: usize) -> audio_transformer::Result<PreprocessReport> {
    let source = DataSource::Folder(dataset);
    let data = DataConfig { source, processed_dir: processed, metadata_path: None, ..DataConfig::default() };
    preprocess_with(&Config { data, ..Config::default() }, n_workers)
}

/// Reads `VmRSS` and `VmHWM`, which Linux tells in units of 1024 bytes (proc_pid_status(5)).
fn memory() -> Answer {
    let status = fs::read_to_string("/proc/self/status")?;
    let megabytes = |field: &str| -> Result<f64, Box<dyn Error>> {
        let value = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("a field is missing in /proc")?;
        let kibibytes: f64 = value.trim_start_matches(':').trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    };
    Ok(json!({ "held_mb": megabytes("VmRSS")?, "peak_mb": megabytes("VmHWM")? }))
}
