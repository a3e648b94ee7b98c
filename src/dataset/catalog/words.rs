//! Names in what is told.

/// How many are named.
const NAMED: usize = 6;

/// Names with commas between them, not too many.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.into_iter().collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ") + &more
}
