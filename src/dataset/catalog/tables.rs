//! The tables that lie in a folder: which of them lists its clips, and what the others are.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::table;
use super::walk::has_extension;
use crate::error::{Error, Result};

/// The table of a data set in the layout of ESC-50.
pub(super) const ESC50_TABLE: &str = "meta/esc50.csv";
/// Extensions of tables, in lower case.
const EXTENSIONS: [&str; 2] = ["csv", "tsv"];
/// Extensions of what people keep tables in that are not read here.
const OTHER_EXTENSIONS: [&str; 6] = ["xlsx", "xls", "ods", "jsonl", "parquet", "arff"];
/// Names of a table that is meant whatever lies beside it.
const NAMES: [&str; 2] = ["metadata.csv", "meta.csv"];
/// How the folder of a table is called, or how its name ends, if the table is not beside the folders of its recordings.
const FOLDERS: [&str; 3] = ["metadata", "meta", "ground_truth"];
/// And how else, where a person names the table.
const NAMED_FOLDERS: [&str; 6] = ["labels", "annotations", "annotation", "tables", "csv", "splits"];
/// How much of a file is read to see whether it is text.
const START: u64 = 4096;

/// The table in `root` that lists its clips, if there is one.
pub(super) fn find(root: &Path) -> Result<Option<PathBuf>> {
    for name in NAMES {
        if root.join(name).is_file() {
            return Ok(Some(root.join(name)));
        }
    }
    let mut tables = Vec::new();
    for folder in std::iter::once(root.to_path_buf()).chain(folders(root)?) {
        if !tables.is_empty() {
            break;
        }
        for entry in fs::read_dir(&folder).map_err(Error::io("read folder", &folder))? {
            let path = entry.map_err(Error::io("read folder", &folder))?.path();
            if has_extension(&path, &EXTENSIONS) && path.is_file() && table::lists_clips(&path, root)? {
                tables.push(path);
            }
        }
    }
    tables.sort();
    if tables.len() > 1 {
        let names: Vec<_> = tables.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        return Err(Error::Dataset {
            root: root.to_path_buf(),
            expected: "one table with the columns filename and category".into(),
            found: names.join(", "),
            next: "Name the one you mean in the Config cell (metadata_path), or call it metadata.csv.".into(),
        });
    }
    Ok(tables.pop())
}

/// The tables in `root`, and in its folders for tables, that [`find`] passes over: each by name, with what it is.
pub(crate) fn other_tables(root: &Path) -> Vec<String> {
    let of_esc50 = root.join(ESC50_TABLE);
    let read = if of_esc50.is_file() { Some(of_esc50) } else { find(root).ok().flatten() };
    let read_name = read.as_ref().and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy();
    let mut others = Vec::new();
    for folder in std::iter::once(root.to_path_buf()).chain(folders(root).unwrap_or_default()) {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let is_table = has_extension(&path, &EXTENSIONS) || has_extension(&path, &OTHER_EXTENSIONS);
            if !is_table || !path.is_file() || Some(&path) == read.as_ref() {
                continue;
            }
            let name = path.strip_prefix(root).unwrap_or(&path).display();
            let lists_clips = read.is_some() && is_read(&path) && table::lists_clips(&path, root).unwrap_or(false);
            others.push(match lists_clips {
                true => format!("{name}, which lists clips as {read_name} does, the one that is read; name it if it is meant (metadata_path)"),
                false => format!("{name}, {}", described(&path)),
            });
        }
    }
    others.sort();
    others
}

/// What a folder without a layout was refused for, with its tables that may have been meant.
pub(super) fn with_those_of(root: &Path, error: Error) -> Error {
    let tables = other_tables(root);
    match error {
        Error::Dataset { root, expected, found, next } if !tables.is_empty() => Error::Dataset {
            root,
            expected,
            found: format!("{found}; and {}", tables.join("; ")),
            next: format!("{next} Or call the columns of a table filename and category."),
        },
        other => other,
    }
}

/// Whether a table is of a kind that is read.
fn is_read(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS) && not_text(path).is_none()
}

/// What a table is, by its columns or for what keeps it from having any.
fn described(path: &Path) -> String {
    if !has_extension(path, &EXTENSIONS) {
        return "which is not read: save it as a CSV".into();
    }
    match (not_text(path), table::columns_of(path)) {
        (Some(what), _) => format!("which is {what}, and no CSV in UTF-8"),
        (None, Ok(columns)) => format!("with the columns {columns}; a table of clips has filename and category"),
        (None, Err(error)) => format!("which cannot be read: {error}"),
    }
}

/// What begins so is no text in UTF-8.
fn not_text(path: &Path) -> Option<&'static str> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(START).read_to_end(&mut start).ok()?;
    match start.as_slice() {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("text in UTF-16"),
        [b'P', b'K', 3, 4, ..] => Some("a spreadsheet or an archive"),
        bytes if bytes.contains(&0) => Some("no text"),
        // A letter may be cut in two.
        bytes => std::str::from_utf8(bytes)
            .is_err_and(|error| error.error_len().is_some())
            .then_some("text in another encoding"),
    }
}

/// Whether a folder is for tables, by its name.
pub(super) fn is_for_tables(folder: &Path) -> bool {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    FOLDERS.iter().chain(&NAMED_FOLDERS).any(|end| ends_in(&folder, end))
}

/// Whether a folder is called so, whatever stands before a point.
fn ends_in(path: &Path, end: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with('.'))
}

/// The folders in `root` that are for tables, by their names.
fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let is_one = |path: &Path| path.is_dir() && FOLDERS.iter().any(|end| ends_in(path, end));
    let entries = fs::read_dir(root).map_err(Error::io("read folder", root))?.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| is_one(path)).collect();
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_are_passed_over_are_told_for_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |name: &str, bytes: &[u8]| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        assert_eq!(other_tables(root), [""; 0]);
        let utf16: Vec<u8> = "\u{feff}filename,category\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        write("a.csv", &utf16);
        write("b.csv", b"PK\x03\x04\x14\0");
        write("c.csv", "filename;Gerät\n".as_bytes());
        write("d.csv", b"filename,category\nhib\xf3u.wav,owl\n");
        write("meta/e.XLSX", b"PK");
        write("notes.txt", b"of no matter");
        let told = [
            "a.csv, which is text in UTF-16, and no CSV in UTF-8",
            "b.csv, which is a spreadsheet or an archive, and no CSV in UTF-8",
            "c.csv, with the columns filename, Gerät; a table of clips has filename and category",
            "meta/e.XLSX, which is not read: save it as a CSV",
        ];
        // What has the right columns is read, and what is wrong with it told there.
        assert_eq!(other_tables(root), told);
        fs::remove_file(root.join("d.csv")).unwrap();
        assert_eq!(other_tables(root), told);
        write("labels.csv", b"filename,category\n1.wav,owl\n");
        write("metadata.csv", b"filename,category\n1.wav,dog\n");
        let both = "labels.csv, which lists clips as metadata.csv does, the one that is read; name it if it is meant (metadata_path)";
        assert_eq!(other_tables(root), [&told[..3], &[both], &told[3..]].concat());
        assert_eq!(find(root).unwrap(), Some(root.join("metadata.csv")));
    }
}
