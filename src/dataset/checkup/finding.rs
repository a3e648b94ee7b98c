//! What a check-up finds: how much it weighs, what it means, what to do.

use std::fmt;

/// How much a finding weighs; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The score will not mean what it says.
    Serious,
    /// Something is lost, or learned that should not be.
    Warning,
    /// Good to know.
    Note,
}

/// Something found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// What was found, with names.
    pub what: String,
    /// What it means.
    pub means: String,
    /// What to do.
    pub next: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Serious => "serious",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// A line: `serious: 2 recordings … What it means. What to do.`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {} {}", self.severity, self.what, self.means, self.next)
    }
}

/// A finding of these words.
pub(super) fn finding(severity: Severity, what: impl Into<String>, means: &str, next: &str) -> Finding {
    Finding { severity, what: what.into(), means: means.into(), next: next.into() }
}
