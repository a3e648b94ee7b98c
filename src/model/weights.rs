//! Other people's weights in a network of ours, memory-mapped: what nobody asks for is never read.

use std::fs::File;
use std::path::Path;

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::model::names::{Names, names_of, stacked};

/// Counters of batch norms, which say nothing of the network.
const COUNTER: &str = "num_batches_tracked";

/// Tensors that an error names before it counts the others.
const MAX_NAMED: usize = 6;

/// A file that weights of a network lie in: it has to outlive them.
#[derive(Debug)]
pub struct Mapped(MmapRaw);

/// Copies a file's weights over those of a network.
///
/// # Errors
/// As [`map`].
pub fn copy(path: &Path, vs: &VarStore, names: Names, next: &str) -> Result<()> {
    let mapped = open(path)?;
    let file = parse(path, bytes_of(&mapped), next)?;
    for (mut variable, parts) in fit(path, &file, vs, names, next)? {
        put(path, &file, &mut variable, &parts, next)?;
    }
    Ok(())
}

/// Puts a file's weights in the place of those of a network, where they lie: on a CPU a tensor of 32-bit floats is no copy of its part
/// of the file, and what training does to it does not reach the file. `next` is the advice where the file does not fit.
///
/// The file must not be shortened while the network lives. Files that are replaced by renaming, as this crate writes them, are safe.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Checkpoint`] when it is damaged or does not fit the network, with the tensors
/// that are missing, in excess and of another shape.
pub fn map(path: &Path, vs: &VarStore, names: Names, next: &str) -> Result<Mapped> {
    let mapped = open(path)?;
    let bytes = bytes_of(&mapped);
    let file = parse(path, bytes, next)?;
    for (mut variable, parts) in fit(path, &file, vs, names, next)? {
        let in_place = match &parts[..] {
            [part] if vs.device() == Device::Cpu => in_place(&mapped, bytes, &file, part),
            _ => None,
        };
        match in_place {
            Some(tensor) => {
                let taken = variable.f_set_data(&tensor);
                taken.map_err(|source| Error::Torch { action: "taking up mapped weights", source })?;
            }
            None => {
                put(path, &file, &mut variable, &parts, next)?;
                parts.iter().for_each(|part| let_go(&mapped, bytes, &file, part));
            }
        }
    }
    Ok(mapped)
}

fn open(path: &Path) -> Result<Mapped> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    // SAFETY: the mapping is private, so that nobody sees what is written to it; that nobody shortens the file is asked of the caller.
    let mapped = unsafe { MmapOptions::new().map_copy(&file) }.map_err(Error::io("read", path))?;
    Ok(Mapped(mapped.into()))
}

/// The file as it was. Nobody writes to these bytes while they are looked at: weights are handed out when this is over.
fn bytes_of(mapped: &Mapped) -> &[u8] {
    // SAFETY: the pointer and length are those of a mapping that lives as long as the reference to it.
    unsafe { std::slice::from_raw_parts(mapped.0.as_ptr(), mapped.0.len()) }
}

fn parse<'a>(path: &Path, bytes: &'a [u8], next: &str) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes).map_err(|error| Error::Checkpoint {
        path: path.into(),
        expected: "a whole safetensors file".into(),
        found: error.to_string(),
        next: next.into(),
    })
}

/// The variables of a network, each with the names of its parts in the file, once all of them are there and of the right shape and
/// nothing else is.
fn fit(path: &Path, file: &SafeTensors, vs: &VarStore, names: Names, next: &str) -> Result<Vec<(Tensor, Vec<String>)>> {
    let mut variables: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut fitting, mut missing, mut unfit) = (Vec::with_capacity(variables.len()), Vec::new(), Vec::new());
    let mut unexpected: Vec<String> =
        file.names().into_iter().filter(|name| !name.ends_with(COUNTER)).map(str::to_owned).collect();
    unexpected.sort();
    for (name, variable) in variables {
        let Some(parts) = names_of(names, &name) else {
            missing.push(format!("a name for {name}"));
            continue;
        };
        let mut expected = variable.size();
        if let Some(rows) = expected.first_mut() {
            *rows /= parts.len() as i64;
        }
        for part in &parts {
            unexpected.retain(|name| name != part);
            match file.tensor(part) {
                Err(_) => missing.push(part.clone()),
                Ok(view) if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                    unfit.push(format!("{part} as {:?} in place of F32, F16 or BF16", view.dtype()));
                }
                Ok(view) if shape_of(&view) != expected => {
                    unfit.push(format!("{part} as {:?} in place of {expected:?}", view.shape()));
                }
                Ok(_) => (),
            }
        }
        fitting.push((variable, parts));
    }
    let lists = [("missing", missing), ("unexpected", unexpected), ("unfit", unfit)];
    let found: Vec<String> =
        lists.iter().filter(|(_, names)| !names.is_empty()).map(|(kind, names)| list(kind, names)).collect();
    if found.is_empty() {
        return Ok(fitting);
    }
    let expected =
        format!("the {} tensors of this network", fitting.iter().map(|(_, parts)| parts.len()).sum::<usize>());
    Err(Error::Checkpoint { path: path.into(), expected, found: found.join("; "), next: next.into() })
}

/// `missing a, b and 3 more`.
fn list(kind: &str, names: &[String]) -> String {
    let named = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => format!("{kind} {named}"),
        more => format!("{kind} {named} and {more} more"),
    }
}

fn shape_of(view: &TensorView) -> Vec<i64> {
    view.shape().iter().map(|side| *side as i64).collect()
}

/// Copies the parts of a variable over it.
fn put(path: &Path, file: &SafeTensors, variable: &mut Tensor, parts: &[String], next: &str) -> Result<()> {
    let copied = stacked(file, parts).and_then(|values| {
        let _no_grad = tch::no_grad_guard();
        variable.f_copy_(&values).map(drop).map_err(|error| error.to_string())
    });
    let (path, expected, next) = (path.into(), format!("to read {}", parts.join(", ")), next.into());
    copied.map_err(|found| Error::Checkpoint { path, expected, found, next })
}

/// A tensor where it lies in the file, if it lies there as libtorch takes it.
fn in_place(mapped: &Mapped, bytes: &[u8], file: &SafeTensors, name: &str) -> Option<Tensor> {
    let view = file.tensor(name).ok().filter(|view| view.dtype() == Dtype::F32)?;
    let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
    let data = mapped.0.as_mut_ptr().wrapping_add(start);
    let shape = shape_of(&view);
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    if view.data().is_empty() || !(data as usize).is_multiple_of(size_of::<f32>()) {
        return None;
    }
    // SAFETY: the data are as many floats as the shape says, which `SafeTensors` has checked, and aligned as such. They live as long as
    // `mapped`, which the owner of the variables keeps.
    unsafe { Tensor::f_from_blob(data, &shape, &strides, Kind::Float, Device::Cpu) }.ok()
}

/// Gives the memory of a part of the file back that has been copied.
fn let_go(mapped: &Mapped, bytes: &[u8], file: &SafeTensors, name: &str) {
    let Ok(view) = file.tensor(name) else { return };
    let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
    // SAFETY: nobody has written to this part, so that the file still has it. That the kernel keeps it would be no fault.
    _ = unsafe { mapped.0.unchecked_advise_range(UncheckedAdvice::DontNeed, start, view.data().len()) };
}
