//! Reads and checks the CSV table of a data set.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path};

use serde::Deserialize;

use super::clip::{Clip, number_by_name, number_from_zero, source_of};
use super::folds;
use crate::error::{Error, Result};

/// The largest table read, in bytes: about a million clips. ESC-50's has 94 kB.
const MAX_BYTES: u64 = 64 << 20;
/// How much of an unknown CSV file is read to see its header.
const HEADER_BYTES: u64 = 64 << 10;

/// Which columns a table must have, and how strict its sources are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Layout {
    Esc50,
    Plain,
}

impl Layout {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Layout::Esc50 => &["filename", "fold", "target", "category", "esc10", "src_file"],
            Layout::Plain => &["filename", "category"],
        }
    }
}

#[derive(Deserialize)]
struct Row {
    filename: String,
    category: String,
    fold: Option<String>,
    target: Option<String>,
    esc10: Option<String>,
    source: Option<String>,
    src_file: Option<String>,
}

/// What belongs to one line: the clip, and whether its fold and target were given.
struct Entry {
    line: u64,
    clip: Clip,
}

/// Whether this CSV has the header of a list of clips.
pub(super) fn lists_clips(file: impl Read) -> bool {
    let mut reader = reader(file.take(HEADER_BYTES));
    let has = |name| reader.headers().is_ok_and(|headers| headers.iter().any(|header| header == name));
    ["filename", "category"].into_iter().all(has)
}

pub(super) fn read(path: &Path, layout: Layout) -> Result<Vec<Clip>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    let table = Table { path };
    if bytes > MAX_BYTES {
        return Err(table.error(None, format!("at most {MAX_BYTES} bytes"), bytes));
    }
    let mut reader = reader(BufReader::new(file).take(MAX_BYTES));
    let headers = reader.headers().map_err(|error| table.unreadable(error))?.clone();
    let has = |name: &str| headers.iter().any(|header| header == name);
    let missing: Vec<_> = layout.columns().iter().copied().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        let found = headers.iter().collect::<Vec<_>>().join(", ");
        return Err(table.error(
            Some(1),
            format!("the columns {}", layout.columns().join(", ")),
            format!("no {} among: {found}", missing.join(", ")),
        ));
    }

    let mut entries = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| table.unreadable(error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row: Row = record.deserialize(Some(&headers)).map_err(|error| table.unreadable(error))?;
        entries.push(table.entry(line, row, has("fold"), has("target"))?);
    }
    table.check_unique_files(&entries)?;
    if has("target") {
        table.check_one_target_per_class(&entries)?;
    }
    if has("fold") {
        table.keep_sources_whole(&mut entries, layout)?;
    }
    let mut clips: Vec<Clip> = entries.into_iter().map(|entry| entry.clip).collect();
    if has("target") {
        number_from_zero(&mut clips)
    } else {
        number_by_name(&mut clips)
    }
    let num_classes = clips.iter().map(|clip| clip.target + 1).max().unwrap_or(0);
    if num_classes < 2 {
        return Err(table.error(
            None,
            "clips of two classes or more",
            format!("{num_classes} in {} rows", clips.len()),
        ));
    }
    if !has("fold") {
        folds::assign(&mut clips, path)?;
    }
    Ok(clips)
}

fn reader<R: Read>(source: R) -> csv::Reader<R> {
    csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source)
}

struct Table<'a> {
    path: &'a Path,
}

