//! The settings proposed for a data set.

use crate::config::Preset;
use crate::dataset::propose::{Choice, Proposal};
use crate::show::html::{self, Cell, Html};

/// What was chosen for the data set, a row per setting: its name, its value, and why; or that a preset stays as it is.
pub fn proposal(proposal: &Proposal) -> Html {
    if proposal.preset != Preset::Fitted {
        let preset = proposal.preset;
        return Html::text(&format!(
            "Preset::{preset:?} stays as it is. Preset::Fitted fits the settings to the recordings."
        ));
    }
    let cells = |choice: &Choice| {
        vec![Cell::Text(choice.setting.into()), Cell::Text(choice.value.clone()), Cell::Prose(choice.reason.clone())]
    };
    let rows: Vec<Vec<Cell>> = proposal.choices.iter().map(cells).collect();
    html::table(&["setting", "value", "why"], &rows, "Settings that fit the recordings")
}
