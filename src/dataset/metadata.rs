//! What preprocessing leaves on disk beside the `.npy` files: `metadata.csv`, a row per clip, and `settings.json`.

use std::borrow::{Borrow, Cow};
use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::config::{ClipConfig, Config, LongClips};
use crate::dataset::catalog::{Catalog, Clip};
use crate::error::{Error, Result};
use crate::files;
use crate::files::content::{self, Digest, ShortDigest};
use crate::files::text::{Shared, Text};
use crate::front_end::features::{FEATURE_VERSION, FeatureConfig};

/// The table's name in the processed folder.
pub const METADATA_FILE: &str = "metadata.csv";
/// The name of the settings the `.npy` files were made with.
pub const SETTINGS_FILE: &str = "settings.json";
/// No table of clips is larger than this; a larger file is something else.
const MAX_BYTES: u64 = 4 << 30;

/// One row of `metadata.csv`: a spectrogram and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessedClip {
    /// The file of the spectrogram, in the processed folder.
    pub npy: Text,
    /// Its place in the file, from 0, where that is a shard: a file of many.
    #[serde(default)]
    pub row: Option<u32>,
    /// The recording, as the data set's own table names it.
    pub filename: String,
    /// The fold, from 1.
    pub fold: u32,
    /// The class, from 0.
    pub target: usize,
    /// The class by name.
    pub category: Text,
    /// The recording the clip was cut from; clips of one source share a fold.
    pub source: Text,
    /// Where in the file the clip starts, in seconds.
    pub start_s: f32,
    /// Mel bins.
    pub n_mels: usize,
    /// Frames.
    pub n_frames: usize,
    /// The mean that normalising took off, in dB relative to the clip's maximum.
    pub mean_db: f32,
    /// What normalising divided by, in dB.
    pub std_db: f32,
    /// The spectrogram's values as they were written, told by a hash: 32 bits of XXH3, in hexadecimal digits.
    pub values_xxh3: ShortDigest,
    /// The recording's bytes as they were read, told by a hash: XXH3 with 128 bits, in hexadecimal digits.
    pub file_xxh3: Digest,
    /// A hash that is another one once the file was touched, on the machine that wrote it.
    pub file_stamp: Digest,
}

/// How a recording becomes a spectrogram; travels with the spectrograms and inside every checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureSettings {
    /// The version of the feature code.
    pub feature_version: u32,
    /// Length of a clip.
    pub clip: ClipConfig,
    /// The mel spectrogram.
    pub features: FeatureConfig,
}

impl FeatureSettings {
    /// The settings of this config and this version of the code.
    pub fn new(clip: &ClipConfig, features: &FeatureConfig) -> Self {
        FeatureSettings { feature_version: FEATURE_VERSION, clip: *clip, features: features.clone() }
    }
}

/// What a folder of spectrograms was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The data set, as [`crate::config::DataConfig::identity`] tells it from others.
    pub data: String,
    /// How its recordings became spectrograms; any difference makes all of them stale.
    pub settings: FeatureSettings,
    /// The catalogue they were made from, told by [`fingerprint`]; `None` while a run is under way.
    #[serde(default)]
    pub catalog: Option<String>,
    /// Whether windows of long recordings in which nothing sounds were left out, as they are now.
    #[serde(default)]
    pub without_silent_windows: bool,
    /// The table of all rows, told by a hash of the file; `None` while a run is under way, and from before it was kept.
    #[serde(default)]
    pub table: Option<Digest>,
    /// Recordings that could not be read, each with what tells whether its file has changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<(String, Option<Digest>)>,
}

impl Origin {
    /// Whether what another made of a recording is what this one would.
    pub fn makes_the_same(&self, other: &Self) -> bool {
        (&self.data, &self.settings, self.without_silent_windows)
            == (&other.data, &other.settings, other.without_silent_windows)
    }

    /// The origin of what this config makes, not finished yet.
    pub fn new(config: &Config) -> Self {
        let settings = FeatureSettings::new(&config.clip, &config.features);
        let without_silent_windows = config.clip.long_clips == LongClips::Windows;
        let (catalog, table, left_out) = (None, None, Vec::new());
        Origin { data: config.data.identity(), settings, catalog, without_silent_windows, table, left_out }
    }

    /// Reads `settings.json`.
    ///
    /// # Errors
    /// [`Error::Features`] when the file is missing or is no such settings.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(SETTINGS_FILE);
        let unreadable = |found: String| Error::Features {
            path: path.clone(),
            expected: "the settings of the spectrograms beside it".into(),
            found,
        };
        let json = fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))
    }

    /// Writes `settings.json`.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        files::write_bytes(&dir.join(SETTINGS_FILE), &json)
    }
}

/// A hash of all that a catalogue says of its clips: files, labels, folds and sources, in their order.
pub fn fingerprint(catalog: &Catalog) -> String {
    let texts = catalog.clips.iter().flat_map(|clip| {
        let Clip { filename, fold, category, target, esc10: _, source, further } = clip;
        let first: [Cow<str>; 5] = [
            filename.as_str().into(),
            fold.to_string().into(),
            (&**category).into(),
            target.to_string().into(),
            (&**source).into(),
        ];
        first.into_iter().chain(further.iter().map(|(category, _)| (&**category).into()))
    });
    content::hash_texts(texts)
}

/// Reads `metadata.csv`.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Table`] with the line that does not hold a clip.
pub fn read(path: &Path) -> Result<Vec<ProcessedClip>> {
    parse(open(path)?, path)
}