impl Table<'_> {
    fn error(&self, line: Option<u64>, expected: impl ToString, found: impl ToString) -> Error {
        Error::Table { path: self.path.to_path_buf(), line, expected: expected.to_string(), found: found.to_string() }
    }

    fn unreadable(&self, error: csv::Error) -> Error {
        let line = error.position().map(csv::Position::line);
        match error.into_kind() {
            csv::ErrorKind::Io(source) => Error::Io { action: "read", path: self.path.to_path_buf(), source },
            csv::ErrorKind::Utf8 { .. } => self.error(line, "text in UTF-8", "bytes that are none"),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                self.error(line, format!("{expected_len} fields, as in the header"), len)
            }
            csv::ErrorKind::Deserialize { err, .. } => self.error(line, "one field per named column", err),
            other => self.error(line, "a CSV table", format!("{other:?}")),
        }
    }

    fn entry(&self, line: u64, row: Row, has_fold: bool, has_target: bool) -> Result<Entry> {
        let wrong = |expected: &str, found: &str| self.error(Some(line), expected, format!("`{found}`"));
        let filename = relative(&row.filename)
            .ok_or_else(|| wrong("a file name inside the audio folder, its parts separated by `/`", &row.filename))?;
        if row.category.is_empty() {
            return Err(wrong("a category", ""));
        }
        let fold = match row.fold.as_deref().unwrap_or_default() {
            _ if !has_fold => 0,
            text => match text.parse() {
                Ok(fold) if fold > 0 => fold,
                _ => return Err(wrong("a fold counted from 1", text)),
            },
        };
        let target = match row.target.as_deref().unwrap_or_default() {
            _ if !has_target => 0,
            text => text.parse().map_err(|_| wrong("a target, a class number counted from 0", text))?,
        };
        let esc10 = match row.esc10.unwrap_or_default().to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "" | "false" | "0" => false,
            other => return Err(wrong("esc10 True or False", other)),
        };
        let source = row.source.or(row.src_file).unwrap_or_else(|| source_of(&filename));
        Ok(Entry { line, clip: Clip { filename, fold, category: row.category, target, esc10, source } })
    }

    fn check_unique_files(&self, entries: &[Entry]) -> Result<()> {
        let mut lines = HashMap::with_capacity(entries.len());
        for Entry { line, clip } in entries {
            if let Some(first) = lines.insert(&clip.filename, line) {
                let found = format!("`{}` again, first on line {first}", clip.filename);
                return Err(self.error(Some(*line), "every file once", found));
            }
        }
        Ok(())
    }

    fn check_one_target_per_class(&self, entries: &[Entry]) -> Result<()> {
        let mut category_of: HashMap<usize, &Entry> = HashMap::new();
        let mut target_of: HashMap<&str, &Entry> = HashMap::new();
        for entry in entries {
            let Clip { category, target, .. } = &entry.clip;
            let first = category_of.entry(*target).or_insert(entry);
            if first.clip.category != *category {
                let expected = format!("target {target} to be `{}` as on line {}", first.clip.category, first.line);
                return Err(self.error(Some(entry.line), expected, format!("`{category}`")));
            }
            let first = target_of.entry(category).or_insert(entry);
            if first.clip.target != *target {
                let expected = format!("`{category}` to have target {} as on line {}", first.clip.target, first.line);
                return Err(self.error(Some(entry.line), expected, target));
            }
        }
        Ok(())
    }

    /// Refuses a source whose clips lie in several folds. In ESC-50's own layout a recording may be split by class; there
    /// each class becomes a source of its own.
    fn keep_sources_whole(&self, entries: &mut [Entry], layout: Layout) -> Result<()> {
        let mut first_of: HashMap<&str, &Entry> = HashMap::new();
        let mut split = HashSet::new();
        for entry in entries.iter() {
            let first = first_of.entry(&entry.clip.source).or_insert(entry);
            if first.clip.fold != entry.clip.fold {
                if layout == Layout::Plain || first.clip.category == entry.clip.category {
                    let expected = format!(
                        "all clips of the source `{}` in one fold, {} as on line {}",
                        entry.clip.source, first.clip.fold, first.line
                    );
                    return Err(self.error(Some(entry.line), expected, format!("fold {}", entry.clip.fold)));
                }
                split.insert(entry.clip.source.clone());
            }
        }
        if split.is_empty() {
            return Ok(());
        }
        for Entry { clip, .. } in entries.iter_mut().filter(|entry| split.contains(&entry.clip.source)) {
            clip.source = format!("{}/{}", clip.source, clip.category);
        }
        // Now that classes are told apart, what is still split is a contradiction.
        self.keep_sources_whole(entries, Layout::Plain)
    }
}

/// The file name with its parts joined by `/`, or `None` when it could lie outside the folder it is relative to.
fn relative(filename: &str) -> Option<String> {
    let mut parts = Vec::new();
    for component in Path::new(filename).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let dubious = filename.contains(['\\', '\0']) || parts.is_empty();
    (!dubious).then(|| parts.join("/"))
}
