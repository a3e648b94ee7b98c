//! A network that turns a recording into an embedding and logits, whichever architecture it has.

use std::path::Path;

use ndarray::Array2;
use serde_json::Value;
use tch::nn::{Init, VarStore};
use tch::{Device, Kind, Tensor};

use super::folder::{Description, Shape, free_memory, invalid, weights_path};
use crate::error::{Error, Result};
use crate::front_end::fbank::Fbank;
use crate::front_end::pieces::Piece;
use crate::front_end::published::{AstFeatureConfig, AstFeatures, CedFeatures};
use crate::model::ast::{self, Ast};
use crate::model::ced::{self, Ced};
use crate::model::names::Names;
use crate::model::seed::with_seed;
use crate::model::transformer::weight_init;
use crate::model::weights::{self, Mapped};

/// A file of weights holds at least this share of what its config asks for, or nothing is built: a config may ask for anything.
const MIN_SHARE_IN_FILE: usize = 4;

/// Mean and deviation of what an untrained network takes for levels.
const UNTRAINED_LEVEL_DB: (f64, f64) = (-30.0, 16.0);

/// The architectures that are known.
#[derive(Debug)]
pub enum Architecture {
    /// A CED.
    Ced(Ced),
    /// An Audio Spectrogram Transformer.
    Ast(Ast),
}

pub(super) enum Features {
    Ced(CedFeatures),
    Ast(AstFeatures),
}

/// A published network with what it takes and the classes it knows.
pub struct Pretrained {
    pub(super) architecture: Architecture,
    pub(super) features: Features,
    labels: Vec<String>,
    multi_label: bool,
    sample_rate: u32,
    device: Device,
    pub(super) config: Value,
    pub(super) preprocessor: Value,
    pub(super) vs: VarStore,
    /// Where weights lie that have not been copied; the last to go.
    _mapped: Option<Mapped>,
}

impl Pretrained {
    /// Reads the network in a folder. Its weights are memory-mapped: read when they are used first.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] naming the file that is missing, damaged or of another network, with its tensors that do not fit;
    /// [`Error::Config`] when there is too little memory;
    /// [`Error::Io`] when a file cannot be read.
    pub fn open(folder: &Path, device: Device) -> Result<Self> {
        let description = Description::read(folder)?;
        let path = weights_path(folder)?;
        let file_bytes = path.metadata().map_err(Error::io("read", &path))?.len() as usize;
        // Two bytes a number, or four.
        let most = MIN_SHARE_IN_FILE * file_bytes / 2;
        if description.n_parameters().is_none_or(|n| n > most) {
            let expected = format!("{:?} weights, as its config has", description.n_parameters().unwrap_or(usize::MAX));
            return Err(invalid(&path, expected, format!("a file of {file_bytes} bytes")));
        }
        description.check_memory(free_memory())?;
        let mut network = Self::build(&description, device, Init::Const(0.0))?;
        let next = "Get the network anew: its weights are not those of its config.json.";
        network._mapped = Some(weights::map(&path, &network.vs, network.names(), next)?);
        Ok(network)
    }

    /// A small CED with the fresh weights of a seed, which knows nothing: to go through the motions with where no other can be had.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails.
    pub fn untrained(seed: u64) -> Result<Self> {
        let description = Description::of_untrained()?;
        let network = with_seed(seed, || Self::build(&description, Device::Cpu, weight_init()))?;
        let _no_grad = tch::no_grad_guard();
        for (name, mut variable) in network.vs.variables() {
            // About the levels of sound in dB, as AudioSet has them.
            match name.as_str() {
                "init_bn.running_mean" => _ = variable.fill_(UNTRAINED_LEVEL_DB.0),
                "init_bn.running_var" => _ = variable.fill_(UNTRAINED_LEVEL_DB.1.powi(2)),
                _ => (),
            }
        }
        Ok(network)
    }

    fn build(description: &Description, device: Device, ws_init: Init) -> Result<Self> {
        let vs = VarStore::new(device);
        let (architecture, features, sample_rate) = match &description.shape {
            Shape::Ced(config, features) => {
                let extractor = CedFeatures::new(features, config.patch_size)?;
                let network = Ced::new(&vs.root(), config, ws_init);
                (Architecture::Ced(network), Features::Ced(extractor), features.sampling_rate)
            }
            Shape::Ast(config, features) => {
                let extractor = AstFeatures::new(features)?;
                let network = Ast::new(&vs.root(), config, description.labels.len(), ws_init);
                (Architecture::Ast(network), Features::Ast(extractor), features.sampling_rate)
            }
        };
        Ok(Pretrained {
            architecture,
            features,
            labels: description.labels.clone(),
            multi_label: description.multi_label,
            sample_rate,
            device,
            config: description.config.clone(),
            preprocessor: description.preprocessor.clone(),
            vs,
            _mapped: None,
        })
    }

