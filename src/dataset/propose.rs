//! Settings that fit a data set, each with its reason.

use crate::config::{Config, LongClips, Preset, View};
use crate::dataset::acquire;
use crate::dataset::catalog::Catalog;
use crate::dataset::measure::{Measured, measure};
use crate::error::{Error, Result};

/// Most of the recordings: what is chosen to hold them holds this share of them.
const MOST: f64 = 0.8;
const NEARLY_ALL: f64 = 0.98;
/// The window that the network sees is as long as the sound of most recordings and this much more, within bounds in seconds: from less,
/// nobody could tell a sound, and over more, nothing changes.
const MARGIN: f64 = 1.1;
const WINDOW_S: (f64, f64) = (0.25, 5.12);
/// Frames in a window: as many as the good preset's; fewer where frames would otherwise follow faster than every so many seconds.
const MAX_FRAMES: usize = 320;
const MIN_HOP_S: f64 = 0.0025;
/// What a window's frames are a multiple of: the steps of the good preset's stem, one after the other.
const FRAME_STEP: usize = 16;
const MIN_FRAMES: usize = 64;
/// A spectrum spans at least this, in seconds, to tell the lowest mel bands apart, and four hops.
const MIN_FRAME_S: f64 = 0.03;
/// Longest clip that is kept whole, in seconds; a longer recording becomes several.
const MAX_CLIP_S: f64 = 30.0;
/// The highest rate of the features, in Hz, and the lowest that bandwidth alone leads to.
const MAX_RATE: u32 = 16_000;
const MIN_RATE: u32 = 4_000;
/// A class more than this many times as large as another makes a data set uneven. At ten times, meeting rare classes more often made no
/// difference that 52 clips could show.
const UNEVEN: f64 = 10.0;
/// How far rare classes are then met as often as frequent ones.
const BALANCE: f64 = 0.5;
/// Windows averaged for a prediction, from and to.
const VIEWS: (f64, f64) = (5.0, 12.0);
/// The share of the clips to train on that is kept back to calibrate on, with bounds in clips: fewer tell nothing, and more add little. Not
/// at all where it would be more than the last share.
const KEPT_BACK_SHARE: f64 = 0.1;
const KEPT_BACK: (f64, f64) = (24.0, 400.0);
const MAX_KEPT_BACK: f64 = 0.15;
/// Batches of an epoch are no fewer than this, down to the smallest batch.
const MIN_BATCHES: usize = 8;
const MIN_BATCH: usize = 8;
/// Passes over the clips after which more add nothing worth waiting for, and what one costs: so many frames a second, on two cores.
const ENOUGH_EPOCHS: f64 = 400.0;
const FRAMES_PER_S: f64 = 40_000.0;
/// The time budget, in minutes, from and to.
const MINUTES: (f64, f64) = (0.5, 5.0);

/// Settings proposed for a data set.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// All settings, those set by hand among them.
    pub config: Config,
    /// What was chosen and why, in the order of the stages; empty with a preset that stays as it is.
    pub choices: Vec<Choice>,
    /// The preset it began with.
    pub preset: Preset,
}

/// One setting and its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its name in the config: "clip.duration_s".
    pub setting: &'static str,
    /// Its value, in words.
    pub value: String,
    /// Why, in a few words.
    pub reason: String,
}

/// Settings that fit the data set of the config, with [`Preset::Fitted`]; any other preset's stay as they are.
///
/// A setting that differs from the preset's was set by hand: it is kept, and the others are fitted around it. Every recording is read,
/// on all cores.
///
/// # Errors
/// As [`acquire::open_catalog`]; [`Error::Dataset`] when not one recording can be read; [`Error::Config`] when what was set by hand does
/// not go together.
pub fn propose(preset: Preset, config: &Config) -> Result<Proposal> {
    if preset != Preset::Fitted {
        return Ok(Proposal { config: config.clone(), choices: Vec::new(), preset });
    }
    let catalog = acquire::open_catalog(config)?;
    let measured: Vec<Option<Measured>> = measure(&catalog);
    let sounds: Vec<Measured> = measured.iter().flatten().filter(|sound| !sound.is_silent()).copied().collect();
    if sounds.is_empty() {
        return Err(Error::Dataset {
            root: catalog.audio_dir.clone(),
            expected: "at least one recording that can be read and is not silent".into(),
            found: format!("none of {}", catalog.clips.len()),
            next: "Run \"Download and verify\": it lists what is wrong with each.".into(),
        });
    }
    let mut fit = Fit { base: Preset::Fitted.settings(), config: config.clone(), choices: Vec::new() };
    fit.rate(&sounds);
    let window_s = fit.window(&sounds);
    fit.frames(window_s)?;
    fit.clip(&sounds, window_s);
    fit.training(&catalog);
    fit.config.validate()?;
    Ok(Proposal { config: fit.config, choices: fit.choices, preset })
}

