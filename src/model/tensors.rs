//! Named tensors in one `.safetensors` file, with a JSON description in its metadata.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::files;
use crate::files::content::{Digest, Hashing};

/// The metadata key under which a file describes itself as JSON.
pub const INFO_KEY: &str = "audio_transformer";

/// What a description begins with that tells a damaged file: a hash of all tensors and of the rest of the description follows.
const SEAL: &str = "{\"xxh3\":\"";
/// What stands between the hash and that rest.
const BEHIND_SEAL: &str = "\",";

/// How numbers lie on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits: exactly what was computed.
    Single,
    /// 16 bits: half the size, and about three digits.
    Half,
}

/// Writes tensors of floats with a description, a JSON object that is not empty, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::Torch`] when numbers cannot be read from the device.
pub fn write(path: &Path, tensors: &[(String, Tensor)], precision: Precision, info: &str) -> Result<()> {
    write_file(path, tensors, precision, INFO_KEY, |contents| {
        // Within the description: with two entries of metadata the file's bytes would depend on chance.
        let Some(rest) = info.strip_prefix('{') else { return info.to_owned() };
        format!("{SEAL}{}{BEHIND_SEAL}{rest}", hash(contents, info))
    })
}

/// Writes tensors of floats with one entry of metadata under a key of one's own, whole or not at all.
///
/// # Errors
/// As [`write()`].
pub fn write_with(
    path: &Path,
    tensors: &[(String, Tensor)],
    precision: Precision,
    (key, value): (&str, &str),
) -> Result<()> {
    write_file(path, tensors, precision, key, |_| value.to_owned())
}

fn write_file(
    path: &Path,
    tensors: &[(String, Tensor)],
    precision: Precision,
    key: &str,
    value: impl FnOnce(&[(&str, TensorView)]) -> String,
) -> Result<()> {
    let (kind, dtype) = match precision {
        Precision::Single => (Kind::Float, Dtype::F32),
        Precision::Half => (Kind::Half, Dtype::F16),
    };
    let mut contents = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let shape: Vec<usize> = tensor.size().iter().map(|side| *side as usize).collect();
        contents.push((name.as_str(), shape, to_bytes(&tensor.to_kind(kind))?));
    }
    contents.sort();
    let unfit = |error: safetensors::SafeTensorError| Error::io("write", path)(std::io::Error::other(error));
    let mut views = Vec::with_capacity(contents.len());
    for (name, shape, bytes) in &contents {
        views.push((*name, TensorView::new(dtype, shape.clone(), bytes).map_err(unfit)?));
    }
    let metadata = HashMap::from([(key.to_owned(), value(&views))]);
    files::write_bytes(path, &safetensors::serialize(views, Some(metadata)).map_err(unfit)?)
}

/// A hash of tensors, in the order of their names, and of what describes them.
fn hash(tensors: &[(&str, TensorView)], info: &str) -> Digest {
    let mut hashing = Hashing::default();
    for (name, view) in tensors {
        hashing.take(format!("{name} {:?} ", view.shape()).as_bytes());
        hashing.take(view.data());
    }
    hashing.take(info.as_bytes());
    hashing.digest()
}

/// The description of a file in memory, if it has one.
///
/// # Errors
/// What is wrong with the file, in words: not a whole one, or other bytes than were written. Files of before the hash was kept pass.
pub fn info(bytes: &[u8]) -> Result<Option<String>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let Some(told) = header.metadata().as_ref().and_then(|metadata| metadata.get(INFO_KEY)) else { return Ok(None) };
    let sealed = told.strip_prefix(SEAL).and_then(|rest| rest.split_once(BEHIND_SEAL));
    let Some((written, rest)) = sealed else { return Ok(Some(told.clone())) };
    let info = format!("{{{rest}");
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = file.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let tensors: Vec<_> = tensors.iter().map(|(name, view)| (name.as_str(), view.clone())).collect();
    match hash(&tensors, &info).to_string() == written {
        true => Ok(Some(info)),
        false => Err("one whose bytes have changed since it was written".to_owned()),
    }
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
