//! A trained network as files that other programs load without this crate.
//!
//! Every export of a checkpoint is a folder of four files: [`WEIGHTS_FILE`] and [`CONFIG_FILE`] in one of two forms (see [`Form`]), the same
//! network as TorchScript, [`TORCHSCRIPT_FILE`], and as ONNX, [`ONNX_FILE`]. All of them take log-mel views `(batch, 1, n_mels, n_frames)`
//! and give logits `(batch, num_classes)`, in 32-bit floats; the ONNX file may hold [`Weights::Int8`] inside.

mod config;
mod onnx;
#[cfg(feature = "pipeline")]
mod page;

use std::fmt;
use std::path::{Path, PathBuf};

use tch::nn::ModuleT;
use tch::{CModule, Device, Kind, TchError, Tensor};

use self::config::{TinyAstFile, ViTFile};
#[cfg(feature = "pipeline")]
pub(crate) use self::page::MICROPHONE;
#[cfg(feature = "pipeline")]
pub use self::page::{PAGE_FILE, page, page_of};
use crate::config::TinyAstConfig;
use crate::error::{Error, Result};
use crate::files;
use crate::files::staging::Staging;
use crate::model::names::parts_of;
pub use crate::model::onnx::Weights;
use crate::model::pretrained::Pretrained;
use crate::model::tensors::{self, Precision};
use crate::model::tiny_ast::{TinyAst, hugging_face};
use crate::training::checkpoint::{self, Checkpoint};

/// The weights by name.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The architecture, the labels, and under a key of its own what the checkpoint tells: mel settings, training, recordings heard.
pub const CONFIG_FILE: &str = "config.json";
/// The network with its weights as TorchScript: `torch.jit.load` in Python, `torch::jit::load` in C++.
pub const TORCHSCRIPT_FILE: &str = "model.pt";

/// The network with its weights as ONNX, opset 17, for the runtimes of every language. Its metadata hold labels, mel settings and calibration.
pub const ONNX_FILE: &str = "model.onnx";

/// The example that a trace is made with. More than one clip, for what a size of one would let through unseen.
const TRACED_BATCH: i64 = 2;

/// How weights and configuration are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What `ViTForImageClassification.from_pretrained` loads: the form of networks with patches side by side and a class token,
    /// as the quick preset has them.
    HuggingFace,
    /// Our own names. The weights are a checkpoint again.
    TinyAst,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The folder.
    pub folder: PathBuf,
    /// The form of its weights and its configuration.
    pub form: Form,
    /// What the network takes: `(n_mels, n_frames)`.
    pub input_size: (usize, usize),
    /// How many logits it gives.
    pub num_classes: usize,
}

/// Writes a checkpoint's network into a folder, in which other files stay. Nothing takes its place before everything is written.
///
/// # Errors
/// [`Error::StageMissing`] and [`Error::Checkpoint`] for the checkpoint; [`Error::Io`] when the folder cannot be written, [`Error::Torch`] when libtorch cannot trace the network.
pub fn export(checkpoint: &Path, folder: &Path) -> Result<Exported> {
    export_with(checkpoint, folder, Weights::Float)
}

/// [`export()`] with the matrices of [`ONNX_FILE`] held as one pleases.
///
/// # Errors
/// As [`export()`].
pub fn export_with(checkpoint: &Path, folder: &Path, weights: Weights) -> Result<Exported> {
    let mut network = checkpoint::load(checkpoint, Device::Cpu)?;
    // A trace takes up weights as constants, and refuses those that wait for a gradient.
    network.vs.freeze();
    let form = Form::of(&network.info.model);
    let staging = Staging::inside(folder)?;
    write(&network, form, weights, staging.path()).map_err(|error| staging.renamed(error))?;
    staging.move_files(&[WEIGHTS_FILE, CONFIG_FILE, TORCHSCRIPT_FILE, ONNX_FILE])?;
    let (input_size, num_classes) = (network.info.model.input_size, network.info.labels.len());
    Ok(Exported { folder: folder.to_path_buf(), form, input_size, num_classes })
}

/// Writes a checkpoint's network as ONNX alone.
///
/// # Errors
/// As [`export()`].
pub fn onnx(checkpoint: &Path, file: &Path) -> Result<()> {
    let network = checkpoint::load(checkpoint, Device::Cpu)?;
    files::write_bytes(file, &onnx::of_checkpoint(&network, Weights::Float)?)
}

/// Writes a CED or an AST into a folder as transformers loads it ([`Pretrained::save`]), with the same network as ONNX beside.
///
/// # Errors
/// As [`Pretrained::save`].
pub fn export_pretrained(network: &Pretrained, folder: &Path, weights: Weights) -> Result<()> {
    let file = onnx::of_pretrained(network, weights)?;
    network.save(folder)?;
    files::write_bytes(&folder.join(ONNX_FILE), &file)
}

impl Form {
    fn of(model: &TinyAstConfig) -> Self {
        if hugging_face::fits(model) { Form::HuggingFace } else { Form::TinyAst }
    }
}

fn write(network: &Checkpoint, form: Form, in_onnx: Weights, folder: &Path) -> Result<()> {
    let Checkpoint { info, model, vs, familiarity } = network;
    files::write_bytes(&folder.join(ONNX_FILE), &onnx::of_checkpoint(network, in_onnx)?)?;
    let weights = folder.join(WEIGHTS_FILE);
    let config = match form {
        Form::HuggingFace => {
            let variables = vs.variables().into_iter();
            let parts = variables.filter_map(|(name, values)| parts_of(hugging_face::NAMES, &name, &values)).flatten();
            // Without this entry transformers takes the file for another framework's.
            tensors::write_with(&weights, &parts.collect::<Vec<_>>(), Precision::Single, ("format", "pt"))?;
            serde_json::to_vec_pretty(&ViTFile::new(info))
        }
        Form::TinyAst => {
            checkpoint::save(&weights, vs, info, familiarity.as_ref(), Precision::Single)?;
            serde_json::to_vec_pretty(&TinyAstFile::new(info))
        }
    };
    files::write_bytes(&folder.join(CONFIG_FILE), &config.unwrap_or_default())?;
    let script = folder.join(TORCHSCRIPT_FILE);
    let module = trace(model).map_err(|source| Error::Torch { action: "tracing the network", source })?;
    module.save(script).map_err(|source| Error::Torch { action: "writing the traced network", source })
}

/// The network as it runs outside training, with its weights inside. Its method `forward` takes batches of any size.
fn trace(model: &TinyAst) -> Result<CModule, TchError> {
    let (n_mels, n_frames) = model.config().input_size;
    let inputs = Tensor::zeros([TRACED_BATCH, 1, n_mels as i64, n_frames as i64], (Kind::Float, Device::Cpu));
    let mut forward = |inputs: &[Tensor]| vec![model.forward_t(&inputs[0], false)];
    let mut module = tch::no_grad(|| CModule::create_by_tracing("TinyAst", "forward", &[inputs], &mut forward))?;
    module.f_set_eval()?;
    Ok(module)
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::HuggingFace => "for ViTForImageClassification.from_pretrained",
            Form::TinyAst => "under our own names",
        };
        let (n_mels, n_frames) = self.input_size;
        writeln!(
            f,
            "{}: {WEIGHTS_FILE} and {CONFIG_FILE} {form}, {TORCHSCRIPT_FILE}, {ONNX_FILE}",
            self.folder.display()
        )?;
        write!(f, "views (batch, 1, {n_mels}, {n_frames}) → logits (batch, {})", self.num_classes)
    }
}
