//! A microphone under a cell: recorded by the browser, saved through Jupyter, found by the next cell.

use std::fs;
use std::path::Path;

use super::kernel_folder;
use crate::error::{Error, Result};
use crate::files;
use crate::front_end::audio::{self, Waveform};
use crate::results::export::MICROPHONE;
use crate::show::html::{self, Html};

/// Records in the browser and hands the file to Jupyter.
const SCRIPT: &str = include_str!("record.js");
/// How long a take is, if nobody ends it before: as long as a clip of ESC-50.
const TAKE_S: f64 = 5.0;
/// The longest name of a recording, in bytes: with a number and an extension it fits into any file system's 255.
const MAX_NAME: usize = 200;

/// A button that records from the microphone of whoever looks at the page, with a level meter and a countdown. A take is a WAV in `folder`, which
/// is made if it is missing: `name.wav`, and for further ones `name-2.wav`, `name-3.wav` …; none takes the place of another.
///
/// It works in JupyterLab and Jupyter Notebook, on a notebook that is trusted, on a page over https or from localhost. Where it cannot, it says why,
/// and what to do.
///
/// # Errors
/// [`Error::Config`] for a name that is no plain file name; [`Error::Io`] when the folder cannot be made.
pub fn record(folder: impl AsRef<Path>, name: &str) -> Result<Html> {
    let folder = folder.as_ref();
    check_name(name)?;
    files::create_dir(folder)?;
    let shown = folder.to_string_lossy();
    let id = html::unique_id("record");
    let run = serde_json::json!({
        "here": kernel_folder::here()?,
        "folder": kernel_folder::below_here(folder)?,
        "shown": shown.trim_end_matches('/'),
        "name": name,
        "seconds": TAKE_S,
    });
    let words = format!(
        "A button to record from your microphone stands here where scripts run. Trust the notebook (File, Trust Notebook) and run the cell again. \
         On a page that runs none, record with another program and put the file into {shown}."
    );
    let picture = html::button_out_of_use("microphone");
    let script = SCRIPT.replace("RECORD_ID", &id);
    let script = script.replace("KERNEL_FOLDER\n", kernel_folder::SCRIPT).replace("MICROPHONE\n", MICROPHONE);
    Ok(html::live(&id, &run.to_string(), &picture, &words, &script))
}

/// [`record`] for several sounds at once, each with a folder of its name in `folder`, as [`crate::Taught::by_ear`] learns from them.
///
/// # Errors
/// As [`record`], for any of the names.
pub fn record_each(folder: impl AsRef<Path>, sounds: &[&str]) -> Result<Html> {
    let folder = folder.as_ref();
    let buttons = sounds.iter().map(|sound| {
        check_name(sound)?;
        Ok(html::card(sound, &[record(folder.join(sound), "take")?]))
    });
    Ok(html::row(&buttons.collect::<Result<Vec<_>>>()?))
}

/// The last take that [`record`] left under a name, with its file's name; `None` where there is none.
///
/// # Errors
/// As [`record`] for the name; what [`audio::read`] reports.
pub fn last_take(folder: impl AsRef<Path>, name: &str) -> Result<Option<(String, Waveform)>> {
    check_name(name)?;
    let folder = folder.as_ref();
    if !folder.is_dir() {
        return Ok(None);
    }
    let number = |file: &str| match file.strip_suffix(".wav")?.strip_prefix(name)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse::<u32>().ok().filter(|take| *take > 1),
    };
    let entries = fs::read_dir(folder).map_err(Error::io("read folder", folder))?.flatten();
    let takes = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        Some((number(&file)?, file))
    });
    let Some((_, file)) = takes.max() else { return Ok(None) };
    let waveform = audio::read(&folder.join(&file))?;
    Ok(Some((file, waveform)))
}

/// Refuses what is no plain file name.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| !c.is_control() && !"/\\:*?\"<>|".contains(c);
    let is_plain = name.chars().all(plain) && !name.starts_with('.') && name.trim() == name;
    if !name.is_empty() && name.len() <= MAX_NAME && is_plain {
        return Ok(());
    }
    let expected = format!("a plain file name of up to {MAX_NAME} bytes, without an extension");
    Err(Error::Config { field: "name", expected, found: format!("{name:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", ".", "../up", "a/b", "a\\b", ".hidden", "a\nb", " a", "a:b", &"a".repeat(201)] {
            let error = record(dir.path(), name).unwrap_err();
            assert!(matches!(error, Error::Config { field: "name", .. }), "{name:?}: {error}");
        }
    }

    #[test]
    fn the_page_knows_where_takes_go_and_says_what_stands_there_without_scripts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new/takes");
        let html = record(&folder, "door & bell").unwrap();
        assert!(folder.is_dir());
        // No path of this machine goes into a notebook, and a folder that Jupyter cannot serve is told to be one.
        assert!(html.as_str().contains("&quot;folder&quot;:null"));
        assert!(
            html.as_str().contains("door &amp; bell")
                && ["RECORD_ID", "KERNEL_FOLDER", "MICROPHONE"].iter().all(|name| !html.as_str().contains(name))
        );
        assert!(html.as_str().contains("Trust the notebook"));
        // Nothing may end the script early.
        assert_eq!(html.as_str().matches("</script").count(), 1);
    }

    #[test]
    fn the_last_take_is_the_one_with_the_highest_number() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_take(dir.path().join("none"), "door").unwrap(), None);
        let write = |file: &str, n: usize| {
            let sound = Waveform { samples: vec![0.5; n], sample_rate: 16_000 };
            audio::write_wav(&dir.path().join(file), &sound).unwrap();
        };
        for (n, file) in
            ["door.wav", "door-2.wav", "door-10.wav", "door-1.wav", "doorbell.wav", "door-x.wav"].iter().enumerate()
        {
            write(file, n + 1);
        }
        let (file, take) = last_take(dir.path(), "door").unwrap().unwrap();
        assert_eq!((file.as_str(), take.samples.len()), ("door-10.wav", 3));
        assert_eq!(last_take(dir.path(), "bell").unwrap(), None);
    }
}
