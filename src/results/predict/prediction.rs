//! What a network thinks of a recording.

use std::fmt;
use std::path::PathBuf;

/// What a recording is called that is unlike everything a network was trained on.
pub const NONE_OF_THESE: &str = "none of these";

/// What the network thinks of one recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The recording.
    pub path: PathBuf,
    /// Its length in seconds.
    pub duration_s: f64,
    /// How many windows of the clip length were averaged.
    pub windows: usize,
    /// Classes with their probabilities, the most probable first.
    pub ranked: Vec<(String, f32)>,
    /// What it thinks of each window, in their order.
    pub timeline: Vec<Window>,
    /// Whether it is like what the network was trained on, or none of it.
    pub standing: Standing,
}

/// How a recording compares with those a network was trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// There is nothing to hear: no part of it is louder than the least step of 16 bits, because it is silent or because its channels cancel
    /// each other.
    Silent,
    /// It is further from every class than nearly all recordings of the kind trained on: of a hundred such recordings that the network did not
    /// know, this share or fewer lay as far away; at most 0.05.
    Unlike(f64),
    /// It is as near as such recordings are: this share of them lay as far away.
    Like(f64),
    /// The network knows no recordings to compare with.
    Unknown,
}

impl Standing {
    /// Whether the classes of the network should not be believed: the recording is of none of them.
    pub fn is_none_of_these(self) -> bool {
        matches!(self, Standing::Silent | Standing::Unlike(_))
    }

    /// In a word, for programs to read: `silent`, `unlike`, `like`, `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Silent => "silent",
            Standing::Unlike(_) => "unlike",
            Standing::Like(_) => "like",
            Standing::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Silent => write!(f, "nothing to hear: silence, or channels that cancel each other"),
            Standing::Unlike(share) => {
                write!(f, "unlike what it was trained on: {:.0} of 100 such recordings lie as far away", 100.0 * share)
            }
            Standing::Like(_) => write!(f, "like what it was trained on"),
            Standing::Unknown => write!(f, "not compared with what it was trained on"),
        }
    }
}

impl Prediction {
    /// What to name the recording: its most probable class, or "none of these".
    pub fn name(&self) -> &str {
        match self.ranked.first() {
            Some((label, _)) if !self.standing.is_none_of_these() => label,
            _ => NONE_OF_THESE,
        }
    }
}

/// What the network thinks of one window of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Where it starts, in seconds. The last window ends with the recording, and may overlap the one before.
    pub start_s: f64,
    /// Where it ends, in seconds.
    pub end_s: f64,
    /// Probability of every class; in a [`Prediction`] in the order of its `ranked`.
    pub probabilities: Vec<f32>,
    /// How it compares by itself with what the network was trained on.
    pub standing: Standing,
}
