//! Unpacks a tar, gzipped or plain, into a folder as it streams in, with flat memory, and trusts nothing in it.
//!
//! Two threads share the work: one reads and inflates, the other (the caller's) parses the tar and writes the files. What
//! is held in memory is a few chunks between them, whatever the size of the archive.

mod failure;
mod inflate;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::panic;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::thread;

use tar::EntryType;

use crate::dataset::catalog::{AUDIO_EXTENSIONS, has_extension};
use crate::error::{Error, Result};
pub(crate) use failure::Failure;
use failure::refuse;
use inflate::Chunks;

/// The most that headers may take between one file and the next, and padding after the last, in bytes. A GNU long name or a
/// pax header is read into memory whole; GNU tar's largest usual record is as long.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// The longest path of an entry, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// How much of an archive's own words an error quotes, in characters.
const MAX_QUOTED_CHARS: usize = 100;
/// What systems add to archives by themselves.
const JUNK: [&str; 5] = ["__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".Spotlight-V100"];
/// How much is written at once, in bytes.
const WRITE_BYTES: usize = 256 << 10;

/// Sizes beyond which an archive is taken for an attack or a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes. By default 4 GiB, where the sizes in a WAV header end.
    pub entry_bytes: u64,
    /// All files together, in bytes. By default 64 GiB; ESC-50 has 0.9.
    pub total_bytes: u64,
    /// Files, folders and other entries. By default a million; ESC-50 has about 2,000.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { entry_bytes: 4 << 30, total_bytes: 64 << 30, entries: 1_000_000 }
    }
}

/// What came out of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub files: u64,
    pub bytes: u64,
}

/// Unpacks the tar in `source`, gzipped or plain, into the existing, empty `folder`. Where one folder holds all the rest, as archives of
/// GitHub have it, it is left out, unless it is a class by itself: a folder of sounds alone.
///
/// `archive` is its name for errors. Only regular files and folders are made, with the permissions any new file gets. What
/// systems add of their own (`._*`, `.DS_Store`, `__MACOSX/`, …) is passed over.
pub(crate) fn unpack(
    source: impl Read + Send,
    archive: &str,
    folder: &Path,
    limits: &Limits,
) -> Result<Unpacked, Failure> {
    let (inflater, chunks) = inflate::pipe(source);
    thread::scope(|scope| {
        let inflated = scope.spawn(move || inflater.run(archive));
        let unpacked = Untar { archive, folder, limits, unpacked: Unpacked::default() }.run(chunks);
        // Whatever broke the stream is the cause of what the tar parser saw.
        inflated.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))?;
        let unpacked = unpacked.and_then(|unpacked| leave_out_top(folder).map(|()| unpacked));
        unpacked.map_err(Failure::Final)
    })
}

/// The tar parser's words, which may quote any bytes of the archive at length.
fn damaged(error: &io::Error) -> String {
    let words: String = error.to_string().chars().take(MAX_QUOTED_CHARS).collect();
    format!("damaged data ({})", words.escape_debug())
}

/// Lifts what lies in the one top folder of an archive, where nothing of the data set is beside it and it is more than a class.
fn leave_out_top(folder: &Path) -> Result<()> {
    let listed = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).map_err(Error::io("read folder", folder))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("read folder", folder))).collect()
    };
    let (tops, beside): (Vec<PathBuf>, Vec<PathBuf>) = listed(folder)?.into_iter().partition(|path| path.is_dir());
    let [top] = &tops[..] else { return Ok(()) };
    let inside = listed(top)?;
    let is_table = |path: &PathBuf| has_extension(path, &["csv", "tsv"]);
    let is_part = |path: &PathBuf| is_table(path) || has_extension(path, &AUDIO_EXTENSIONS);
    let collides = |path: &PathBuf| beside.iter().any(|beside| beside.file_name() == path.file_name());
    let is_more_than_a_class = inside.iter().any(|path| path.is_dir() || is_table(path));
    if !is_more_than_a_class || beside.iter().any(is_part) || inside.iter().any(collides) {
        return Ok(());
    }
    // Under a name that nothing in it has.
    let aside = folder.join(format!(".{}.top", std::process::id()));
    fs::rename(top, &aside).map_err(Error::io("rename", top))?;
    for path in listed(&aside)? {
        let place = folder.join(path.file_name().unwrap_or_default());
        fs::rename(&path, &place).map_err(Error::io("rename", &path))?;
    }
    fs::remove_dir(&aside).map_err(Error::io("remove", &aside))
}

struct Untar<'a> {
    archive: &'a str,
    folder: &'a Path,
    limits: &'a Limits,
    unpacked: Unpacked,
}