/// The value below which a share of all lies.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).ceil() as usize).copied().unwrap_or(0.0)
}

fn of_all(sounds: &[Measured], value: fn(&Measured) -> f64, share: f64) -> f64 {
    quantile(sounds.iter().map(value).collect(), share)
}

/// A length as people say it.
fn seconds(length: f64) -> String {
    if length < 1.0 { format!("{length:.2} s") } else { format!("{length:.1} s") }
}

/// The settings while they are fitted.
struct Fit {
    /// What they would be without the data.
    base: Config,
    config: Config,
    choices: Vec<Choice>,
}

impl Fit {
    fn choose(&mut self, setting: &'static str, value: String, reason: String) {
        self.choices.push(Choice { setting, value, reason });
    }

    /// Puts a value in its place, unless something else was put there by hand; and tells of it either way.
    fn set<T: PartialEq + Clone>(
        &mut self,
        setting: &'static str,
        place: fn(&mut Config) -> &mut T,
        value: T,
        say: impl Fn(&T) -> String,
        reason: String,
    ) -> T {
        let by_hand = *place(&mut self.config) != *place(&mut self.base);
        if !by_hand {
            *place(&mut self.config) = value;
        }
        let now = place(&mut self.config).clone();
        self.choose(setting, say(&now), if by_hand { "set by hand".into() } else { reason });
        now
    }

    /// No higher than the recordings carry.
    fn rate(&mut self, sounds: &[Measured]) {
        let rate = of_all(sounds, |sound| f64::from(sound.sample_rate), MOST);
        let bandwidth = of_all(sounds, |sound| sound.bandwidth_hz, NEARLY_ALL);
        let mut fitted = MAX_RATE.min(rate as u32);
        while fitted >= 2 * MIN_RATE && bandwidth <= 0.52 * f64::from(fitted) / 2.0 {
            fitted /= 2;
        }
        let khz = |hz: f64| format!("{} kHz", (hz / 100.0).round() / 10.0);
        let reason = if f64::from(fitted) < rate.min(f64::from(MAX_RATE)) {
            format!("nearly all recordings end below {}", khz(bandwidth))
        } else if fitted < MAX_RATE {
            format!("most recordings have no more than {}", khz(rate))
        } else {
            "what lies above 8 kHz was not worth its cost where it was tried".into()
        };
        let say = |rate: &u32| format!("{rate} Hz");
        self.set("features.sample_rate", |config| &mut config.features.sample_rate, fitted, say, reason);
    }

    /// What the network sees at once, in seconds.
    fn window(&mut self, sounds: &[Measured]) -> f64 {
        let hop_by_hand = self.config.features.hop_length != self.base.features.hop_length;
        let frames_by_hand = self.config.model.input_size != self.base.model.input_size;
        let rate = f64::from(self.config.features.sample_rate);
        if hop_by_hand && frames_by_hand {
            return (self.config.features.hop_length * self.config.model.input_size.1) as f64 / rate;
        }
        let sounding = of_all(sounds, |sound| sound.sounding_s, MOST);
        let fitted = (MARGIN * sounding).clamp(WINDOW_S.0, WINDOW_S.1);
        // A clip whose length was set by hand is all there is to see.
        let clip_by_hand = self.config.clip.duration_s != self.base.clip.duration_s;
        if clip_by_hand { fitted.min(f64::from(self.config.clip.duration_s)) } else { fitted }
    }

