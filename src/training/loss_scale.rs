//! What losses are multiplied by in half precision, whose smallest numbers would swallow small gradients, and whose largest is soon reached.

use serde::{Deserialize, Serialize};

/// What a run begins with, as PyTorch's `GradScaler` does; powers of two, which change nothing but the exponent.
const FIRST: f64 = 65_536.0;
/// After so many steps in a row without an overflow the scale is doubled.
const GROWS_AFTER: usize = 2_000;
/// Below this a smaller scale does not help: the gradient itself is no number.
const LEAST: f64 = 1.0 / 1024.0;
/// Above this it need not grow.
const MOST: f64 = 16_777_216.0;

/// The scale of losses, which falls by half where a gradient overflows, and grows again where none does for long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// What losses are multiplied by.
    pub scale: f64,
    /// Steps since it changed.
    pub steps: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        LossScale { scale: FIRST, steps: 0 }
    }
}

impl LossScale {
    /// Takes note of a gradient: whether it was a number at this scale.
    pub fn note(&mut self, is_finite: bool) {
        *self = match is_finite {
            false => LossScale { scale: self.scale / 2.0, steps: 0 },
            true if self.steps + 1 < GROWS_AFTER => LossScale { steps: self.steps + 1, ..*self },
            true => LossScale { scale: (2.0 * self.scale).min(MOST), steps: 0 },
        };
    }

    /// Whether a scale as small as this may be what is missing.
    pub fn may_help(self) -> bool {
        self.scale >= LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_at_once_and_grows_slowly() {
        let mut scale = LossScale::default();
        scale.note(false);
        assert_eq!(scale.scale, FIRST / 2.0);
        (1..GROWS_AFTER).for_each(|_| scale.note(true));
        assert_eq!(scale.scale, FIRST / 2.0);
        scale.note(true);
        assert_eq!(scale, LossScale { scale: FIRST, steps: 0 });
        (0..26).for_each(|_| scale.note(false));
        assert!(scale.may_help());
        scale.note(false);
        assert!(!scale.may_help());
    }
}
