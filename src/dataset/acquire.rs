//! The raw data set: synthesised, downloaded or found on disk, then verified.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Config, DataSource, folder_of};
use crate::dataset::catalog::{self, AUDIO_EXTENSIONS, Catalog, PASSED_OVER_EXTENSIONS};
use crate::dataset::demo;
#[cfg(feature = "download")]
use crate::dataset::download::{ArchiveSource, DownloadOptions, fetch_dataset};
use crate::dataset::together;
use crate::dataset::unpacked;
use crate::dataset::verify::{self, ESC50_WAV};
use crate::error::{Error, Result};
use crate::files::names;

/// The folder the ESC-50 archive is unpacked to, named as GitHub names its top-level folder.
const ESC50_FOLDER: &str = "ESC-50-master";

/// The folder the config's data set lies in, whether it is there yet or not.
///
/// An archive is unpacked to a folder of its own for each address or path: its name, then a hash of where it comes from.
pub fn root(config: &Config) -> PathBuf {
    let data = &config.data;
    match &data.source {
        _ if data.metadata_path.is_some() => data.raw_dir.clone(),
        DataSource::Demo => data.raw_dir.join("demo"),
        DataSource::Esc10 | DataSource::Esc50 => data.raw_dir.join(ESC50_FOLDER),
        DataSource::Folder(path) => path.clone(),
        DataSource::Table(path) => folder_of(path).to_path_buf(),
        DataSource::Archive(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            data.raw_dir.join(names::unique(&data.source.name(), &path.to_string_lossy()))
        }
        DataSource::Url(url) => data.raw_dir.join(names::unique(&name_in(url, &data.source.name()), url)),
    }
}

/// Makes or downloads the data set if it is missing, then verifies it against its own table, and says so on stdout.
///
/// The demo, ESC-50, and archives in its layout must be complete to the file; a person's own folder, table or archive need
/// not be: what cannot be read there is listed.
///
/// # Errors
/// What synthesis, download, unpacking and verification report; the data set's folder then is what it was before.
pub fn acquire(config: &Config) -> Result<Catalog> {
    config.validate()?;
    let root = root(config);
    let is_listed_apart = config.data.metadata_path.is_some();
    if !is_listed_apart {
        provide(config, &root)?;
    }
    let whole = open_whole(config, &root)?;
    let is_complete = promises_completeness(config, &root);
    let report = if is_complete {
        verify::verify(&whole, Some(ESC50_WAV)).map_err(|error| with_next_step(error, &root))?
    } else {
        verify::survey(&whole)?
    };
    println!("{}: {report}", root.display());
    if !is_complete && !is_listed_apart {
        // Who names a table has chosen among them.
        if !matches!(config.data.source, DataSource::Table(_)) {
            catalog::other_tables(&root).iter().for_each(|table| println!("  passed over: {table}"));
        }
        tell_passed_over(&whole)?;
    }
    together::look(config, &whole)?;
    let catalog = select(config, whole)?;
    catalog.notes.iter().for_each(|note| println!("  {note}"));
    println!("{}: {} clips of {} classes", catalog.name, catalog.clips.len(), catalog.labels().len());
    if let Err(error) = catalog.one_class_each() {
        println!("  note: {error}");
    }
    Ok(catalog)
}

/// How many entries that cannot be read are named.
const NAMED: usize = 20;

/// Names what of a person's data set looks like sound and has no part in it.
fn tell_passed_over(catalog: &Catalog) -> Result<()> {
    for (entry, reason) in catalog.unreadable.iter().take(NAMED) {
        println!("  passed over: {entry:?}: {reason}");
    }
    if catalog.unreadable.len() > NAMED {
        println!("  and {} more", catalog.unreadable.len() - NAMED);
    }
    let clips: HashSet<&str> = catalog.clips.iter().map(|clip| clip.filename.as_str()).collect();
    let mut files = catalog::passed_over(&catalog.audio_dir)?;
    files.retain(|file| !clips.contains(file.as_str()));
    let Some(first) = files.first() else { return Ok(()) };
    let read = AUDIO_EXTENSIONS.join(", ");
    println!("  passed over for their format: {} files, {first} the first of them; read are {read}", files.len());
    Ok(())
}

