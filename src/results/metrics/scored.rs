//! A scored fold, whichever kind of classes its recordings have.

use std::fmt;

use super::evaluation::Evaluation;
use super::multi_label::MultiLabelEvaluation;

/// A scored fold.
#[derive(Clone, Debug, PartialEq)]
pub enum Scored {
    /// Each recording has one class.
    OneClass(Evaluation),
    /// A recording may have several.
    SeveralClasses(MultiLabelEvaluation),
}

impl Scored {
    /// The scores of recordings of one class each, if they are.
    pub fn one_class(&self) -> Option<&Evaluation> {
        match self {
            Scored::OneClass(evaluation) => Some(evaluation),
            Scored::SeveralClasses(_) => None,
        }
    }

    /// The scores of recordings that may have several classes, if they may.
    pub fn several_classes(&self) -> Option<&MultiLabelEvaluation> {
        match self {
            Scored::OneClass(_) => None,
            Scored::SeveralClasses(evaluation) => Some(evaluation),
        }
    }

    /// The fold.
    pub fn test_fold(&self) -> u32 {
        match self {
            Scored::OneClass(evaluation) => evaluation.test_fold,
            Scored::SeveralClasses(evaluation) => evaluation.test_fold,
        }
    }

    /// What networks are compared by: accuracy, or mean average precision, 0 to 1.
    pub fn score(&self) -> f64 {
        match self {
            Scored::OneClass(evaluation) => evaluation.accuracy(),
            Scored::SeveralClasses(evaluation) => evaluation.mean_average_precision(),
        }
    }
}

impl fmt::Display for Scored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scored::OneClass(evaluation) => evaluation.fmt(f),
            Scored::SeveralClasses(evaluation) => evaluation.fmt(f),
        }
    }
}
