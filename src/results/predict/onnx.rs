//! A network that `export` wrote, asked without libtorch.
//!
//! rten reads the file and runs it; everything around the network is the code that stands around it elsewhere.

use std::fs;
use std::path::Path;

use ndarray::{Array2, Array4, ArrayView1, ArrayViewMut1, Axis, s};
use rten::{Dimension, Model, ModelOptions, NodeId};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use super::hearing::{FEW, Heard, Hearing, Verdict, check_hop, standing};
use super::prediction::Prediction;
use crate::config::View;
use crate::error::{Error, Result};
use crate::files::content;
use crate::front_end::audio::Waveform;
use crate::front_end::features::{FeatureExtractor, Spectrogram};
use crate::training::described::{CheckpointInfo, FAMILIARITY_KEY, INFO_KEY, OUTPUTS};
use crate::training::reference::Reference;
use crate::training::{resize, seal, views};

/// A trained network in an ONNX file, with everything that turns a recording into what it takes. It answers as a `Classifier` does of the
/// checkpoint that the file was exported from.
pub struct OnnxClassifier {
    info: CheckpointInfo,
    reference: Option<Reference>,
    extractor: FeatureExtractor,
    network: Model,
    /// Of logits, embedding and, where there is a reference, whitened numbers.
    outputs: Vec<NodeId>,
    hop_s: Option<f32>,
    identity: String,
}

impl OnnxClassifier {
    /// Reads a file that `export` wrote.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::Checkpoint`] when it is damaged, is none of this crate's, or a network of another kind.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        Self::parse(bytes).map_err(|(expected, found)| {
            let next = "Export the network again, or name another file.".to_owned();
            Error::Checkpoint { path: path.into(), expected, found, next }
        })
    }

    /// Reads a file in memory.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, (String, String)> {
        seal::check(&bytes)?;
        let identity = content::hash_bytes(&bytes).to_string();
        let network = ModelOptions::with_all_ops().prepack_weights(true).load(bytes);
        let network = network.map_err(|error| ("a whole ONNX file".to_owned(), error.to_string()))?;
        let entry = |key: &str| network.metadata().fields().find(|entry| entry.0 == key).map(|entry| entry.1);
        let Some(told) = entry(INFO_KEY) else {
            return Err((format!("a TinyAST that export wrote, with {INFO_KEY:?} in its metadata"), "none".into()));
        };
        let info = CheckpointInfo::parse(told)?;
        let reference = entry(FAMILIARITY_KEY).map(serde_json::from_str::<Reference>).transpose();
        let reference = reference.map_err(|error| ("a comparison this version reads".into(), error.to_string()))?;
        if let Some(reference) = &reference {
            reference.check()?;
        }
        let (n_mels, n_frames) = info.model.input_size;
        check_input(&network, &[1, n_mels, n_frames])?;
        let mut widths = vec![info.labels.len(), info.model.embed_dim];
        widths.extend(reference.as_ref().map(|reference| reference.means.ncols()));
        let outputs = OUTPUTS.iter().zip(widths).map(|(name, width)| output(&network, name, width));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let extractor = FeatureExtractor::new(&info.settings.features)
            .map_err(|error| ("settings in their range".to_owned(), error.to_string()))?;
        Ok(OnnxClassifier { info, reference, extractor, network, outputs, hop_s: None, identity })
    }

    /// Class names in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.info.labels
    }

    /// A hash of the file, which tells this network from others.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Lets the windows of a long recording overlap, one every `hop_s` seconds in place of one behind the other.
    ///
    /// # Errors
    /// [`Error::Config`] for a hop that is not above 0 and up to the clip's length.
    pub fn set_hop_s(&mut self, hop_s: f32) -> Result<()> {
        check_hop(hop_s, &self.info)?;
        self.hop_s = Some(hop_s);
        Ok(())
    }

    /// Numbers in an embedding.
    pub fn embed_dim(&self) -> usize {
        self.info.model.embed_dim
    }

    /// What the file says about the network.
    pub fn info(&self) -> &CheckpointInfo {
        &self.info
    }

    /// What the head sees of a recording: `embed_dim` numbers, the mean over its windows.
    ///
    /// # Errors
    /// As [`OnnxClassifier::predict`].
    pub fn embedding(&mut self, waveform: &Waveform) -> Result<Vec<f32>> {
        let mut seen = self.hearing().waveform(waveform)?.seen;
        seen.truncate(self.embed_dim());
        Ok(seen)
    }

    /// Classifies one file in any format the crate reads, of any length.
    ///
    /// # Errors
    /// As [`audio::stream`](crate::front_end::audio::stream) and [`OnnxClassifier::predict`].
    pub fn predict_file(&mut self, path: &Path) -> Result<Prediction> {
        self.predict_file_while(path, &mut |_| true).map(|(prediction, _)| prediction)
    }

    /// The same as long as `go_on` says so, which is told how much of the file was read, 0 to 1; and whether that was to its end. What is said of a
    /// recording that was not heard to its end is said of its beginning.
    ///
    /// # Errors
    /// As [`OnnxClassifier::predict_file`].
    pub fn predict_file_while(
        &mut self,
        path: &Path,
        go_on: &mut dyn FnMut(f64) -> bool,
    ) -> Result<(Prediction, bool)> {
        let (heard, is_whole) = self.hearing().file(path, go_on).map_err(|error| error.in_file(path))?;
        Ok((self.judged(heard, path)?, is_whole))
    }

    /// Classifies a sound in memory; `path` is its name in the prediction.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, [`Error::Onnx`] when the network cannot run.
    pub fn predict(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction> {
        let heard = self.hearing().waveform(waveform)?;
        self.judged(heard, path)
    }

    fn judged(&self, heard: Heard, path: &Path) -> Result<Prediction> {
        let embed_dim = self.embed_dim();
        let familiar =
            self.reference.as_ref().map(|reference| (reference, distance(reference, embed_dim, &heard.seen)));
        let standing = standing(heard.loudest_dbfs, familiar);
        Ok(heard.prediction(self.labels(), standing, path))
    }

    fn hearing(&mut self) -> Hearing<'_, impl FnMut(&[Spectrogram]) -> Result<Vec<Verdict>>> {
        let OnnxClassifier { info, extractor, network, outputs, reference, hop_s, .. } = self;
        let (info, reference) = (&*info, reference.as_ref());
        let (network, outputs, hop_s) = (&*network, &*outputs, *hop_s);
        Hearing::new(info, extractor, reference, FEW, move |clips: &[Spectrogram]| {
            let verdicts = clips.iter().map(|clip| {
                let mut verdict = judge(network, outputs, &views_of(info, clip))?;
                verdict.distance = reference.map(|reference| distance(reference, info.model.embed_dim, &verdict.seen));
                Ok(verdict)
            });
            verdicts.collect::<Result<Vec<_>, String>>().map_err(|reason| Error::Onnx { reason })
        })
        .every(hop_s)
    }
}

