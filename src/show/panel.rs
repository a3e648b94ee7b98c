//! A panel that follows a run in the background by itself.

use std::time::UNIX_EPOCH;

use super::kernel_folder;
use super::training::history;
use crate::show::html::{self, Html};
use crate::show::plot::series_hex;
use crate::training::run::Run;

/// Reads the history and draws it, in the browser.
const SCRIPT: &str = include_str!("panel.js");

/// Loss and accuracy of a run, redrawn in the browser after every epoch, with nothing to run again.
///
/// Where scripts do not run (a notebook that is not trusted, a page on GitHub), or the history lies outside the folder that Jupyter
/// serves, it is a picture of this moment, and says so.
pub fn panel(run: &Run) -> Html {
    let picture = history(run.config()).unwrap_or_else(|_| Html::text("No epoch is done yet."));
    let still =
        |reason: &str| html::card("", &[picture.clone(), Html::text(&format!("A picture of this moment: {reason}"))]);
    let Ok(Some(served)) = kernel_folder::below_here(&run.history_path()) else {
        return still("the run's history lies outside the notebook's folder, where no page can read it.");
    };
    let here = match kernel_folder::here() {
        Ok(here) => here,
        Err(error) => return still(&error.to_string()),
    };
    let id = html::unique_id("training");
    let run = serde_json::json!({
        "here": here,
        "history": served,
        "started": run.started().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
        "epochs": run.epochs(),
    });
    let series = [0, 1].map(series_hex);
    let script = SCRIPT
        .replace("KERNEL_FOLDER\n", kernel_folder::SCRIPT)
        .replace("PANEL_ID", &id)
        .replace("\"SERIES\"", &serde_json::json!(series).to_string());
    html::live(&id, &run.to_string(), &picture, STATIC, &script)
}

/// What stands under the picture until a script writes something newer there.
const STATIC: &str = "A picture of the moment the cell was run: it moves by itself only where scripts are trusted. Run the cell again for a newer one.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_its_placeholders_and_cannot_end_early() {
        for placeholder in ["PANEL_ID", "KERNEL_FOLDER\n", "\"SERIES\""] {
            assert!(SCRIPT.contains(placeholder), "{placeholder}");
        }
        assert!(!SCRIPT.contains("</"));
    }
}
