//! What a folder says of the network in it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::front_end::published::{AstFeatureConfig, CedFeatureConfig};
use crate::model::ast::AstConfig;
use crate::model::ced::CedConfig;

/// What the network is, and its classes.
pub const CONFIG_FILE: &str = "config.json";
/// What it takes.
pub const PREPROCESSOR_FILE: &str = "preprocessor_config.json";
/// Its weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Pieces heard at once.
pub const BATCH_SIZE: usize = 8;

/// Classes of AudioSet, of which a recording may have several at once.
const AUDIOSET_CLASSES: usize = 527;

/// Advice where a folder does not hold what it should.
const NEXT: &str =
    "Get the network anew, or name a folder with a CED or an Audio Spectrogram Transformer as transformers saves it.";

/// The shape of a network and of what it takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A CED.
    Ced(CedConfig, CedFeatureConfig),
    /// An Audio Spectrogram Transformer.
    Ast(AstConfig, AstFeatureConfig),
}

/// A folder's two descriptions, read and checked.
#[derive(Clone, Debug)]
pub struct Description {
    /// What the network is.
    pub shape: Shape,
    /// Names of its classes, in the order of the logits.
    pub labels: Vec<String>,
    /// Whether a recording may have several classes at once: a sigmoid for each instead of one softmax.
    pub multi_label: bool,
    /// `config.json`, as it is.
    pub config: Value,
    /// `preprocessor_config.json`, as it is or as it stands for.
    pub preprocessor: Value,
}

impl Description {
    /// Reads a folder's descriptions.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming the file that is missing or wrong, with what was expected and found.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let config = read_json(&path)?;
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or("none");
        let preprocessor_path = folder.join(PREPROCESSOR_FILE);
        let (shape, preprocessor) = match model_type {
            "ced" => {
                let network: CedConfig = parse(&path, &config)?;
                // A CED's config knows its features as well.
                let preprocessor = match preprocessor_path.exists() {
                    true => read_json(&preprocessor_path)?,
                    false => ced_preprocessor(&config),
                };
                check_extractor(&preprocessor_path, &preprocessor, "CedFeatureExtractor")?;
                let features: CedFeatureConfig = parse(&preprocessor_path, &preprocessor)?;
                let network = network.named();
                if features.feature_size != network.n_mels {
                    let expected = format!("feature_size {}, the network's mel bands", network.n_mels);
                    return Err(invalid(&preprocessor_path, expected, features.feature_size));
                }
                (Shape::Ced(network, features), preprocessor)
            }
            "audio-spectrogram-transformer" => {
                let network: AstConfig = parse(&path, &config)?;
                let preprocessor = read_json(&preprocessor_path)?;
                check_extractor(&preprocessor_path, &preprocessor, "ASTFeatureExtractor")?;
                let features: AstFeatureConfig = parse(&preprocessor_path, &preprocessor)?;
                let (expected, found) =
                    ((network.num_mel_bins, network.max_length), (features.num_mel_bins, features.max_length));
                if expected != found {
                    let words = |(bands, frames)| format!("{bands} mel bands and {frames} frames");
                    return Err(invalid(&preprocessor_path, words(expected), words(found)));
                }
                (Shape::Ast(network, features), preprocessor)
            }
            other => {
                let expected = "model_type \"ced\" or \"audio-spectrogram-transformer\"";
                return Err(invalid(&path, expected, format!("{other:?}")));
            }
        };
        let sound = match &shape {
            Shape::Ced(network, _) => network.validate(),
            Shape::Ast(network, _) => network.validate(),
        };
        sound.map_err(|error| match error {
            Error::Config { field, expected, found } => invalid(&path, format!("{field} {expected}"), found),
            other => other,
        })?;
        let labels = labels(&path, &config, &shape)?;
        let multi_label = multi_label(&path, &config, &shape, labels.len())?;
        Ok(Description { shape, labels, multi_label, config, preprocessor })
    }

    /// A small CED that nobody has trained.
    ///
    /// # Errors
    /// None that is known.
    pub fn of_untrained() -> Result<Self> {
        let config = json!({
            "model_type": "ced",
            "architectures": ["CedForAudioClassification"],
            "embed_dim": 96,
            "num_heads": 3,
            "depth": 4,
            "outputdim": 10,
        });
        let (network, features): (CedConfig, CedFeatureConfig) =
            (parse(Path::new(CONFIG_FILE), &config)?, Default::default());
        let shape = Shape::Ced(network, features);
        let labels = labels(Path::new(CONFIG_FILE), &config, &shape)?;
        Ok(Description { shape, labels, multi_label: true, preprocessor: ced_preprocessor(&config), config })
    }

    /// Numbers in the network; `None` when they cannot be counted.
    pub fn n_parameters(&self) -> Option<usize> {
        match &self.shape {
            Shape::Ced(network, _) => network.n_parameters(),
            Shape::Ast(network, _) => network.n_parameters(self.labels.len()),
        }
    }
}

