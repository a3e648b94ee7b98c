//! A network as transformers loads it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tch::Tensor;

use super::folder::{CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE};
use super::network::{Architecture, Pretrained};
use crate::error::{Error, Result};
use crate::files;
use crate::files::staging::Staging;
use crate::model::names::parts_of;
use crate::model::tensors::{self, Precision};

/// What transformers asks a safetensors file for before it loads it.
const FORMAT: (&str, &str) = ("format", "pt");

impl Pretrained {
    /// Writes the network into a folder of the form it was read from, with its classes as they are now. All files are written beside before the
    /// first takes its place; one that is there already loses its description first and gets it last, so that weights never stand under the
    /// classes of others.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be written, [`Error::Torch`] when weights cannot be read from the device.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let staging = Staging::inside(folder)?;
        let beside = staging.path();
        let mut weights: Vec<(String, Tensor)> = Vec::new();
        for (name, values) in self.variables().variables() {
            weights.extend(parts_of(self.names(), &name, &values).into_iter().flatten());
        }
        tensors::write_with(&beside.join(WEIGHTS_FILE), &weights, Precision::Single, FORMAT)
            .and_then(|()| write_json(&beside.join(PREPROCESSOR_FILE), &self.preprocessor))
            .and_then(|()| write_json(&beside.join(CONFIG_FILE), &self.config_now()))
            .map_err(|error| staging.renamed(error))?;
        let config = folder.join(CONFIG_FILE);
        if config.exists() {
            fs::remove_file(&config).map_err(Error::io("replace", &config))?;
        }
        staging.move_files(&[WEIGHTS_FILE, PREPROCESSOR_FILE, CONFIG_FILE])
    }

    /// What describes it as it is now: `config.json` and `preprocessor_config.json`.
    pub(crate) fn descriptions_now(&self) -> [String; 2] {
        [self.config_now().to_string(), self.preprocessor.to_string()]
    }

    /// Its `config.json` with the classes as they are now.
    fn config_now(&self) -> Value {
        let mut config = self.config.as_object().cloned().unwrap_or_default();
        let labels = || self.labels().iter().enumerate();
        let id2label: Map<String, Value> = labels().map(|(class, label)| (class.to_string(), json!(label))).collect();
        let label2id: Map<String, Value> = labels().map(|(class, label)| (label.clone(), json!(class))).collect();
        config.insert("id2label".into(), Value::Object(id2label));
        config.insert("label2id".into(), Value::Object(label2id));
        let kind = if self.is_multi_label() { "multi_label_classification" } else { "single_label_classification" };
        config.insert("problem_type".into(), json!(kind));
        // Its number of classes follows from the names.
        config.remove("num_labels");
        if let Architecture::Ced(_) = self.architecture() {
            config.insert("outputdim".into(), json!(self.labels().len()));
            // The output of a CED whose classes exclude each other is their logits.
            config.insert("pooling".into(), json!(if self.is_multi_label() { "mean" } else { "logit" }));
        }
        Value::Object(config)
    }
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    files::write_bytes(path, text.as_bytes())
}
