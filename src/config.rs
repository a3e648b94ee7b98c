//! Every setting a person would turn, as plain structs with defaults and one validation.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::features::FeatureConfig;
use crate::{Error, Result};

/// Where the ESC-50 archive is fetched from when neither the config nor `ESC50_URL` names another address.
pub const ESC50_URL: &str = "https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.tar.gz";

/// The settings of the whole pipeline; every stage takes `&Config`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Which recordings, and the folders the stages read and write.
    pub data: DataConfig,
    /// The length every clip is brought to.
    pub clip: ClipConfig,
    /// The mel spectrogram.
    pub features: FeatureConfig,
    /// TinyAST.
    pub model: TinyAstConfig,
    /// Training and the split into folds.
    pub train: TrainConfig,
}

impl Config {
    /// Checks every setting against its range and against the others.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        self.clip.validate()?;
        self.features.validate()?;
        self.model.validate()?;
        self.train.check()
    }
}

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
}

impl DataSource {
    /// Reads the environment variable `DATASET`: `demo`, `esc10`, `esc50`, a folder, an archive or a URL; the demo when unset.
    pub fn from_env() -> Self {
        match std::env::var("DATASET") {
            Ok(name) if !name.trim().is_empty() => Self::parse(name.trim()),
            _ => DataSource::Demo,
        }
    }

    /// Tells the sources apart by their form; anything that is neither a known name nor a URL is a path.
    pub fn parse(name: &str) -> Self {
        match name {
            "demo" => DataSource::Demo,
            "esc10" => DataSource::Esc10,
            "esc50" => DataSource::Esc50,
            url if url.starts_with("http://") || url.starts_with("https://") => DataSource::Url(url.to_owned()),
            path if Path::new(path).is_file() || path.ends_with(".tar.gz") || path.ends_with(".tgz") => {
                DataSource::Archive(path.into())
            }
            path => DataSource::Folder(path.into()),
        }
    }

    /// A short name for titles and file names: `demo`, `esc50`, or the folder's or archive's own.
    pub fn name(&self) -> String {
        let stem = |path: &str| {
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            last.trim_end_matches(".tar.gz").trim_end_matches(".tgz").to_owned()
        };
        match self {
            DataSource::Demo => "demo".into(),
            DataSource::Esc10 => "esc10".into(),
            DataSource::Esc50 => "esc50".into(),
            DataSource::Folder(path) | DataSource::Archive(path) => stem(&path.to_string_lossy()),
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
            DataSource::Folder(path) | DataSource::Archive(path) => write!(f, "{}", path.display()),
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
            demo_clips_per_fold: 8,
        }
    }
}

impl DataConfig {
    /// A short name of the data set for file names: letters, digits, '-', '_' and '.'.
    pub fn name(&self) -> String {
        let table = self.metadata_path.as_ref().and_then(|path| path.parent()?.file_name());
        let name = table.map_or_else(|| self.source.name(), |folder| folder.to_string_lossy().into_owned());
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        name.trim_start_matches('.').chars().map(plain).collect()
    }

    /// What tells this data set from every other: spectrograms made from one do not stand in for another's.
    pub fn identity(&self) -> String {
        let own = self.metadata_path.as_ref().map(|path| format!("table {} with ", path.display()));
        format!("{}{:?} in {}", own.unwrap_or_default(), self.source, self.raw_dir.display())
    }
}

/// What becomes of a recording longer than one clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LongClips {
    /// Its first `duration_s` seconds are used.
    #[default]
    Crop,
    /// It becomes several clips, one after the other, the last one aligned with its end.
    Windows,
}

/// The length every clip is brought to; shorter ones are padded with silence at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Seconds, 0.1 to 60.
    pub duration_s: f32,
    /// What becomes of longer recordings.
    pub long_clips: LongClips,
}

impl Default for ClipConfig {
    fn default() -> Self {
        ClipConfig { duration_s: 5.0, long_clips: LongClips::Crop }
    }
}

