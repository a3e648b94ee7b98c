//! Weights of Hugging Face's `ViTForImageClassification` in a TinyAST of the same shape, and back.

use std::path::Path;

use safetensors::SafeTensors;
use tch::Tensor;
use tch::nn::VarStore;

use crate::config::{Pooling, Stem, TinyAstConfig};
use crate::error::{Error, Result};
use crate::model::tensors;

/// Our parameters and theirs, as `save_pretrained` of transformers 4 and 5 writes them. `{}` stands for a block's number; several of
/// theirs are stacked in one of ours, row upon row.
pub const NAMES: &[(&str, &[&str])] = &[
    ("patch_embed", &["vit.embeddings.patch_embeddings.projection"]),
    ("cls_token", &["vit.embeddings.cls_token"]),
    ("pos_embed", &["vit.embeddings.position_embeddings"]),
    ("blocks.{}.norm1", &["vit.encoder.layer.{}.layernorm_before"]),
    (
        "blocks.{}.attention.qkv",
        &[
            "vit.encoder.layer.{}.attention.attention.query",
            "vit.encoder.layer.{}.attention.attention.key",
            "vit.encoder.layer.{}.attention.attention.value",
        ],
    ),
    ("blocks.{}.attention.proj", &["vit.encoder.layer.{}.attention.output.dense"]),
    ("blocks.{}.norm2", &["vit.encoder.layer.{}.layernorm_after"]),
    ("blocks.{}.mlp.fc1", &["vit.encoder.layer.{}.intermediate.dense"]),
    ("blocks.{}.mlp.fc2", &["vit.encoder.layer.{}.output.dense"]),
    ("norm", &["vit.layernorm"]),
    ("head", &["classifier"]),
];

/// Their names for one of our parameters: `blocks.1.norm1.weight` → `vit.encoder.layer.1.layernorm_before.weight`.
pub fn names_of(parameter: &str) -> Option<Vec<String>> {
    let block: String =
        parameter.strip_prefix("blocks.").unwrap_or_default().split('.').next().unwrap_or_default().into();
    NAMES.iter().find_map(|(ours, theirs)| {
        let rest = parameter.strip_prefix(&ours.replace("{}", &block))?;
        let suffix_fits = ["", ".weight", ".bias"].contains(&rest);
        suffix_fits.then(|| theirs.iter().map(|name| name.replace("{}", &block) + rest).collect())
    })
}

/// One of our parameters put together from a file in their naming.
///
/// # Errors
/// What is wrong, in words: the file lacks it, it is of another type than F32 or F16, or its parts cannot be stacked.
pub fn read(file: &SafeTensors, parameter: &str) -> Result<Tensor, String> {
    let names = names_of(parameter).ok_or_else(|| format!("no name for {parameter}"))?;
    let parts = names.iter().map(|name| tensors::read(file, name)).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_cat(&parts, 0).map_err(|error| error.to_string())
}

/// One of our parameters under their names: the parts that [`read`] puts together. `None` for a parameter they have no name for.
pub fn parts_of(parameter: &str, values: &Tensor) -> Option<Vec<(String, Tensor)>> {
    let names = names_of(parameter)?;
    let parts = values.chunk(names.len() as i64, 0);
    Some(names.into_iter().zip(parts).collect())
}

/// Whether a network is one of theirs: patches side by side, and a class token.
pub fn fits(config: &TinyAstConfig) -> bool {
    let side_by_side = matches!(config.stem, Stem::Patches { patch_size, stride } if patch_size == stride);
    side_by_side && config.pooling == Pooling::ClassToken
}

/// Copies a file's weights into a network with plain patches and a class token.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Checkpoint`] when it is damaged or does not fit the network.
pub fn load(path: &Path, vs: &VarStore) -> Result<()> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let unfit = |expected: &str, found: String| Error::Checkpoint {
        path: path.into(),
        expected: expected.into(),
        found,
        next: "Save a ViTForImageClassification in float32, and name a TinyAstConfig of its shape.".into(),
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| unfit("a safetensors file", error.to_string()))?;
    let mut variables: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    let mut known = Vec::new();
    for (name, _) in &variables {
        let theirs =
            names_of(name).ok_or_else(|| unfit("plain patches and a class token", format!("no name for {name}")))?;
        known.extend(theirs);
    }
    // What no parameter takes up would be a part of another network: a layer more, say.
    if let Some(surplus) = file.names().into_iter().filter(|name| !known.iter().any(|known| known == name)).min() {
        return Err(unfit("the weights of this network alone", surplus.to_owned()));
    }
    for (name, mut variable) in variables {
        let values = read(&file, &name).map_err(|found| unfit(&format!("the weights of {name}"), found))?;
        let copied = tensors::copy_into(&mut variable, &name, &values);
        copied.map_err(|(expected, found)| unfit(&expected, found))?;
    }
    Ok(())
}
