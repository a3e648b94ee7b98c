//! Holds a raw data set against its own table: every row has its file, every file its row, every WAV is whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use crate::dataset::catalog::{Catalog, Clip, audio_files, is_audio};
use crate::error::{Error, Result};
use crate::front_end::audio::{self, Listen, WavInfo};

/// What every clip of ESC-50 is: 5 s at 44.1 kHz, mono, 16-bit.
pub const ESC50_WAV: WavInfo = WavInfo { sample_rate: 44_100, channels: 1, bits_per_sample: 16, n_frames: 220_500 };

/// How many faults an error lists by name, and how many a report prints.
const LISTED: usize = 5;
const PRINTED: usize = 20;

/// What a data set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Clips, those with faults included.
    pub clips: usize,
    /// Classes.
    pub num_classes: usize,
    /// Cross-validation folds.
    pub folds: usize,
    /// Clips whose WAV header and length are sound; the others (FLAC, MP3 …) are decoded only later.
    pub wavs: usize,
    /// Clips that cannot be read, by their file name, with the reason. None after [`verify`].
    pub faults: Vec<(String, String)>,
    /// Audio files that lie among the clips without being of the data set. None after [`verify`].
    pub unlisted: usize,
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VerifyReport { clips, num_classes, folds, wavs, faults, unlisted } = self;
        write!(f, "{clips} clips of {num_classes} classes in {folds} folds, ")?;
        match faults.len() {
            0 => write!(f, "each with its file")?,
            unreadable => write!(f, "{unreadable} of which cannot be read")?,
        }
        write!(f, "; {wavs} WAVs checked")?;
        match unlisted {
            0 => {}
            1 => write!(f, "; 1 audio file among them is not listed")?,
            _ => write!(f, "; {unlisted} audio files among them are not listed")?,
        }
        for (filename, reason) in faults.iter().take(PRINTED) {
            write!(f, "\n  cannot read {filename}: {reason}")?;
        }
        match faults.len().saturating_sub(PRINTED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Checks that a data set is complete: every row of the catalogue has its file, every audio file under its folder has its
/// row, and every WAV parses and holds the samples it promises, on all cores.
///
/// It is for a whole data set that promises so much, as ESC-50 does: a catalogue cut down by [`Catalog::esc10`] lacks the
/// rows of other files, and a person's own folder may hold more than its table lists; see [`survey`].
/// With `expected`, every clip must be a WAV of exactly that rate, width and length; see [`ESC50_WAV`].
///
/// # Errors
/// [`Error::Dataset`] with the first faults by name and the count of all; [`Error::Io`] when the folder cannot be read.
pub fn verify(catalog: &Catalog, expected: Option<WavInfo>) -> Result<VerifyReport> {
    let rows: HashSet<&str> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    let walk = audio_files(&catalog.audio_dir)?;
    let mut faults = walk.unreadable;
    let unlisted = walk.files.into_iter().filter(|file| !rows.contains(file.as_str()));
    faults.extend(unlisted.map(|file| (file, "a file without a row".to_owned())));
    let report = look_at(catalog, |clip, path| check(clip, path, expected.as_ref()));
    faults.extend(report.faults.iter().cloned());
    if faults.is_empty() {
        return Ok(report);
    }
    Err(Error::Dataset {
        root: catalog.audio_dir.clone(),
        expected: format!("the {} files its table lists, whole, and no others", catalog.clips.len()),
        found: format!("{} that differ: {}", faults.len(), first_of(&faults)),
        next: "Correct these files or the table.".into(),
    })
}

/// Looks through a person's own data set, on all cores: what cannot be read is told in the report and ends nothing, and so
/// are audio files that lie in the folders of the clips without being listed.
///
/// What is called a WAV and is none is sound if it can be decoded as what it is.
///
/// # Errors
/// [`Error::Dataset`] when not one clip can be read, with the first reasons.
pub fn survey(catalog: &Catalog) -> Result<VerifyReport> {
    let report = look_at(catalog, |clip, path| match check(clip, path, None) {
        Err(_) if path.is_file() => audio::stream(path, &mut Nobody).map(|()| false).map_err(reason),
        checked => checked,
    });
    if report.faults.len() < report.clips {
        return Ok(VerifyReport { unlisted: count_unlisted(catalog), ..report });
    }
    Err(Error::Dataset {
        root: catalog.audio_dir.clone(),
        expected: "at least one clip that can be read".into(),
        found: format!("{} that cannot: {}", report.clips, first_of(&report.faults)),
        next: "Replace these files; if a table lists them, its file names start from this folder.".into(),
    })
}

/// Who reads a file only to see whether it can be read.
struct Nobody;

impl Listen for Nobody {
    fn begin(&mut self, _sample_rate: u32) -> Result<()> {
        Ok(())
    }

    fn take(&mut self, _samples: &[f32]) -> Result<()> {
        Ok(())
    }
}

fn look_at(catalog: &Catalog, check: impl Fn(&Clip, &Path) -> Result<bool, String> + Sync) -> VerifyReport {
    let checked: Vec<Result<bool, String>> =
        catalog.clips.par_iter().map(|clip| check(clip, &catalog.path(clip))).collect();
    let wavs = checked.iter().filter(|wav| **wav == Ok(true)).count();
    let faults = catalog.clips.iter().zip(checked);
    VerifyReport {
        clips: catalog.clips.len(),
        num_classes: catalog.labels().len(),
        folds: catalog.folds().len(),
        wavs,
        faults: faults.filter_map(|(clip, checked)| Some((clip.filename.clone(), checked.err()?))).collect(),
        unlisted: 0,
    }
}

/// Counts the audio files in the data set's folder, in those its clips lie in, and in those beside several of these, which look like classes that
/// the table leaves out. Other folders are not searched: they may be other data sets.
fn count_unlisted(catalog: &Catalog) -> usize {
    let rows: HashSet<&str> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    let folder_of = |row: &'_ &str| row.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let mut folders: BTreeSet<String> = rows.iter().map(folder_of).collect();
    let mut around: BTreeMap<String, usize> = BTreeMap::new();
    for folder in folders.iter().filter(|folder| !folder.is_empty()) {
        let parent =
            folder.trim_end_matches('/').rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
        *around.entry(parent).or_default() += 1;
    }
    for parent in around.into_iter().filter(|(_, n)| *n > 1).map(|(parent, _)| parent) {
        for entry in fs::read_dir(catalog.audio_dir.join(&parent)).into_iter().flatten().flatten() {
            let name =
                entry.file_name().into_string().ok().filter(|name| !name.starts_with('.') && entry.path().is_dir());
            folders.extend(name.map(|name| format!("{parent}{name}/")));
        }
    }
    folders.insert(String::new());
    let unlisted = |folder: &String| {
        // A folder that cannot be read has its clips among the faults.
        let entries = fs::read_dir(catalog.audio_dir.join(folder)).into_iter().flatten().flatten();
        entries
            .filter(|entry| is_audio(&entry.path()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && !rows.contains(format!("{folder}{name}").as_str()))
            .count()
    };
    folders.iter().map(unlisted).sum()
}

fn first_of(faults: &[(String, String)]) -> String {
    let named: Vec<String> = faults.iter().take(LISTED).map(|(file, fault)| format!("{file} ({fault})")).collect();
    let more = match faults.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    named.join("; ") + &more
}

/// Whether the clip's file is a WAV, or what is wrong with it.
fn check(clip: &Clip, path: &Path, expected: Option<&WavInfo>) -> Result<bool, String> {
    if !path.is_file() {
        return Err("a row without a file".into());
    }
    let extension = clip.filename.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_wav = matches!(extension.as_str(), "wav" | "wave");
    if !is_wav && expected.is_none() {
        return Ok(false);
    }
    let info = audio::wav_info(path).map_err(reason)?;
    match expected {
        Some(expected) if info != *expected => {
            Err(format!("expected {}, found {}", describe(expected), describe(&info)))
        }
        _ => Ok(true),
    }
}

/// What is wrong with a file that is named already.
fn reason(error: Error) -> String {
    match error {
        Error::Audio { offset, expected, found, .. } => {
            let place = offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
            format!("expected {expected}{place}, found {found}")
        }
        other => other.to_string(),
    }
}

fn describe(wav: &WavInfo) -> String {
    let WavInfo { sample_rate, channels, bits_per_sample, n_frames } = wav;
    format!("{n_frames} frames of {channels} × {bits_per_sample} bits at {sample_rate} Hz")
}
