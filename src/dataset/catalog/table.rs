//! Reads and checks the CSV table of a data set.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path};

use super::clip::{Clip, number_by_name, number_from_zero};
use super::columns::{CATEGORY, COLUMNS, Columns, ESC10, FILENAME, FOLD, SOURCES, Spans, TARGET, ignored, unread};
use super::folds;
use super::labels::Cells;
use super::sources::source_of;
use super::splits;
use super::walk::{audio_files, stem};
use crate::error::{Error, Result};
use crate::files::text::{Shared, Text};

/// The largest table read, in bytes: some ten million clips. ESC-50's has 94 kB.
const MAX_BYTES: u64 = 1 << 30;
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

/// Rows that are held to the length of their files.
const MAX_SPANS: usize = 8;
/// What belongs to one line: the clip, and its fold and target as they are written.
struct Entry {
    line: u64,
    clip: Clip,
    fold: Text,
    target: Text,
}

/// What stands in the column `category`, each text once.
fn categories(entries: &[Entry]) -> BTreeSet<&str> {
    entries.iter().map(|entry| &*entry.clip.category).collect()
}

/// Rows looked at to see whether a table lists files that are there.
const LOOKED_AT: usize = 20;

/// Whether a table lists clips: it has the columns `filename` and `category`, or others of that meaning and files that lie in the folder,
/// at any depth, which has no class folders; or lies apart in a folder of its own and has `labels`, which class folders cannot tell.
pub(super) fn lists_clips(path: &Path, root: &Path) -> Result<bool> {
    let io = Error::io("read", path);
    let mut reader = reader(path).map_err(io)?;
    let Ok(headers) = reader.headers().cloned() else { return Ok(false) };
    let exact = |name: &str| headers.iter().any(|header| header == name);
    if exact("filename") && exact("category") {
        return Ok(true);
    }
    let columns = Columns::of(&headers);
    if !columns.has(FILENAME) || !columns.has(CATEGORY) {
        return Ok(false);
    }
    let names =
        reader.records().take(LOOKED_AT).flatten().filter_map(|row| Some(columns.get(&row, FILENAME)?.to_owned()));
    let names: Vec<String> = names.collect();
    let files = audio_files(root)?.files;
    // Beside class folders it may be anything, predictions with the columns file and label among them.
    let folders: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
    let is_apart = path.parent().is_some_and(|folder| folder != root);
    if folders.len() > 1 && !(is_apart && columns.are_plural(&headers)) {
        return Ok(false);
    }
    let ends_in =
        |path: &str, name: &str| path.strip_suffix(name).is_some_and(|start| start.is_empty() || start.ends_with('/'));
    let is_there = |name: String| files.iter().any(|file| ends_in(file, &name) || ends_in(stem(file), &name));
    Ok(names.iter().filter_map(|name| relative(name, root)).any(is_there))
}

/// Whether a table has columns for files and their classes, by whatever names.
pub(super) fn has_columns(path: &Path) -> bool {
    let headers = reader(path).ok().and_then(|mut reader| reader.headers().cloned().ok());
    let columns = headers.map(|headers| Columns::of(&headers));
    columns.is_some_and(|columns| columns.has(FILENAME) && columns.has(CATEGORY))
}

/// The names of a table's columns.
pub(super) fn columns_of(path: &Path) -> io::Result<String> {
    let mut reader = reader(path)?;
    Ok(reader.headers().map(|headers| headers.iter().collect::<Vec<_>>().join(", ")).unwrap_or_default())
}

/// What a table lists.
pub(super) struct Found {
    pub clips: Vec<Clip>,
    /// How it was understood, where that is not plain.
    pub notes: Vec<String>,
    /// Whether folds were made here.
    pub folds_made: bool,
    /// What its first rows say of which part of their files they are.
    pub spans: Option<RowSpans>,
}

/// Rows that are called parts of files.
#[derive(Debug)]
pub(super) struct RowSpans {
    /// The columns that say so.
    pub columns: String,
    /// How long some rows are, in seconds, by the numbers of their clips.
    pub rows: Vec<(usize, f64)>,
}

