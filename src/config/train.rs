//! Training: the folds, the optimiser, the augmentations.

use serde::{Deserialize, Serialize};

use super::check::check;
use crate::error::Result;

/// Training and the folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Names the checkpoint: `data/models/<run_name>-<data set>.safetensors`.
    pub run_name: String,
    /// Passes over the training clips; with `minutes`, as many as fit into them.
    pub epochs: usize,
    /// How long training may take, in minutes: its speed is measured at the start, and the epochs are chosen to end by then. The same
    /// number of `epochs` without `minutes` trains to the same weights.
    pub minutes: Option<f64>,
    /// Clips per optimiser step.
    pub batch_size: usize,
    /// Clips that go through the network at once, where that is fewer than a batch: it takes their memory alone. Their gradients are added up in
    /// double precision, and come to the same in any number of `processes`; `None` takes a process' part of the batch as a whole.
    pub clips_at_once: Option<usize>,
    /// What the network knows before its first step.
    pub start: Start,
    /// What makes a step of a gradient.
    pub optimizer: OptimizerChoice,
    /// The largest step size; AdamW's and Muon's steps are about as long at the same.
    pub learning_rate: f64,
    /// How the step size changes over the run.
    pub schedule: Schedule,
    /// How much of themselves matrices lose per unit of step size; biases, norms and positions lose nothing. 0 makes AdamW Adam.
    pub weight_decay: f64,
    /// The longest a gradient may be (its Euclidean norm); `None` leaves it as it is.
    pub max_grad_norm: Option<f64>,
    /// The share of a target given to all classes alike, 0 to below 1.
    pub label_smoothing: f64,
    /// How much of itself the moving average of the weights keeps per step, 0 to below 1. Above 0 the average is what validates
    /// and what the checkpoint holds.
    pub ema_decay: f64,
    /// What is done to the clips while training.
    pub augment: AugmentConfig,
    /// The most training clips used, the same number of each class.
    #[serde(deserialize_with = "at_most_all")]
    pub max_clips: usize,
    /// How far rare classes are met as often as frequent ones, 0 to 1: an epoch has as many clips as ever, of a class in proportion to
    /// its number of clips to the power of 1 less this.
    pub balance: f64,
    /// The held-out fold: never trained on, scored once, by the evaluation stage. `None` is the data set's last.
    pub test_fold: Option<u32>,
    /// A fold that is neither trained on nor watched either: settings are compared on it, so that the held-out one is not looked at before the choice
    /// among them is made. `None` leaves no other out.
    pub choice_fold: Option<u32>,
    /// Whether the fold before the held-out one is watched during training instead of trained on; a data set of two folds
    /// has none to spare.
    pub validate: bool,
    /// Ends a run after so many epochs in which the validation loss was no lower than before, with the weights of the best epoch. It wants a
    /// validation fold; `None` trains every epoch and keeps the last.
    pub patience: Option<usize>,
    /// The share of the recordings to train on that is kept back, whole sources of every class, to fit on them how sure the network may be;
    /// 0 to 0.5. A validation fold serves for that by itself, and nothing else is kept back then.
    pub keep_back: f64,
    /// Reaches everything random: weights, order of clips, choice of clips, augmentation, dropout.
    pub seed: u64,
    /// Processes of this machine that train together, each with its part of every batch; see `docs/scale.md`.
    pub processes: usize,
    /// Threads that prepare batches beside the training loop; 0 prepares them inside it. The numbers are the same for any.
    pub loader_threads: usize,
    /// Up to so many MB of spectrograms each process holds in memory to train on, and so many to validate on; more are read from disk as they are
    /// needed, which is best from shards ([`super::DataConfig::shards_above`]). The numbers are the same.
    pub memory_mb: usize,
    /// Whether a run that was stopped goes on from its last whole epoch.
    pub resume: bool,
    /// Where the network runs.
    pub device: DeviceChoice,
    /// On CUDA, whether matrix products run in half precision. On an H200 networks of this size trained no faster with it, and libtorch warns of
    /// the call that tch makes for it, three lines a step.
    pub mixed_precision: bool,
}

/// What a network knows before its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Start {
    /// Nothing: its weights are drawn at random.
    #[default]
    Fresh,
    /// To tell *sounds made by formulas* apart (formula-driven supervised learning, Kataoka et al. 2020, <https://arxiv.org/abs/2101.08515>): all
    /// weights but the head's are those of a network that comes with the crate. It has heard no recording. It wants the layers of
    /// [`super::Preset::Fitted`]; how long a window is and how many bands it has may differ.
    Formulas,
}

