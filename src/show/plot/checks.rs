//! What a picture cannot be drawn from.

use crate::error::{Error, Result};

pub(super) fn refuse(picture: &'static str, reason: String) -> Error {
    Error::Plot { picture, reason }
}

pub(super) fn ensure_finite(picture: &'static str, what: &str, values: impl Iterator<Item = f64>) -> Result<()> {
    for (i, value) in values.enumerate() {
        if !value.is_finite() {
            return Err(refuse(picture, format!("{what} {i} is {value}; every {what} should be a finite number")));
        }
    }
    Ok(())
}
