//! A network's layers in the terms of ONNX: <https://onnx.ai/onnx/operators>, the fields of a file as `onnx.proto` numbers them.

use std::collections::BTreeSet;

use tch::nn::{Conv2D, LayerNorm, Linear};
use tch::{Kind, Tensor};

use super::message::Message;
use crate::error::Result;
use crate::model::tensors::to_bytes;

/// The operators' version: the first that has layer norm, which every runtime of the last years knows.
const OPSET: i64 = 17;
/// The version of the file's form that came with it.
const IR_VERSION: i64 = 8;

const FLOAT: i64 = 1;
const INT8: i64 = 3;
const INT64: i64 = 7;

/// The largest weight in eight bits. Seven of them are used: processors without instructions for the purpose add two products up in 16 bits,
/// which whole bytes overflow.
const MOST: f64 = 63.0;

/// How the matrices of linear layers are held. All else is 32-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// 32-bit floats: the network as it is.
    Float,
    /// Whole numbers of eight bits with a scale for each output. Matrices are multiplied by inputs of eight bits whose range is measured as they
    /// come (dynamic quantisation); kernels of convolutions are stored so, and computed with as floats.
    Int8,
}

/// A tensor of the graph, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(String);

/// One side of an input: a number, or a name for any.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Is(usize),
    Any(&'static str),
}

/// What the network takes.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub name: &'static str,
    pub shape: Vec<Side>,
}

enum Attribute<'a> {
    Integer(i64),
    Float(f32),
    Integers(&'a [i64]),
}

/// The nodes so far.
pub(crate) struct Graph {
    weights: Weights,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
    nodes: Vec<Message>,
    /// Tensors by name, each as the type ONNX gives it.
    constants: Vec<(String, Tensor, i64)>,
    names: BTreeSet<String>,
}

impl Graph {
    pub(crate) fn new(weights: Weights) -> Self {
        let (inputs, outputs, nodes, constants) = Default::default();
        Graph { weights, inputs, outputs, nodes, constants, names: BTreeSet::new() }
    }