/// What makes a step of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OptimizerChoice {
    /// AdamW for all weights (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Muon for the matrices of all layers but the head (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>), at the scale of
    /// AdamW's steps (Liu et al. 2025, <https://arxiv.org/abs/2502.16982>), which moves the rest. Where epochs are few it gets further in them.
    Muon,
}

/// How the step size changes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Always `learning_rate`.
    Constant,
    /// Rises linearly for `warmup_steps`, but a tenth of the run at most, then falls along half a cosine to 0 at the last step (Loshchilov and Hutter 2017).
    Cosine {
        /// Steps of the rise.
        warmup_steps: usize,
    },
    /// Rises in the same way, stays at `learning_rate` for the first half of the run, then falls along half a cosine to 0 (as in Hägele et al.
    /// 2024, <https://arxiv.org/abs/2405.18392>). Until it falls nothing depends on how long the run will be: one with a time budget corrects
    /// its number of epochs as it learns how fast it is.
    Hold {
        /// Steps of the rise.
        warmup_steps: usize,
    },
}

/// What is done to clips while training; see `training/augment.rs`. Zero turns an ingredient off, and all are off by default.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Whether a window starts at a random place of the sounding part; else in its middle. [`super::View::Whole`] has no window.
    pub random_crop: bool,
    /// Faster or slower by up to this factor less one: 0.2 is 1/1.2 to 1.2 times.
    pub time_stretch: f32,
    /// Up or down by up to this many mel bands.
    pub mel_shift: f32,
    /// Bands spread or squeezed by up to this factor less one.
    pub mel_stretch: f32,
    /// Bands lifted and lowered by up to this many dB, smoothly, as microphones and rooms do.
    pub equalizer_db: f32,
    /// Cyclic shift along time by up to the whole window.
    pub time_roll: bool,
    /// Louder or quieter by up to this many dB, before the floor cuts off what is too quiet.
    pub gain_db: f32,
    /// Two clips at once.
    pub mix: Mix,
    /// How often a clip is mixed, 0 to 1.
    pub mix_probability: f32,
    /// Bands of mel bins blanked (SpecAugment, Park et al. 2019).
    pub mel_masks: usize,
    /// The widest such band, in bins.
    pub mel_mask_width: usize,
    /// Stretches of time blanked.
    pub time_masks: usize,
    /// The longest such stretch, in frames.
    pub time_mask_width: usize,
}

/// How two clips become one, in a ratio drawn evenly from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mix {
    /// Not at all.
    #[default]
    Off,
    /// Their powers add up as those of two sounds heard at once, at levels that follow the ratio (between-class learning,
    /// Tokozume et al. 2018).
    BetweenClass,
    /// Their normalised logarithms are averaged (mixup, Zhang et al. 2018).
    Mixup,
}

impl Default for TrainConfig {
    /// The quick preset: Adam at one step size, nothing augmented.
    fn default() -> Self {
        TrainConfig {
            run_name: "quick".into(),
            epochs: 5,
            minutes: None,
            batch_size: 16,
            clips_at_once: None,
            start: Start::Fresh,
            optimizer: OptimizerChoice::AdamW,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            weight_decay: 0.0,
            max_grad_norm: None,
            label_smoothing: 0.0,
            ema_decay: 0.0,
            augment: AugmentConfig::default(),
            max_clips: 400,
            balance: 0.0,
            test_fold: None,
            choice_fold: None,
            validate: true,
            patience: None,
            keep_back: 0.0,
            seed: 0,
            processes: 1,
            loader_threads: 0,
            memory_mb: 4096,
            resume: true,
            device: DeviceChoice::Auto,
            mixed_precision: false,
        }
    }
}

