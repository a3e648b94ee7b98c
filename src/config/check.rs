//! A setting held against its range.

use std::fmt;

use crate::error::{Error, Result};

/// # Errors
/// [`Error::Config`] with the setting, its range and what it is, where it does not fit.
pub(super) fn check(field: &'static str, fits: bool, expected: &str, found: impl fmt::Display) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::Config { field, expected: expected.to_owned(), found: found.to_string() }) }
}