    /// Frames that fill the network's input with that.
    fn frames(&mut self, window_s: f64) -> Result<()> {
        let rate = f64::from(self.config.features.sample_rate);
        let hop = (window_s * rate / MAX_FRAMES as f64).max(MIN_HOP_S * rate).ceil() as usize;
        let ms = |samples: usize| format!("{:.1} ms", 1000.0 * samples as f64 / rate);
        let say = |hop: &usize| format!("{hop} samples, {}", ms(*hop));
        let reason = format!("{} fill the network's input", seconds(window_s));
        let hop = self.set("features.hop_length", |config| &mut config.features.hop_length, hop, say, reason);

        let n_fft = ((MIN_FRAME_S * rate).max(4.0 * hop as f64) as usize).next_power_of_two().max(hop);
        let n_fft = self.spanning(n_fft)?;
        let say = |n: &usize| format!("{n} samples, {}", ms(*n));
        let reason = "four hops or more, and no mel band without a bin".to_owned();
        let n_fft = self.set("features.n_fft", |config| &mut config.features.n_fft, n_fft, say, reason);
        if self.config.features.win_length == self.base.features.win_length {
            self.config.features.win_length = n_fft;
        }

        let frames = (window_s * rate / hop as f64).ceil() as usize;
        let frames = frames.next_multiple_of(FRAME_STEP).clamp(MIN_FRAMES, MAX_FRAMES.max(FRAME_STEP));
        let size = (self.config.features.n_mels, frames);
        let say = |size: &(usize, usize)| {
            let length = seconds((size.1 * hop) as f64 / rate);
            format!("{} bands × {} frames, {length}", size.0, size.1)
        };
        let reason =
            format!("{:.0} of 100 recordings sound no longer than {}", 100.0 * MOST, seconds(window_s / MARGIN));
        self.set("model.input_size", |config| &mut config.model.input_size, size, say, reason);
        let frames = self.config.model.input_size.1;
        if self.config.train.augment == self.base.train.augment {
            let augment = &mut self.config.train.augment;
            augment.time_mask_width = augment.time_mask_width * frames / MAX_FRAMES;
        }
        Ok(())
    }

    /// The next spectrum that leaves no mel band without a bin.
    fn spanning(&self, mut n_fft: usize) -> Result<usize> {
        let mut features = self.config.features.clone();
        while n_fft < 8_192 {
            (features.n_fft, features.win_length) = (n_fft, n_fft);
            features.hop_length = features.hop_length.min(n_fft);
            if features.warning()?.is_none() {
                break;
            }
            n_fft *= 2;
        }
        Ok(n_fft)
    }

    /// What is kept of a recording.
    fn clip(&mut self, sounds: &[Measured], window_s: f64) {
        let longest = of_all(sounds, |sound| sound.duration_s, 1.0);
        let most = of_all(sounds, |sound| sound.duration_s, NEARLY_ALL);
        let half = of_all(sounds, |sound| sound.duration_s, 0.5);
        let fitted = (100.0 * most.max(window_s).min(MAX_CLIP_S)).ceil() / 100.0;
        let reason =
            format!("half your recordings are shorter than {}, the longest has {}", seconds(half), seconds(longest));
        let say = |length: &f32| seconds(f64::from(*length));
        let place: fn(&mut Config) -> &mut f32 = |config| &mut config.clip.duration_s;
        let duration_s = self.set("clip.duration_s", place, fitted as f32, say, reason);
        let (long, reason) = if longest > f64::from(duration_s) + 0.01 {
            (LongClips::Windows, "nothing of a longer recording is lost: it becomes several clips".into())
        } else {
            (LongClips::Crop, "no recording is longer".into())
        };
        let say = |long: &LongClips| format!("{long:?}");
        self.set("clip.long_clips", |config| &mut config.clip.long_clips, long, say, reason);
        if let View::Windows { .. } = self.config.model.view {
            let views = (2.0 * f64::from(duration_s) / window_s).ceil().clamp(VIEWS.0, VIEWS.1) as usize;
            let say = |view: &View| match view {
                View::Windows { n_views } => format!("{n_views} windows"),
                View::Whole => "the whole clip".into(),
            };
            let reason = "spread over the sounding part of a clip, averaged".to_owned();
            self.set("model.view", |config| &mut config.model.view, View::Windows { n_views: views }, say, reason);
        }
    }

