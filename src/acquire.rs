//! The raw data set: synthesised, downloaded or found on disk, then verified.

use std::path::{Path, PathBuf};

use crate::catalog::Catalog;
use crate::config::{Config, DataSource};
use crate::demo;
#[cfg(feature = "download")]
use crate::download::{ArchiveSource, DownloadOptions, fetch_dataset};
use crate::verify::{self, ESC50_WAV};
use crate::{Error, Result};

/// The folder the ESC-50 archive is unpacked to, named as GitHub names its top-level folder.
const ESC50_FOLDER: &str = "ESC-50-master";

/// The folder the config's data set lies in, whether it is there yet or not.
pub fn root(config: &Config) -> PathBuf {
    let data = &config.data;
    match &data.source {
        _ if data.metadata_path.is_some() => data.raw_dir.clone(),
        DataSource::Demo => data.raw_dir.join("demo"),
        DataSource::Esc10 | DataSource::Esc50 => data.raw_dir.join(ESC50_FOLDER),
        DataSource::Folder(path) => path.clone(),
        source @ (DataSource::Archive(_) | DataSource::Url(_)) => data.raw_dir.join(source.name()),
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
    if config.data.metadata_path.is_none() {
        provide(config, &root)?;
    }
    let whole = open_whole(config, &root)?;
    let report = if promises_completeness(config, &root) {
        verify::verify(&whole, Some(ESC50_WAV)).map_err(|error| with_next_step(error, &root))?
    } else {
        verify::survey(&whole)?
    };
    println!("{}: {report}", root.display());
    let catalog = select(config, whole)?;
    println!("{}: {} clips of {} classes", catalog.name, catalog.clips.len(), catalog.labels().len());
    Ok(catalog)
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
/// [`Error::StageMissing`] when it is not there; [`Error::Table`] and [`Error::Dataset`] when it cannot be read as one.
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
        _ if root.exists() => Ok(()),
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

#[cfg(feature = "download")]
fn fetch(source: ArchiveSource, root: &Path) -> Result<()> {
    let fetched = fetch_dataset(&source, root, &DownloadOptions::default())?;
    let (packed, unpacked) = (fetched.archive_bytes as f64 / 1e6, fetched.unpacked_bytes as f64 / 1e6);
    println!("{} files from {packed:.1} MB, {unpacked:.1} MB unpacked", fetched.files);
    Ok(())
}

fn open_whole(config: &Config, root: &Path) -> Result<Catalog> {
    if !root.exists() {
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
