//! `.npy` files.
use std::fs::File;
use std::path::Path;

use ndarray::Array2;
use ndarray_npy::{ReadNpyExt, WriteNpyExt};

use crate::{Error, Result, files};

/// write
pub fn write_f32(path: &Path, array: &Array2<f32>) -> Result<()> {
    files::write_atomic(path, |file| {
        array.write_npy(file).map_err(|e| Error::io("write", path)(std::io::Error::other(e)))
    })
}
/// read
pub fn read_f32(path: &Path, expected: Option<(usize, usize)>) -> Result<Array2<f32>> {
    let f = File::open(path).map_err(Error::io("read", path))?;
    let a = Array2::<f32>::read_npy(f).map_err(|e| Error::Features {
        path: path.into(),
        expected: "x".into(),
        found: e.to_string(),
    })?;
    if expected.is_some_and(|s| s != a.dim()) {
        return Err(Error::Features {
            path: path.into(),
            expected: format!("{expected:?}"),
            found: format!("{:?}", a.dim()),
        });
    }
    Ok(a)
}
