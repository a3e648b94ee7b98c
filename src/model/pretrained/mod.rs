//! Published networks in folders as Hugging Face's: `config.json`, `model.safetensors`, `preprocessor_config.json`.

mod folder;
mod network;
#[cfg(feature = "download")]
mod named;
mod save;

pub use folder::WEIGHTS_FILE;
#[cfg(feature = "download")]
pub(crate) use named::place_of;
pub use network::{Architecture, Heard, Pretrained};
