//! Who is asked: a network with libtorch, classes taught by examples on top of one, or an exported network without libtorch.

use std::path::Path;

#[cfg(feature = "onnx")]
use audio_transformer::OnnxClassifier;
use audio_transformer::audio::Waveform;
#[cfg(feature = "torch")]
use audio_transformer::{Listener, RELEASED, Taught};
#[cfg(feature = "torch")]
use tch::Device;

use crate::format::Said;

/// The released network, inside the program: one file is all that another machine needs.
#[cfg(not(feature = "torch"))]
const RELEASED_ONNX: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/models/tinyast-esc10.onnx"));

/// Who answers.
pub enum Asked {
    #[cfg(feature = "torch")]
    Network(Box<Listener>),
    #[cfg(feature = "torch")]
    Taught(Box<Taught>),
    #[cfg(feature = "onnx")]
    Exported(Box<OnnxClassifier>),
}

impl Asked {
    /// The network of a name, or the released one, and the classes taught by a folder.
    pub fn open(model: Option<&Path>, teach: Option<&Path>) -> Result<Self, String> {
        match model {
            Some(file) if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) => {
                match teach {
                    None => exported(file),
                    Some(_) => {
                        Err("--teach wants a network with libtorch: a checkpoint, a folder or hub:OWNER/NAME".into())
                    }
                }
            }
            _ => with_libtorch(model, teach),
        }
    }

    /// Lets windows of long recordings overlap.
    pub fn set_hop_s(&mut self, hop_s: f32) -> Result<(), String> {
        match self {
            #[cfg(feature = "torch")]
            Asked::Network(listener) => listener.set_hop_s(hop_s).map_err(|error| error.to_string()),
            #[cfg(feature = "torch")]
            Asked::Taught(_) => Err("--hop has no meaning for what --teach answers".into()),
            #[cfg(feature = "onnx")]
            Asked::Exported(network) => network.set_hop_s(hop_s).map_err(|error| error.to_string()),
        }
    }

    /// The highest frequency that is heard, in Hz.
    pub fn highest_hz(&self) -> f32 {
        match self {
            #[cfg(feature = "torch")]
            Asked::Network(listener) => listener.highest_hz(),
            #[cfg(feature = "torch")]
            Asked::Taught(taught) => taught.listener().highest_hz(),
            #[cfg(feature = "onnx")]
            Asked::Exported(network) => network.info().settings.features.f_max_hz(),
        }
    }

    /// What tells this network from others; and whether it was taught, which no file tells.
    pub fn identity(&self) -> Result<String, String> {
        match self {
            #[cfg(feature = "torch")]
            Asked::Network(listener) => listener.identity().map_err(|error| error.to_string()),
            #[cfg(feature = "torch")]
            Asked::Taught(_) => {
                Err("--out has no place for what --teach answers: the examples may have changed since".into())
            }
            #[cfg(feature = "onnx")]
            Asked::Exported(network) => Ok(network.identity().to_owned()),
        }
    }

    /// How many seconds of a microphone's sound an answer is about: what the network was trained on, where it tells.
    #[cfg(feature = "microphone")]
    pub fn clip_s(&self) -> f32 {
        const OTHERWISE_S: f32 = 5.0;
        let own = match self {
            #[cfg(feature = "torch")]
            Asked::Network(listener) => listener.clip_s(),
            #[cfg(feature = "torch")]
            Asked::Taught(taught) => taught.listener().clip_s(),
            #[cfg(feature = "onnx")]
            Asked::Exported(network) => Some(network.info().settings.clip.duration_s),
        };
        own.unwrap_or(OTHERWISE_S)
    }

    /// A sound in memory, named `path`.
    pub fn about(&mut self, waveform: &Waveform, path: &Path) -> audio_transformer::Result<Said> {
        match self {
            #[cfg(feature = "torch")]
            Asked::Network(listener) => listener.predict(waveform, path).map(Said::Prediction),
            #[cfg(feature = "torch")]
            Asked::Taught(taught) => taught.ask(waveform, path).map(Said::Answer),
            #[cfg(feature = "onnx")]
            Asked::Exported(network) => network.predict(waveform, path).map(Said::Prediction),
        }
    }

    /// A recording, as long as `go_on` says so, which is told how much of it was read; and whether that was to its end.
    pub fn about_file(
        &mut self,
        path: &Path,
        go_on: &mut dyn FnMut(f64) -> bool,
    ) -> audio_transformer::Result<(Said, bool)> {
        let said = |(prediction, is_whole)| (Said::Prediction(prediction), is_whole);
        match self {
            #[cfg(feature = "torch")]
            Asked::Network(listener) => listener.predict_file_while(path, go_on).map(said),
            #[cfg(feature = "torch")]
            Asked::Taught(taught) => taught.ask_file(path).map(|answer| (Said::Answer(answer), true)),
            #[cfg(feature = "onnx")]
            Asked::Exported(network) => network.predict_file_while(path, go_on).map(said),
        }
    }
}

#[cfg(feature = "onnx")]
fn exported(file: &Path) -> Result<Asked, String> {
    let network = OnnxClassifier::load(file).map_err(|error| error.to_string())?;
    Ok(Asked::Exported(Box::new(network)))
}

#[cfg(not(feature = "onnx"))]
fn exported(file: &Path) -> Result<Asked, String> {
    Err(format!("{}: this program was built without ONNX; build it with --features onnx", file.display()))
}

#[cfg(feature = "torch")]
fn with_libtorch(model: Option<&Path>, teach: Option<&Path>) -> Result<Asked, String> {
    // The released model's place does not depend on the folder that a cron job starts in.
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join(RELEASED);
    let listener = Listener::open(model.unwrap_or(&released), Device::Cpu).map_err(|error| error.to_string())?;
    let Some(folder) = teach else { return Ok(Asked::Network(Box::new(listener))) };
    let taught = Taught::from_folder(listener, folder).map_err(|error| error.to_string())?;
    let (right, all) = taught.leave_one_out();
    eprintln!(
        "predict: taught {}; of {all} examples {right} are nearest to their own class",
        taught.labels().join(", ")
    );
    Ok(Asked::Taught(Box::new(taught)))
}

#[cfg(not(feature = "torch"))]
fn with_libtorch(model: Option<&Path>, teach: Option<&Path>) -> Result<Asked, String> {
    if model.is_some() || teach.is_some() {
        return Err(
            "this program was built without libtorch: it takes a network as ONNX (--model NAME.onnx), and no --teach"
                .into(),
        );
    }
    let network = OnnxClassifier::parse(RELEASED_ONNX.to_vec());
    let network =
        network.map_err(|(expected, found)| format!("the released network: expected {expected}, found {found}"))?;
    Ok(Asked::Exported(Box::new(network)))
}
