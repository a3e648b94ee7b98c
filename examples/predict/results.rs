//! A file of results that a later run goes on with.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
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
        let (mut done, mut n_changed) = (HashSet::new(), 0);
        // Which bytes stay: all of a file of a million lines need not be in memory for that.
        let (mut kept, mut at, mut len): (Vec<Range<u64>>, u64, u64) = (Vec::new(), 0, 0);
        match File::open(path) {
            Ok(file) => {
                len = file.metadata().map_err(told)?.len();
                let (mut lines, mut line) = (BufReader::new(file), Vec::new());
                while lines.read_until(b'\n', &mut line).map_err(told)? > 0 && line.ends_with(b"\n") {
                    let said: Value = serde_json::from_slice(&line).map_err(|_| {
                        format!(
                            "{}: expected lines of JSON that --out wrote, found others; name another file",
                            path.display()
                        )
                    })?;
                    let end = at + line.len() as u64;
                    let mut stays = true;
                    if at == 0 && said != *made {
                        return Err(format!(
                            "{}: expected results made as {made}, found such made as {said}; name another file",
                            path.display()
                        ));
                    }
                    // What could not be read has no stamp, and is tried again; so has what came through a pipe.
                    if let (Some(name), Some(then)) = (said["file"].as_str(), said["stamp"].as_str()) {
                        stays = stamp(Path::new(name)).is_none_or(|now| now == then);
                        match stays {
                            true => _ = done.insert(PathBuf::from(name)),
                            false => n_changed += 1,
                        }
                    }
                    match kept.last_mut().filter(|last| last.end == at) {
                        Some(last) if stays => last.end = end,
                        _ if stays => kept.push(at..end),
                        _ => {}
                    }
                    at = end;
                    line.clear();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(told(error)),
        }
        // Left alone where all of it stays: another program may be reading it.
        if kept.len() != 1 || kept[0].end != len {
            let beside = path.with_added_extension("part");
            write_kept(path, &beside, &kept, made).and_then(|()| fs::rename(&beside, path)).map_err(told)?;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(told)?;
        Ok(Results { file, done, n_changed })
    }
}

/// What stays of a file of results; of one that has nothing yet, its first line.
fn write_kept(path: &Path, beside: &Path, kept: &[Range<u64>], made: &Value) -> io::Result<()> {
    let mut to = File::create(beside)?;
    if kept.is_empty() {
        return writeln!(to, "{made}");
    }
    let mut from = File::open(path)?;
    for Range { start, end } in kept {
        from.seek(SeekFrom::Start(*start))?;
        io::copy(&mut (&from).take(end - start), &mut to)?;
    }
    Ok(())
}
