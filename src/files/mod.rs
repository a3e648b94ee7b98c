//! What every stage does with files: written whole or not at all, told apart by a hash, with progress on the terminal.

mod atomic;
pub(crate) mod hash;
pub mod content;
pub(crate) mod names;
pub mod text;
pub mod npy;
mod bar;
pub mod progress;
#[cfg(feature = "download")]
pub(crate) mod http;
pub(crate) mod staging;

pub(crate) use atomic::beside;
pub use atomic::{create_dir, write_atomic, write_bytes};
