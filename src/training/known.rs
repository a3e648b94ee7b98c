//! What a network that has finished training is told of itself: how sure it may be, and what is like the recordings it knows.

use tch::{Device, Tensor};

use crate::dataset::metadata::ProcessedClip;
use crate::dataset::processed::Dataset;
use crate::dataset::split::Split;
use crate::distributed::peers::Peers;
use crate::error::Result;
use crate::model::tiny_ast::{TinyAst, predictions, stages};
use crate::training::calibration::Calibration;
use crate::training::familiarity::Familiarity;
use crate::training::recordings;

/// The most clips trained on that are looked at again.
const MAX_DESCRIBED: usize = 4_000;

/// A network that has finished training, beside the recordings it was and was not trained on.
pub(crate) struct Known<'a> {
    pub dataset: &'a Dataset,
    pub split: &'a Split,
    pub model: &'a TinyAst,
    pub device: Device,
    /// Those who look at them together.
    pub peers: &'a dyn Peers,
}

impl Known<'_> {
    /// How sure it may be, from recordings it was not trained on.
    ///
    /// # Errors
    /// As [`recordings::means`].
    pub fn calibration(&self) -> Result<Option<Calibration>> {
        let said = self.of(&self.split.calibration, predictions)?;
        Ok(Calibration::fit(said.iter().map(|(clip, probabilities)| (probabilities.as_slice(), clip.target))))
    }

    /// What recordings like those it was trained on are like; `None` where none were kept out of training.
    ///
    /// # Errors
    /// As [`recordings::means`] and [`Familiarity::describe`].
    pub fn familiarity(&self) -> Result<Option<Familiarity>> {
        let others = self.of(&self.split.calibration, stages)?;
        if others.is_empty() {
            return Ok(None);
        }
        let Some(mut familiarity) = self.described()? else { return Ok(None) };
        Ok(familiarity.refer_to(&rows(&others))?.then_some(familiarity))
    }

    /// The same, with the distances of recordings from a network of the same recipe that kept them out of its training, where this one kept none.
    ///
    /// # Errors
    /// As [`Known::familiarity`].
    pub fn familiarity_with(&self, sibling: &Familiarity) -> Result<Option<Familiarity>> {
        Ok(self.described()?.map(|familiarity| familiarity.with_distances_of(sibling)))
    }

    fn described(&self) -> Result<Option<Familiarity>> {
        let every = self.split.train.len().div_ceil(MAX_DESCRIBED);
        let described: Vec<usize> = self.split.train.iter().step_by(every.max(1)).copied().collect();
        let trained = self.of(&described, stages)?;
        let classes: Vec<usize> = trained.iter().map(|(clip, _)| clip.target).collect();
        if classes.is_empty() {
            return Ok(None);
        }
        Familiarity::describe(&rows(&trained), &classes)
    }

    fn of(
        &self,
        clips: &[usize],
        network: impl Fn(&TinyAst, &Tensor) -> Tensor,
    ) -> Result<Vec<(&ProcessedClip, Vec<f32>)>> {
        let network = |inputs: &Tensor| network(self.model, inputs);
        let (model, action) = (self.model.config(), "looking at recordings");
        recordings::means(self.dataset, clips, (model, self.device), action, self.peers, network)
    }
}

/// As one tensor, `(recordings, n)`.
fn rows(recordings: &[(&ProcessedClip, Vec<f32>)]) -> Tensor {
    let n = recordings.first().map_or(0, |(_, row)| row.len());
    let all: Vec<f32> = recordings.iter().flat_map(|(_, row)| row).copied().collect();
    Tensor::from_slice(&all).view([recordings.len() as i64, n as i64])
}