impl TrainConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] with the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name_fits =
            !self.run_name.is_empty() && self.run_name.chars().all(plain) && !self.run_name.starts_with('.');
        check("train.run_name", name_fits, "a file name of letters, digits, '-', '_', '.'", &self.run_name)?;
        check("train.epochs", (1..=100_000).contains(&self.epochs), "1 to 100000", self.epochs)?;
        let minutes_fit = self.minutes.is_none_or(|minutes| (0.05..=100_000.0).contains(&minutes));
        check("train.minutes", minutes_fit, "0.05 to 100000, or None", self.minutes.unwrap_or(0.0))?;
        check("train.batch_size", (1..=65_536).contains(&self.batch_size), "1 to 65536", self.batch_size)?;
        let fits = self.clips_at_once.is_none_or(|clips| (1..=65_536).contains(&clips));
        check("train.clips_at_once", fits, "1 to 65536, or None", self.clips_at_once.unwrap_or(0))?;
        let rate_fits = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        check("train.learning_rate", rate_fits, "above 0", self.learning_rate)?;
        check("train.weight_decay", (0.0..=10.0).contains(&self.weight_decay), "0 to 10", self.weight_decay)?;
        let norm_fits = self.max_grad_norm.is_none_or(|norm| norm > 0.0 && norm.is_finite());
        check("train.max_grad_norm", norm_fits, "above 0, or None", self.max_grad_norm.unwrap_or(0.0))?;
        let share = 0.0..1.0;
        check("train.label_smoothing", share.contains(&self.label_smoothing), "0 to below 1", self.label_smoothing)?;
        check("train.ema_decay", share.contains(&self.ema_decay), "0 to below 1", self.ema_decay)?;
        check("train.balance", (0.0..=1.0).contains(&self.balance), "0 to 1", self.balance)?;
        let patience_fits = self.patience.is_none_or(|epochs| epochs > 0 && self.validate);
        let wanted = "at least 1, with train.validate, or None";
        check("train.patience", patience_fits, wanted, self.patience.unwrap_or(0))?;
        check("train.keep_back", (0.0..=0.5).contains(&self.keep_back), "0 to 0.5", self.keep_back)?;
        check("train.max_clips", self.max_clips > 0, "at least 1", self.max_clips)?;
        check("train.processes", (1..=4096).contains(&self.processes), "1 to 4096", self.processes)?;
        check("train.loader_threads", self.loader_threads <= 256, "0 to 256", self.loader_threads)?;
        self.augment.validate()
    }
}

impl AugmentConfig {
    /// Whether nothing is done to a clip.
    pub fn is_off(&self) -> bool {
        let amounts = [self.time_stretch, self.mel_shift, self.mel_stretch, self.equalizer_db, self.gain_db];
        let moves = self.random_crop || self.time_roll || amounts.iter().any(|amount| *amount > 0.0);
        let mixes = self.mix != Mix::Off && self.mix_probability > 0.0;
        let masks = [(self.mel_masks, self.mel_mask_width), (self.time_masks, self.time_mask_width)];
        !(moves || mixes || masks.iter().any(|(n, width)| *n > 0 && *width > 0))
    }

    fn validate(&self) -> Result<()> {
        let stretch_fits = (0.0..=3.0).contains(&self.time_stretch);
        check("train.augment.time_stretch", stretch_fits, "0 to 3", self.time_stretch)?;
        check("train.augment.mel_shift", (0.0..=1024.0).contains(&self.mel_shift), "0 to 1024", self.mel_shift)?;
        let stretch_fits = (0.0..=3.0).contains(&self.mel_stretch);
        check("train.augment.mel_stretch", stretch_fits, "0 to 3", self.mel_stretch)?;
        let equalizer_fits = (0.0..=60.0).contains(&self.equalizer_db);
        check("train.augment.equalizer_db", equalizer_fits, "0 to 60 dB", self.equalizer_db)?;
        check("train.augment.gain_db", (0.0..=120.0).contains(&self.gain_db), "0 to 120 dB", self.gain_db)?;
        let share_fits = (0.0..=1.0).contains(&self.mix_probability);
        check("train.augment.mix_probability", share_fits, "0 to 1", self.mix_probability)
    }
}

/// Where the network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeviceChoice {
    /// CUDA if libtorch has it, else MPS, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA device.
    Cuda,
    /// Apple's GPU.
    Mps,
}

/// A number written where numbers are longer: "all" there is all here, too.
fn at_most_all<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<usize, D::Error> {
    let n = u64::deserialize(deserializer)?;
    Ok(usize::try_from(n).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingredient_of_which_there_is_nothing_is_off() {
        let off = AugmentConfig { mix: Mix::Mixup, mel_masks: 2, time_mask_width: 9, ..Default::default() };
        assert!(off.is_off());
        for on in [
            AugmentConfig { mix_probability: 0.5, ..off.clone() },
            AugmentConfig { mel_mask_width: 1, ..off.clone() },
            AugmentConfig { gain_db: 0.1, ..off.clone() },
            AugmentConfig { random_crop: true, ..off },
        ] {
            assert!(!on.is_off(), "{on:?}");
        }
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let message = |config: TrainConfig| config.validate().unwrap_err().to_string();
        let impatient = TrainConfig { patience: Some(3), validate: false, ..Default::default() };
        assert!(message(impatient).contains("train.patience"));
        assert!(message(TrainConfig { ema_decay: 1.0, ..Default::default() }).contains("train.ema_decay"));
        let augment = AugmentConfig { gain_db: -1.0, ..Default::default() };
        assert!(message(TrainConfig { augment, ..Default::default() }).contains("train.augment.gain_db"));
    }
}
