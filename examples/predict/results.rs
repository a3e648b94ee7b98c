//! A file of results that a later run goes on with.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, LineWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use audio_transformer::internals::files::content;
use serde_json::Value;

/// Longer lines are written in pieces.
const LINE_BYTES: usize = 1 << 16;

/// Lines of JSON behind a first one that tells how they came about.
pub struct Results {
    /// Takes further lines.
    pub file: Lines,
    /// Recordings that have theirs, and are still what they were.
    pub done: HashSet<PathBuf>,
    /// How many have changed since, and lost them.
    pub n_changed: usize,
}

/// A file of lines that no other program of this kind writes to.
pub struct Lines {
    lines: LineWriter<File>,
    /// What was there before it was written anew, and what is there: who opens either finds it locked.
    _locked: Vec<File>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}

/// What tells a file from another that comes to lie in its place, on this machine. None of what is no file.
pub fn stamp(path: &Path) -> Option<String> {
    let is_file = fs::metadata(path).is_ok_and(|file| file.is_file());
    content::stamp(path).ok().filter(|_| is_file).map(|stamp| stamp.to_string())
}

/// Keeps other runs from a file of results.
fn lock(file: &File, path: &Path) -> Result<(), String> {
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => {
            Err(format!("{}: another run writes into it; wait for it, or name another file", path.display()))
        }
        // A file system without locks has none to wait for.
        _ => Ok(()),
    }
}

impl Results {
    /// Opens the file, or makes it, for results that come about as `made` tells. What an interrupted run left of a line goes, and so does what
    /// was said of a recording that is no longer what it was; the rest stays.
    pub fn open(path: &Path, made: &Value) -> Result<Self, String> {
        // A link goes on to lead there.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let told = |error: io::Error| format!("{}: {error}", path.display());
        let others =
            || format!("{}: expected lines of JSON that --out wrote, found others; name another file", path.display());
        let mut locked = Vec::new();
        let (mut done, mut n_changed) = (HashSet::new(), 0);
        // Which bytes stay: all of a file of a million lines need not be in memory for that.
        let (mut kept, mut at, mut len): (Vec<Range<u64>>, u64, u64) = (Vec::new(), 0, 0);
        match File::open(path) {
            Ok(file) => {
                let about = file.metadata().map_err(told)?;
                if !about.is_file() {
                    return Err(format!("{}: expected a file, found what is none; name another", path.display()));
                }
                lock(&file, path)?;
                len = about.len();
                locked.push(file.try_clone().map_err(told)?);
                let (mut lines, mut line) = (BufReader::new(file), Vec::new());
                while lines.read_until(b'\n', &mut line).map_err(told)? > 0 && line.ends_with(b"\n") {
                    let said: Value = serde_json::from_slice(&line).map_err(|_| others())?;
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
                // A first line that is not whole is an interrupted run's, or no such line at all.
                if at == 0 && !format!("{made}\n").as_bytes().starts_with(&line) {
                    return Err(others());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(told(error)),
        }
        // Left alone where all of it stays: another program may be reading it.
        if kept.len() != 1 || kept[0].end != len {
            let beside = path.with_added_extension("part");
            let written = write_kept(path, &beside, &kept, made).map_err(told)?;
            lock(&written, &beside)?;
            fs::rename(&beside, path).map_err(told)?;
            locked.push(written);
        }
        let file = OpenOptions::new().append(true).open(path).map_err(told)?;
        let file = Lines { lines: LineWriter::with_capacity(LINE_BYTES, file), _locked: locked };
        Ok(Results { file, done, n_changed })
    }
}

/// What stays of a file of results; of one that has nothing yet, its first line.
fn write_kept(path: &Path, beside: &Path, kept: &[Range<u64>], made: &Value) -> io::Result<File> {
    let mut to = File::create(beside)?;
    if kept.is_empty() {
        return writeln!(to, "{made}").map(|()| to);
    }
    let mut from = File::open(path)?;
    for Range { start, end } in kept {
        from.seek(SeekFrom::Start(*start))?;
        io::copy(&mut (&from).take(end - start), &mut to)?;
    }
    Ok(to)
}
