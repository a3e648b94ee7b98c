//! Which recordings, and the folders of the stages.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check::check;
use crate::error::Result;
use crate::files::names;

/// Where the ESC-50 archive is fetched from when neither the config nor `ESC50_URL` names another address.
pub const ESC50_URL: &str = "https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.tar.gz";

/// How many clips each class of the demo data set has in each fold, unless told otherwise.
const DEMO_CLIPS_PER_FOLD: usize = 8;

/// Which data set the pipeline runs on.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DataSource {
    /// The embedded data set: sounds synthesised by the crate.
    #[default]
    Demo,
    /// The rows of ESC-50 marked `esc10`: 10 classes, 400 clips.
    Esc10,
    /// ESC-50: 50 classes, 2,000 clips.
    Esc50,
    /// A folder: the ESC-50 layout, a CSV with `filename` and `category`, or one folder per class.
    Folder(PathBuf),
    /// A `.tar.gz` on this machine that holds such a folder.
    Archive(PathBuf),
    /// The address of such a `.tar.gz`.
    Url(String),
    /// A CSV with `filename` and `category`, the recordings beside it or in a folder `audio` and the like there.
    Table(PathBuf),
}

impl DataSource {
    /// Reads the environment variable `DATASET`: `demo`, `esc10`, `esc50`, a folder, a table, an archive or a URL; the demo when unset.
    pub fn from_env() -> Self {
        std::env::var("DATASET").map_or(DataSource::Demo, |name| Self::parse(&name))
    }

    /// Tells the sources apart by their form; anything that is neither a known name nor a URL is a path. Blanks and quotes around
    /// it do not count; nothing at all is the demo.
    pub fn parse(name: &str) -> Self {
        let name = name.trim().trim_matches(['"', '\'']).trim();
        let lower = name.to_ascii_lowercase();
        let (_, plain) = name.split_at(if lower.starts_with("file://") { 7 } else { 0 });
        let has = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
        match lower.as_str() {
            "" | "demo" => DataSource::Demo,
            "esc10" => DataSource::Esc10,
            "esc50" => DataSource::Esc50,
            url if url.starts_with("http://") || url.starts_with("https://") => DataSource::Url(name.to_owned()),
            _ if Path::new(plain).is_dir() => DataSource::Folder(plain.into()),
            _ if has(&[".csv", ".tsv"]) => DataSource::Table(plain.into()),
            _ if Path::new(plain).is_file() || has(&[".tar.gz", ".tgz", ".tar"]) => DataSource::Archive(plain.into()),
            _ => DataSource::Folder(plain.into()),
        }
    }

    /// A short name for titles and file names: `demo`, `esc50`, or the folder's or archive's own.
    pub fn name(&self) -> String {
        let stem = |path: &str| {
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            last.trim_end_matches(".tar.gz").trim_end_matches(".tgz").trim_end_matches(".tar").to_owned()
        };
        match self {
            DataSource::Demo => "demo".into(),
            DataSource::Esc10 => "esc10".into(),
            DataSource::Esc50 => "esc50".into(),
            DataSource::Folder(path) | DataSource::Archive(path) => stem(&path.to_string_lossy()),
            DataSource::Table(path) => last_part(folder_of(path)),
            DataSource::Url(url) => {
                let address = url.split(['?', '#']).next().unwrap_or(url);
                // Neither the host nor a password in front of it belongs into a file's name.
                let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
                path.map_or("archive".into(), |(_, path)| stem(path))
            }
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSource::Demo => write!(f, "demo (synthesised sounds)"),
            DataSource::Esc10 => write!(f, "ESC-10"),
            DataSource::Esc50 => write!(f, "ESC-50"),
            DataSource::Folder(path) | DataSource::Archive(path) | DataSource::Table(path) => {
                write!(f, "{}", path.display())
            }
            DataSource::Url(url) => write!(f, "{url}"),
        }
    }
}

/// The recordings and the folders of the stages. Relative paths start at the notebook's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataConfig {
    /// Which data set.
    pub source: DataSource,
    /// Where raw recordings lie; with `metadata_path`, the folder its `filename` column starts from.
    pub raw_dir: PathBuf,
    /// A CSV with `filename`, `category` and optionally `fold`: your own recordings instead of `source`.
    pub metadata_path: Option<PathBuf>,
    /// Where preprocessing writes `.npy` files and `metadata.csv`.
    pub processed_dir: PathBuf,
    /// Recordings to classify in the last stage.
    pub test_dir: PathBuf,
    /// Where checkpoints go.
    pub models_dir: PathBuf,
    /// The address of the ESC-50 archive.
    pub esc50_url: String,
    /// How many clips each class of the demo data set has in each of its five folds.
    pub demo_clips_per_fold: usize,
    /// Of a data set of more recordings than this, spectrograms are kept in shards, `.npy` files of many, in place of a file each.
    pub shards_above: usize,
    /// About how large a shard is, in MB.
    pub shard_mb: usize,
}

impl Default for DataConfig {
    /// The environment may name the data set (`DATASET`), the folder of all stages (`DATA_DIR`, `data` when unset) and the
    /// address of the archive (`ESC50_URL`).
    fn default() -> Self {
        let data_dir = PathBuf::from(std::env::var("DATA_DIR").unwrap_or_else(|_| "data".to_owned()));
        DataConfig {
            source: DataSource::from_env(),
            raw_dir: data_dir.join("raw"),
            metadata_path: None,
            processed_dir: data_dir.join("processed"),
            test_dir: data_dir.join("test"),
            models_dir: data_dir.join("models"),
            esc50_url: std::env::var("ESC50_URL").unwrap_or_else(|_| ESC50_URL.to_owned()),
            demo_clips_per_fold: DEMO_CLIPS_PER_FOLD,
            shards_above: 20_000,
            shard_mb: 256,
        }
    }
}

