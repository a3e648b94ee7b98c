//! Networks: from an input of fixed size to logits. Each stands in a folder of its own; what they share lies beside them.

pub mod tensors;
pub mod names;
pub mod weights;
pub mod seed;
pub mod onnx;
pub(crate) mod transformer;
pub mod tiny_ast;
pub mod ced;
pub mod ast;
pub mod pretrained;
