//! What a check-up finds: how much it weighs, what it means, what to do.

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

/// A finding of these words.
pub(super) fn finding(severity: Severity, what: impl Into<String>, means: &str, next: &str) -> Finding {
    Finding { severity, what: what.into(), means: means.into(), next: next.into() }
}