    /// Batches, balance, time.
    fn training(&mut self, catalog: &Catalog) {
        let num_classes = catalog.labels().len();
        let mut counts = vec![0usize; num_classes];
        catalog.clips.iter().for_each(|clip| counts[clip.target] += 1);
        let (fewest, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        let n_folds = catalog.folds().len().max(2);
        let n_train = catalog.clips.len() * (n_folds - 1) / n_folds;

        let batch = (n_train / MIN_BATCHES).clamp(MIN_BATCH, self.base.train.batch_size);
        let reason = format!("{n_train} clips to train on");
        self.set("train.batch_size", |config| &mut config.train.batch_size, batch, usize::to_string, reason);

        let ratio = most as f64 / fewest.max(1) as f64;
        let (balance, reason) = if ratio > UNEVEN {
            (BALANCE, format!("classes have {fewest} to {most} clips: rare ones are met more often"))
        } else {
            (0.0, format!("classes have {fewest} to {most} clips"))
        };
        self.set("train.balance", |config| &mut config.train.balance, balance, f64::to_string, reason);

        if !self.config.train.validate {
            let share = KEPT_BACK_SHARE.max(KEPT_BACK.0 / n_train as f64).min(KEPT_BACK.1 / n_train as f64);
            let (share, reason) = match share <= MAX_KEPT_BACK {
                true => {
                    (share, "not trained on: they tell how sure the network may be, and what is unlike them".into())
                }
                false => (0.0, format!("{n_train} clips to train on, too few to keep any back: not calibrated")),
            };
            let say = |share: &f64| format!("{:.0} of {n_train} clips", share * n_train as f64);
            self.set("train.keep_back", |config| &mut config.train.keep_back, share, say, reason);
        }

        let frames = (n_train * self.config.model.input_size.1) as f64;
        let minutes = (ENOUGH_EPOCHS * frames / FRAMES_PER_S / 60.0).clamp(MINUTES.0, MINUTES.1);
        let minutes = (10.0 * minutes).ceil() / 10.0;
        let say = |minutes: &Option<f64>| minutes.map_or("none".into(), |minutes| format!("{minutes} min"));
        let reason = "as many epochs as fit; more time is used well".to_owned();
        self.set("train.minutes", |config| &mut config.train.minutes, Some(minutes), say, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(duration_s: f64, sounding_s: f64, sample_rate: u32, bandwidth_hz: f64) -> Measured {
        Measured {
            duration_s,
            sounding_s,
            rms_dbfs: -20.0,
            sample_rate,
            bandwidth_hz,
            clipped: 0.0,
            offset: 0.0,
            samples: Default::default(),
        }
    }

    fn fit(sounds: &[Measured], config: Config) -> Config {
        let mut fit = Fit { base: Preset::Fitted.settings(), config, choices: Vec::new() };
        fit.rate(sounds);
        let window_s = fit.window(sounds);
        fit.frames(window_s).unwrap();
        fit.clip(sounds, window_s);
        fit.config.validate().unwrap();
        fit.config
    }

    #[test]
    fn sounds_of_any_length_and_rate_fill_the_input() {
        for rate in [1_000, 4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 192_000] {
            for length in [0.02, 0.1, 0.4, 1.0, 3.0, 5.0, 30.0, 600.0] {
                let sounds = vec![sound(length, length, rate, f64::from(rate) / 2.0); 10];
                let config = fit(&sounds, Preset::Fitted.settings());
                let window_s = (config.features.hop_length * config.model.input_size.1) as f64
                    / f64::from(config.features.sample_rate);
                assert!(config.features.sample_rate <= rate.min(16_000), "{rate}");
                let wanted = (1.1 * length).clamp(0.25, 5.12);
                assert!(window_s >= 0.98 * wanted && window_s <= 1.5 * wanted, "{rate} Hz, {length} s: {window_s}");
                assert!(config.features.warning().unwrap().is_none(), "{rate} Hz, {length} s");
                assert!(f64::from(config.clip.duration_s) >= length.min(30.0), "{length}");
                assert_eq!(config.clip.long_clips == LongClips::Windows, length > 30.0, "{length}");
            }
        }
    }

    #[test]
    fn clips_like_those_of_esc_50_keep_the_good_presets_features() {
        let config = fit(&[sound(5.0, 5.0, 44_100, 20_000.0)], Preset::Fitted.settings());
        assert_eq!((config.features, config.model.input_size), (Config::default().features, (64, 320)));
    }

    #[test]
    fn what_was_set_by_hand_is_kept_and_the_rest_fitted_around_it() {
        let mut by_hand = Preset::Fitted.settings();
        by_hand.clip.duration_s = 1.0;
        by_hand.features.sample_rate = 8_000;
        let config = fit(&[sound(4.0, 4.0, 44_100, 20_000.0)], by_hand);
        assert_eq!((config.clip.duration_s, config.features.sample_rate), (1.0, 8_000));
        assert_eq!(config.clip.long_clips, LongClips::Windows);
        assert_eq!((config.features.hop_length, config.model.input_size.1), (25, 320));
    }

    #[test]
    fn a_band_that_nothing_reaches_is_left_out() {
        let telephone = sound(2.0, 2.0, 44_100, 3_900.0);
        assert_eq!(fit(&[telephone], Preset::Fitted.settings()).features.sample_rate, 8_000);
        let heart = sound(2.0, 2.0, 44_100, 300.0);
        assert_eq!(fit(&[heart], Preset::Fitted.settings()).features.sample_rate, 4_000);
    }
}
