//! A file of results that a later run goes on with.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::Value;

/// Lines of JSON behind a first one that tells how they came about.
pub struct Results {
    /// Takes further lines.
    pub file: File,
    /// Recordings that have theirs, and are still what they were.
    pub done: HashSet<PathBuf>,
    /// How many have changed since, and lost them.
    pub n_changed: usize,
}

/// What tells a file from another that comes to lie in its place: its length, and when it was last written to. None of what is no file.
pub fn stamp(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{} bytes, {}.{:09} s", file.len(), modified.as_secs(), modified.subsec_nanos()))
}

impl Results {
    /// Opens the file, or makes it, for results that come about as `made` tells. What an interrupted run left of a line goes, and so does what
    /// was said of a recording that is no longer what it was; the rest stays.
    pub fn open(path: &Path, made: &Value) -> Result<Self, String> {
        let told = |error: io::Error| format!("{}: {error}", path.display());
        let (mut done, mut kept, mut n_changed, mut is_new) = (HashSet::new(), Vec::new(), 0, true);
        match File::open(path) {
            Ok(file) => {
                let (mut lines, mut line) = (BufReader::new(file), Vec::new());
                while lines.read_until(b'\n', &mut line).map_err(told)? > 0 && line.ends_with(b"\n") {
                    let said: Value = serde_json::from_slice(&line).map_err(|_| {
                        format!(
                            "{}: expected lines of JSON that --out wrote, found others; name another file",
                            path.display()
                        )
                    })?;
                    if std::mem::take(&mut is_new) {
                        if said != *made {
                            return Err(format!(
                                "{}: expected results made as {made}, found such made as {said}; name another file",
                                path.display()
                            ));
                        }
                    } else if let (Some(name), Some(then)) = (said["file"].as_str(), said["stamp"].as_str()) {
                        // What could not be read has no stamp, and is tried again; so has what came through a pipe.
                        if stamp(Path::new(name)).is_some_and(|now| now != then) {
                            n_changed += 1;
                            line.clear();
                            continue;
                        }
                        done.insert(PathBuf::from(name));
                    }
                    kept.append(&mut line);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(told(error)),
        }
        if is_new {
            kept = format!("{made}\n").into_bytes();
        }
        // Left alone where all of it stays: another program may be reading it.
        if !fs::metadata(path).is_ok_and(|file| file.len() == kept.len() as u64) {
            let beside = path.with_added_extension("part");
            fs::write(&beside, kept).and_then(|()| fs::rename(&beside, path)).map_err(told)?;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(told)?;
        Ok(Results { file, done, n_changed })
    }
}
