//! Muon: the steps of matrices, with their directions evened out.
//!
//! What a batch says of a matrix lies mostly in a few directions. Muon replaces a matrix' momentum by the nearest matrix that moves all its
//! directions alike: with the momentum as U·S·Vᵀ the step goes along U·Vᵀ.

use tch::Tensor;

use crate::training::flat_weights::FlatWeights;

/// How much of itself the momentum keeps, as in PyTorch's `torch.optim.Muon`.
const MOMENTUM: f64 = 0.95;
/// The root mean square of a step's numbers for a step size of 1, about what `AdamW`'s have (Liu et al. 2025,
/// <https://arxiv.org/abs/2502.16982>).
const LENGTH: f64 = 0.2;
/// Iterations of Newton and Schulz, and the polynomial of each, which brings singular values close to 1 fast rather than exactly (Jordan et al.
/// 2024, <https://kellerjordan.github.io/posts/muon/>).
const N_ITERATIONS: usize = 5;
const POLYNOMIAL: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// The matrices of a network that Muon moves: all but that of the head, whose rows are classes and no directions.
#[derive(Debug)]
pub(crate) struct Muon {
    matrices: Vec<Matrix>,
    /// How much of a gradient the momentum takes in, for each of the flat weights.
    share: Tensor,
}

/// A matrix among the flat weights; of a convolution, with its kernel in its columns.
#[derive(Debug)]
struct Matrix {
    start: i64,
    rows: i64,
    columns: i64,
    /// How many matrices it is, one below the other: the projections of query, key and value are three.
    n_parts: i64,
}

impl Muon {
    /// For these weights; `others` is what the momentum of all that is no such matrix takes in.
    pub fn new(weights: &FlatWeights, others: f64) -> Self {
        let is_inner = |name: &str| name.ends_with("weight") && !name.starts_with("head");
        let matrices: Vec<Matrix> = weights
            .places()
            .filter(|(name, variable, _)| variable.dim() > 1 && is_inner(name))
            .map(|(name, variable, start)| {
                let rows = variable.size()[0];
                let n_parts = if name.ends_with("qkv.weight") { 3 } else { 1 };
                Matrix { start, rows, columns: variable.numel() as i64 / rows, n_parts }
            })
            .collect();
        let share = weights.values.full_like(others);
        for matrix in &matrices {
            let _ = share.narrow(0, matrix.start, matrix.rows * matrix.columns).fill_(1.0 - MOMENTUM);
        }
        Muon { matrices, share }
    }

    /// Takes a gradient into the momentum of all weights.
    pub fn take_in(&self, momentum: &mut Tensor, gradient: &Tensor) {
        let _ = momentum.lerp_tensor_(gradient, &self.share);
    }

    /// Puts the matrices' steps, times `scale`, in the place of what stands in `update` for them.
    pub fn put_steps(&self, update: &Tensor, momentum: &Tensor, gradient: &Tensor, scale: f64) {
        for Matrix { start, rows, columns, n_parts } in &self.matrices {
            let of = |flat: &Tensor| flat.narrow(0, *start, rows * columns).view([*rows, *columns]);
            // Nesterov's: a step as if the gradient came once more.
            let ahead = of(gradient).lerp(&of(momentum), MOMENTUM);
            let steps = ahead.chunk(*n_parts, 0).into_iter().map(|part| {
                let longest = part.size()[0].max(part.size()[1]) as f64;
                evened_out(&part) * (LENGTH * longest.sqrt() * scale)
            });
            of(update).copy_(&Tensor::cat(&steps.collect::<Vec<_>>(), 0));
        }
    }
}

/// The matrix with all singular values near 1: between 0.65 and 1.25, but for those below a hundredth of its norm.
fn evened_out(matrix: &Tensor) -> Tensor {
    // The smaller product of both.
    let is_tall = matrix.size()[0] > matrix.size()[1];
    let turned = |matrix: Tensor| if is_tall { matrix.transpose(0, 1) } else { matrix };
    let mut x = turned(matrix / matrix.norm().clamp_min(1e-7));
    let [first, third, fifth] = POLYNOMIAL;
    for _ in 0..N_ITERATIONS {
        let square = x.matmul(&x.transpose(0, 1));
        let factor = &square * third + square.matmul(&square) * fifth;
        x = &x * first + factor.matmul(&x);
    }
    turned(x)
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, VarStore};
    use tch::{Device, Kind};

    use super::*;
    use crate::model::transformer::noise;

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).unwrap()
    }

    #[test]
    fn singular_values_of_any_shape_come_near_one_and_directions_stay() {
        for (rows, columns) in [(24, 24), (12, 40), (40, 12), (1, 9)] {
            let matrix = noise(&[rows, columns]);
            let even = evened_out(&matrix);
            assert_eq!(even.size(), [rows, columns]);
            let (u, s, v) = matrix.svd(true, true);
            // In the directions of the matrix it is diagonal.
            let inner = u.transpose(0, 1).matmul(&even).matmul(&v);
            let off = (&inner - inner.diag(0).diag(0)).abs().max().double_value(&[]);
            assert!(off < 1e-4, "{off}");
            for (was, is) in values(&s).into_iter().zip(values(&inner.diag(0))) {
                let is_long = was > 1e-2 * matrix.norm().double_value(&[]);
                assert!(is > 0.0 && is < 1.25 && (!is_long || is > 0.65), "{was} became {is}");
            }
        }
        assert_eq!(values(&evened_out(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)))), [0.0; 6]);
    }

    #[test]
    fn the_head_and_vectors_are_left_alone_and_projections_are_three() {
        let vs = VarStore::new(Device::Cpu);
        for name in ["inner", "head", "qkv"] {
            let _ = nn::linear(vs.root() / name, 4, 6, nn::LinearConfig::default());
        }
        let _ = nn::conv2d(vs.root() / "stem", 2, 5, 3, nn::ConvConfig::default());
        let weights = FlatWeights::new(&vs).unwrap();
        let muon = Muon::new(&weights, 0.5);
        let shapes: Vec<_> = muon.matrices.iter().map(|one| (one.rows, one.columns, one.n_parts)).collect();
        assert_eq!(shapes, [(6, 4, 1), (6, 4, 3), (5, 18, 1)]);
        let gradient = weights.values.full_like(1.0);
        let mut momentum = weights.values.zeros_like();
        muon.take_in(&mut momentum, &gradient);
        let update = weights.values.full_like(7.0);
        muon.put_steps(&update, &momentum, &gradient, 1.0);
        for (name, variable, start) in weights.places() {
            let of = |flat: &Tensor| values(&flat.narrow(0, start, variable.numel() as i64));
            let is_moved = variable.dim() > 1 && !name.starts_with("head");
            assert!(of(&update).iter().all(|value| (*value != 7.0) == is_moved), "{name}");
            assert!(of(&momentum).iter().all(|value| (*value - if is_moved { 0.05 } else { 0.5 }).abs() < 1e-6));
        }
        // A matrix of one direction has a step along it: its one singular value is the root of all its numbers' squares.
        let inner = muon.matrices[0].start;
        let length = update.narrow(0, inner, 24).norm().double_value(&[]) / (0.2 * 6f64.sqrt());
        assert!((0.65..1.25).contains(&length), "{length}");
    }
}
