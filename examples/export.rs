//! A trained network as files for other programs: Python, C++, and every runtime of ONNX.
//!
//! ```text
//! export [--int8] MODEL FOLDER
//! export --page MODEL FOLDER
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use audio_transformer::Pretrained;
use audio_transformer::export::{ONNX_FILE, Weights, export_pretrained, export_with};
#[cfg(feature = "download")]
use audio_transformer::hub::{Hub, HubName};
use tch::Device;

const USAGE: &str = "\
usage: export [--int8] MODEL FOLDER
       export --page MODEL FOLDER

Writes a network into FOLDER: model.onnx for every runtime of ONNX, and
  of a checkpoint   model.safetensors and config.json, for transformers where it has that form, and model.pt, TorchScript
  of a CED or an AST  model.safetensors, config.json and preprocessor_config.json for transformers
MODEL is a checkpoint, a folder with a CED or an AST, or hub:OWNER/NAME.

  --page   writes FOLDER/index.html instead, of a checkpoint: a page that listens to a microphone or a file, for anyone with a browser
  --int8   holds the weights of model.onnx in eight bits: a third of its size, and answers that differ a little
";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut weights, mut as_page, mut places) = (Weights::Float, false, Vec::new());
    for word in std::env::args_os().skip(1) {
        match word.to_str() {
            Some("--page") => as_page = true,
            Some("--int8") => weights = Weights::Int8,
            Some("--help" | "-h") => {
                print!("{USAGE}");
                return Ok(());
            }
            Some(option) if option.starts_with('-') => {
                return Err(format!("no such option: {option}\n\n{USAGE}").into());
            }
            _ => places.push(word),
        }
    }
    let [model, folder] = <[OsString; 2]>::try_from(places).map_err(|_| USAGE)?.map(PathBuf::from);
    if as_page {
        println!("{}: open it in a browser", page_of(&model, &folder)?.display());
    } else if is_network(&model) {
        let network = opened(&model)?;
        export_pretrained(&network, &folder, weights)?;
        println!("{}: as transformers loads it, and {ONNX_FILE}", folder.display());
    } else {
        println!("{}", export_with(&model, &folder, weights)?);
    }
    Ok(())
}

#[cfg(feature = "pipeline")]
fn page_of(model: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    if is_network(model) {
        return Err("--page takes a checkpoint: a page runs a TinyAST".into());
    }
    Ok(audio_transformer::export::page(model, folder)?)
}

#[cfg(not(feature = "pipeline"))]
fn page_of(_: &Path, _: &Path) -> Result<PathBuf, Box<dyn Error>> {
    Err("--page wants the feature pipeline".into())
}

#[cfg(feature = "download")]
fn is_network(model: &Path) -> bool {
    model.is_dir() || model.to_str().is_some_and(HubName::is_one)
}

#[cfg(feature = "download")]
fn opened(model: &Path) -> audio_transformer::Result<Pretrained> {
    Pretrained::named(model, &Hub::from_env(), Device::Cpu)
}

#[cfg(not(feature = "download"))]
fn is_network(model: &Path) -> bool {
    model.is_dir()
}

#[cfg(not(feature = "download"))]
fn opened(model: &Path) -> audio_transformer::Result<Pretrained> {
    Pretrained::open(model, Device::Cpu)
}
