//! Named tensors in one `.safetensors` file, with a JSON description in its metadata.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::files;

/// The metadata key under which a file describes itself as JSON.
pub const INFO_KEY: &str = "audio_transformer";

/// How numbers lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits: exactly what was computed.
    Single,
    /// 16 bits: half the size, and about three digits.
    Half,
}

/// Writes tensors of floats with a description, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::Torch`] when numbers cannot be read from the device.
pub fn write(path: &Path, tensors: &[(String, Tensor)], precision: Precision, info: &str) -> Result<()> {
    write_with(path, tensors, precision, (INFO_KEY, info))
}

/// As [`write()`], with one entry of metadata under a key of one's own.
///
/// # Errors
/// As [`write()`].
pub fn write_with(
    path: &Path,
    tensors: &[(String, Tensor)],
    precision: Precision,
    (key, value): (&str, &str),
) -> Result<()> {
    let (kind, dtype) = match precision {
        Precision::Single => (Kind::Float, Dtype::F32),
        Precision::Half => (Kind::Half, Dtype::F16),
    };
    let mut contents = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let shape: Vec<usize> = tensor.size().iter().map(|side| *side as usize).collect();
        contents.push((name, shape, to_bytes(&tensor.to_kind(kind))?));
    }
    contents.sort();
    let unfit = |error: safetensors::SafeTensorError| Error::io("write", path)(std::io::Error::other(error));
    let mut views = Vec::with_capacity(contents.len());
    for (name, shape, bytes) in &contents {
        views.push((name, TensorView::new(dtype, shape.clone(), bytes).map_err(unfit)?));
    }
    let metadata = HashMap::from([(key.to_owned(), value.to_owned())]);
    files::write_bytes(path, &safetensors::serialize(views, Some(metadata)).map_err(unfit)?)
}

/// The description of a file in memory, if it has one.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn info(bytes: &[u8]) -> Result<Option<String>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(INFO_KEY).cloned()))
}

/// One tensor of a file as 32-bit floats on the CPU.
///
/// # Errors
/// What is wrong with it, in words: it is missing, or holds another type than F32, F16 or BF16.
pub fn read(file: &SafeTensors, name: &str) -> Result<Tensor, String> {
    let view = file.tensor(name).map_err(|error| error.to_string())?;
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        other => return Err(format!("{name} as {other:?}")),
    };
    let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
    let tensor = Tensor::f_from_data_size(view.data(), &shape, kind).map_err(|error| error.to_string())?;
    Ok(tensor.to_kind(Kind::Float))
}

/// Copies `values` over `variable`, which must have the same shape.
///
/// # Errors
/// The two shapes in words, or libtorch's own.
pub fn copy_into(variable: &mut Tensor, name: &str, values: &Tensor) -> Result<(), (String, String)> {
    if values.size() != variable.size() {
        return Err((format!("{name} as {:?}", variable.size()), format!("{:?}", values.size())));
    }
    let copied = tch::no_grad(|| variable.f_copy_(values));
    copied.map(drop).map_err(|error| (format!("{name} to be copied"), error.to_string()))
}

/// The numbers of a tensor as they lie in a file.
///
/// # Errors
/// [`Error::Torch`] when they cannot be read from the device.
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let torch = |source| Error::Torch { action: "reading weights", source };
    let tensor = tensor.f_to_device(Device::Cpu).and_then(|tensor| tensor.f_contiguous()).map_err(torch)?;
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(torch)?;
    Ok(bytes)
}
