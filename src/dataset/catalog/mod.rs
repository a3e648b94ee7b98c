//! The raw data set: which clip lies where, what it is, which fold it belongs to and which recording it was cut from.
//!
//! Three layouts are read, told apart by [`Catalog::open`]:
//!
//! | layout | what lies there |
//! |---|---|
//! | ESC-50 | `meta/esc50.csv` and `audio/*.wav` |
//! | a table | one CSV with `filename` and `category` (and, if known, `fold`, `target`, `source`), the audio beside it or in `audio/` |
//! | class folders | `<class>/*.wav`, `.flac`, `.ogg`, `.mp3`, `.m4a`, `.aac` … |
//!
//! Where no source is given, a file named like an ESC-50 clip, `fold-source-take-target` (a fold from 1 to 5, a number, one
//! capital letter, a number), belongs to the recording `source`; any other file is a recording of its own, named by its
//! path without the extension. Where folds are made, clips that further names say are of one
//! recording or speaker share a fold, as `SPEAKER_nohash_TAKE` or `rain_part3`.

mod words;
mod walk;
mod clip;
mod columns;
mod labels;
mod folds;
mod joined;
mod sources;
mod splits;
mod places;
mod table;
mod lists;
mod folders;
mod tables;
mod doubts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::folder_of;
use crate::error::{Error, Result};

pub use clip::Clip;
use clip::number_from_zero;
pub(crate) use tables::other_tables;
pub use walk::{AUDIO_EXTENSIONS, Faults, PASSED_OVER_EXTENSIONS, Walk, audio_files, passed_over};
pub(crate) use walk::{has_extension, is_audio};

/// The clips of a data set, in the order of its table (or of their paths).
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Short name: `esc50`, `esc10`, or the folder's.
    pub name: String,
    /// The folder every [`Clip::filename`] is relative to.
    pub audio_dir: PathBuf,
    /// The clips: at least two classes, no file twice.
    pub clips: Vec<Clip>,
    /// What of class folders could not be looked into, with the reason.
    pub unreadable: Faults,
    /// How it was understood where that is not plain: folders taken for folds, columns by other names.
    pub notes: Vec<String>,
    /// Whether its folds were made here, because none were given.
    pub folds_made: bool,
}

impl Catalog {
    /// Reads `root/meta/esc50.csv` (`filename, fold, target, category, esc10, src_file`), with the audio in `root/audio`.
    ///
    /// The official folds are kept. Four freesound recordings of ESC-50 hold two classes each (hen and rooster, clock
    /// alarm and clock tick), whose clips the official folds put apart: there, each class counts as a source of its own,
    /// named `src_file/category`.
    ///
    /// # Errors
    /// [`Error::Io`] when the table cannot be read, [`Error::Table`] when it is not what it should be.
    pub fn from_esc50(root: &Path) -> Result<Self> {
        let audio_dir = root.join("audio");
        let table::Found { clips, notes, folds_made, .. } =
            table::read(&root.join(tables::ESC50_TABLE), &audio_dir, table::Layout::Esc50)?;
        let folder = folder_name(root);
        let lower = folder.to_ascii_lowercase();
        let name = if lower.starts_with("esc-50") || lower.starts_with("esc50") { "esc50".into() } else { folder };
        Ok(Catalog { name, audio_dir, clips, unreadable: Vec::new(), notes, folds_made })
    }

    /// Reads a table with the columns `filename` (relative to `audio_dir`) and `category`, and, where known, `fold`
    /// (numbers, or names as `train` and `test`), `target` (a number per class), `source` or `src_file` (the recording) and `esc10`.
    ///
    /// As people have them: separated by commas, semicolons or tabs, names of columns in any case, `file_name`, `path`, `label`, `class`,
    /// `split` and the like in place of those above, empty rows, backslashes in paths, absolute paths inside `audio_dir`.
    ///
    /// A cell of `category` may hold several labels, as in FSD50K: separated by commas, semicolons or `|`, or as a list in brackets; so do the
    /// columns `labels`, `tags`, `classes` and `categories`. A name that has a comma in it stays whole where its parts are not found in other
    /// cells, too; how cells were read is in the notes. A file name without an extension finds the one recording of that name.
    ///
    /// Without `target`, and of several labels a recording always, classes are numbered in alphabetical order. Without `fold`, every class is spread evenly over
    /// 5 folds (fewer, but at least 2, when the smallest class has fewer sources), clips of one source together; the
    /// same clips always get the same folds, in whatever order, and a further clip moves few others. To keep them for good,
    /// write them into a column `fold`.
    ///
    /// # Errors
    /// [`Error::Io`] when the table cannot be read, [`Error::Table`] when a column is missing, a row contradicts
    /// another, a file name leaves the folder, or a source is spread over several folds; [`Error::Dataset`] when there
    /// are too few sources to make two folds.
    pub fn from_csv(csv: &Path, audio_dir: &Path) -> Result<Self> {
        let (catalog, spans) = Self::listed(csv, audio_dir)?;
        catalog.doubted(csv, spans.as_ref())
    }

