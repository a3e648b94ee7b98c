//! Which folds are never trained on, and which one may be watched.

use crate::config::TrainConfig;
use crate::error::{Error, Result};

/// The held-out fold, the one that choices are made on, and the one before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChosenFolds {
    /// Scored once, at the end.
    pub test_fold: u32,
    /// Neither trained on nor watched, if the config names one.
    pub choice_fold: Option<u32>,
    /// The fold before the held-out one, or the last where that is the first, to validate on; none where only one is left.
    pub before: Option<u32>,
}

impl ChosenFolds {
    /// Chooses among folds in ascending order: the one that is wanted, or the last. `None` for fewer than two, or where nothing is left to train on.
    ///
    /// # Errors
    /// [`Error::Config`] when a fold that is wanted is not there, or wanted for two things.
    pub fn among(folds: &[u32], config: &TrainConfig) -> Result<Option<Self>> {
        let choice_fold = config.choice_fold;
        let others: Vec<u32> = folds.iter().copied().filter(|fold| Some(*fold) != choice_fold).collect();
        if let Some(fold) = choice_fold.filter(|fold| !folds.contains(fold)) {
            let expected = format!("one of {folds:?}, or None");
            return Err(Error::Config { field: "train.choice_fold", expected, found: fold.to_string() });
        }
        if let Some(fold) = choice_fold.filter(|_| choice_fold == config.test_fold) {
            let expected = format!("another fold than train.test_fold, {fold}, or None");
            return Err(Error::Config { field: "train.choice_fold", expected, found: fold.to_string() });
        }
        let wanted = config.test_fold.or(others.last().copied());
        let Some(test_fold) = wanted.filter(|_| others.len() > 1) else { return Ok(None) };
        let Some(place) = others.iter().position(|fold| *fold == test_fold) else {
            let expected = format!("one of {others:?}, or None for the last");
            return Err(Error::Config { field: "train.test_fold", expected, found: test_fold.to_string() });
        };
        let before = others[(place + others.len() - 1) % others.len()];
        Ok(Some(ChosenFolds { test_fold, choice_fold, before: (others.len() > 2).then_some(before) }))
    }

    /// Whether clips of a fold are kept from everything but the scores that they are kept for.
    pub fn leaves_out(&self, fold: u32) -> bool {
        fold == self.test_fold || Some(fold) == self.choice_fold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(folds: &[u32], test_fold: Option<u32>, choice_fold: Option<u32>) -> Result<Option<ChosenFolds>> {
        ChosenFolds::among(folds, &TrainConfig { test_fold, choice_fold, ..Default::default() })
    }

    #[test]
    fn no_fold_is_chosen_for_two_things() {
        for test_fold in 1..=5 {
            for choice_fold in (1..=5).filter(|fold| *fold != test_fold) {
                let chosen = among(&[1, 2, 3, 4, 5], Some(test_fold), Some(choice_fold)).unwrap().unwrap();
                let before = chosen.before.unwrap();
                assert!(chosen.leaves_out(test_fold) && chosen.leaves_out(choice_fold) && !chosen.leaves_out(before));
            }
        }
        // Held out by default is the last that is free.
        assert_eq!(among(&[1, 2, 3], None, Some(3)).unwrap().unwrap().test_fold, 2);
        assert_eq!(among(&[1, 2, 3], None, Some(3)).unwrap().unwrap().before, None);
        assert_eq!(among(&[1, 2], None, Some(2)).unwrap(), None);
    }

    #[test]
    fn a_fold_that_is_not_there_or_held_out_is_no_fold_to_choose_on() {
        let message = |choice| among(&[1, 2, 3], Some(3), Some(choice)).unwrap_err().to_string();
        assert!(message(7).contains("train.choice_fold should be one of [1, 2, 3]"), "{}", message(7));
        assert!(message(3).contains("another fold than train.test_fold"), "{}", message(3));
    }
}