/// Refuses a network that takes something else than a batch of this shape.
fn check_input(network: &Model, shape: &[usize]) -> Result<(), (String, String)> {
    let found = network.input_shape(0).unwrap_or_default();
    let fits = network.input_ids().len() == 1 && found.len() == shape.len() + 1;
    let sides = found.iter().skip(1).zip(shape);
    match fits && sides.into_iter().all(|(side, wanted)| matches!(side, Dimension::Fixed(n) if n == wanted)) {
        true => Ok(()),
        false => Err((format!("an input (batch, {shape:?})"), format!("{found:?}"))),
    }
}

/// The output of a name, which has this many numbers for each input.
fn output(network: &Model, name: &str, width: usize) -> Result<NodeId, (String, String)> {
    let expected = || format!("an output {name} (batch, {width}), as the file's description has");
    let id =
        network.output_ids().iter().find(|id| network.node_info(**id).is_some_and(|node| node.name() == Some(name)));
    let Some(&id) = id else { return Err((expected(), "none".into())) };
    let shape = network.node_info(id).and_then(|node| node.shape()).unwrap_or_default();
    match shape[..] {
        [_, Dimension::Fixed(n)] if n == width => Ok(id),
        _ => Err((expected(), format!("{shape:?}"))),
    }
}

/// The mean over a clip's views of what the network says; what went wrong, in words.
fn judge(network: &Model, outputs: &[NodeId], views: &Array4<f32>) -> Result<Verdict, String> {
    let (n_views, channels, n_mels, n_frames) = views.dim();
    let values = views.as_slice().unwrap_or_default();
    let views = NdTensorView::from_data([n_views, channels, n_mels, n_frames], values);
    let input = *network.input_ids().first().ok_or("no input")?;
    let said = network.run(vec![(input, views.into())], outputs, None).map_err(|error| error.to_string())?;
    let mut means = Vec::with_capacity(outputs.len());
    for (i, output) in said.into_iter().enumerate() {
        let rows: NdTensor<f32, 2> = output.try_into().map_err(|error| format!("{error:?}"))?;
        let rows = Array2::from_shape_vec((rows.size(0), rows.size(1)), rows.to_vec());
        let mut rows = rows.map_err(|error| error.to_string())?;
        if i == 0 {
            rows.outer_iter_mut().for_each(softmax);
        }
        means.push(rows.mean_axis(Axis(0)).ok_or("no view")?.to_vec());
    }
    let probabilities = means.remove(0);
    Ok(Verdict { probabilities, seen: means.concat(), distance: None })
}

/// How far a sound is from what the network knows, by the whitened numbers behind what the head sees.
fn distance(reference: &Reference, embed_dim: usize, seen: &[f32]) -> f32 {
    reference.distance(ArrayView1::from(seen.get(embed_dim..).unwrap_or_default()))
}

/// Logits → probabilities.
fn softmax(mut logits: ArrayViewMut1<f32>) {
    let highest = logits.fold(f32::NEG_INFINITY, |highest, logit| highest.max(*logit));
    logits.mapv_inplace(|logit| (logit - highest).exp());
    let total = logits.sum();
    logits /= total;
}

/// A clip as the network takes it: `(n_views, 1, n_mels, n_frames)`.
fn views_of(info: &CheckpointInfo, clip: &Spectrogram) -> Array4<f32> {
    let (n_mels, n_frames) = info.model.input_size;
    let mut inputs = Array4::zeros((info.model.n_views(), 1, n_mels, n_frames));
    match info.model.view {
        View::Whole => {
            inputs.slice_mut(s![0, 0, .., ..]).assign(&resize::resize(clip.values.view(), info.model.input_size))
        }
        View::Windows { n_views } => {
            let windows = views::spread(clip.power().view(), n_frames, n_views);
            for (mut window, mut input) in windows.into_iter().zip(inputs.outer_iter_mut()) {
                views::to_input(&mut window, &info.settings.features);
                input.slice_mut(s![0, .., ..]).assign(&window);
            }
        }
    }
    inputs
}
