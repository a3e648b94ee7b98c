//! Networks as ONNX, the form that the runtimes of every language read: opset 17, weights inside the file.
//!
//! A network writes its layers into a [`Graph`] beside the code that runs them; the graph knows what ONNX calls them.

mod message;
mod graph;

pub use graph::Weights;
pub(crate) use graph::{Graph, Input, Side, Value};