impl ClipConfig {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Error::Config`] when it is out of range.
    pub fn validate(&self) -> Result<()> {
        check("clip.duration_s", (0.1..=60.0).contains(&self.duration_s), "0.1 to 60 seconds", self.duration_s)
    }

    /// The length of a clip in samples.
    pub fn n_samples(&self, sample_rate: u32) -> usize {
        (f64::from(self.duration_s) * f64::from(sample_rate)).round() as usize
    }
}

/// TinyAST's architecture: a Vision Transformer over patches of the spectrogram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TinyAstConfig {
    /// The spectrogram is resized to `(input_size, input_size)`: mel bins × time.
    pub input_size: usize,
    /// Side of a square patch; divides `input_size`.
    pub patch_size: usize,
    /// Width of a token.
    pub embed_dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads; divides `embed_dim`.
    pub num_heads: usize,
    /// Width of a block's MLP over `embed_dim`.
    pub mlp_ratio: usize,
    /// Dropout after the embedding, the attention and the MLP, 0 to 0.9.
    pub dropout: f64,
}

impl Default for TinyAstConfig {
    fn default() -> Self {
        TinyAstConfig {
            input_size: 64,
            patch_size: 8,
            embed_dim: 128,
            depth: 4,
            num_heads: 4,
            mlp_ratio: 2,
            dropout: 0.0,
        }
    }
}

impl TinyAstConfig {
    /// Checks that patches fill the input and heads share the width.
    ///
    /// # Errors
    /// [`Error::Config`] with the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        check("model.input_size", (8..=1024).contains(&self.input_size), "8 to 1024", self.input_size)?;
        let patches_fit = self.patch_size > 0 && self.input_size.is_multiple_of(self.patch_size);
        let divisor = format!("a divisor of input_size ({})", self.input_size);
        check("model.patch_size", patches_fit, &divisor, self.patch_size)?;
        check("model.embed_dim", (1..=4096).contains(&self.embed_dim), "1 to 4096", self.embed_dim)?;
        check("model.depth", (1..=64).contains(&self.depth), "1 to 64", self.depth)?;
        let heads_fit = self.num_heads > 0 && self.embed_dim.is_multiple_of(self.num_heads);
        let divisor = format!("a divisor of embed_dim ({})", self.embed_dim);
        check("model.num_heads", heads_fit, &divisor, self.num_heads)?;
        check("model.mlp_ratio", (1..=16).contains(&self.mlp_ratio), "1 to 16", self.mlp_ratio)?;
        check("model.dropout", (0.0..=0.9).contains(&self.dropout), "0 to 0.9", self.dropout)
    }

    /// Number of patches: `(input_size / patch_size)²`.
    pub fn n_patches(&self) -> usize {
        (self.input_size / self.patch_size).pow(2)
    }
}

/// Training and the folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Names the checkpoint: `data/models/<run_name>-<data set>.safetensors`.
    pub run_name: String,
    /// Passes over the training clips.
    pub epochs: usize,
    /// Clips per optimiser step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// The most training clips used, the same number of each class.
    pub max_clips: usize,
    /// The held-out fold: never trained on, scored once, by the evaluation stage. `None` is the data set's last.
    pub test_fold: Option<u32>,
    /// Whether the fold before the held-out one is watched during training instead of trained on; a data set of two folds
    /// has none to spare.
    pub validate: bool,
    /// Reaches everything random: weights, order of clips, choice of clips, dropout.
    pub seed: u64,
    /// Where the network runs.
    pub device: DeviceChoice,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            run_name: "quick".into(),
            epochs: 5,
            batch_size: 16,
            learning_rate: 1e-3,
            max_clips: 400,
            test_fold: None,
            validate: true,
            seed: 0,
            device: DeviceChoice::Auto,
        }
    }
}

impl TrainConfig {
    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name_fits =
            !self.run_name.is_empty() && !self.run_name.starts_with('.') && self.run_name.chars().all(plain);
        check("train.run_name", name_fits, "letters, digits, '-', '_' and '.'", &self.run_name)?;
        check("train.epochs", (1..=100_000).contains(&self.epochs), "1 to 100000", self.epochs)?;
        check("train.batch_size", (1..=4096).contains(&self.batch_size), "1 to 4096", self.batch_size)?;
        let rate_fits = self.learning_rate > 0.0 && self.learning_rate <= 10.0;
        check("train.learning_rate", rate_fits, "above 0, at most 10", self.learning_rate)?;
        check("train.max_clips", self.max_clips > 0, "at least 1", self.max_clips)
    }
}

/// Where the network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeviceChoice {
    /// CUDA if libtorch has it, else MPS, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device.
    Cuda,
    /// Apple's GPU.
    Mps,
}

fn check(field: &'static str, fits: bool, expected: &str, found: impl fmt::Display) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::Config { field, expected: expected.to_owned(), found: found.to_string() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let config = Config::default();
        config.validate().unwrap();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }

    #[test]
    fn a_setting_out_of_range_is_named_with_what_was_expected() {
        let config = TinyAstConfig { patch_size: 7, ..Default::default() };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("model.patch_size"), "{message}");
        assert!(message.contains("a divisor of input_size (64), found 7"), "{message}");
    }

    #[test]
    fn a_data_source_is_told_by_its_form() {
        assert_eq!(DataSource::parse("esc10"), DataSource::Esc10);
        assert_eq!(DataSource::parse("https://a.b/x.tar.gz"), DataSource::Url("https://a.b/x.tar.gz".into()));
        assert_eq!(DataSource::parse("x/my.tar.gz"), DataSource::Archive("x/my.tar.gz".into()));
        assert_eq!(DataSource::parse("my/birds/"), DataSource::Folder("my/birds/".into()));
        assert_eq!(DataSource::parse("my/birds/").name(), "birds");
        assert_eq!(DataSource::parse("https://a.b/x.tar.gz?raw=1").name(), "x");
        assert_eq!(DataSource::parse("https://user:secret@a.b").name(), "archive");
    }
}
