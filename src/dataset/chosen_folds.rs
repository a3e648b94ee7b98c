//! Which fold is never trained on, and which one may be watched.

use crate::error::{Error, Result};

/// The held-out fold, and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChosenFolds {
    /// Scored once, at the end.
    pub test_fold: u32,
    /// The fold before it, or the last where it is the first, to validate on; none of two folds, which have none to spare.
    pub before: Option<u32>,
}

impl ChosenFolds {
    /// Chooses among folds in ascending order: the one that is wanted, or the last. `None` for fewer than two.
    ///
    /// # Errors
    /// [`Error::Config`] when the fold that is wanted is not there.
    pub fn among(folds: &[u32], wanted: Option<u32>) -> Result<Option<Self>> {
        let Some(test_fold) = wanted.or(folds.last().copied()).filter(|_| folds.len() > 1) else { return Ok(None) };
        let Some(place) = folds.iter().position(|fold| *fold == test_fold) else {
            let expected = format!("one of {folds:?}, or None for the last");
            return Err(Error::Config { field: "train.test_fold", expected, found: test_fold.to_string() });
        };
        let before = folds[(place + folds.len() - 1) % folds.len()];
        Ok(Some(ChosenFolds { test_fold, before: (folds.len() > 2).then_some(before) }))
    }
}
