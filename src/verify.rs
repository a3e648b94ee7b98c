//! Holds a raw data set against its own table: every row has its file, every file its row, every WAV is whole.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use rayon::prelude::*;

use crate::audio::{self, WavInfo};
use crate::catalog::{Catalog, Clip, audio_files};
use crate::{Error, Result};

/// What every clip of ESC-50 is: 5 s at 44.1 kHz, mono, 16-bit.
pub const ESC50_WAV: WavInfo = WavInfo { sample_rate: 44_100, channels: 1, bits_per_sample: 16, n_frames: 220_500 };

/// How many faults an error lists by name.
const LISTED: usize = 5;

/// What a sound data set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Clips, each with its file.
    pub clips: usize,
    /// Classes.
    pub num_classes: usize,
    /// Cross-validation folds.
    pub folds: usize,
    /// Clips whose WAV header and length were checked; the others (FLAC, MP3 …) are decoded only later.
    pub wavs: usize,
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VerifyReport { clips, num_classes, folds, wavs } = self;
        write!(f, "{clips} clips of {num_classes} classes in {folds} folds, each with its file; {wavs} WAVs checked")
    }
}

/// Checks that every row of the catalogue has its file, that every audio file under its folder has its row, and that every
/// WAV parses and holds the samples it promises, on all cores.
///
/// It is for a whole data set: a catalogue cut down by [`Catalog::esc10`] lacks the rows of other files.
/// With `expected`, every clip must be a WAV of exactly that rate, width and length; see [`ESC50_WAV`].
///
/// # Errors
/// [`Error::Dataset`] with the first faults by name and the count of all; [`Error::Io`] when the folder cannot be read.
pub fn verify(catalog: &Catalog, expected: Option<WavInfo>) -> Result<VerifyReport> {
    let rows: HashSet<&str> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    let mut faults: Vec<String> = audio_files(&catalog.audio_dir)?
        .into_iter()
        .filter(|file| !rows.contains(file.as_str()))
        .map(|file| format!("{file} (a file without a row)"))
        .collect();
    let checked: Vec<Result<bool, String>> = catalog
        .clips
        .par_iter()
        .map(|clip| {
            check(clip, &catalog.path(clip), expected.as_ref()).map_err(|fault| format!("{} ({fault})", clip.filename))
        })
        .collect();
    let wavs = checked.iter().filter(|wav| **wav == Ok(true)).count();
    faults.extend(checked.into_iter().filter_map(Result::err));
    if faults.is_empty() {
        let (num_classes, folds) = (catalog.labels().len(), catalog.folds().len());
        return Ok(VerifyReport { clips: catalog.clips.len(), num_classes, folds, wavs });
    }
    let more = faults.len().saturating_sub(LISTED);
    let mut found = format!("{} that differ: {}", faults.len(), faults[..faults.len() - more].join("; "));
    if more > 0 {
        found += &format!("; and {more} more");
    }
    Err(Error::Dataset {
        root: catalog.audio_dir.clone(),
        expected: format!("the {} files its table lists, whole, and no others", catalog.clips.len()),
        found,
        next: "Correct these files or the table; or remove the data set's folder and run the stage \"Download & verify\" again."
            .into(),
    })
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
    let info = audio::wav_info(path).map_err(|error| match error {
        Error::Audio { offset, expected, found, .. } => {
            let place = offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
            format!("expected {expected}{place}, found {found}")
        }
        other => other.to_string(),
    })?;
    match expected {
        Some(expected) if info != *expected => {
            Err(format!("expected {}, found {}", describe(expected), describe(&info)))
        }
        _ => Ok(true),
    }
}

fn describe(wav: &WavInfo) -> String {
    let WavInfo { sample_rate, channels, bits_per_sample, n_frames } = wav;
    format!("{n_frames} frames of {channels} × {bits_per_sample} bits at {sample_rate} Hz")
}