impl Description {
    /// An estimate of the memory that the network takes while it listens, in bytes: its weights, and what the widest layer makes of a batch.
    pub fn memory_bytes(&self) -> u64 {
        let (tokens, widest) = match &self.shape {
            Shape::Ced(network, _) => {
                let (rows, columns) = network.grid();
                (rows * columns, network.embed_dim as f64 * (8.0 + network.mlp_ratio))
            }
            Shape::Ast(network, _) => {
                let (rows, columns) = network.grid();
                (rows * columns, 8.0 * network.hidden_size as f64 + network.intermediate_size as f64)
            }
        };
        let floats = self.n_parameters().unwrap_or(usize::MAX) as f64 + BATCH_SIZE as f64 * tokens as f64 * widest;
        (size_of::<f32>() as f64 * floats) as u64
    }
}

impl Description {
    /// Refuses a network that takes more than what is free, where that is known.
    ///
    /// # Errors
    /// [`Error::Config`] with both amounts.
    pub fn check_memory(&self, free: Option<u64>) -> Result<()> {
        let needed = self.memory_bytes();
        let mb = |bytes: u64| format!("{:.0} MB of free memory", bytes as f64 / 1e6);
        match free.filter(|free| *free < needed) {
            Some(free) => Err(Error::Config { field: "model", expected: mb(needed), found: mb(free) }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.shape {
            Shape::Ced(..) => "CED",
            Shape::Ast(..) => "AST",
        };
        let (millions, classes) = (self.n_parameters().unwrap_or_default() as f64 / 1e6, self.labels.len());
        let mb = self.memory_bytes() as f64 / 1e6;
        write!(
            f,
            "{kind} of {millions:.1} M parameters and {classes} classes; takes about {mb:.0} MB of memory while it listens"
        )
    }
}

/// The file of a folder's weights.
///
/// # Errors
/// [`Error::Checkpoint`] when it is not there, with what is.
pub fn weights_path(folder: &Path) -> Result<PathBuf> {
    let path = folder.join(WEIGHTS_FILE);
    if path.exists() {
        return Ok(path);
    }
    let of_kind = |name: &str| folder.join(name).exists();
    let (found, next) = if of_kind("model.safetensors.index.json") {
        (
            "weights in several files",
            "Save the network with transformers' save_pretrained(..., max_shard_size=\"100GB\").",
        )
    } else if of_kind("pytorch_model.bin") {
        ("pytorch_model.bin alone", "Load it with transformers and save it again: save_pretrained writes safetensors.")
    } else {
        ("no weights", NEXT)
    };
    Err(Error::Checkpoint { path, expected: "the network's weights".into(), found: found.into(), next: next.into() })
}

pub fn invalid(path: &Path, expected: impl ToString, found: impl ToString) -> Error {
    let (expected, found) = (expected.to_string(), found.to_string());
    Error::Checkpoint { path: path.into(), expected, found, next: NEXT.into() }
}

fn read_json(path: &Path) -> Result<Value> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(invalid(path, "a description of the network", "no such file"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(invalid(path, "JSON", "bytes that are no text"));
        }
        text => text.map_err(Error::io("read", path))?,
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| invalid(path, "JSON", error))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(invalid(path, "a JSON object", "something else")),
    }
}

