//! A checkpoint's network as files for Python and C++.
//!
//! ```text
//! export MODEL FOLDER
//! ```

use std::error::Error;
use std::path::Path;

use audio_transformer::export::export;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [checkpoint, folder] = arguments.as_slice() else {
        return Err("usage: export MODEL FOLDER".into());
    };
    println!("{}", export(Path::new(checkpoint), Path::new(folder))?);
    Ok(())
}
