//! What a look at the data set found.

use crate::dataset::checkup::{Checkup, Finding};
use crate::show::html::{self, Cell, Html};

/// The findings of a check-up, a row each, the worst first; or that there are none.
pub fn checkup(checkup: &Checkup) -> Html {
    if checkup.findings.is_empty() {
        return Html::text(&format!("Nothing found in {} recordings.", checkup.n_clips));
    }
    let row = |finding: &Finding| {
        let text = |text: &str| Cell::Prose(text.to_owned());
        vec![
            Cell::Text(format!("{:?}", finding.severity)),
            text(&finding.what),
            text(&finding.means),
            text(&finding.next),
        ]
    };
    let rows: Vec<Vec<Cell>> = checkup.findings.iter().map(row).collect();
    let caption = format!("Check-up of {} recordings", checkup.n_clips);
    html::table(&["", "found", "what it means", "what to do"], &rows, &caption)
}
