//! Features on disk as numpy's `.npy`: 2-D `float32` arrays, and many of one shape in a 3-D one, of which each is read alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
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
    check_finite(array).map_err(refuse)?;
    Ok(array.to_owned())
}

/// Bytes before the values of a 3-D array as it is written here.
pub const STACK_HEADER_LEN: usize = 128;

/// What stands before the values of `n` arrays of `shape`, `(n, rows, columns)`, `float32` in C order; numpy writes the same.
pub fn stack_header(n: usize, (rows, columns): (usize, usize)) -> [u8; STACK_HEADER_LEN] {
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {rows}, {columns}), }}");
    let mut header = [b' '; STACK_HEADER_LEN];
    header[..10].copy_from_slice(b"\x93NUMPY\x01\x00\x76\x00");
    // Three numbers of twenty digits would fit, too.
    header[10..10 + dictionary.len()].copy_from_slice(dictionary.as_bytes());
    header[STACK_HEADER_LEN - 1] = b'\n';
    header
}

/// Reads one of the arrays of a file that holds many of one shape.
///
/// It is read at its place rather than mapped into memory: a mapped file that is cut off meanwhile ends the process without a word.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Features`] when the file is not such arrays, is not as long as its header says or holds fewer
/// of them, or a value is not finite.
pub fn read_of_stack(path: &Path, index: usize, shape: (usize, usize)) -> Result<Array2<f32>> {
    let (mut file, n) = open_stack(path, shape)?;
    let refuse = |found| refuse(path, Some(shape), found);
    if index >= n {
        return Err(refuse(format!("{n} of them where number {index}, from 0, was looked for")));
    }
    let n_bytes = shape.0 * shape.1 * size_of::<f32>();
    let mut bytes = vec![0; n_bytes];
    let place = SeekFrom::Start((STACK_HEADER_LEN + index * n_bytes) as u64);
    file.seek(place).and_then(|_| file.read_exact(&mut bytes)).map_err(Error::io("read", path))?;
    let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let array = Array2::from_shape_vec(shape, values).map_err(|error| refuse(error.to_string()))?;
    check_finite(array.view()).map_err(refuse)?;
    Ok(array)
}

/// The file, and how many arrays are in it.
fn open_stack(path: &Path, shape: (usize, usize)) -> Result<(File, usize)> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let len = file.metadata().map_err(Error::io("read", path))?.len();
    let refuse = |found: &str| Err(refuse(path, Some(shape), format!("a file of {len} bytes {found}")));
    let Some(n_bytes) = shape.0.checked_mul(shape.1).and_then(|n| n.checked_mul(size_of::<f32>())).filter(|n| *n > 0)
    else {
        return refuse("for arrays of no size");
    };
    let Some(values) = len.checked_sub(STACK_HEADER_LEN as u64) else { return refuse("with no room for a header") };
    let n = (values / n_bytes as u64) as usize;
    let mut header = [0; STACK_HEADER_LEN];
    file.read_exact(&mut header).map_err(Error::io("read", path))?;
    if header != stack_header(n, shape) || values % n_bytes as u64 != 0 {
        return refuse("with a header that does not fit that");
    }
    Ok((file, n))
}

fn check_finite(array: ArrayView2<f32>) -> Result<(), String> {
    if array.iter().fold(true, |all, value| all & value.is_finite()) {
        return Ok(());
    }
    let bad = array.indexed_iter().find(|(_, value)| !value.is_finite());
    Err(bad.map_or_else(String::new, |(place, value)| format!("{value} at {place:?}")))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn one_array_of_many_is_read_and_a_file_that_is_not_whole_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let shape = (2, 3);
        let values: Vec<f32> = (0..24).map(|n| n as f32).collect();
        let mut bytes = stack_header(4, shape).to_vec();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        fs::write(&path, &bytes).unwrap();
        // Any reader of the format reads it.
        let whole = ndarray::ArrayView3::<f32>::view_npy(&bytes).map(|array| array.to_owned());
        assert!(whole.is_ok() || bytes.as_ptr().align_offset(4) != 0);
        for index in 0..4 {
            let expected = Array2::from_shape_vec(shape, values[6 * index..6 * index + 6].to_vec()).unwrap();
            assert_eq!(read_of_stack(&path, index, shape).unwrap(), expected);
        }
        let found = |result: Result<Array2<f32>>| result.unwrap_err().to_string();
        assert!(found(read_of_stack(&path, 4, shape)).contains("4 of them"));
        assert!(found(read_of_stack(&path, 0, (3, 2))).contains("does not fit"));
        fs::write(&path, &bytes[..bytes.len() - 24]).unwrap();
        assert!(found(read_of_stack(&path, 0, shape)).contains("does not fit"));
        bytes[STACK_HEADER_LEN..STACK_HEADER_LEN + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        assert!(found(read_of_stack(&path, 0, shape)).contains("NaN at (0, 0)"));
        assert!(read_of_stack(&path, 1, shape).is_ok());
    }
}