/// The clips that a table lists, and how it was understood where that is not plain.
pub(super) fn read(path: &Path, audio_dir: &Path, layout: Layout) -> Result<Found> {
    let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    let mut table = Table { path, audio_dir, spans: None };
    if bytes > MAX_BYTES {
        return Err(table.error(None, format!("at most {MAX_BYTES} bytes"), bytes));
    }
    let mut reader = reader(path).map_err(Error::io("read", path))?;
    let headers = reader.headers().map_err(|error| table.unreadable(error))?.clone();
    let columns = Columns::of(&headers);
    let place = |name: &str| COLUMNS.iter().position(|(column, _)| *column == name);
    let is_missing = |name: &&str| !place(name).is_some_and(|column| columns.has(column));
    let missing: Vec<_> = layout.columns().iter().copied().filter(is_missing).collect();
    if !missing.is_empty() {
        let found = headers.iter().collect::<Vec<_>>().join(", ");
        return Err(table.error(
            Some(1),
            format!("the columns {}", layout.columns().join(", ")),
            format!("no {} among: {found}", missing.join(", ")),
        ));
    }
    let renamed = columns.renamed(&headers);
    let mut notes = Vec::new();
    if !renamed.is_empty() {
        notes.push(format!("columns taken: {}", renamed.join(", ")));
    }
    let unread = unread(&columns, &headers);
    if !unread.is_empty() {
        notes.push(format!("columns passed over: {}", unread.join(", ")));
    }

    let spans = if layout == Layout::Plain { Spans::of(&headers) } else { None };
    notes.extend(ignored(&columns, spans.as_ref(), &headers).filter(|_| layout == Layout::Plain));
    table.spans = spans.as_ref().map(|spans| spans.names(&headers));
    let mut rows = Vec::new();

    let mut has_fold = columns.has(FOLD);
    let mut entries: Vec<Entry> = Vec::new();
    let (mut record, mut shared) = (csv::StringRecord::new(), Shared::default());
    while reader.read_record(&mut record).map_err(|error| table.unreadable(error))? {
        // A spreadsheet leaves rows of nothing but separators.
        if record.iter().all(str::is_empty) {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        if let Some(length_s) =
            spans.as_ref().filter(|_| rows.len() < MAX_SPANS).and_then(|spans| spans.length_s(&record))
        {
            rows.push((entries.len(), length_s));
        }
        entries.push(table.entry(line, &record, &columns, &mut shared)?);
    }
    if !has_fold && layout == Layout::Plain {
        has_fold = folds_by_folder(&mut entries, &mut shared);
    }
    if has_fold {
        notes.extend(table.number_folds(&mut entries, layout)?);
    }
    table.check_unique_files(&entries)?;
    let mut cells = Cells::One;
    if layout == Layout::Plain {
        let texts = categories(&entries);
        cells = Cells::of(&texts, columns.are_plural(&headers));
        notes.extend(cells.note(&texts));
    }
    table.split_labels(&mut entries, cells, &mut shared)?;
    // One number a row says nothing of several labels.
    let has_target = columns.has(TARGET) && cells == Cells::One;
    if columns.has(TARGET) && !has_target {
        notes.push("class numbers are passed over: one in a row cannot be that of several labels".into());
    }
    if has_target {
        table.read_targets(&mut entries)?;
        table.check_one_target_per_class(&entries)?;
    }
    if has_fold {
        table.keep_sources_whole(&mut entries, layout)?;
    }
    let mut clips: Vec<Clip> = entries.into_iter().map(|entry| entry.clip).collect();
    clips.shrink_to_fit();
    if has_target {
        number_from_zero(&mut clips)
    } else {
        number_by_name(&mut clips)
    }
    let num_classes = clips.iter().flat_map(|clip| clip.classes().map(|(_, target)| target + 1)).max().unwrap_or(0);
    if num_classes < 2 {
        return Err(table.error(
            None,
            "clips of two classes or more",
            format!(
                "{num_classes} in {} rows by the column {}, of {}",
                clips.len(),
                columns.0[CATEGORY].map_or("category", |place| &headers[place]),
                headers.iter().collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    if !has_fold {
        folds::assign(&mut clips, path)?;
        notes.extend(columns.may_tell_sources(&headers));
    }
    let spans = table.spans.map(|columns| RowSpans { columns, rows });
    Ok(Found { clips, notes, folds_made: !has_fold, spans })
}

/// Where a table has no column for folds and all its files lie in folders called after parts of a data set, as in `train/a.wav`: these are the
/// folds. Whether it is so.
fn folds_by_folder(entries: &mut [Entry], shared: &mut Shared) -> bool {
    let tops: Option<BTreeSet<&str>> =
        entries.iter().map(|entry| Some(entry.clip.filename.split_once('/')?.0)).collect();
    let Some(tops) = tops.filter(|tops| tops.len() > 1 && tops.iter().all(|top| splits::is_split(top))) else {
        return false;
    };
    if splits::numbered(&tops).is_none() {
        return false;
    }
    for entry in entries {
        let top = entry.clip.filename.split_once('/').map_or("", |(top, _)| top);
        entry.fold = shared.of(top);
    }
    true
}

/// What separates the fields of tables.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A reader with the separator that the first line has most of.
fn reader(path: &Path) -> io::Result<csv::Reader<impl Read>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut start = Vec::new();
    file.by_ref().take(HEADER_BYTES).read_until(b'\n', &mut start)?;
    let count = |separator: &u8| start.iter().filter(|byte| *byte == separator).count();
    let separator = SEPARATORS.into_iter().rev().max_by_key(|separator| count(separator)).unwrap_or(b',');
    let whole = io::Cursor::new(start).chain(file).take(MAX_BYTES);
    Ok(csv::ReaderBuilder::new().trim(csv::Trim::All).delimiter(separator).from_reader(whole))
}

struct Table<'a> {
    path: &'a Path,
    audio_dir: &'a Path,
    /// The columns that call rows parts of files.
    spans: Option<String>,
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
            other => self.error(line, "a CSV table", format!("{other:?}")),
        }
    }

    fn entry(&self, line: u64, record: &csv::StringRecord, columns: &Columns, shared: &mut Shared) -> Result<Entry> {
        let wrong = |expected: &str, found: &str| self.error(Some(line), expected, format!("`{found}`"));
        let get = |column: usize| columns.get(record, column).unwrap_or_default();
        let (file, category) = (get(FILENAME), get(CATEGORY));
        let filename = relative(file, self.audio_dir)
            .ok_or_else(|| wrong("a file name inside the audio folder, its parts separated by `/`", file))?;
        if category.is_empty() {
            return Err(wrong("a category", ""));
        }
        // A quote that is not closed swallows the rows behind it.
        for cell in [file, category] {
            if cell.contains(['\n', '\r']) {
                let start: String = cell.chars().take(40).collect();
                return Err(wrong("a file name and a category on one line each; is a quote not closed", &start));
            }
        }
        let esc10 = match get(ESC10).to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "" | "false" | "0" => false,
            other => return Err(wrong("esc10 True or False", other)),
        };
        let source = SOURCES.iter().filter_map(|column| columns.get(record, *column)).find(|source| !source.is_empty());
        let source = source.map_or_else(|| source_of(&filename).into(), Text::from);
        let category = shared.of(category);
        let clip = Clip { filename, fold: 0, category, target: 0, further: Vec::new(), esc10, source };
        Ok(Entry { line, clip, fold: shared.of(get(FOLD)), target: shared.of(get(TARGET)) })
    }

    /// Makes labels of the cells of the column `category`.
    fn split_labels(&self, entries: &mut [Entry], cells: Cells, shared: &mut Shared) -> Result<()> {
        for Entry { line, clip, .. } in entries {
            let Some(mut labels) = cells.split(&clip.category) else {
                let found = format!("`{}`", clip.category);
                return Err(self.error(
                    Some(*line),
                    match cells {
                        Cells::Lists => "a list of labels in brackets, as in other rows, none of them empty",
                        _ => "labels, none of them empty",
                    },
                    found,
                ));
            };
            clip.category = shared.of(&labels.remove(0));
            clip.further = labels.iter().map(|label| (shared.of(label), 0)).collect();
        }
        Ok(())
    }

    fn read_targets(&self, entries: &mut [Entry]) -> Result<()> {
        for Entry { line, clip, target, .. } in entries {
            let expected = "a target, a class number counted from 0";
            clip.target = target.parse().map_err(|_| self.error(Some(*line), expected, format!("`{target}`")))?;
        }
        Ok(())
    }

    /// Gives every clip the number of the fold that its row names; tells how, where they are not numbers from 1.
    fn number_folds(&self, entries: &mut [Entry], layout: Layout) -> Result<Option<String>> {
        let names: BTreeSet<&str> = entries.iter().map(|entry| &*entry.fold).collect();
        let Some(folds) = splits::numbered(&names) else {
            // The first row that is not as the one before it, or by itself no fold.
            let alone = |entry: &&Entry| splits::numbered(&BTreeSet::from([&*entry.fold])).is_none();
            let odd = entries.iter().find(alone).or(entries.last());
            let (line, found) = odd.map_or((None, String::new()), |entry| (Some(entry.line), entry.fold.to_string()));
            let expected = "a fold counted from 0 or 1 in every row, or train, validation and test, or fold1, fold2, …";
            let all = names.iter().copied().take(10).collect::<Vec<_>>().join(", ");
            return Err(self.error(line, expected, format!("`{found}` (in the whole table: {all})")));
        };
        if folds.len() < 2 && layout == Layout::Plain {
            let expected =
                "two folds or more, to train on one and to score on another; without a column for them folds are made";
            return Err(self.error(
                None,
                expected,
                format!("`{}` in every row", names.first().copied().unwrap_or_default()),
            ));
        }
        let is_plain = folds.iter().all(|(name, fold)| *name == fold.to_string());
        let note = (!is_plain).then(|| format!("folds: {}", splits::describe(&folds)));
        let numbers: Vec<u32> = entries.iter().map(|entry| folds[&*entry.fold]).collect();
        entries.iter_mut().zip(numbers).for_each(|(entry, fold)| entry.clip.fold = fold);
        Ok(note)
    }

    fn check_unique_files(&self, entries: &[Entry]) -> Result<()> {
        let mut lines = HashMap::with_capacity(entries.len());
        for Entry { line, clip, .. } in entries {
            if let Some(first) = lines.insert(&clip.filename, line) {
                let found = format!("`{}` again, first on line {first}", clip.filename);
                let expected = match &self.spans {
                    None => "every file once".to_owned(),
                    Some(columns) => format!(
                        "every file once: parts of recordings, as {columns} tell them, are not read; cut them into files"
                    ),
                };
                return Err(self.error(Some(*line), expected, found));
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
            clip.source = format!("{}/{}", clip.source, clip.category).into();
        }
        // Now that classes are told apart, what is still split is a contradiction.
        self.keep_sources_whole(entries, Layout::Plain)
    }
}

/// The file name with its parts joined by `/`, or `None` when it could lie outside the folder it is relative to. Backslashes separate, too,
/// as Windows writes them; a path from the root counts where it leads into the folder.
fn relative(filename: &str, folder: &Path) -> Option<String> {
    let slashed = filename.replace('\\', "/");
    let path = Path::new(&slashed);
    let inside = match path.is_absolute() {
        true => {
            let root = std::path::absolute(folder).ok()?;
            let canonical = folder.canonicalize().ok();
            path.strip_prefix(&root).ok().or_else(|| path.strip_prefix(canonical?).ok())?
        }
        false => path,
    };
    let mut parts = Vec::new();
    for component in inside.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    // A drive of Windows.
    let has_drive = parts.first().is_some_and(|part| part.len() == 2 && part.ends_with(':'));
    (!parts.is_empty() && !has_drive && !filename.contains('\0')).then(|| parts.join("/"))
}