    /// What a table lists, before its files are looked at.
    fn listed(csv: &Path, audio_dir: &Path) -> Result<(Self, Option<table::RowSpans>)> {
        let table::Found { mut clips, notes, folds_made, spans } = table::read(csv, audio_dir, table::Layout::Plain)?;
        let name = folder_name(csv.parent().unwrap_or(Path::new("")));
        places::complete_names(&mut clips, audio_dir)?;
        let audio_dir = audio_dir.to_path_buf();
        let catalog = Catalog { name, audio_dir, clips, unreadable: Vec::new(), notes, folds_made };
        Ok((catalog.together_by_name()?, spans))
    }

    /// The same with what its files say against its table.
    fn doubted(mut self, csv: &Path, spans: Option<&table::RowSpans>) -> Result<Self> {
        if let Some(spans) = spans {
            self.notes.push(doubts::parts_of_files(&self.clips, &self.audio_dir, csv, spans)?);
        }
        self.notes.extend(doubts::other_folders(&self.clips, csv));
        Ok(self)
    }

    /// Takes every folder in `root` that holds audio files (at any depth) for a class of that name. Folds are made as in
    /// [`Catalog::from_csv`]; hidden files and folders are passed over.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read; [`Error::Dataset`] when there are fewer than two classes or two sources.
    pub fn from_class_folders(root: &Path) -> Result<Self> {
        let folders::Found { clips, unreadable, notes, folds_made } = folders::read(root)?;
        let (name, audio_dir) = (folder_name(root), root.to_path_buf());
        Catalog { name, audio_dir, clips, unreadable, notes, folds_made }.together_by_name()
    }

    /// Reads the data set in `root`, whichever layout it has.
    ///
    /// In this order: `meta/esc50.csv`; `metadata.csv`, `meta.csv`, or the one CSV file whose header has `filename` and
    /// `category`, with the audio beside it or in `audio/`; class folders.
    ///
    /// # Errors
    /// Those of the layout found; [`Error::Dataset`] when several tables could be meant.
    pub fn open(root: &Path) -> Result<Self> {
        if root.join(tables::ESC50_TABLE).is_file() {
            return Self::from_esc50(root);
        }
        let Some(csv) = tables::find(root)? else {
            return Self::from_class_folders(root).map_err(|error| tables::with_those_of(root, error));
        };
        Self::from_table_of(&csv, root)
    }

    /// Reads a table with the recordings beside it or in one of the usual folders there (`audio`, `clips`, `wav`, `wavs`, `sounds`,
    /// `data`): the one that has most of the files it lists. A file that is in another of them alone is found there, and so is one whose
    /// name is the end of a single path below (`fold5/a.wav` for `a.wav`), or is written in another form of Unicode or in other capitals. Where the table's folder has
    /// no recording at all and is called as folders for tables are (`meta`, `metadata`, `ground_truth`, `labels` …), the folder around it is meant, as in FSD50K.
    ///
    /// # Errors
    /// As [`Catalog::from_csv`].
    pub fn from_table(csv: &Path) -> Result<Self> {
        let folder = folder_of(csv);
        let around = std::path::absolute(folder).ok().and_then(|folder| Some(folder.parent()?.to_path_buf()));
        let is_apart = tables::is_for_tables(folder) && audio_files(folder).is_ok_and(|walk| walk.files.is_empty());
        match around.filter(|_| is_apart) {
            Some(around) => Self::from_table_of(csv, &around),
            None => Self::from_table_of(csv, folder),
        }
    }

    /// [`from_table`](Self::from_table) for the recordings of a folder that it may lie deeper in.
    fn from_table_of(csv: &Path, root: &Path) -> Result<Self> {
        let (mut catalog, spans) = Self::listed(csv, root)?;
        catalog.name = folder_name(root);
        let places::Found { folder, notes } = places::find(&mut catalog.clips, root)?;
        catalog.audio_dir = folder;
        catalog.notes.extend(notes);
        catalog.doubted(csv, spans.as_ref())
    }

