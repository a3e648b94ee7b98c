//! Networks: from an input of fixed size to logits. Each stands in a folder of its own; what they share lies beside them.

pub mod tensors;
pub mod seed;
pub mod tiny_ast;
