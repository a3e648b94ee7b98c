//! A panel that follows a run in the background by itself.

use std::path::Path;
use std::time::UNIX_EPOCH;

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
    let here = std::env::current_dir().unwrap_or_default();
    let path = here.join(run.history_path());
    let Some(served) = served_path(&path, &here) else {
        let reason = "A picture of this moment: the run's history lies outside the notebook's folder, where no page can read it.";
        return html::card("", &[picture, Html::text(reason)]);
    };
    let id = html::unique_id("training");
    let run = serde_json::json!({
        "history": served,
        "started": run.started().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
        "epochs": run.epochs(),
    });
    let series = [0, 1].map(series_hex);
    let script = SCRIPT.replace("PANEL_ID", &id).replace("\"SERIES\"", &serde_json::json!(series).to_string());
    html::live(&id, &run.to_string(), &picture, STATIC, &script)
}

/// What stands under the picture until a script writes something newer there.
const STATIC: &str = "A picture of the moment the cell was run: it moves by itself only where scripts are trusted. Run the cell again for a newer one.";

/// The path under which Jupyter serves a file of the notebook's folder, as a URL has it.
fn served_path(path: &Path, folder: &Path) -> Option<String> {
    let parts = path.strip_prefix(folder).ok()?.iter().map(|part| part.to_str().map(url_encoded));
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

/// Percent-encodes what has a meaning in a URL (RFC 3986).
fn url_encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    part.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_in_the_notebooks_folder_has_an_address_there() {
        let path = Path::new("/home/a/project/data/models/my run#1.csv");
        assert_eq!(served_path(path, Path::new("/home/a/project")).unwrap(), "data/models/my%20run%231.csv");
        assert_eq!(served_path(path, Path::new("/home/b")), None);
    }

    #[test]
    fn the_script_has_its_placeholders_and_cannot_end_early() {
        for placeholder in ["PANEL_ID", "\"SERIES\""] {
            assert!(SCRIPT.contains(placeholder), "{placeholder}");
        }
        assert!(!SCRIPT.contains("</"));
    }
}