/// A name for what lies at an address. `master.tar.gz` and the like, as GitHub names its archives, get the repository's in
/// front; a user and password go.
fn name_in(url: &str, last: &str) -> String {
    let parts: Vec<&str> = url.split(['?', '#']).next().unwrap_or_default().split('/').collect();
    let archive = parts.iter().position(|part| *part == "archive");
    let last = last.rsplit('@').next().unwrap_or_default();
    match archive.and_then(|archive| parts.get(archive.checked_sub(1)?)) {
        Some(repository) if !last.contains(*repository) => format!("{repository}-{last}"),
        _ => last.to_owned(),
    }
}

/// Whether the config's data set is on disk.
pub(crate) fn is_there(config: &Config) -> bool {
    !is_missing(&root(config))
}

/// Whether nothing lies there, or an empty folder.
fn is_missing(root: &Path) -> bool {
    !root.exists() || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none())
}

/// Tells a person that the folder they named is not there: no stage would make it.
fn no_such_folder(root: &Path) -> Error {
    Error::Dataset {
        root: root.into(),
        expected: "a folder with recordings".into(),
        found: if root.exists() { "an empty one".into() } else { "none of this name".into() },
        next: format!(
            "{}Correct the path; or set DATASET to demo, esc10, esc50, a folder, a table, a .tar.gz archive or a URL.",
            tilde(root)
        ),
    }
}

/// A home folder that the shell did not write out.
fn tilde(path: &Path) -> &'static str {
    if path.starts_with("~") { "A ~ in quotes is not your home folder: write $HOME. " } else { "" }
}

/// Tells what a file is that was named in place of a data set, if it is one that holds none.
fn check_kind(path: &Path) -> Result<()> {
    let is = |extensions: &[&str]| catalog::has_extension(path, extensions);
    let next = match () {
        _ if is(&AUDIO_EXTENSIONS) || is(&PASSED_OVER_EXTENSIONS) => {
            "To have it named, put it into data/test/; to train, make a folder of recordings for each class and name the folder around them."
        }
        _ if is(&["zip", "7z", "rar", "bz2", "xz", "zst"]) => {
            "Unpack it and name the folder, or pack it anew: tar czf sounds.tar.gz sounds"
        }
        _ if is(&["xlsx", "xls", "ods", "json", "jsonl", "parquet", "txt"]) => {
            "Save it as a CSV with the columns filename and category, and name that."
        }
        _ if is(&["safetensors", "pt", "onnx", "ipynb", "npy", "npz"]) => "Name a folder with recordings.",
        _ => return Ok(()),
    };
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    Err(Error::Dataset {
        root: path.into(),
        expected: "a folder, a table (.csv) or an archive (.tar.gz)".into(),
        found: format!("a .{extension} file"),
        next: next.into(),
    })
}

/// Whether the data set is one that lists every file it has, in the ESC-50 layout and format, and lies in a folder made here.
fn promises_completeness(config: &Config, root: &Path) -> bool {
    match config.data.source {
        _ if config.data.metadata_path.is_some() => false,
        DataSource::Demo | DataSource::Esc10 | DataSource::Esc50 => true,
        DataSource::Archive(_) | DataSource::Url(_) => root.join("meta/esc50.csv").is_file(),
        DataSource::Folder(_) | DataSource::Table(_) => false,
    }
}

/// Tells how to get a data set anew that was made or unpacked here.
fn with_next_step(error: Error, made: &Path) -> Error {
    match error {
        Error::Dataset { root, expected, found, .. } => {
            let next = format!("Move {} away and run the stage \"Download and verify\" again.", made.display());
            Error::Dataset { root, expected, found, next }
        }
        other => other,
    }
}

