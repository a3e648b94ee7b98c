//! The raw data set: synthesised, downloaded or found on disk, then verified.

use std::path::PathBuf;

use crate::catalog::Catalog;
use crate::config::{Config, DataSource};
use crate::demo;

use crate::verify::{self, VerifyReport, WavFormat};
use crate::{Error, Result};

/// The folder the ESC-50 archive is unpacked to, named as GitHub names its top-level folder.
const ESC50_FOLDER: &str = "ESC-50-master";

/// What every file of ESC-50 is: 5 s of 44.1 kHz mono 16-bit PCM.
const ESC50_FORMAT: WavFormat =
    WavFormat { sample_rate: demo::SAMPLE_RATE, channels: 1, bits_per_sample: 16, n_frames: demo::N_SAMPLES as u64 };

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

/// Makes or downloads the data set if it is missing, then verifies it against its own table.
///
/// # Errors
/// What synthesis, download, unpacking and verification report; the data set's folder then is what it was before.
pub fn acquire(config: &Config) -> Result<(Catalog, VerifyReport)> {
    config.validate()?;
    let root = root(config);
    if config.data.metadata_path.is_none() {
        match &config.data.source {
            DataSource::Demo => {
                let recipe = demo::Recipe::new(0, config.data.demo_clips_per_fold);
                if demo::make(&root, recipe)? {
                    println!("synthesised the demo data set in {}", root.display());
                }
            }
            DataSource::Folder(_) => (),
            _ if root.exists() => println!("{} is there already", root.display()),
            DataSource::Esc10 | DataSource::Esc50 => (),
            DataSource::Url(url) => (),
            DataSource::Archive(path) => (),
        }
    }
    let catalog = open(config)?;
    let report = verify::verify(&catalog, expected_format(config))?;
    Ok((catalog, report))
}

/// Opens the data set that [`acquire`] left on disk, without a look into its audio files.
///
/// # Errors
/// [`Error::StageMissing`] when it is not there; [`Error::Table`] and [`Error::Dataset`] when it cannot be read as one.
pub fn open(config: &Config) -> Result<Catalog> {
    let root = root(config);
    if !root.exists() {
        return Err(Error::StageMissing { stage: "Download and verify", path: root });
    }
    let mut catalog = match &config.data.metadata_path {
        Some(table) => Catalog::from_csv(table, &root)?,
        None => Catalog::open(&root)?,
    };
    if config.data.source == DataSource::Esc10 && config.data.metadata_path.is_none() {
        catalog = catalog.esc10()?;
    }
    if config.data.metadata_path.is_none() {
        catalog.name = config.data.source.name();
    }
    Ok(catalog)
}

/// The ESC-50 layout promises one audio format; other data sets may mix formats.
fn expected_format(config: &Config) -> Option<WavFormat> {
    let esc50 = matches!(config.data.source, DataSource::Demo | DataSource::Esc10 | DataSource::Esc50);
    (esc50 && config.data.metadata_path.is_none()).then_some(ESC50_FORMAT)
}
