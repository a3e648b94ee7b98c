//! Lists of recordings beside class folders that split a data set, as Speech Commands has them: `validation_list.txt` and `testing_list.txt`,
//! a path a line; what they do not name is trained on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use super::splits;
use super::words::listed;
use crate::error::{Error, Result};

/// What the name of a list ends with.
const ENDING: &str = "_list.txt";
/// Bytes of the longest list that is read: more paths than a folder of class folders is used with.
const LONGEST: u64 = 1 << 28;
/// The part of a data set that needs no list.
const REST: &str = "train";

/// What lists say.
#[derive(Default)]
pub(super) struct Lists<'a> {
    /// The fold of each file; empty where no lists are read.
    pub folds: HashMap<&'a str, u32>,
    pub notes: Vec<String>,
}

/// A list and the files it names that are there.
struct List<'a> {
    name: String,
    part: String,
    files: BTreeSet<&'a str>,
    /// Lines that name none, with the first.
    missing: (usize, Option<String>),
}

/// The folds that lists in `root` give to `files`. Lists that do not split them are named.
pub(super) fn read<'a>(root: &Path, files: &'a [String]) -> Result<Lists<'a>> {
    let names = names(root);
    if names.is_empty() {
        return Ok(Lists::default());
    }
    let unread =
        || Lists { folds: HashMap::new(), notes: unread(&names, "they do not split the recordings that are there") };
    let Some(lists) = names.iter().map(|name| of_name(root, name, files)).collect::<Option<Vec<_>>>() else {
        return Ok(unread());
    };
    let mut parts: BTreeSet<&str> = lists.iter().map(|list| list.part.as_str()).collect();
    if parts.len() < lists.len() || lists.iter().any(|list| list.files.is_empty()) {
        return Ok(unread());
    }
    refuse_twice_listed(root, &lists)?;
    let part_of: HashMap<&str, &str> =
        lists.iter().flat_map(|list| list.files.iter().map(|file| (*file, list.part.as_str()))).collect();
    let n_rest = files.iter().filter(|file| file.contains('/') && !part_of.contains_key(file.as_str())).count();
    // Folds with numbers name every file; `train` may be what is left.
    let has_train = lists.iter().any(|list| splits::is_trained_on(&list.part));
    let rest = (n_rest > 0 && !has_train).then_some(REST);
    parts.extend(rest);
    let Some(fold_of) = splits::numbered(&parts).filter(|folds| folds.len() > 1) else { return Ok(unread()) };
    let of_file = |file: &'a str| Some((file, fold_of[part_of.get(file).copied().or(rest)?]));
    let folds = files.iter().map(String::as_str).filter_map(of_file).collect();
    let by_list: BTreeMap<&str, u32> =
        lists.iter().map(|list| (list.name.as_str(), fold_of[list.part.as_str()])).collect();
    let mut note = format!("lists taken for folds: {}", splits::describe(&by_list));
    match rest {
        Some(rest) => note += &format!(", and what they do not name is fold {}", fold_of[rest]),
        None if n_rest > 0 => note += &format!("; {n_rest} recordings that none of them names are left out"),
        None => (),
    }
    let missing = |list: &List| {
        let (n, first) = &list.missing;
        let first = first.as_ref()?;
        Some(format!("{n} lines of {} name no recording that is there, as {first}", list.name))
    };
    let notes = std::iter::once(note).chain(lists.iter().filter_map(missing)).collect();
    Ok(Lists { folds, notes })
}

/// A note of all lists in `root`, where folders split the data set already.
pub(super) fn passed_over(root: &Path) -> Vec<String> {
    unread(&names(root), "folders say which part a recording is in")
}

fn unread(names: &[String], why: &str) -> Vec<String> {
    let note = || format!("lists that are not read, for {why}: {}", listed(names.iter().map(String::as_str)));
    (!names.is_empty()).then(note).into_iter().collect()
}

/// The lists in a folder, by name.
fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ENDING) && !name.starts_with('.')).collect();
    names.sort();
    names
}

/// A list whose name says which part of the data set it lists, and that is text.
fn of_name<'a>(root: &Path, name: &str, files: &'a [String]) -> Option<List<'a>> {
    let part = name.strip_suffix(ENDING).filter(|part| splits::is_split(part))?.to_lowercase();
    let path = root.join(name);
    // A pipe would be waited for.
    fs::metadata(&path).ok().filter(|held| held.is_file() && held.len() <= LONGEST)?;
    let text = fs::read_to_string(path).ok()?;
    let mut list = List { name: name.to_owned(), part, files: BTreeSet::new(), missing: (0, None) };
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty()) {
        let path = line.replace('\\', "/");
        let path = path.trim_start_matches("./");
        match files.binary_search_by(|file| file.as_str().cmp(path)) {
            Ok(place) => _ = list.files.insert(&files[place]),
            Err(_) => {
                list.missing.0 += 1;
                list.missing.1.get_or_insert_with(|| line.to_owned());
            }
        }
    }
    Some(list)
}