impl DataConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check("data.shard_mb", (1..=65_536).contains(&self.shard_mb), "1 to 65536", self.shard_mb)
    }

    /// The data set's name in file names, its own alone: `demo`, `esc10`, `esc50`, or of a person's own data set the folder's name and a
    /// hash of [`identity`](Self::identity). Two folders called `sounds` have two names.
    pub fn name(&self) -> String {
        let own = |name: &str| names::unique(name, &self.identity());
        match (&self.metadata_path, &self.source) {
            (Some(table), _) | (None, DataSource::Table(table)) => own(&last_part(folder_of(table))),
            (None, DataSource::Demo) if self.demo_clips_per_fold != DEMO_CLIPS_PER_FOLD => {
                format!("demo-{}", self.demo_clips_per_fold)
            }
            (None, DataSource::Demo | DataSource::Esc10 | DataSource::Esc50) => self.source.name(),
            (None, DataSource::Folder(path)) => own(&last_part(path)),
            (None, DataSource::Archive(_) | DataSource::Url(_)) => own(&self.source.name()),
        }
    }

    /// What tells this data set from every other: spectrograms, checkpoints and results of one do not stand in for another's. Paths
    /// are absolute in it, so that it does not depend on the folder it is asked from.
    pub fn identity(&self) -> String {
        let raw_dir = absolute(&self.raw_dir);
        match (&self.metadata_path, &self.source) {
            (Some(table), _) => format!("table {} with recordings in {raw_dir}", absolute(table)),
            (None, DataSource::Demo) => {
                format!("demo, {} clips per class and fold, in {raw_dir}", self.demo_clips_per_fold)
            }
            (None, DataSource::Esc10 | DataSource::Esc50) => format!("{} in {raw_dir}", self.source),
            (None, DataSource::Folder(path)) => format!("folder {}", absolute(path)),
            (None, DataSource::Table(table)) => format!("table {}", absolute(table)),
            (None, DataSource::Archive(path)) => format!("archive {} in {raw_dir}", absolute(path)),
            (None, DataSource::Url(url)) => format!("archive {url} in {raw_dir}"),
        }
    }
}

/// A path from the root, links followed as far as it is there.
fn absolute(path: &Path) -> String {
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    let whole = path.canonicalize().ok().or_else(in_folder).or_else(|| std::path::absolute(path).ok());
    whole.unwrap_or_else(|| path.to_path_buf()).to_string_lossy().into_owned()
}

/// The folder that a file lies in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// The name of a folder, also where the path to it ends in `.` or `..`.
fn last_part(folder: &Path) -> String {
    let whole = absolute(folder);
    Path::new(&whole).file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sets_of_one_name_have_names_of_their_own_and_one_data_set_has_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let of = |source: DataSource| DataConfig { source, metadata_path: None, ..Default::default() }.name();
        let folders = ["a/sounds", "b/sounds", "звуки", "голос", "demo", "esc10"].map(|name| dir.path().join(name));
        let url = |owner: &str| DataSource::Url(format!("https://host/{owner}/archive/main.tar.gz"));
        let mut names: Vec<String> = folders.iter().map(|path| of(DataSource::Folder(path.clone()))).collect();
        names.extend([of(url("a")), of(url("b")), of(DataSource::Archive(dir.path().join("main.tar.gz")))]);
        names.extend([DataSource::Demo, DataSource::Esc10, DataSource::Esc50].map(of));
        names.push(of(DataSource::Folder(".".into())));
        let distinct: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert!(names[0].starts_with("sounds-") && names[2].starts_with("звуки-"), "{names:?}");

        let sounds = &folders[0];
        std::fs::create_dir_all(sounds.join("inner")).unwrap();
        let ways = [sounds.clone(), sounds.join("."), sounds.join("inner/.."), dir.path().join("a/../a/sounds/")];
        for way in ways {
            assert_eq!(of(DataSource::Folder(way.clone())), names[0], "{}", way.display());
        }
        assert_eq!(of(DataSource::Folder(".".into())), of(DataSource::Folder(std::env::current_dir().unwrap())));
    }

    #[test]
    fn a_data_source_is_told_by_its_form() {
        assert_eq!(DataSource::parse("esc10"), DataSource::Esc10);
        assert_eq!(DataSource::parse(" 'ESC10' "), DataSource::Esc10);
        assert_eq!(DataSource::parse("  "), DataSource::Demo);
        assert_eq!(DataSource::parse("HTTPS://a.b/X.tar.gz"), DataSource::Url("HTTPS://a.b/X.tar.gz".into()));
        assert_eq!(DataSource::parse("file:///a/x.tgz"), DataSource::Archive("/a/x.tgz".into()));
        assert_eq!(DataSource::parse("my/list.CSV"), DataSource::Table("my/list.CSV".into()));
        assert_eq!(DataSource::parse("my/list.csv").name(), "my");
        assert_eq!(DataSource::parse("x/my.tar"), DataSource::Archive("x/my.tar".into()));
        assert_eq!(DataSource::parse("https://a.b/x.tar.gz"), DataSource::Url("https://a.b/x.tar.gz".into()));
        assert_eq!(DataSource::parse("x/my.tar.gz"), DataSource::Archive("x/my.tar.gz".into()));
        assert_eq!(DataSource::parse("my/birds/"), DataSource::Folder("my/birds/".into()));
        assert_eq!(DataSource::parse("my/birds/").name(), "birds");
        assert_eq!(DataSource::parse("https://a.b/x.tar.gz?raw=1").name(), "x");
        assert_eq!(DataSource::parse("https://user:secret@a.b").name(), "archive");
    }
}