fn parse<T: DeserializeOwned>(path: &Path, value: &Value) -> Result<T> {
    // A `null` stands for the default, as in Python.
    let said = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let said: serde_json::Map<String, Value> = said.map(|(key, value)| (key.clone(), value.clone())).collect();
    serde_json::from_value(Value::Object(said)).map_err(|error| invalid(path, "settings of the network", error))
}

/// Refuses the description of what another network takes.
fn check_extractor(path: &Path, preprocessor: &Value, expected: &str) -> Result<()> {
    match preprocessor.get("feature_extractor_type").and_then(Value::as_str) {
        Some(other) if other != expected => Err(invalid(path, format!("feature_extractor_type {expected}"), other)),
        _ => Ok(()),
    }
}

/// What the preprocessor would say of a CED whose folder has none.
fn ced_preprocessor(config: &Value) -> Value {
    let mut preprocessor = serde_json::Map::new();
    preprocessor.insert("feature_extractor_type".into(), "CedFeatureExtractor".into());
    for (theirs, ours) in [
        ("n_fft", "n_fft"),
        ("win_size", "win_size"),
        ("hop_size", "hop_size"),
        ("n_mels", "feature_size"),
        ("f_min", "f_min"),
        ("f_max", "f_max"),
        ("center", "center"),
    ] {
        if let Some(value) = config.get(theirs) {
            preprocessor.insert(ours.into(), value.clone());
        }
    }
    Value::Object(preprocessor)
}

/// Class names by `id2label`; where there are none, `LABEL_0` and so on, as transformers names them.
fn labels(path: &Path, config: &Value, shape: &Shape) -> Result<Vec<String>> {
    let named = config.get("id2label").and_then(Value::as_object);
    let stated = config.get("num_labels").and_then(Value::as_u64).map(|n| n as usize);
    let n_classes = match shape {
        Shape::Ced(network, _) => network.outputdim,
        Shape::Ast(..) => named.map(serde_json::Map::len).or(stated).unwrap_or(2),
    };
    let Some(named) = named else { return Ok((0..n_classes).map(|class| format!("LABEL_{class}")).collect()) };
    if named.len() != n_classes {
        return Err(invalid(path, format!("id2label with {n_classes} classes"), named.len()));
    }
    let label = |class: usize| match named.get(&class.to_string()) {
        Some(Value::String(label)) => Ok(label.clone()),
        Some(other) => Err(invalid(path, format!("a name of class {class} in id2label"), other)),
        None => Err(invalid(path, format!("class {class} in id2label"), "none")),
    };
    (0..n_classes).map(label).collect()
}

/// A network says itself whether its classes exclude each other. Where it does not, CED's do not, nor do the 527 of AudioSet; those of
/// other ASTs do.
fn multi_label(path: &Path, config: &Value, shape: &Shape, n_classes: usize) -> Result<bool> {
    match config.get("problem_type").and_then(Value::as_str) {
        Some("multi_label_classification") => Ok(true),
        Some("single_label_classification") => Ok(false),
        Some(other) => {
            let expected = "problem_type \"single_label_classification\" or \"multi_label_classification\"";
            Err(invalid(path, expected, format!("{other:?}")))
        }
        None => Ok(matches!(shape, Shape::Ced(..)) || n_classes == AUDIOSET_CLASSES),
    }
}

/// Bytes of memory that the system could still give, where it tells.
pub(super) fn free_memory() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_told_before_weights_are_read() {
        let small = Description::of_untrained().unwrap();
        let message = small.check_memory(Some(1_000_000)).unwrap_err().to_string();
        assert!(message.contains("MB of free memory, found 1 MB of free memory"), "{message}");
        assert!(small.check_memory(Some(small.memory_bytes())).is_ok() && small.check_memory(None).is_ok());
        // Where the system tells, it tells a number that this small network fits into.
        assert!(small.check_memory(free_memory()).is_ok());
    }
}