/// The rows of a `metadata.csv`, one after the other.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; of a row [`Error::Table`] when it does not hold a clip.
pub fn rows(path: &Path) -> Result<impl Iterator<Item = Result<ProcessedClip>>> {
    Ok(parse_rows(open(path)?, path))
}

fn open(path: &Path) -> Result<impl Read> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let bytes = file.metadata().map_err(Error::io("read", path))?.len();
    if bytes > MAX_BYTES {
        let (expected, found) = (format!("at most {MAX_BYTES} bytes"), format!("{bytes} bytes"));
        return Err(Error::Table { path: path.into(), line: None, expected, found });
    }
    Ok(file.take(MAX_BYTES))
}

/// Parses the text of a `metadata.csv`; `path` is for messages alone.
///
/// # Errors
/// [`Error::Table`] with the line that does not hold a clip.
pub fn parse(text: impl Read, path: &Path) -> Result<Vec<ProcessedClip>> {
    parse_rows(text, path).collect()
}

/// Rows share what they have in common: classes, shards and, one behind the other, sources.
fn parse_rows(text: impl Read, path: &Path) -> impl Iterator<Item = Result<ProcessedClip>> {
    let (mut shared, mut last_source) = (Shared::default(), Text::default());
    let mut share = move |clip: &mut ProcessedClip| {
        clip.category = shared.of(&clip.category);
        if clip.row.is_some() {
            clip.npy = shared.of(&clip.npy);
        }
        match last_source == clip.source {
            true => clip.source = last_source.clone(),
            false => last_source = clip.source.clone(),
        }
    };
    let path = path.to_path_buf();
    let rows = csv::Reader::from_reader(text).into_deserialize::<ProcessedClip>();
    rows.zip(2..).map(move |(row, line)| {
        let mut clip = row.map_err(|error| table_error(&path, &error))?;
        if let Err((expected, found)) = check(&clip) {
            return Err(Error::Table { path: path.clone(), line: Some(line), expected: expected.to_owned(), found });
        }
        share(&mut clip);
        Ok(clip)
    })
}

/// Names that stay inside their folders, and a spectrogram that is not empty.
fn check(clip: &ProcessedClip) -> Result<(), (&'static str, String)> {
    let plain = !clip.npy.is_empty() && !clip.npy.contains(['/', '\\']) && !clip.npy.starts_with('.');
    let inside = Path::new(&clip.filename).components().all(|part| matches!(part, Component::Normal(_)));
    match () {
        _ if !plain => Err(("a plain file name in column npy", format!("{:?}", clip.npy))),
        _ if !inside || clip.filename.is_empty() => {
            Err(("a path inside the data set in column filename", format!("{:?}", clip.filename)))
        }
        _ if clip.n_mels == 0 || clip.n_frames == 0 => {
            Err(("n_mels and n_frames above 0", format!("{} and {}", clip.n_mels, clip.n_frames)))
        }
        _ if !(clip.mean_db.is_finite() && clip.std_db.is_finite() && clip.std_db > 0.0) => {
            Err(("a finite mean_db and a std_db above 0", format!("{} and {}", clip.mean_db, clip.std_db)))
        }
        _ => Ok(()),
    }
}

fn table_error(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    let expected = "a row of npy, row, filename, fold, target, category, source, start_s, n_mels, n_frames, mean_db, \
                    std_db, values_xxh3, file_xxh3, file_stamp"
        .to_owned();
    Error::Table { path: path.into(), line, expected, found: error.to_string() }
}

/// Writes `metadata.csv`, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be written.
pub fn write(path: &Path, clips: impl IntoIterator<Item = impl Borrow<ProcessedClip>>) -> Result<()> {
    files::write_atomic(path, |file: &mut BufWriter<File>| {
        let mut writer = csv::Writer::from_writer(file);
        for clip in clips {
            writer.serialize(clip.borrow()).map_err(|error| Error::io("write", path)(error.into()))?;
        }
        writer.flush().map_err(Error::io("write", path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(npy: &str) -> ProcessedClip {
        ProcessedClip {
            npy: npy.into(),
            row: None,
            filename: "dogs, \"loud\"/1.wav".into(),
            fold: 1,
            target: 0,
            category: "dog".into(),
            source: "1".into(),
            start_s: 0.0,
            n_mels: 64,
            n_frames: 313,
            mean_db: -40.0,
            std_db: 15.0,
            values_xxh3: ShortDigest::of(&[1.0]),
            file_xxh3: content::hash_bytes(b"a"),
            file_stamp: content::hash_bytes(b"b"),
        }
    }

    #[test]
    fn a_table_survives_writing_and_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METADATA_FILE);
        let clips = vec![clip("a.npy"), ProcessedClip { row: Some(7), ..clip("b.npy") }];
        write(&path, &clips).unwrap();
        assert_eq!(read(&path).unwrap(), clips);
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METADATA_FILE);
        write(&path, &[clip("a.npy"), clip("b.npy")]).unwrap();
        let broken = fs::read_to_string(&path).unwrap().replace("b.npy", "b.npy,surplus");
        fs::write(&path, broken).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("line 3"), "{message}");
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METADATA_FILE);
        write(&path, &[clip("../a.npy")]).unwrap();
        assert!(matches!(read(&path), Err(Error::Table { line: Some(2), .. })));
        for filename in ["../a.wav", "/etc/passwd", ""] {
            write(&path, &[clip("a.npy"), ProcessedClip { filename: filename.into(), ..clip("b.npy") }]).unwrap();
            assert!(matches!(read(&path), Err(Error::Table { line: Some(3), .. })), "{filename:?}");
        }
    }
}
