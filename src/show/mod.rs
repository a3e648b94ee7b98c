//! What the notebook shows: each function turns what a stage returned into one value that displays itself.

pub mod html;
pub mod plot;
pub mod tables;
mod table;
mod sound;
mod dataset;
mod proposal;
mod checkup;
mod network;
mod training;
mod sweep;
mod kernel_folder;
mod panel;
mod record;
mod live;
mod evaluation;
mod prediction;

pub use checkup::checkup;
pub use dataset::{augmented, classes, clip, compare, metadata, overview};
pub use evaluation::{class_scores, confused, confusion, embedding_map, examples, recall, reliability, worst};
pub use live::live;
pub use network::{attention, model, patches};
pub use panel::panel;
pub use prediction::{answers, prediction, prediction_table, predictions, tags};
pub use proposal::proposal;
pub use record::{last_take, record, record_each};
pub use sound::{filterbank, sound};
pub use sweep::{learning_rates, sweep};
pub use table::table;
pub use training::{histories, history};
