//! A page that listens, under a cell.

use std::path::Path;

use super::kernel_folder::{self, PAGES};
use crate::error::Result;
use crate::files;
use crate::files::content::hash_texts;
use crate::results::export;
use crate::results::predict::Classifier;
use crate::show::html::{self, Html};

/// Fetches the page and frames it.
const SCRIPT: &str = include_str!("live.js");

/// Listens to the microphone of whoever looks at the page until stopped: the rolling spectrogram, and every half second what the network makes
/// of the last clip's length of sound; files can be dropped on it, too. It is the page of [`export::page`], left in `data/pages/` and framed
/// under the cell, so the network runs in the browser and the kernel is free.
///
/// It works where [`record`](super::record) does; elsewhere it says why, and what to do.
///
/// # Errors
/// [`crate::Error::Io`] when the page cannot be written.
pub fn live(network: &Classifier) -> Result<Html> {
    let page = export::page_of(network)?;
    let file = format!("{PAGES}/live.html");
    let run =
        serde_json::json!({ "here": kernel_folder::here()?, "page": file, "network": hash_texts([page.as_str()]) });
    let marked = format!("{page}<!-- {} -->\n", run["network"].as_str().unwrap_or_default());
    files::write_bytes(Path::new(&file), marked.as_bytes())?;
    let id = html::unique_id("live");
    let script = SCRIPT.replace("LIVE_ID", &id).replace("KERNEL_FOLDER\n", kernel_folder::SCRIPT);
    let picture = html::button_out_of_use("listen");
    Ok(html::live(&id, &run.to_string(), &picture, STATIC, &script))
}

/// What stands there where no script runs.
const STATIC: &str = "A page that listens stands here where scripts run. Trust the notebook (File, Trust Notebook) and run the cell again. Without \
                      Jupyter, `cargo run --example export -- --page` writes the same page as a file of its own.";
