//! How a network from elsewhere is trained on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a network is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FineTune {
    /// Passes over the recordings.
    pub epochs: usize,
    /// Recordings of a step.
    pub batch_size: usize,
    /// The step size of the head and the last block, until it decays.
    pub learning_rate: f64,
    /// The last epoch of the full step size; each one after it has `decay` of the one before.
    pub decay_from: usize,
    /// What is left of the step size after an epoch.
    pub decay: f64,
    /// The step size of a block over that of the next one: 1 for the same, less where what lies below should stay as it is.
    pub layer_decay: f64,
    /// Blocks from the first that stay as they are, with all that lies before them.
    pub frozen_blocks: usize,
    /// How much of themselves matrices lose per unit of step size.
    pub weight_decay: f64,
    /// The most mel bands side by side that are masked in a recording.
    pub freq_mask: usize,
    /// The most frames side by side that are masked in a recording.
    pub time_mask: usize,
    /// The share of a CED's columns of patches that a step leaves out.
    pub dropped_columns: f64,
    /// How often a step leaves out a CED's last block; those before it less often, in proportion.
    pub stochastic_depth: f64,
    /// The memory that a step may take, in bytes: of a batch that takes more, parts are gone through one after another, which comes to the
    /// same.
    pub memory_bytes: f64,
}

impl Default for FineTune {
    /// For some hundred recordings, and a network that should not forget what it knows.
    fn default() -> Self {
        FineTune {
            epochs: 10,
            batch_size: 16,
            learning_rate: 5e-5,
            decay_from: 5,
            decay: 0.85,
            layer_decay: 0.8,
            frozen_blocks: 0,
            weight_decay: 0.01,
            freq_mask: 12,
            time_mask: 48,
            dropped_columns: 0.2,
            stochastic_depth: 0.1,
            memory_bytes: 6e9,
        }
    }
}

impl FineTune {
    /// The recipe of the AST's authors for ESC-50 (Gong et al. 2021).
    pub fn ast_esc50() -> Self {
        FineTune {
            epochs: 25,
            batch_size: 48,
            learning_rate: 1e-5,
            layer_decay: 1.0,
            weight_decay: 5e-7,
            freq_mask: 24,
            time_mask: 96,
            dropped_columns: 0.0,
            stochastic_depth: 0.0,
            ..FineTune::default()
        }
    }

    pub(super) fn validate(&self, depth: usize) -> Result<()> {
        let check = |holds: bool, field: &'static str, expected: String, found: String| match holds {
            true => Ok(()),
            false => Err(Error::Config { field, expected, found }),
        };
        let share = |value: f64| (0.0..1.0).contains(&value);
        check(self.epochs > 0, "epochs", "1 or more".into(), self.epochs.to_string())?;
        check(self.batch_size > 0, "batch_size", "1 or more".into(), self.batch_size.to_string())?;
        let rate = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        check(rate, "learning_rate", "above 0".into(), self.learning_rate.to_string())?;
        let falls = |value: f64| value > 0.0 && value <= 1.0;
        check(falls(self.decay), "decay", "above 0, up to 1".into(), self.decay.to_string())?;
        check(falls(self.layer_decay), "layer_decay", "above 0, up to 1".into(), self.layer_decay.to_string())?;
        let blocks = format!("from 0 to {depth}, its blocks");
        check(self.frozen_blocks <= depth, "frozen_blocks", blocks, self.frozen_blocks.to_string())?;
        check(
            share(self.dropped_columns),
            "dropped_columns",
            "from 0 to below 1".into(),
            self.dropped_columns.to_string(),
        )?;
        check(
            share(self.stochastic_depth),
            "stochastic_depth",
            "from 0 to below 1".into(),
            self.stochastic_depth.to_string(),
        )
    }

    /// The step size of an epoch, from 1.
    pub(super) fn rate(&self, epoch: usize) -> f64 {
        self.learning_rate * self.decay.powi(epoch.saturating_sub(self.decay_from) as i32)
    }

    /// How much of a step a variable takes, by its name. A CED's norm over mel bands stays as it is, with the statistics of AudioSet: it has
    /// been gone through once for all epochs.
    pub(super) fn share(&self, name: &str, depth: usize) -> f64 {
        let block = || name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
        let above = match block() {
            Some(block) if block < self.frozen_blocks => return 0.0,
            Some(block) => depth.saturating_sub(block + 1),
            None if name.starts_with("head") || name.starts_with("norm") => 0,
            None if self.frozen_blocks > 0 || name.starts_with("init_bn") => return 0.0,
            None => depth,
        };
        self.layer_decay.powi(above as i32)
    }
}
