//! What the network's head sees of the held-out fold, to look at how the classes lie apart.

use crate::config::Config;
use crate::distributed::peers::Alone;
use crate::error::Result;
use crate::model::tiny_ast;
use crate::results::evaluate::HeldOut;
use crate::training::paths::checkpoint_path;

/// The held-out fold as the network sees it just before its prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// The fold.
    pub test_fold: u32,
    /// Class names in the order of their targets.
    pub labels: Vec<String>,
    /// Every recording of the fold.
    pub clips: Vec<EmbeddedClip>,
}

/// One recording of the held-out fold.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedClip {
    /// The recording.
    pub filename: String,
    /// Its class, from 0.
    pub actual: usize,
    /// The pooled token before the head, `embed_dim` numbers: the mean over the recording's windows.
    pub values: Vec<f32>,
}

/// Runs the held-out fold through the checkpoint of the config's run, up to the head.
///
/// # Errors
/// As [`evaluate`](crate::results::evaluate::evaluate).
pub fn embeddings(config: &Config) -> Result<Embeddings> {
    let held_out = HeldOut::open(config, &checkpoint_path(config), &Alone)?;
    let clips = held_out.means("reading embeddings", tiny_ast::embeddings)?;
    let clips = clips.into_iter().map(|(clip, values)| EmbeddedClip {
        filename: clip.filename.clone(),
        actual: clip.target,
        values,
    });
    Ok(Embeddings {
        test_fold: held_out.split.test_fold,
        clips: clips.collect(),
        labels: held_out.dataset.labels.clone(),
    })
}
