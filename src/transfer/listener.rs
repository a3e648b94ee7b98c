//! Any network that turns a recording into an embedding and an answer, whatever its kind.

use std::fs;
use std::path::{Path, PathBuf};

use tch::Device;

use super::ear::Ear;
use crate::error::{Error, Result};
use crate::files::content;
use crate::front_end::audio::Waveform;
use crate::front_end::features::{FeatureConfig, FeatureExtractor};
#[cfg(feature = "download")]
use crate::hub::Hub;
use crate::model::pretrained::{Pretrained, WEIGHTS_FILE};
use crate::results::predict::{Classifier, Listening, Prediction, RELEASED, Recognize};

/// What the notebook listens with, if nothing else is named: 22 MB.
#[cfg(feature = "download")]
const CED_TINY: &str = "hub:mispeech/ced-tiny";

/// A network and what it needs to listen: TinyAST, CED or AST.
pub struct Listener {
    network: Network,
    /// The file of its weights; none, where nobody has trained them.
    weights: Option<PathBuf>,
}

enum Network {
    TinyAst(Box<Classifier>),
    Published { network: Box<Pretrained>, resampler: Box<FeatureExtractor> },
}

impl Listener {
    /// Opens a network by its name: the path of a checkpoint of this crate, that of a folder as Hugging Face's with a CED or an Audio Spectrogram
    /// Transformer, or `hub:owner/name`, for which see [`Hub`].
    ///
    /// # Errors
    /// As [`Classifier::load`], [`Pretrained::open`] and [`Pretrained::named`].
    pub fn open(name: impl AsRef<Path>, device: Device) -> Result<Self> {
        #[cfg(feature = "download")]
        let place = crate::model::pretrained::place_of(name.as_ref(), &Hub::from_env())?;
        #[cfg(not(feature = "download"))]
        let place = name.as_ref().to_path_buf();
        if place.is_dir() {
            return Self::published(Pretrained::open(&place, device)?, Some(place.join(WEIGHTS_FILE)));
        }
        if !place.exists() {
            return Err(Error::Checkpoint {
                path: place,
                expected: "a checkpoint, or a folder with a CED or an Audio Spectrogram Transformer".into(),
                found: "no such file or folder".into(),
                next: "Train a network, check the name, or name one of the hub: hub:mispeech/ced-tiny.".into(),
            });
        }
        let network = Network::TinyAst(Box::new(Classifier::load(&place, device)?));
        Ok(Listener { network, weights: Some(place) })
    }

    /// Opens the network that `NETWORK` names in the environment, or else ced-tiny from the hub; where that cannot be had, a small network of
    /// random weights stands in, which is said: its answers mean nothing.
    ///
    /// # Errors
    /// Those of a network that is named, or that is there and cannot be used.
    #[cfg(feature = "download")]
    pub fn from_env() -> Result<Self> {
        // Whoever names a network wants that one, or its error.
        if let Some(name) = std::env::var("NETWORK").ok().filter(|name| !name.trim().is_empty()) {
            return Self::open(name.trim(), Device::Cpu);
        }
        let error = match Self::open(CED_TINY, Device::Cpu) {
            Err(error @ Error::Download { .. }) => error,
            opened => return opened,
        };
        println!("{error}");
        println!(
            "A small network of random weights stands in for {CED_TINY}. WHAT IT ANSWERS BELOW MEANS NOTHING; with a connection, or with NETWORK set \
             to a folder with the network, run this cell again."
        );
        Self::published(Pretrained::untrained(0)?, None)
    }

    /// Opens the released model, on the CPU.
    ///
    /// # Errors
    /// As [`Classifier::released`].
    pub fn released() -> Result<Self> {
        Self::open(RELEASED, Device::Cpu)
    }

    /// Whether nobody has trained it, so that what it says means nothing.
    pub fn is_untrained(&self) -> bool {
        self.weights.is_none()
    }

    fn published(network: Pretrained, weights: Option<PathBuf>) -> Result<Self> {
        let resampler = Self::resampler_to(network.sample_rate())?;
        let network = Network::Published { network: Box::new(network), resampler: Box::new(resampler) };
        Ok(Listener { network, weights })
    }

    /// What brings recordings to a rate, in Hz.
    pub(super) fn resampler_to(sample_rate: u32) -> Result<FeatureExtractor> {
        FeatureExtractor::new(&FeatureConfig { sample_rate, ..Default::default() })
    }

    /// Class names in the order of its probabilities.
    pub fn labels(&self) -> &[String] {
        match &self.network {
            Network::TinyAst(classifier) => classifier.labels(),
            Network::Published { network, .. } => network.labels(),
        }
    }

    /// Whether its classes exclude each other, so that their probabilities add up to 1; else a recording may have several.
    pub fn is_multi_label(&self) -> bool {
        match &self.network {
            Network::TinyAst(_) => false,
            Network::Published { network, .. } => network.is_multi_label(),
        }
    }

    /// How many seconds of a recording it was trained on at a time, where its file tells.
    pub fn clip_s(&self) -> Option<f32> {
        match &self.network {
            Network::TinyAst(classifier) => Some(classifier.clip_s()),
            Network::Published { .. } => None,
        }
    }

    /// Lets the windows of a long recording overlap, one every `hop_s` seconds; for TinyAST alone.
    ///
    /// # Errors
    /// [`Error::Config`] for a hop that is not above 0 and up to the clip's length, and for any with another network.
    pub fn set_hop_s(&mut self, hop_s: f32) -> Result<()> {
        match &mut self.network {
            Network::TinyAst(classifier) => classifier.set_hop_s(hop_s),
            Network::Published { .. } => {
                let expected = "none for this network, which cuts its pieces as its authors do".into();
                Err(Error::Config { field: "hop_s", expected, found: hop_s.to_string() })
            }
        }
    }

