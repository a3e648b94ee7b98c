//! Pictures for the notebook, from plain data: slices, array views, labels.
//!
//! plotters draws them as SVG, in which the browser sets the text, so that no font is needed from the system. A heat map
//! is one embedded PNG. Every picture has its own paper, white on a light page and dark on a dark one, colours that
//! do not rely on telling red from green, and words for those who do not see it. None takes more than 300 kB of a notebook.

mod colors;
mod png;
mod picture;
mod checks;
mod canvas;
mod axes;
mod sound;
mod front_end;
mod attention;
mod classes;
mod reliability;
mod scatter;
mod strips;
mod timeline;
mod training;

pub use attention::attention;
pub use classes::{BarStyle, bars, confusion_matrix};
pub(crate) use colors::series_hex;
pub use front_end::{filterbank, patches};
pub use picture::Picture;
pub use reliability::reliability;
pub use scatter::{PointGroup, scatter};
pub use sound::{MelAxes, mel_spectrogram, mel_tile, waveform};
pub use strips::{Strip, strips};
pub use timeline::timeline;
pub use training::{Curve, curves};