/// What is trained on cannot be scored, too.
fn refuse_twice_listed(root: &Path, lists: &[List]) -> Result<()> {
    let mut first_in: HashMap<&str, &str> = HashMap::new();
    for list in lists {
        for file in &list.files {
            if let Some(other) = first_in.insert(file, &list.name) {
                return Err(Error::Dataset {
                    root: root.to_path_buf(),
                    expected: "lists that name each recording once".into(),
                    found: format!("{file} in {other} and in {}", list.name),
                    next: format!(
                        "Take it out of one of them, or move the lists (…{ENDING}) away: folds are made where there are none."
                    ),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const FILES: [&str; 5] = ["no/1.wav", "no/2.wav", "yes/1.wav", "yes/2.wav", "yes/3.wav"];

    /// The fold of each of the files, and the notes.
    fn read_with(lists: &[(&str, &str)]) -> Result<(Vec<Option<u32>>, Vec<String>)> {
        let folder = TempDir::new().unwrap();
        for (name, text) in lists {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let files = FILES.map(String::from);
        let Lists { folds, notes } = read(folder.path(), &files)?;
        Ok((FILES.iter().map(|file| folds.get(file).copied()).collect(), notes))
    }

    fn folds(lists: &[(&str, &str)]) -> Vec<Option<u32>> {
        read_with(lists).unwrap().0
    }

    fn notes(lists: &[(&str, &str)]) -> Vec<String> {
        read_with(lists).unwrap().1
    }

    #[test]
    fn what_no_list_names_is_trained_on() {
        let lists =
            [("testing_list.txt", "no/1.wav\nyes/1.wav\n"), ("validation_list.txt", "\u{feff}.\\yes\\2.wav\r\n\r\n")];
        assert_eq!(folds(&lists), [3, 1, 3, 2, 1].map(Some));
        let note = "lists taken for folds: validation_list.txt is fold 2, testing_list.txt is fold 3, and what they do not name is fold 1";
        assert_eq!(notes(&lists), [note]);
        assert_eq!(folds(&lists[..1]), [2, 1, 2, 1, 1].map(Some));
        let moved = [("testing_list.txt", "no/1.wav\nno/9.wav\nno/8.wav\n")];
        assert_eq!(notes(&moved)[1], "2 lines of testing_list.txt name no recording that is there, as no/9.wav");
    }

    #[test]
    fn beside_a_list_of_what_is_trained_on_others_are_left_out_and_counted() {
        let lists = [("train_list.txt", "no/1.wav\nyes/1.wav"), ("test_list.txt", "no/2.wav\nyes/2.wav")];
        assert_eq!(folds(&lists), [Some(1), Some(2), Some(1), Some(2), None]);
        assert!(notes(&lists)[0].ends_with("; 1 recordings that none of them names are left out"));
        let numbered =
            [("fold1_list.txt", "no/1.wav\nyes/1.wav\nyes/3.wav"), ("fold2_list.txt", "no/2.wav\nyes/2.wav")];
        assert_eq!(folds(&numbered), [1, 2, 1, 2, 1].map(Some));
    }

    #[test]
    fn lists_that_do_not_split_are_named() {
        for lists in [
            &[("testing_list.txt", "")][..],
            &[("testing_list.txt", "elsewhere/no/1.wav")],
            &[("bird_list.txt", "no/1.wav")],
            &[("train_list.txt", "no/1.wav")],
            &[("testing_list.txt", "no/1.wav"), ("testing_set_list.txt", "no/2.wav")],
            &[("fold1_list.txt", "no/1.wav"), ("fold2_list.txt", "no/2.wav")],
            &[("test_list.txt", "no/1.wav"), ("testing_list.txt", "no/2.wav")],
        ] {
            assert_eq!(folds(lists), [None; 5], "{lists:?}");
            assert!(notes(lists)[0].starts_with("lists that are not read"), "{lists:?}");
        }
        assert!(notes(&[]).is_empty());
    }

    #[test]
    fn a_recording_in_two_lists_is_refused() {
        let refused = read_with(&[("testing_list.txt", "no/1.wav"), ("validation_list.txt", "no/1.wav\nno/2.wav")]);
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("no/1.wav in testing_list.txt and in validation_list.txt"), "{words}");
    }
}