    /// The network by itself.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Its weights.
    pub fn variables(&self) -> &VarStore {
        &self.vs
    }

    /// Its parameters' names in a file.
    pub(super) fn names(&self) -> Names {
        match &self.architecture {
            Architecture::Ced(_) => ced::NAMES,
            Architecture::Ast(_) => ast::NAMES,
        }
    }

    /// Class names, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Whether a recording may have several classes at once.
    pub fn is_multi_label(&self) -> bool {
        self.multi_label
    }

    /// What describes it: its `config.json` and `preprocessor_config.json` as they were read.
    pub fn descriptions(&self) -> [String; 2] {
        [self.config.to_string(), self.preprocessor.to_string()]
    }

    /// The rate of what it hears, in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The same network with a head of other classes: `weight` `(classes, embed_dim)` and `bias` `(classes)`.
    ///
    /// # Errors
    /// [`Error::Config`] when the head is of another size.
    pub fn with_head(mut self, labels: Vec<String>, multi_label: bool, weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let n = labels.len() as i64;
        if weight.size() != [n, self.embed_dim()] || bias.size() != [n] {
            let expected = format!("[{n}, {}] and [{n}]", self.embed_dim());
            let found = format!("{:?} and {:?}", weight.size(), bias.size());
            return Err(Error::Config { field: "head", expected, found });
        }
        let torch = |source| Error::Torch { action: "taking up a head", source };
        for (name, values) in [("head.weight", weight), ("head.bias", bias)] {
            let mut variables = self.vs.variables();
            let variable = variables.get_mut(name).ok_or_else(|| Error::Config {
                field: "head",
                expected: name.into(),
                found: "none".into(),
            })?;
            variable.f_set_data(&values.detach().to_device(self.device).copy()).map_err(torch)?;
        }
        (self.labels, self.multi_label) = (labels, multi_label);
        Ok(self)
    }

    /// Prepares the network for recordings of up to `n_samples` samples: an AST hears no more frames than they have, which is faster; a CED hears
    /// as many as there are as it is.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails.
    pub fn fit_to(&mut self, n_samples: usize) -> Result<()> {
        let (Architecture::Ast(network), Features::Ast(features)) = (&mut self.architecture, &mut self.features) else {
            return Ok(());
        };
        let (config, settings) = (network.config(), features.settings());
        let wanted = Fbank::n_frames(n_samples).max(config.patch_size + config.time_stride);
        if wanted >= config.max_length {
            return Ok(());
        }
        let settings = AstFeatureConfig { max_length: wanted, ..settings.clone() };
        *features = AstFeatures::new(&settings)?;
        network.shorten(wanted).map_err(|source| Error::Torch { action: "cutting positions", source })?;
        for description in [&mut self.config, &mut self.preprocessor] {
            if let Some(description) = description.as_object_mut() {
                description.insert("max_length".into(), wanted.into());
            }
        }
        Ok(())
    }

    /// What training leaves out of a CED: a share of the columns of patches, and its last block so often, those before it less often in
    /// proportion. An AST is trained as it is.
    pub fn leave_out(&mut self, columns: f64, last_block: f64) {
        if let Architecture::Ced(network) = &mut self.architecture {
            network.leave_out(columns, last_block);
        }
    }

    /// What stands in a piece where there is nothing to hear.
    pub fn silence(&self) -> f64 {
        match &self.features {
            Features::Ced(_) => 0.0,
            Features::Ast(features) => features.silence(),
        }
    }

    /// Blocks of the network.
    pub fn depth(&self) -> usize {
        match &self.architecture {
            Architecture::Ced(network) => network.config().depth,
            Architecture::Ast(network) => network.config().num_hidden_layers,
        }
    }

    /// Numbers in an embedding.
    pub fn embed_dim(&self) -> i64 {
        match &self.architecture {
            Architecture::Ced(network) => network.config().embed_dim as i64,
            Architecture::Ast(network) => network.config().hidden_size as i64,
        }
    }

