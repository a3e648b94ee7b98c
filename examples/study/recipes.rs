//! The recipes that are compared, by name.

use audio_transformer::config::{
    AugmentConfig, Config, DeviceChoice, LongClips, Mix, OptimizerChoice, Pooling, Preset, Schedule, Start, Stem, View,
};

use crate::Outcome;

/// The good preset's first version, by name.
pub const FIRST: &str = "first";
/// An ablation trains for this share of the epochs.
const ABLATION_SHARE: usize = 3;

/// The good preset on the data set of the environment, on one CPU thread.
pub fn good() -> Config {
    let mut config = Config { model: Preset::Good.model(), train: Preset::Good.train(), ..Config::default() };
    config.train.device = DeviceChoice::Cpu;
    config
}

/// The good preset's second version: from random weights, a third wider, by AdamW, with twice the epochs.
fn wide() -> Config {
    let mut config = good();
    stem(&mut config, &[32, 64, 128], (2, 4), (2, 1));
    config.model.embed_dim = 128;
    (config.train.start, config.train.optimizer) = (Start::Fresh, OptimizerChoice::AdamW);
    (config.train.run_name, config.train.epochs) = ("wide".into(), 360);
    config
}

/// Its first version: a third of the second's epochs, with time stretch.
pub fn first() -> Config {
    let mut config = wide();
    config.train.epochs = 120;
    config.train.augment.time_stretch = 0.3;
    config.train.run_name = FIRST.into();
    config
}

/// The recipe of a name, or that of `NAME:EPOCHS` with another number of epochs.
///
/// # Errors
/// Where none is named so.
pub fn recipe(name: &str) -> Outcome<Config> {
    let (base, epochs) = name.split_once(':').map_or((name, None), |(base, epochs)| (base, Some(epochs)));
    let all = [("good", good()), ("wide", wide()), (FIRST, first())].into_iter().chain(ablations()).chain(candidates());
    let found = all.into_iter().find(|(other, _)| *other == base);
    let (_, mut config) = found.ok_or_else(|| format!("no recipe is named {base}"))?;
    if let Some(epochs) = epochs {
        config.train.epochs = epochs.parse()?;
        config.train.run_name = format!("{base}-{epochs}");
    }
    Ok(config)
}

fn stem(config: &mut Config, channels: &[usize], first_stride: (usize, usize), pool: (usize, usize)) {
    config.model.stem = Stem::Convolutions { channels: channels.to_vec(), first_stride, pool };
}

/// Half of the sums, for twice the epochs in the same time.
fn slim(config: &mut Config) {
    stem(config, &[24, 48, 96], (2, 4), (2, 1));
    config.model.embed_dim = 96;
}

/// A quarter of them.
fn slimmer(config: &mut Config) {
    stem(config, &[16, 32, 64], (2, 4), (2, 1));
    config.model.embed_dim = 64;
}

fn muon(config: &mut Config) {
    config.train.optimizer = OptimizerChoice::Muon;
}

/// What was tried after the second version, trained as long as it was.
fn candidates() -> Vec<Recipe> {
    let variant = |name: &'static str, change: &dyn Fn(&mut Config)| {
        let mut config = wide();
        config.train.run_name = name.into();
        change(&mut config);
        (name, config)
    };
    // Recordings are cut into windows of two seconds, each a clip of its own; spectrograms of their own lie beside the others.
    let windows = |config: &mut Config, hop_length: usize| {
        (config.clip.duration_s, config.clip.long_clips) = (2.048, LongClips::Windows);
        config.features.hop_length = hop_length;
        config.model.input_size.1 = 32_768 / hop_length;
        config.data.processed_dir = config.data.processed_dir.join(format!("windows-{hop_length}"));
    };
    vec![
        variant("windows", &|config| windows(config, 256)),
        variant("windows-fine", &|config| windows(config, 128)),
        // The first step takes two frames in place of four, by channels that cost no more.
        variant("fine", &|config| stem(config, &[20, 40, 80, 128], (2, 2), (1, 1))),
        variant("slim", &slim),
        variant("slimmer", &slimmer),
        variant("muon", &muon),
        variant("slim-muon", &|config| [slim, muon].iter().for_each(|change| change(config))),
        variant("slimmer-muon", &|config| [slimmer, muon].iter().for_each(|change| change(config))),
        variant("attention", &|config| config.model.pooling = Pooling::Attention),
    ]
}

/// A recipe by the name of what is different.
pub type Recipe = (&'static str, Config);

/// The first recipe, and that recipe without each of its ingredients or with another in its place, at a third of its epochs. What they
/// told made the present one.
pub fn ablations() -> Vec<Recipe> {
    let variant = |name: &'static str, change: &dyn Fn(&mut Config)| {
        let mut config = first();
        config.train.epochs /= ABLATION_SHARE;
        change(&mut config);
        config.train.run_name = format!("ablation-{name}");
        (name, config)
    };
    let augment = |name, change: fn(&mut AugmentConfig)| variant(name, &|config| change(&mut config.train.augment));
    vec![
        variant("recipe", &|_| ()),
        augment("no-random-crop", |augment| augment.random_crop = false),
        augment("no-time-stretch", |augment| augment.time_stretch = 0.0),
        augment("no-mel-shift-and-stretch", |augment| (augment.mel_shift, augment.mel_stretch) = (0.0, 0.0)),
        augment("no-equalizer", |augment| augment.equalizer_db = 0.0),
        augment("no-mix", |augment| augment.mix = Mix::Off),
        augment("mixup-of-logarithms", |augment| augment.mix = Mix::Mixup),
        augment("no-masks", |augment| (augment.mel_masks, augment.time_masks) = (0, 0)),
        variant("no-ema", &|config| config.train.ema_decay = 0.0),
        variant("no-label-smoothing", &|config| config.train.label_smoothing = 0.0),
        variant("no-weight-decay", &|config| config.train.weight_decay = 0.0),
        variant("no-warm-up-and-cosine", &|config| config.train.schedule = Schedule::Constant),
        variant("no-clipping-of-gradients", &|config| config.train.max_grad_norm = None),
        variant("one-view-for-a-prediction", &|config| config.model.view = View::Windows { n_views: 1 }),
        variant("four-second-window", &|config| config.model.input_size = (64, 256)),
        variant("no-stochastic-depth", &|config| config.model.stochastic_depth = 0.0),
        variant("class-token", &|config| config.model.pooling = Pooling::ClassToken),
        variant("patches-for-convolutions", &|config| config.model.stem = Stem::patches(16)),
    ]
}