    /// The highest frequency that it hears, in Hz.
    pub fn highest_hz(&self) -> f32 {
        match &self.network {
            Network::TinyAst(classifier) => classifier.highest_hz(),
            Network::Published { network, .. } => network.sample_rate() as f32 / 2.0,
        }
    }

    /// Numbers in an embedding.
    pub fn embed_dim(&self) -> usize {
        match &self.network {
            Network::TinyAst(classifier) => classifier.embed_dim(),
            Network::Published { network, .. } => network.embed_dim() as usize,
        }
    }

    /// A hash that tells this network from others: of its file of weights, and of what describes it beside them.
    ///
    /// # Errors
    /// [`Error::Io`] when it is gone.
    pub fn identity(&self) -> Result<String> {
        let weights = match &self.weights {
            Some(weights) => {
                content::hash_file(&fs::canonicalize(weights).map_err(Error::io("read", weights))?)?.to_string()
            }
            None => "untrained".into(),
        };
        Ok(match &self.network {
            Network::TinyAst(_) => weights,
            Network::Published { network, .. } => {
                let [config, preprocessor] = network.descriptions();
                content::hash_texts([weights.as_str(), &config, &preprocessor])
            }
        })
    }

    /// The published network, as it lies.
    ///
    /// # Errors
    /// [`Error::Config`] for a TinyAST, which has another form and is trained by [`crate::train`].
    pub(super) fn published_network(&self) -> Result<&Pretrained> {
        match &self.network {
            Network::Published { network, .. } => Ok(network),
            Network::TinyAst(_) => Err(no_published_network()),
        }
    }

    /// As [`Listener::published_network`], for keeps.
    ///
    /// # Errors
    /// As there.
    pub(super) fn into_published(self) -> Result<Pretrained> {
        match self.network {
            Network::Published { network, .. } => Ok(*network),
            Network::TinyAst(_) => Err(no_published_network()),
        }
    }

    /// What the last layer sees of a recording: `embed_dim` numbers, the mean over those of its windows that are not silent.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, [`Error::Torch`] when the network cannot run.
    pub fn embedding(&mut self, waveform: &Waveform) -> Result<Vec<f32>> {
        match &mut self.network {
            Network::TinyAst(classifier) => classifier.embedding(waveform),
            Network::Published { network, resampler } => {
                Ear::new(network, resampler).waveform(waveform)?.embedding(network)
            }
        }
    }

    /// The same of a file in any format the crate reads, of any length.
    ///
    /// # Errors
    /// As [`Listener::embedding`] and [`audio::stream`](crate::front_end::audio::stream).
    pub fn embedding_of_file(&mut self, path: &Path) -> Result<Vec<f32>> {
        match &mut self.network {
            Network::TinyAst(classifier) => classifier.embedding_of_file(path),
            Network::Published { network, resampler } => {
                Ear::new(network, resampler).file(path, &mut |_| true)?.0.embedding(network)
            }
        }
        .map_err(|error| error.in_file(path))
    }

    /// What the network thinks of a recording; `path` is its name in the prediction.
    ///
    /// # Errors
    /// As [`Listener::embedding`].
    pub fn predict(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction> {
        match &mut self.network {
            Network::TinyAst(classifier) => classifier.predict(waveform, path),
            Network::Published { network, resampler } => {
                Ear::new(network, resampler).waveform(waveform)?.prediction(network, path)
            }
        }
    }

    /// Where in the first clip of a recording the network listens, by attention rollout.
    ///
    /// # Errors
    /// As [`Listener::embedding`].
    pub fn listening(&mut self, waveform: &Waveform) -> Result<Listening> {
        if let Network::TinyAst(classifier) = &mut self.network {
            return classifier.listening(waveform);
        }
        let prediction = self.predict(waveform, Path::new("recording"))?;
        let Network::Published { network, resampler } = &mut self.network else { return Err(no_published_network()) };
        let samples = resampler.resample_parallel(&waveform.samples, waveform.sample_rate)?;
        let (levels, features, piece) = network.first_piece(&samples)?;
        let (shares, window) = network.listened_to(&piece);
        let best = prediction.ranked.into_iter().next().unwrap_or_default();
        Listening::of_window(levels, features, &shares, window, best)
    }

    /// As [`Listener::predict`], of a file in any format the crate reads, of any length.
    ///
    /// # Errors
    /// [`Error::Audio`] and [`Error::Io`] as [`audio::stream`](crate::front_end::audio::stream).
    pub fn predict_file(&mut self, path: &Path) -> Result<Prediction> {
        self.predict_file_while(path, &mut |_| true).map(|(prediction, _)| prediction)
    }

    /// As [`Classifier::predict_file_while`].
    ///
    /// # Errors
    /// As [`Listener::predict_file`].
    pub fn predict_file_while(
        &mut self,
        path: &Path,
        go_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<(Prediction, bool)> {
        let (network, resampler) = match &mut self.network {
            Network::TinyAst(classifier) => return classifier.predict_file_while(path, go_on),
            Network::Published { network, resampler } => (network, resampler),
        };
        let said = Ear::new(network, resampler).file(path, go_on);
        let said = said.and_then(|(sound, is_whole)| Ok((sound.prediction(network, path)?, is_whole)));
        said.map_err(|error| error.in_file(path))
    }
}

fn no_published_network() -> Error {
    Error::Config {
        field: "model",
        expected: "a CED or an Audio Spectrogram Transformer".into(),
        found: "a TinyAST, which `train` trains".into(),
    }
}

impl Recognize for Listener {
    fn recognize(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction> {
        self.predict(waveform, path)
    }

    fn locate(&mut self, waveform: &Waveform) -> Result<Listening> {
        self.listening(waveform)
    }
}