/// Opens the data set that [`acquire`] left on disk, without a look into its audio files.
///
/// # Errors
/// [`Error::StageMissing`] when it is not there; [`Error::Dataset`] when it is a folder that a person named and none is there;
/// [`Error::Table`] and [`Error::Dataset`] when it cannot be read as a data set, or one of its recordings has several classes.
pub fn open_catalog(config: &Config) -> Result<Catalog> {
    let catalog = open_labels(config)?;
    catalog.one_class_each()?;
    Ok(catalog)
}

/// As [`open_catalog`], for those who know what to do with several classes a recording.
///
/// # Errors
/// As there.
pub(crate) fn open_labels(config: &Config) -> Result<Catalog> {
    select(config, open_whole(config, &root(config))?)
}

/// Makes sure that the folder of one of the named data sets is there.
fn provide(config: &Config, root: &Path) -> Result<()> {
    match &config.data.source {
        DataSource::Demo => {
            if demo::make(root, demo::Recipe::new(0, config.data.demo_clips_per_fold))? {
                println!("synthesised the demo data set in {}", root.display());
            }
            Ok(())
        }
        DataSource::Folder(_) | DataSource::Table(_) => Ok(()),
        DataSource::Archive(path) if path.is_file() => check_kind(path).and_then(|()| unpack(path, root)),
        _ if !is_missing(root) => Ok(()),
        DataSource::Archive(path) => Err(no_such_folder(path)),
        DataSource::Esc10 | DataSource::Esc50 => fetch_url(&config.data.esc50_url, root),
        DataSource::Url(url) => fetch_url(url, root),
    }
}

/// Unpacks an archive of this machine, unless that was done: then it must be the same archive as it was.
fn unpack(path: &Path, root: &Path) -> Result<()> {
    if is_missing(root) { fetch_file(path, root) } else { unpacked::check_origin(path, root) }
}

#[cfg(feature = "download")]
fn fetch_url(url: &str, root: &Path) -> Result<()> {
    fetch(&ArchiveSource::Url(url.into()), root)
}

#[cfg(feature = "download")]
fn fetch_file(path: &Path, root: &Path) -> Result<()> {
    fetch(&ArchiveSource::File(path.into()), root)
}

#[cfg(feature = "download")]
fn fetch(source: &ArchiveSource, root: &Path) -> Result<()> {
    println!("{}", fetch_dataset(source, root, &DownloadOptions::default())?);
    Ok(())
}

#[cfg(not(feature = "download"))]
fn fetch_url(url: &str, root: &Path) -> Result<()> {
    Err(Error::Download {
        url: url.into(),
        reason: "this build has no downloader".into(),
        next: format!("Unpack the archive to {} by hand, or build with the feature \"download\".", root.display()),
    })
}

#[cfg(not(feature = "download"))]
fn fetch_file(path: &Path, root: &Path) -> Result<()> {
    fetch_url(&path.to_string_lossy(), root)
}

fn open_whole(config: &Config, root: &Path) -> Result<Catalog> {
    if is_missing(root) {
        if config.data.metadata_path.is_some()
            || matches!(config.data.source, DataSource::Folder(_) | DataSource::Table(_))
        {
            return Err(no_such_folder(root));
        }
        return Err(Error::StageMissing { stage: "Download and verify", path: root.into() });
    }
    if let (None, DataSource::Archive(path)) = (&config.data.metadata_path, &config.data.source) {
        unpacked::check_origin(path, root)?;
    }
    let catalog = match (&config.data.metadata_path, &config.data.source) {
        (Some(table), _) => return Catalog::from_csv(table, root),
        (None, DataSource::Table(table)) => Catalog::from_table(table)?,
        (None, _) => Catalog::open(root)?,
    };
    Ok(Catalog { name: config.data.source.name(), ..catalog })
}

/// The part of a data set that the config asks for.
fn select(config: &Config, whole: Catalog) -> Result<Catalog> {
    match config.data.source {
        DataSource::Esc10 if config.data.metadata_path.is_none() => {
            Ok(Catalog { name: config.data.source.name(), ..whole.esc10()? })
        }
        _ => together::apply(config, whole),
    }
}
