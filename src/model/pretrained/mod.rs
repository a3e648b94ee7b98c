//! Published networks in folders as Hugging Face's: `config.json`, `model.safetensors`, `preprocessor_config.json`.

mod folder;
mod network;
mod hearing;
#[cfg(feature = "download")]
mod named;
mod save;

pub use folder::WEIGHTS_FILE;
pub use hearing::{End, Heard, Hearing};
#[cfg(feature = "download")]
pub(crate) use named::place_of;
pub use network::{Architecture, Pretrained};
