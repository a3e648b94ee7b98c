//! Features on disk: 2-D `float32` arrays as numpy's `.npy`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::{Array2, ArrayView2};
use ndarray_npy::{ViewNpyExt, WriteNpyError, WriteNpyExt};

use super::atomic;
use crate::error::{Error, Result};

/// The largest file read, in bytes: 1 GiB, an hour of 64-band features at a hop of 256 taking 58 MB.
pub const MAX_LEN: u64 = 1 << 30;
/// The longest header read, in bytes; numpy writes 118 for a 2-D array.
const MAX_HEADER_LEN: usize = 1 << 10;

/// Writes an array as `.npy`, `float32` in C order whatever its layout in memory; the file appears whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the system refuses.
pub fn write_f32(path: &Path, array: &Array2<f32>) -> Result<()> {
    atomic::write_atomic(path, |file| {
        array.as_standard_layout().write_npy(file).map_err(|error| match error {
            WriteNpyError::Io(error) => Error::io("write", path)(error),
            other => Error::io("write", path)(std::io::Error::other(other)),
        })
    })
}

/// Reads a 2-D `float32` array in C order, of `expected_shape` where one is given.
///
/// Nothing is allocated on the word of a header: the file's own length bounds what is read.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Features`] when the file is not such an array, is not as long as its header says,
/// is longer than [`MAX_LEN`], has another shape, or holds a value that is not finite.
pub fn read_f32(path: &Path, expected_shape: Option<(usize, usize)>) -> Result<Array2<f32>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let len = file.metadata().map_err(Error::io("read", path))?.len();
    if len > MAX_LEN {
        return Err(refuse(path, expected_shape, format!("a file of {len} bytes, over the limit of {MAX_LEN}")));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes).map_err(Error::io("read", path))?;
    parse_f32(&bytes, expected_shape, path)
}

/// The array in a `.npy` file already in memory; `path` only names it in errors.
///
/// # Errors
/// As [`read_f32`].
pub fn parse_f32(bytes: &[u8], expected_shape: Option<(usize, usize)>, path: &Path) -> Result<Array2<f32>> {
    let refuse = |found| refuse(path, expected_shape, found);
    check_header(bytes).map_err(refuse)?;
    let array = ArrayView2::<f32>::view_npy(bytes).map_err(|error| refuse(error.to_string()))?;
    if expected_shape.is_some_and(|shape| shape != array.dim()) {
        return Err(refuse(format!("shape {:?}", array.dim())));
    }
    if !array.is_standard_layout() {
        return Err(refuse(format!("shape {:?} in Fortran order", array.dim())));
    }
    if !array.iter().fold(true, |all, value| all & value.is_finite()) {
        let bad = array.indexed_iter().find(|(_, value)| !value.is_finite());
        return Err(refuse(bad.map_or_else(String::new, |(place, value)| format!("{value} at {place:?}"))));
    }
    Ok(array.to_owned())
}

/// Refuses headers that a parser of Python literals could take for ever over: a 2-D array's has one dictionary with one tuple.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let (start, len): (usize, u32) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (10, u32::from_le_bytes([*a, *b, 0, 0])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([*a, *b, *c, *d])),
        _ => return Err("a file that does not start as .npy".to_string()),
    };
    let len = len as usize;
    let header = bytes.get(start..start.saturating_add(len)).filter(|header| header.len() <= MAX_HEADER_LEN);
    let header = header.ok_or_else(|| format!("a header of {len} bytes in a file of {}", bytes.len()))?;
    let count = |brackets: &[u8]| header.iter().filter(|byte| brackets.contains(byte)).count();
    if count(b"{") > 1 || count(b"(") > 1 || count(b"[") > 0 {
        return Err(format!("the header {:?}", String::from_utf8_lossy(header).trim_end()));
    }
    Ok(())
}

fn refuse(path: &Path, expected_shape: Option<(usize, usize)>, found: String) -> Error {
    let of_shape = expected_shape.map_or("in two dimensions".to_string(), |shape| format!("of shape {shape:?}"));
    Error::Features {
        path: path.to_path_buf(),
        expected: format!("finite float32 values {of_shape}, in C order"),
        found,
    }
}
