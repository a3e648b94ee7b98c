//! Names of tensors in other people's files.

use safetensors::SafeTensors;
use tch::Tensor;

use crate::model::tensors;

/// Our parameters and theirs. `{}` stands for a block's number; several of theirs are stacked in one of ours, row upon row.
pub type Names = &'static [(&'static str, &'static [&'static str])];

/// Their names for one of our parameters: of a table with `("blocks.{}.norm1", &["layer.{}.layernorm_before"])`,
/// `blocks.1.norm1.weight` → `layer.1.layernorm_before.weight`.
pub fn names_of(names: Names, parameter: &str) -> Option<Vec<String>> {
    let block: String =
        parameter.strip_prefix("blocks.").unwrap_or_default().split('.').next().unwrap_or_default().into();
    names.iter().find_map(|(ours, theirs)| {
        let rest = parameter.strip_prefix(&ours.replace("{}", &block))?;
        let suffix_fits = ["", ".weight", ".bias", ".running_mean", ".running_var"].contains(&rest);
        suffix_fits.then(|| theirs.iter().map(|name| name.replace("{}", &block) + rest).collect())
    })
}

/// A parameter put together from its parts in a file, row upon row.
///
/// # Errors
/// What is wrong, in words: the file lacks one, it is of another type than F32, F16 or BF16, or they cannot be stacked.
pub fn stacked(file: &SafeTensors, parts: &[String]) -> Result<Tensor, String> {
    let parts = parts.iter().map(|name| tensors::read(file, name)).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_cat(&parts, 0).map_err(|error| error.to_string())
}

/// One of our parameters under their names: the parts that [`stacked`] puts together. `None` for a parameter they have no name for.
pub fn parts_of(names: Names, parameter: &str, values: &Tensor) -> Option<Vec<(String, Tensor)>> {
    let names = names_of(names, parameter)?;
    let parts = values.chunk(names.len() as i64, 0);
    Some(names.into_iter().zip(parts).collect())
}