    /// Frames of a CED's pieces; none for an AST, whose windows are as long as its features.
    pub(super) fn piece_len(&self) -> Option<usize> {
        match &self.architecture {
            Architecture::Ced(network) => Some(network.config().target_length),
            Architecture::Ast(_) => None,
        }
    }

    /// Pieces as the network takes them, side by side. Those of a CED are of one length, followed by zeros where they are shorter, unless there is but
    /// one.
    pub(super) fn inputs_of(&self, pieces: &[Piece], is_only: bool) -> Tensor {
        let input = |piece: &Piece| {
            let features = as_tensor(&piece.features).unsqueeze(0).to_device(self.device);
            match &self.architecture {
                Architecture::Ced(network) => {
                    let input = tch::no_grad(|| network.pieces(&features));
                    let missing = network.config().target_length as i64 - input.size()[2];
                    if is_only { input } else { input.constant_pad_nd([0, missing]) }
                }
                Architecture::Ast(_) => features,
            }
        };
        Tensor::cat(&pieces.iter().map(input).collect::<Vec<_>>(), 0)
    }

    /// How much of each place of one piece goes into what the head sees, by attention rollout: shares `(rows, columns)` that add up to 1, low
    /// bands first, and which frames the columns lie over: the first, and their number.
    pub fn listened_to(&self, piece: &Tensor) -> (Tensor, (isize, usize)) {
        let (shares, first, stride) = match &self.architecture {
            Architecture::Ced(network) => (network.listened_to(piece), 0, network.config().patch_stride),
            Architecture::Ast(network) => {
                let config = network.config();
                // Patches overlap: each stands for the frames in its middle that are nearer to it than to the next.
                let before = config.patch_size.saturating_sub(config.time_stride) / 2;
                (network.listened_to(piece), before as isize, config.time_stride)
            }
        };
        let shares = shares.squeeze_dim(0).to_device(Device::Cpu);
        let columns = shares.size().last().copied().unwrap_or_default() as usize;
        (shares, (first, columns * stride))
    }

    /// Features of recordings as the architecture takes them: of a CED in the pieces that it hears at once, of an AST as they are.
    pub fn inputs(&self, features: &Tensor) -> Tensor {
        match &self.architecture {
            Architecture::Ced(network) => network.pieces(features),
            Architecture::Ast(_) => features.shallow_clone(),
        }
    }

    /// What the head sees of inputs as the architecture takes them: `(batch, embed_dim)`.
    pub fn embed(&self, inputs: &Tensor, train: bool) -> Tensor {
        match &self.architecture {
            Architecture::Ced(network) => network.embed(inputs, train),
            Architecture::Ast(network) => network.embed(inputs, train),
        }
    }

    /// What the last layer takes of embeddings `(batch, embed_dim)`: the same shape, on the CPU.
    pub fn head_input(&self, embeddings: &Tensor) -> Tensor {
        let embeddings = embeddings.to_device(self.device);
        tch::no_grad(|| match &self.architecture {
            Architecture::Ced(network) => network.head_input(&embeddings),
            Architecture::Ast(network) => network.head_input(&embeddings),
        })
        .to_device(Device::Cpu)
    }

    /// `(batch, embed_dim)` → `(batch, classes)`.
    pub fn logits(&self, embeddings: &Tensor) -> Tensor {
        let embeddings = embeddings.to_device(self.device);
        match &self.architecture {
            Architecture::Ced(network) => network.logits(&embeddings),
            Architecture::Ast(network) => network.logits(&embeddings),
        }
    }

    /// The probability of each class for embeddings `(batch, embed_dim)`, on the CPU: of each by itself where a recording may have
    /// several, else shared out among all.
    pub fn probabilities(&self, embeddings: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let logits = self.logits(embeddings);
            let probabilities = if self.multi_label { logits.sigmoid() } else { logits.softmax(-1, Kind::Float) };
            probabilities.to_device(Device::Cpu)
        })
    }
}

impl Features {
    pub(super) fn mixed_up() -> Error {
        Error::Config { field: "features", expected: "those of the network".into(), found: "those of another".into() }
    }
}

fn as_tensor(features: &Array2<f32>) -> Tensor {
    let (rows, columns) = features.dim();
    let features = features.as_standard_layout();
    Tensor::from_slice(features.as_slice().unwrap_or_default()).view([rows as i64, columns as i64])
}
