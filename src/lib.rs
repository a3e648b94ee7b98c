//! Environmental-sound classification with a lightweight Audio Spectrogram Transformer: the crate behind the notebook.
//!
//! A recording, its features, a prediction:
//!
#![cfg_attr(feature = "torch", doc = "```no_run")]
#![cfg_attr(not(feature = "torch"), doc = "```ignore")]
//! # fn main() -> audio_transformer::Result<()> {
//! use audio_transformer::{Classifier, FeatureConfig, FeatureExtractor, audio};
//!
//! let sound = audio::read("dog.ogg".as_ref())?;
//! let mut extractor = FeatureExtractor::new(&FeatureConfig::default())?;
//! let spectrogram = extractor.extract(&sound.samples, sound.sample_rate)?; // (n_mels, n_frames), mean 0, deviation 1
//! println!("{:?}", spectrogram.values.dim());
//!
//! let prediction = Classifier::released()?.predict(&sound, "dog.ogg".as_ref())?;
//! let (label, probability) = &prediction.ranked[0];
//! println!("{label}: {:.0} %", 100.0 * probability);
//! # Ok(())
//! # }
//! ```
//!
//! A folder per class, a network of its own, and how well it does on the fold it has not heard:
//!
#![cfg_attr(feature = "torch", doc = "```no_run")]
#![cfg_attr(not(feature = "torch"), doc = "```ignore")]
//! # fn main() -> audio_transformer::Result<()> {
//! use audio_transformer::config::{Config, DataConfig, DataSource, Preset};
//! use audio_transformer::{Classifier, acquire, evaluate, preprocess, propose, train};
//!
//! let data = DataConfig { source: DataSource::Folder("my/sounds".into()), ..Default::default() };
//! let settings = Config { data, ..Preset::Fitted.settings() };
//! acquire(&settings)?;
//! let config = propose(Preset::Fitted, &settings)?.config;
//! println!("{}", preprocess(&config)?);
//! println!("{}", train(&config)?);
//! println!("{}", evaluate(&config)?);
//! let mut classifier = Classifier::of_run(&config)?;
//! println!("{:?}", classifier.predict_file("doorbell.wav".as_ref())?.ranked);
//! # Ok(())
//! # }
//! ```
//!
//! Data flows one way, and a module uses only those that are declared before it, here and in each folder. `docs/architecture.md`
//! tells where to add a file format, an augmentation, a network or a picture.
//!
//! | stage | what is called | reads → leaves | its code in |
//! |---|---|---|---|
//! | settings | [`config`] | every number a person would turn | `config/` |
//! | front end | [`audio`], [`FeatureExtractor`] | a file → a log-mel spectrogram | `front_end/` |
//! | data set | [`acquire()`], [`open_catalog`], [`checkup()`], [`propose()`]; [`preprocess()`], [`Dataset`] | a URL or a folder → `data/raw/` → `data/processed/` | `dataset/` |
//! | model | `ModelSummary` | an input → logits | `model/` |
//! | training | `train`, `Run` | spectrograms → `data/models/` | `training/` |
//! | results | `evaluate`, `Classifier`, `cross_validate`, `export` | a checkpoint → numbers, predictions, files for Python | `results/` |
//! | other networks | `Listener`, `probe`, `fine_tune`, `Taught`; [`hub`] | a network from elsewhere → answers, a head of your own | `transfer/`, `hub/` |
//! | pictures | `show` | what a stage returned → the notebook | `show/` |
//!
//! What has no link needs a cargo feature, `torch` or `pipeline`, both on by default. Without them the front end
//! and the data set on disk build alone, in seconds.
#![deny(missing_docs)]
// What the network's training and its results share is of no use without them.
#![cfg_attr(not(feature = "torch"), allow(dead_code, unused_imports))]

mod error;
mod files;
mod front_end;
pub mod config;
mod dataset;
#[cfg(feature = "download")]
pub mod hub;
#[cfg(feature = "torch")]
mod model;
#[cfg(feature = "torch")]
mod distributed;
mod training;
mod results;
#[cfg(feature = "torch")]
mod transfer;
#[cfg(feature = "pipeline")]
pub mod show;

