//! A page that listens: one HTML file with the network and what runs it inside, to be opened by anyone.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tch::Device;

use super::onnx;
use crate::error::Result;
use crate::files;
use crate::model::onnx::Weights;
use crate::results::predict::Classifier;
use crate::training::checkpoint::{self, Checkpoint};

/// The page's name in its folder.
pub const PAGE_FILE: &str = "index.html";

const TEMPLATE: &str = include_str!("page.html");
/// Opens the microphone, in this page and in the notebook's.
pub(crate) const MICROPHONE: &str = include_str!("microphone.js");
/// This crate's front end and network as WebAssembly, which `make page-runtime` builds from `page/`.
const RUNTIME: &[u8] = include_bytes!("runtime.wasm.gz");

/// Writes a page that classifies what the microphone hears or a file dropped on it, in the browser, with nothing sent anywhere. It answers as
/// the checkpoint does. Gives the page's path.
///
/// # Errors
/// [`crate::Error::StageMissing`] and [`crate::Error::Checkpoint`] for the checkpoint, [`crate::Error::Io`] when the folder cannot be written.
pub fn page(checkpoint: &Path, folder: &Path) -> Result<PathBuf> {
    let html = html_of(&checkpoint::load(checkpoint, Device::Cpu)?)?;
    files::create_dir(folder)?;
    let path = folder.join(PAGE_FILE);
    files::write_bytes(&path, html.as_bytes())?;
    Ok(path)
}

/// The page of a network that is loaded already.
///
/// # Errors
/// As [`page`], but for the files.
pub fn page_of(network: &Classifier) -> Result<String> {
    html_of(&network.checkpoint)
}

fn html_of(network: &Checkpoint) -> Result<String> {
    let network = onnx::of_checkpoint(network, Weights::Float)?;
    let html = TEMPLATE.replace("{{MICROPHONE}}\n", MICROPHONE).replace("{{RUNTIME}}", &STANDARD.encode(RUNTIME));
    Ok(html.replace("{{NETWORK}}", &STANDARD.encode(network)))
}