impl Untar<'_> {
    fn run(mut self, chunks: Chunks) -> Result<Unpacked> {
        let archive = self.archive;
        let whole = |error: io::Error| refuse(archive, "as a whole", "a sound tar archive", damaged(&error));
        let allowance = Rc::new(Cell::new(MAX_HEADER_BYTES));
        let mut tar = tar::Archive::new(Guarded { chunks, allowance: Rc::clone(&allowance) });
        let entries = tar.entries().map_err(whole)?;
        let mut buffer = vec![0; WRITE_BYTES];
        let mut num_entries = 0;
        for entry in entries {
            let mut entry = entry.map_err(whole)?;
            num_entries += 1;
            if num_entries > self.limits.entries {
                return Err(self.too_much("as a whole", format!("{} entries", self.limits.entries), "more"));
            }
            let is_file = matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous);
            allowance.set(if is_file { entry.size() } else { 0 });
            self.unpack_entry(&mut entry, &mut buffer)?;
            allowance.set(allowance.get().saturating_add(MAX_HEADER_BYTES));
        }
        if self.unpacked.files == 0 {
            return Err(refuse(archive, "as a whole", "a tar archive with files", "none"));
        }
        let mut rest = tar.into_inner();
        loop {
            let length = rest.read(&mut buffer).map_err(whole)?;
            if length == 0 {
                return Ok(self.unpacked);
            }
            if buffer[..length].iter().any(|&byte| byte != 0) {
                return Err(refuse(archive, "after the last entry", "nothing", "more data"));
            }
        }
    }

    fn unpack_entry(&mut self, entry: &mut tar::Entry<impl Read>, buffer: &mut [u8]) -> Result<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let place =
            format!("entry {:?}", String::from_utf8_lossy(&name).chars().take(MAX_QUOTED_CHARS).collect::<String>());
        let is_folder = kind == EntryType::Directory || kind == EntryType::Regular && name.ends_with(b"/");
        if !is_folder && !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            return Err(refuse(self.archive, &place, "a file or a folder", describe(kind)));
        }
        let Some(path) = self.inside(&name, &place)? else { return Ok(()) };
        if is_folder {
            return self.create_folder(&path, &place);
        }
        let size = entry.size();
        if size > self.limits.entry_bytes {
            return Err(self.too_much(&place, format!("{} bytes in one file", self.limits.entry_bytes), size));
        }
        self.unpacked.bytes = self.unpacked.bytes.saturating_add(size);
        if self.unpacked.bytes > self.limits.total_bytes {
            let limit = format!("{} bytes in all files", self.limits.total_bytes);
            return Err(self.too_much(&place, limit, self.unpacked.bytes));
        }
        self.unpacked.files += 1;
        if let Some(parent) = path.parent() {
            self.create_folder(parent, &place)?;
        }
        let mut file = match File::options().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(self.twice(&place)),
            file => file.map_err(Error::io("create", &path))?,
        };
        let mut written = 0;
        loop {
            let length = match entry.read(buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => return Err(refuse(self.archive, &place, format!("{size} bytes"), damaged(&error))),
            };
            file.write_all(&buffer[..length]).map_err(Error::io("write", &path))?;
            written += length as u64;
        }
        if written < size {
            return Err(refuse(self.archive, &place, format!("{size} bytes"), format!("the end after {written}")));
        }
        Ok(())
    }

    /// Where an entry goes, or `None` for the folder itself and for what a system added.
    fn inside(&self, name: &[u8], place: &str) -> Result<Option<PathBuf>> {
        let inside = "a path inside the archive's folder, in UTF-8, of at most 1024 bytes";
        let leaves = |found: &str| refuse(self.archive, place, inside, found);
        let name = std::str::from_utf8(name).map_err(|_| leaves("another encoding"))?;
        if name.len() > MAX_PATH_BYTES {
            return Err(leaves(&format!("{} bytes", name.len())));
        }
        if name.contains(['\\', '\0']) {
            return Err(leaves("a backslash or a zero byte"));
        }
        let mut path = self.folder.to_path_buf();
        let mut is_junk = false;
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => {
                    is_junk |= part.to_str().is_some_and(|part| part.starts_with("._") || JUNK.contains(&part));
                    path.push(part);
                }
                Component::CurDir => {}
                Component::ParentDir => return Err(leaves("a path that climbs out of it")),
                Component::RootDir | Component::Prefix(_) => return Err(leaves("an absolute path")),
            }
        }
        Ok((!is_junk && path != self.folder).then_some(path))
    }

    fn create_folder(&self, path: &Path, place: &str) -> Result<()> {
        match fs::create_dir_all(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
                Err(self.twice(place))
            }
            created => created.map_err(Error::io("create folder", path)),
        }
    }

    fn twice(&self, place: &str) -> Error {
        refuse(self.archive, place, "every path once", "one that is there already")
    }

    fn too_much(&self, place: &str, limit: String, found: impl ToString) -> Error {
        refuse(self.archive, place, format!("at most {limit}"), found.to_string())
    }
}

/// Lets the tar parser read no more than it is allowed, so that it cannot be made to collect headers without end.
struct Guarded {
    chunks: Chunks,
    allowance: Rc<Cell<u64>>,
}

impl Read for Guarded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowance.get();
        let most = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!("more than {MAX_HEADER_BYTES} bytes of headers or padding in a row")));
        }
        let length = self.chunks.read(&mut buffer[..most])?;
        self.allowance.set(allowed - length as u64);
        Ok(length)
    }
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink => "a symbolic link",
        EntryType::Link => "a hard link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "an entry of another kind",
    }
}