    /// Keeps the clips of the ESC-10 subset, with their classes numbered anew from 0 in the same order.
    ///
    /// # Errors
    /// [`Error::Dataset`] when fewer than two classes are marked `esc10`.
    pub fn esc10(mut self) -> Result<Self> {
        self.clips.retain(|clip| clip.esc10);
        let num_classes = self.clips.iter().map(|clip| clip.target).collect::<BTreeSet<_>>().len();
        if num_classes < 2 {
            return Err(Error::Dataset {
                root: self.audio_dir,
                expected: "clips of two classes or more marked `esc10`".into(),
                found: format!("{num_classes} in the data set {}", self.name),
                next: "Set DATASET=esc50 to download ESC-50, which marks its ESC-10 subset.".into(),
            });
        }
        number_from_zero(&mut self.clips);
        self.name = if self.name == "esc50" { "esc10".into() } else { format!("{}-esc10", self.name) };
        Ok(self)
    }

    /// Takes each group of clips, by name, for clips of one source, and makes the folds anew, if folds were made here. A group that would leave a
    /// class with a single source stays as it is. Returns those that were put together.
    ///
    /// # Errors
    /// None where the catalog could be made.
    pub(crate) fn keep_together(&mut self, groups: Vec<Vec<String>>) -> Result<Vec<Vec<String>>> {
        if !self.folds_made {
            return Ok(Vec::new());
        }
        let together = joined::join(&mut self.clips, groups);
        if !together.is_empty() {
            folds::assign(&mut self.clips, &self.audio_dir)?;
        }
        Ok(together)
    }

    /// The same with clips that their names say are of one recording or speaker in one fold, where folds are made here, and a note that says so.
    fn together_by_name(mut self) -> Result<Self> {
        if !self.folds_made {
            return Ok(self);
        }
        let sources::Named { groups, ways } = sources::of_one(&self.clips);
        let of = |groups: &[Vec<String>]| groups.iter().map(Vec::len).sum::<usize>();
        let (n_named, n_sources) = (of(&groups), groups.len());
        let together = self.keep_together(groups)?;
        if n_named > 0 {
            let apart = match n_named - of(&together) {
                0 => String::new(),
                n => format!("; {n} of them stay apart, for a class would have a single source"),
            };
            let ways = ways.join("; ");
            self.notes.push(format!(
                "{n_named} recordings are named as of {n_sources} sources, whose clips share a fold ({ways}){apart}"
            ));
        }
        Ok(self)
    }

    /// Clips in several folds that their names say are of one recording or speaker: how many, and the first that belong together.
    pub(crate) fn apart_by_name(&self) -> Option<(usize, Vec<String>)> {
        sources::across_folds(&self.clips)
    }

    /// The class names in the order of [`Clip::target`].
    pub fn labels(&self) -> Vec<String> {
        let named = self.clips.iter().flat_map(|clip| clip.classes().map(|(name, target)| (target, name)));
        named.collect::<BTreeMap<usize, &str>>().into_values().map(String::from).collect()
    }

    /// Whether a recording of it has several classes.
    pub fn is_multi_label(&self) -> bool {
        self.clips.iter().any(|clip| !clip.further.is_empty())
    }

    /// Makes sure that each recording has one class.
    ///
    /// # Errors
    /// [`Error::Dataset`] with the first recording that has several.
    pub fn one_class_each(&self) -> Result<()> {
        let several = self.clips.iter().filter(|clip| !clip.further.is_empty()).count();
        let Some(first) = self.clips.iter().find(|clip| !clip.further.is_empty()) else { return Ok(()) };
        let names: Vec<&str> = first.classes().map(|(name, _)| name).collect();
        Err(Error::Dataset {
            root: self.audio_dir.clone(),
            expected: "recordings of one class each".into(),
            found: format!(
                "several classes for {several} of {}: {} is {}",
                self.clips.len(),
                first.filename,
                names.join(" and ")
            ),
            next: "Let `probe` or `fine_tune` have them, with a network that others trained: they take several labels a recording. Or keep one \
                   label in each row of the table."
                .into(),
        })
    }

    /// Where the clip's file lies.
    pub fn path(&self, clip: &Clip) -> PathBuf {
        self.audio_dir.join(&clip.filename)
    }

    /// The folds that have clips, in ascending order.
    pub fn folds(&self) -> Vec<u32> {
        self.clips.iter().map(|clip| clip.fold).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn folder_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    absolute.components().next_back().map_or(String::new(), |part| part.as_os_str().to_string_lossy().into_owned())
}
