//! All trainable numbers of a network as one vector.
//!
//! They lie in one flat tensor, of which the layers see views; so do their gradients and an optimiser's moments. A step is then a handful of
//! operations on long vectors, and the whole state of a run is a handful of tensors to save.

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// Every variable begins at a multiple of so many numbers, 64 bytes: CUDA's kernels read several numbers at once, and refuse to where
/// they do not lie at such an address. Between them are zeros, which no step moves.
const ALIGNMENT: i64 = 16;

/// The weights of a network as one vector.
#[derive(Debug)]
pub struct FlatWeights {
    /// All trainable numbers: first the matrices, which decay, then the rest.
    pub values: Tensor,
    /// What training changes without a gradient: the running statistics of batch norms.
    pub buffers: Tensor,
    /// The network's own tensors, views of `values`, in its order.
    parameters: Vec<Tensor>,
    /// Their names, in the same order.
    names: Vec<String>,
    n_decayed: i64,
}

impl FlatWeights {
    /// Moves all variables of a network into flat tensors; the network goes on to use them there.
    ///
    /// # Errors
    /// [`Error::Torch`] when there is no memory for them.
    pub fn new(vs: &VarStore) -> Result<Self> {
        let (mut matrices, mut others, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        let mut variables: Vec<(String, Tensor)> = vs.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, variable) in variables {
            match variable.requires_grad() {
                false => buffers.push(variable),
                true if name.ends_with("weight") && variable.dim() > 1 => matrices.push((name, variable)),
                true => others.push((name, variable)),
            }
        }
        let n_decayed = matrices.iter().map(|(_, matrix)| aligned(matrix.numel() as i64)).sum();
        let (names, mut parameters): (Vec<String>, Vec<Tensor>) = matrices.into_iter().chain(others).unzip();
        Ok(FlatWeights {
            values: flatten(&mut parameters, vs.device())?,
            buffers: flatten(&mut buffers, vs.device())?,
            parameters,
            names,
            n_decayed,
        })
    }

    /// A number for each of `values`, by the name of its variable; `None` where all are 1.
    pub fn shares(&self, share: impl Fn(&str) -> f64) -> Option<Tensor> {
        let shares: Vec<f64> = self.names.iter().map(|name| share(name)).collect();
        if shares.iter().all(|share| *share == 1.0) {
            return None;
        }
        let flat = self.values.ones_like();
        for ((_, parameter, start), share) in self.places().zip(shares) {
            let _ = flat.narrow(0, start, aligned(parameter.numel() as i64)).fill_(share);
        }
        Some(flat)
    }

    /// Every variable by its name, and where in `values` it begins.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, &Tensor, i64)> {
        let mut start = 0;
        self.names.iter().zip(&self.parameters).map(move |(name, parameter)| {
            let begins = start;
            start += aligned(parameter.numel() as i64);
            (name.as_str(), parameter, begins)
        })
    }

    /// The numbers of `values` that decay, those of the matrices: so many of the first.
    pub(crate) fn n_decayed(&self) -> i64 {
        self.n_decayed
    }

    /// The gradient of a loss with respect to `values`.
    ///
    /// # Errors
    /// [`Error::Torch`] when a parameter has no part in the loss.
    pub fn gradient(&self, loss: &Tensor) -> Result<Tensor> {
        let torch = |source| Error::Torch { action: "computing gradients", source };
        let gradients = Tensor::f_run_backward(&[loss], &self.parameters, false, false).map_err(torch)?;
        Tensor::f_cat(&laid_out(&gradients), 0).map_err(torch)
    }

    /// Puts other numbers in the place of the weights.
    pub fn set(&mut self, values: &Tensor, buffers: &Tensor) {
        tch::no_grad(|| {
            self.values.copy_(values);
            self.buffers.copy_(buffers);
        });
    }

    /// Runs `work` with other numbers in the place of the weights, which come back afterwards.
    pub fn with<T>(&mut self, values: &Tensor, buffers: &Tensor, work: impl FnOnce() -> T) -> T {
        let own = (self.values.copy(), self.buffers.copy());
        self.set(values, buffers);
        let result = work();
        self.set(&own.0, &own.1);
        result
    }
}

/// A length with the zeros behind it.
fn aligned(length: i64) -> i64 {
    (length as u64).next_multiple_of(ALIGNMENT as u64) as i64
}

/// The numbers of some tensors, each with the zeros behind it.
fn laid_out(tensors: &[Tensor]) -> Vec<Tensor> {
    let mut parts = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let length = tensor.numel() as i64;
        parts.push(tensor.reshape([-1]));
        if aligned(length) > length {
            parts.push(Tensor::zeros([aligned(length) - length], (tensor.kind(), tensor.device())));
        }
    }
    parts
}

/// One flat tensor of the variables' numbers, whose views take their place.
fn flatten(variables: &mut [Tensor], device: Device) -> Result<Tensor> {
    let torch = |source| Error::Torch { action: "gathering weights", source };
    let _no_grad = tch::no_grad_guard();
    let parts = laid_out(variables);
    let flat = match parts.is_empty() {
        true => Tensor::zeros([0], (Kind::Float, device)),
        false => Tensor::f_cat(&parts, 0).map_err(torch)?,
    };
    let mut start = 0;
    for variable in variables {
        let length = variable.numel() as i64;
        variable.f_set_data(&flat.narrow(0, start, length).view_as(variable)).map_err(torch)?;
        start += aligned(length);
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, Module};

    use super::*;

    /// A layer of 3 × 2 weights and 2 biases.
    fn layer() -> (VarStore, nn::Linear) {
        let vs = VarStore::new(Device::Cpu);
        let layer = nn::linear(vs.root(), 3, 2, nn::LinearConfig::default());
        (vs, layer)
    }

    #[test]
    fn every_variable_lies_where_a_gpu_can_read_it_with_zeros_between() {
        let (vs, layer) = layer();
        let weights = FlatWeights::new(&vs).unwrap();
        for variable in vs.variables().values() {
            assert_eq!(variable.data_ptr() as usize % 64, weights.values.data_ptr() as usize % 64);
        }
        // 2 × 3 weights and 2 biases, each with zeros up to 16.
        assert_eq!((weights.values.size1().unwrap(), weights.n_decayed), (32, 16));
        let places: Vec<_> = weights.places().map(|(name, variable, start)| (name, variable.size(), start)).collect();
        assert_eq!(places, [("weight", vec![2, 3], 0), ("bias", vec![2], 16)]);
        let gradient =
            weights.gradient(&layer.forward(&Tensor::ones([1, 3], (Kind::Float, Device::Cpu))).sum(Kind::Float));
        for flat in [&weights.values, &gradient.unwrap()] {
            for gap in [flat.narrow(0, 6, 10), flat.narrow(0, 18, 14)] {
                assert_eq!(gap.abs().max().double_value(&[]), 0.0);
            }
        }
    }

    #[test]
    fn other_weights_stand_in_for_a_while_and_the_network_sees_them() {
        let (vs, layer) = layer();
        let mut weights = FlatWeights::new(&vs).unwrap();
        let own = layer.ws.double_value(&[0, 0]);
        let (zeros, buffers) = (weights.values.zeros_like(), weights.buffers.copy());
        let inside = weights.with(&zeros, &buffers, || layer.ws.abs().max().double_value(&[]));
        assert_eq!((inside, layer.ws.double_value(&[0, 0])), (0.0, own));
    }
}
