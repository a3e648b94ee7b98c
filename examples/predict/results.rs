//! A file of results that a later run goes on with.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Lines of JSON behind a first one that tells how they came about.
pub struct Results {
    /// Takes further lines.
    pub file: File,
    /// Recordings that have theirs.
    pub done: HashSet<PathBuf>,
}

impl Results {
    /// Opens the file, or makes it, for results that come about as `made` tells. What an interrupted run left of a line is cut off; what was said
    /// before stays.
    pub fn open(path: &Path, made: &Value) -> Result<Self, String> {
        let told = |error: io::Error| format!("{}: {error}", path.display());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(told)?;
        let (mut done, mut whole, mut first) = (HashSet::new(), 0, None);
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(told)? > 0 && line.ends_with(b"\n") {
            let said: Value = serde_json::from_slice(&line).map_err(|_| {
                format!("{}: expected lines of JSON that --out wrote, found others; name another file", path.display())
            })?;
            whole += line.len() as u64;
            line.clear();
            match first {
                None => first = Some(said),
                // What could not be read is tried again.
                Some(_) if said.get("error").is_none() => done.extend(said["file"].as_str().map(PathBuf::from)),
                Some(_) => {}
            }
        }
        match &first {
            None if whole == 0 => {
                file.set_len(0).map_err(told)?;
                writeln!(file, "{made}").map_err(told)?;
            }
            Some(found) if found == made => file.set_len(whole).map_err(told)?,
            found => {
                let found = found.as_ref().unwrap_or(&Value::Null);
                return Err(format!(
                    "{}: expected results made as {made}, found such made as {found}; name another file",
                    path.display()
                ));
            }
        }
        file.seek(SeekFrom::End(0)).map_err(told)?;
        Ok(Results { file, done })
    }
}
