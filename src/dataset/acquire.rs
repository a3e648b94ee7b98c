//! The raw data set: synthesised, downloaded or found on disk, then verified.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Config, DataSource};
use crate::dataset::catalog::{self, AUDIO_EXTENSIONS, Catalog};
use crate::dataset::demo;
#[cfg(feature = "download")]
use crate::dataset::download::{ArchiveSource, DownloadOptions, fetch_dataset};
use crate::dataset::verify::{self, ESC50_WAV};
use crate::error::{Error, Result};
use crate::files::hash::fnv1a;

/// The folder the ESC-50 archive is unpacked to, named as GitHub names its top-level folder.
const ESC50_FOLDER: &str = "ESC-50-master";

/// How much of an archive's name its folder keeps, in characters.
const MAX_NAME: usize = 60;

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
        DataSource::Archive(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            data.raw_dir.join(folder_of(&data.source.name(), &path.to_string_lossy()))
        }
        DataSource::Url(url) => data.raw_dir.join(folder_of(&name_in(url, &data.source.name()), url)),
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
        tell_passed_over(&whole)?;
    }
    let catalog = select(config, whole)?;
    println!("{}: {} clips of {} classes", catalog.name, catalog.clips.len(), catalog.labels().len());
    Ok(catalog)
}

/// Names the files of a person's data set that look like sound and have no part in it.
fn tell_passed_over(catalog: &Catalog) -> Result<()> {
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

/// A folder name that is neither hidden nor another data set's: the plain characters of `name`, and a hash of its origin.
fn folder_of(name: &str, origin: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).take(MAX_NAME).collect();
    let name = match name.trim_matches(['.', '-', '_']) {
        "" => "archive",
        name => name,
    };
    format!("{name}-{:08x}", fnv1a(origin.as_bytes()) as u32)
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
        next: "Correct the path; or set DATASET to demo, esc10, esc50, a folder, a .tar.gz archive or a URL.".into(),
    }
}

/// Whether the data set is one that lists every file it has, in the ESC-50 layout and format, and lies in a folder made here.
fn promises_completeness(config: &Config, root: &Path) -> bool {
    match config.data.source {
        _ if config.data.metadata_path.is_some() => false,
        DataSource::Demo | DataSource::Esc10 | DataSource::Esc50 => true,
        DataSource::Archive(_) | DataSource::Url(_) => root.join("meta/esc50.csv").is_file(),
        DataSource::Folder(_) => false,
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
/// [`Error::Table`] and [`Error::Dataset`] when it cannot be read as a data set.
pub fn open_catalog(config: &Config) -> Result<Catalog> {
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
        DataSource::Folder(_) => Ok(()),
        source if !is_missing(root) => {
            tell_if_newer(source, root);
            Ok(())
        }
        #[cfg(feature = "download")]
        DataSource::Esc10 | DataSource::Esc50 => fetch(ArchiveSource::Url(config.data.esc50_url.clone()), root),
        #[cfg(feature = "download")]
        DataSource::Url(url) => fetch(ArchiveSource::Url(url.clone()), root),
        #[cfg(feature = "download")]
        DataSource::Archive(path) => fetch(ArchiveSource::File(path.clone()), root),
        #[cfg(not(feature = "download"))]
        source => Err(Error::Download {
            url: source.to_string(),
            reason: "this build has no downloader".into(),
            next: format!("Unpack the archive to {} by hand, or build with the feature \"download\".", root.display()),
        }),
    }
}

/// Says so when an archive has changed since it was unpacked; what was unpacked may hold a person's work by now.
fn tell_if_newer(source: &DataSource, root: &Path) {
    let DataSource::Archive(path) = source else { return };
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    if modified(path).is_some_and(|archive| modified(root).is_some_and(|unpacked| archive > unpacked)) {
        let (path, root) = (path.display(), root.display());
        println!("note: {path} is newer than {root}, which is used; move that folder away to unpack the archive again");
    }
}

#[cfg(feature = "download")]
fn fetch(source: ArchiveSource, root: &Path) -> Result<()> {
    let fetched = fetch_dataset(&source, root, &DownloadOptions::default())?;
    println!("{fetched}");
    Ok(())
}

fn open_whole(config: &Config, root: &Path) -> Result<Catalog> {
    if is_missing(root) {
        if config.data.metadata_path.is_some() || matches!(config.data.source, DataSource::Folder(_)) {
            return Err(no_such_folder(root));
        }
        return Err(Error::StageMissing { stage: "Download and verify", path: root.into() });
    }
    match &config.data.metadata_path {
        Some(table) => Catalog::from_csv(table, root),
        None => Ok(Catalog { name: config.data.source.name(), ..Catalog::open(root)? }),
    }
}

/// The part of a data set that the config asks for.
fn select(config: &Config, whole: Catalog) -> Result<Catalog> {
    match config.data.source {
        DataSource::Esc10 if config.data.metadata_path.is_none() => {
            Ok(Catalog { name: config.data.source.name(), ..whole.esc10()? })
        }
        _ => Ok(whole),
    }
}
