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
    let picture = Html::image("image/svg+xml", BUTTON.as_bytes(), "A button to listen, out of use", 150, 36);
    Ok(html::live(&id, &run.to_string(), &picture, STATIC, &script))
}

/// What stands there where no script runs.
const STATIC: &str = "A page that listens stands here where scripts run. Trust the notebook (File, Trust Notebook) and run the cell again. Without \
                      Jupyter, `cargo run --example export -- --page` writes the same page as a file of its own.";

/// What stands in the page's place: a button that is out of use.
const BUTTON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="150" height="36"><rect x="1" y="1" width="148" height="34" rx="6" fill="none" stroke="#888888" stroke-width="1.5" stroke-dasharray="5 4"/><circle cx="22" cy="18" r="6" fill="#888888"/><text x="38" y="23" font-family="sans-serif" font-size="14" fill="#888888">listen</text></svg>"##;