    /// The whole file, with entries of metadata.
    ///
    /// # Errors
    /// [`crate::Error::Torch`] when weights cannot be read.
    pub(crate) fn into_file(self, name: &str, about: &[(&str, &str)]) -> Result<Vec<u8>> {
        let mut constants = Vec::with_capacity(self.constants.len());
        for (name, tensor, data_type) in &self.constants {
            let of_shape = tensor.size().into_iter().fold(Message::default(), |tensor, side| tensor.integer(1, side));
            constants.push(of_shape.integer(2, *data_type).text(8, name).bytes(9, &to_bytes(tensor)?));
        }
        let graph = Message::default()
            .messages(1, &self.nodes)
            .text(2, name)
            .messages(5, &constants)
            .messages(11, &self.inputs)
            .messages(12, &self.outputs);
        let about: Vec<_> = about.iter().map(|(key, value)| Message::default().text(1, key).text(2, value)).collect();
        let file = Message::default()
            .integer(1, IR_VERSION)
            .text(2, env!("CARGO_PKG_NAME"))
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, &graph)
            .message(8, &Message::default().integer(2, OPSET))
            .messages(14, &about);
        Ok(file.into_bytes())
    }

    pub(crate) fn input(&mut self, input: &Input) -> Value {
        self.inputs.push(described(input.name, &input.shape));
        Value(self.unique(input.name))
    }

    /// Gives a value out under a name.
    pub(crate) fn output(&mut self, name: &'static str, value: &Value, shape: &[Side]) {
        let node = Message::default().text(1, &value.0).text(2, name).text(3, name).text(4, "Identity");
        self.nodes.push(node);
        self.outputs.push(described(name, shape));
    }

    pub(crate) fn constant(&mut self, name: &str, tensor: &Tensor) -> Value {
        self.typed(name, tensor.to_kind(Kind::Float), FLOAT)
    }

    fn number(&mut self, number: f64) -> Value {
        self.constant(&format!("number_{number}"), &Tensor::from(number as f32))
    }

    fn integers(&mut self, integers: &[i64]) -> Value {
        let name = integers.iter().fold("integers".to_owned(), |name, integer| format!("{name}_{integer}"));
        self.typed(&name, Tensor::from_slice(integers), INT64)
    }

    fn typed(&mut self, name: &str, tensor: Tensor, data_type: i64) -> Value {
        let known = self.constants.iter().any(|(known, other, _)| known == name && *other == tensor);
        if known {
            return Value(name.to_owned());
        }
        let name = self.unique(name);
        self.constants.push((name.clone(), tensor, data_type));
        Value(name)
    }

    /// `(.., from)` → `(.., to)`.
    pub(crate) fn linear(&mut self, name: &str, layer: &Linear, x: &Value) -> Value {
        self.affine(name, &layer.ws, layer.bs.as_ref(), x)
    }

    /// `x · weightᵀ + bias`, of a weight `(to, from)`.
    pub(crate) fn affine(&mut self, name: &str, weight: &Tensor, bias: Option<&Tensor>, x: &Value) -> Value {
        let product = match self.weights {
            Weights::Float => {
                let weight = self.constant(&format!("{name}.weight"), &weight.tr().contiguous());
                self.op(name, "MatMul", &[x, &weight], &[])
            }
            Weights::Int8 => self.int8_product(name, weight, x),
        };
        let Some(bias) = bias else { return product };
        let bias = self.constant(&format!("{name}.bias"), bias);
        self.op(name, "Add", &[&product, &bias], &[])
    }

    fn int8_product(&mut self, name: &str, weight: &Tensor, x: &Value) -> Value {
        let scale = (weight.abs().amax(1i64, true) / MOST).clamp_min(f64::from(f32::MIN_POSITIVE)); // (to, 1)
        let whole = (weight / &scale).round().tr().contiguous().to_kind(Kind::Int8);
        let whole = self.typed(&format!("{name}.weight"), whole, INT8);
        let scale = self.constant(&format!("{name}.scale"), &scale.squeeze_dim(1));
        let [rounded, step, zero] = self.node(name, "DynamicQuantizeLinear", &[x], &[]);
        let product = self.op(name, "MatMulInteger", &[&rounded, &whole, &zero], &[]);
        let product = self.op(name, "Cast", &[&product], &[("to", Attribute::Integer(FLOAT))]);
        let scale = self.op(name, "Mul", &[&step, &scale], &[]);
        self.op(name, "Mul", &[&product, &scale], &[])
    }

    /// Over the last axis.
    pub(crate) fn layer_norm(&mut self, name: &str, layer: &LayerNorm, eps: f64, x: &Value) -> Value {
        let mut inputs = vec![x.clone()];
        for (part, values) in [("weight", &layer.ws), ("bias", &layer.bs)] {
            inputs.extend(values.as_ref().map(|values| self.constant(&format!("{name}.{part}"), values)));
        }
        let inputs: Vec<_> = inputs.iter().collect();
        self.op(name, "LayerNormalization", &inputs, &[("epsilon", Attribute::Float(eps as f32))])
    }

    /// Without padding.
    pub(crate) fn patches(&mut self, name: &str, layer: &Conv2D, stride: [i64; 2], x: &Value) -> Value {
        self.conv(name, (&layer.ws, layer.bs.as_ref()), stride, [0; 2], x)
    }

    /// Of kernels and biases, on zeros around a map `(batch, from, rows, columns)`.
    pub(crate) fn conv(
        &mut self,
        name: &str,
        (kernels, bias): (&Tensor, Option<&Tensor>),
        stride: [i64; 2],
        [rows, columns]: [i64; 2],
        x: &Value,
    ) -> Value {
        let mut inputs = vec![x.clone(), self.kernels(name, kernels)];
        inputs.extend(bias.map(|bias| self.constant(&format!("{name}.bias"), bias)));
        let inputs: Vec<_> = inputs.iter().collect();
        // Some runtimes want what others take for granted.
        let attributes = [
            ("kernel_shape", Attribute::Integers(&kernels.size()[2..])),
            ("strides", Attribute::Integers(&stride)),
            ("pads", Attribute::Integers(&[rows, columns, rows, columns])),
            ("dilations", Attribute::Integers(&[1, 1])),
            ("group", Attribute::Integer(1)),
        ];
        self.op(name, "Conv", &inputs, &attributes)
    }

    /// Kernels `(to, from, rows, columns)`, of which 8 bits are stored where matrices are, and floats computed with.
    fn kernels(&mut self, name: &str, kernels: &Tensor) -> Value {
        if self.weights == Weights::Float {
            return self.constant(&format!("{name}.weight"), kernels);
        }
        let scale = (kernels.abs().amax([1, 2, 3], true) / f64::from(i8::MAX)).clamp_min(f64::from(f32::MIN_POSITIVE));
        let whole = (kernels / &scale).round().to_kind(Kind::Int8);
        let whole = self.typed(&format!("{name}.weight"), whole, INT8);
        let scale = self.constant(&format!("{name}.scale"), &scale.flatten(0, 3));
        self.op(name, "DequantizeLinear", &[&whole, &scale], &[("axis", Attribute::Integer(0))])
    }

    /// x · Φ(x), Φ the standard normal distribution's. As an operator of its own it is too young for many runtimes.
    pub(crate) fn gelu(&mut self, name: &str, x: &Value) -> Value {
        let (root, one, half) = (self.number(2f64.sqrt()), self.number(1.0), self.number(0.5));
        let scaled = self.op(name, "Div", &[x, &root], &[]);
        let erf = self.op(name, "Erf", &[&scaled], &[]);
        let shifted = self.op(name, "Add", &[&erf, &one], &[]);
        let product = self.op(name, "Mul", &[x, &shifted], &[]);
        self.op(name, "Mul", &[&product, &half], &[])
    }

    pub(crate) fn softmax(&mut self, name: &str, axis: i64, x: &Value) -> Value {
        self.op(name, "Softmax", &[x], &[("axis", Attribute::Integer(axis))])
    }

    pub(crate) fn mean(&mut self, name: &str, axis: i64, x: &Value) -> Value {
        let attributes = [("axes", Attribute::Integers(&[axis])), ("keepdims", Attribute::Integer(0))];
        self.op(name, "ReduceMean", &[x], &attributes)
    }

    /// The sum over an axis, which goes.
    pub(crate) fn sum(&mut self, name: &str, axis: i64, x: &Value) -> Value {
        let axes = self.integers(&[axis]);
        self.op(name, "ReduceSum", &[x, &axes], &[("keepdims", Attribute::Integer(0))])
    }

    pub(crate) fn add(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.op(name, "Add", &[a, b], &[])
    }

    pub(crate) fn mul(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.op(name, "Mul", &[a, b], &[])
    }

    pub(crate) fn scale(&mut self, name: &str, x: &Value, factor: f64) -> Value {
        let factor = self.number(factor);
        self.op(name, "Mul", &[x, &factor], &[])
    }

    pub(crate) fn matmul(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.op(name, "MatMul", &[a, b], &[])
    }

    /// 0 keeps a side, -1 is what is left.
    pub(crate) fn reshape(&mut self, name: &str, x: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        self.op(name, "Reshape", &[x, &shape], &[])
    }

    /// `(batch, rows, columns)` → `(batch, 1, rows, columns)`.
    pub(crate) fn one_channel(&mut self, name: &str, x: &Value) -> Value {
        let axes = self.integers(&[1]);
        self.op(name, "Unsqueeze", &[x, &axes], &[])
    }

    pub(crate) fn transpose(&mut self, name: &str, x: &Value, axes: &[i64]) -> Value {
        self.op(name, "Transpose", &[x], &[("perm", Attribute::Integers(axes))])
    }

    pub(crate) fn concat(&mut self, name: &str, axis: i64, parts: &[&Value]) -> Value {
        self.op(name, "Concat", parts, &[("axis", Attribute::Integer(axis))])
    }

    /// From the first up to, and not including, `end` of an axis.
    pub(crate) fn first(&mut self, name: &str, x: &Value, axis: i64, end: i64) -> Value {
        let end = self.integers(&[end]);
        self.first_up_to(name, x, axis, &end)
    }

    fn first_up_to(&mut self, name: &str, x: &Value, axis: i64, end: &Value) -> Value {
        let (start, axis) = (self.integers(&[0]), self.integers(&[axis]));
        self.op(name, "Slice", &[x, &start, end, &axis], &[])
    }

    /// As many along an axis as another value has along it.
    pub(crate) fn first_as(&mut self, name: &str, x: &Value, axis: i64, other: &Value) -> Value {
        let shape = self.op(name, "Shape", &[other], &[]);
        let place = self.integers(&[axis]);
        let length = self.op(name, "Gather", &[&shape, &place], &[("axis", Attribute::Integer(0))]);
        self.first_up_to(name, x, axis, &length)
    }

    /// Equal parts along an axis, the length of each told.
    pub(crate) fn split<const N: usize>(&mut self, name: &str, x: &Value, axis: i64, length: i64) -> [Value; N] {
        let lengths = self.integers(&[length; N]);
        self.node(name, "Split", &[x, &lengths], &[("axis", Attribute::Integer(axis))])
    }

    /// A constant as often as another value has rows: `(1, ..)` → `(batch, ..)`, of which the other has three axes, too.
    pub(crate) fn once_each(&mut self, name: &str, x: &Value, other: &Value) -> Value {
        let shape = self.op(name, "Shape", &[other], &[]);
        let first = self.integers(&[0]);
        let batch = self.op(name, "Gather", &[&shape, &first], &[("axis", Attribute::Integer(0))]);
        let rest = self.integers(&[1, 1]);
        let shape = self.concat(name, 0, &[&batch, &rest]);
        self.op(name, "Expand", &[x, &shape], &[])
    }

    fn op(&mut self, name: &str, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let [value] = self.node(name, op, inputs, attributes);
        value
    }

    fn node<const N: usize>(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let name = format!("{name}/{op}");
        let outputs: [Value; N] = std::array::from_fn(|_| Value(self.unique(&name)));
        let attributes: Vec<_> = attributes.iter().map(|(name, attribute)| attribute.message(name)).collect();
        let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, &input.0));
        let node = outputs.iter().fold(node, |node, output| node.text(2, &output.0));
        let first = outputs.first().map_or(name.as_str(), |output| &output.0);
        self.nodes.push(node.text(3, first).text(4, op).messages(5, &attributes));
        outputs
    }

    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut n = 1;
        while !self.names.insert(unique.clone()) {
            n += 1;
            unique = format!("{name}_{n}");
        }
        unique
    }
}

impl Attribute<'_> {
    fn message(&self, name: &str) -> Message {
        let attribute = Message::default().text(1, name);
        match self {
            Attribute::Float(value) => attribute.float(2, *value).integer(20, 1),
            Attribute::Integer(value) => attribute.integer(3, *value).integer(20, 2),
            Attribute::Integers(values) => {
                values.iter().fold(attribute, |attribute, value| attribute.integer(8, *value)).integer(20, 7)
            }
        }
    }
}

/// A value of 32-bit floats from outside or to it.
fn described(name: &str, shape: &[Side]) -> Message {
    let sides: Vec<_> = shape.iter().map(Side::message).collect();
    let shape = Message::default().messages(1, &sides);
    let tensor = Message::default().integer(1, FLOAT).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

impl Side {
    fn message(&self) -> Message {
        match self {
            Side::Is(length) => Message::default().integer(1, *length as i64),
            Side::Any(name) => Message::default().text(2, name),
        }
    }
}