pub use dataset::acquire::{acquire, open_catalog};
pub use dataset::catalog::{self, Catalog, Clip};
pub use dataset::checkup::{Checkup, Finding, Severity, checkup};
pub use dataset::demo;
#[cfg(feature = "download")]
pub use dataset::download;
pub use dataset::preprocess::{PreprocessReport, preprocess, preprocess_part};
pub use dataset::propose::{Choice, Proposal, propose};
pub use dataset::{processed::Dataset, split::Split};
pub use error::{Error, Result};
pub use files::text::Text;
pub use front_end::audio;
pub use front_end::fbank::Fbank;
pub use front_end::features::{FeatureConfig, FeatureExtractor, Spectrogram};
pub use front_end::mel::MelFilterbank;
pub use front_end::published;
pub use front_end::resample::Resampler;
pub use front_end::spectrogram::Stft;
#[cfg(feature = "torch")]
pub use model::pretrained::{Architecture, Heard, Pretrained};
#[cfg(feature = "torch")]
pub use model::tiny_ast::{LayerSummary, ModelSummary, TinyAst, hugging_face};
#[cfg(feature = "torch")]
pub use model::{
    ast::{Ast, AstConfig},
    ced::{Ced, CedConfig, CedPooling},
};
pub use results::metrics::{
    ClassPrecision, Evaluation, Interval, MultiLabelClip, MultiLabelEvaluation, Scored, ScoredClip,
};
#[cfg(feature = "onnx")]
pub use results::predict::OnnxClassifier;
pub use results::predict::{Event, NONE_OF_THESE, Prediction, Standing, Window};
pub use training::history::EpochRecord;

#[cfg(feature = "torch")]
pub use distributed::peers::Peers;
#[cfg(feature = "distributed")]
pub use distributed::{group::Group, place::Place};
#[cfg(feature = "torch")]
pub use results::{
    cross_validate::{CrossValidation, cross_validate},
    embeddings::{Embeddings, embeddings},
    evaluate::{evaluate, evaluate_together},
    export,
    predict::{Classifier, FolderPredictions, Listening, RELEASED, Recognize, copy_examples, predict_folder},
    release,
};
#[cfg(feature = "torch")]
pub use training::{
    device::cuda_report,
    find_rate::{RateTest, find_learning_rate},
    observe::{Console, Observer},
    report::TrainingReport,
    run::Run,
    sweep::{Sweep, sweep},
    train::{train, train_together},
};
#[cfg(feature = "torch")]
pub use transfer::{
    Answer, FineTune, FineTuned, Listener, Nearness, Probe, Taught, fine_tune, fine_tune_observed, fine_tune_together,
    probe,
};

/// What the notebook's cells name: `use audio_transformer::prelude::*;`.
#[cfg(feature = "pipeline")]
pub mod prelude {
    pub use crate::config::{
        AugmentConfig, ClipConfig, Config, DataConfig, DataSource, DeviceChoice, LongClips, Mix, OptimizerChoice,
        Pooling, Preset, Schedule, Start, Stem, TinyAstConfig, TrainConfig, View,
    };
    pub use crate::dataset::acquire::{acquire, open_catalog};
    pub use crate::dataset::checkup::checkup;
    pub use crate::dataset::demo;
    pub use crate::dataset::preprocess::preprocess;
    pub use crate::dataset::processed::Dataset;
    pub use crate::dataset::propose::propose;
    pub use crate::error::{Error, Result};
    pub use crate::front_end::audio;
    pub use crate::front_end::features::FeatureConfig;
    pub use crate::results::embeddings::embeddings;
    pub use crate::results::evaluate::evaluate;
    pub use crate::results::predict::{Classifier, copy_examples, predict_folder};
    pub use crate::show::{self, tables};
    pub use crate::training::device::cuda_report;
    pub use crate::training::find_rate::find_learning_rate;
    pub use crate::training::run::Run;
    pub use crate::training::sweep::sweep;
    pub use crate::training::train::train;
    pub use crate::transfer::{FineTune, Listener, Taught, fine_tune, probe};
    pub use polars::prelude::DataFrame;
}

/// Every module, for this project's own tests and benchmarks. Nothing is promised of it.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub mod files {
        pub use crate::files::*;
    }
    pub mod front_end {
        pub use crate::front_end::*;
    }
    pub mod dataset {
        pub use crate::dataset::*;
    }
    #[cfg(feature = "torch")]
    pub mod model {
        pub use crate::model::*;
    }
    #[cfg(feature = "torch")]
    pub mod distributed {
        pub use crate::distributed::*;
    }
    pub mod training {
        pub use crate::training::*;
    }
    pub mod results {
        pub use crate::results::*;
    }
    #[cfg(feature = "torch")]
    pub mod transfer {
        pub use crate::transfer::*;
    }
}
