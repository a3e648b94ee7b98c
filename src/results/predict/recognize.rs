//! What every network that is asked can do.

use std::path::Path;

use super::classifier::Classifier;
use super::listening::Listening;
use super::prediction::Prediction;
use crate::error::Result;
use crate::front_end::audio::Waveform;

/// A network that names what it hears and shows where it listened, whatever its kind.
pub trait Recognize {
    /// What it thinks of a recording; `path` is its name in the prediction.
    ///
    /// # Errors
    /// [`crate::Error::Signal`] for samples that are no sound, [`crate::Error::Torch`] when the network cannot run.
    fn recognize(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction>;

    /// Where in the first clip of a recording it listens.
    ///
    /// # Errors
    /// As [`Recognize::recognize`].
    fn locate(&mut self, waveform: &Waveform) -> Result<Listening>;
}

impl Recognize for Classifier {
    fn recognize(&mut self, waveform: &Waveform, path: &Path) -> Result<Prediction> {
        self.predict(waveform, path)
    }

    fn locate(&mut self, waveform: &Waveform) -> Result<Listening> {
        self.listening(waveform)
    }
}
