//! A linear head on embeddings: regularised logistic regression, to the optimum.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// Steps at most; the loss is convex and the steps are those of a bound on its curvature, which come near in some tens.
const MAX_STEPS: usize = 400;
/// The largest part of a gradient that counts as none.
const TOLERANCE: f64 = 1e-5;

/// What a head takes its classes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// One class a recording: softmax and cross-entropy.
    Exclusive,
    /// Any number of classes a recording: a sigmoid and binary cross-entropy for each.
    Independent,
}

/// A head: logits are `embeddings · weightᵀ + bias`.
#[derive(Debug)]
pub struct LinearHead {
    /// `(classes, embed_dim)`.
    pub weight: Tensor,
    /// `(classes)`.
    pub bias: Tensor,
}

impl LinearHead {
    /// `(n, embed_dim)` → logits `(n, classes)`.
    pub fn logits(&self, embeddings: &Tensor) -> Tensor {
        embeddings.linear(&self.weight, Some(&self.bias))
    }
}

/// Fits a head to embeddings `(n, embed_dim)` and targets `(n, classes)`, each recording with a weight `(n)`. The mean loss by these
/// weights plus half of `l2` times the sum of the squared weights, of embeddings scaled to deviation 1 over all their numbers, is the least
/// there is; biases cost nothing. Nothing is random.
///
/// Each step is by the inverse of a bound on the curvature that holds everywhere (Böhning 1992, "Multinomial logistic regression
/// algorithm"), with Nesterov's momentum, which starts anew where it leads uphill.
///
/// # Errors
/// [`Error::Torch`] when libtorch fails.
pub fn fit(embeddings: &Tensor, targets: &Tensor, weights: &Tensor, kind: Targets, l2: f64) -> Result<LinearHead> {
    let torch = |source| Error::Torch { action: "fitting a linear head", source };
    let _no_grad = tch::no_grad_guard();
    let (x, y) = (embeddings.to_kind(Kind::Double), targets.to_kind(Kind::Double));
    let weights = weights.to_kind(Kind::Double);
    let weights = (&weights / weights.sum(Kind::Double)).unsqueeze(1); // (n, 1), adding up to 1
    let center = (&x * &weights).sum_dim_intlist(0i64, true, Kind::Double);
    let x = x - &center;
    let scale =
        (&x.square() * &weights).sum_dim_intlist(0i64, false, Kind::Double).mean(Kind::Double).sqrt().clamp_min(1e-12);
    let x = x / &scale;
    let (dim, classes) = (x.size()[1], y.size()[1]);
    // A column of ones carries the biases.
    let x = Tensor::cat(&[&x, &x.narrow(1, 0, 1).ones_like()], 1);
    let decay = Tensor::full([dim + 1], l2, (Kind::Double, x.device()));
    let _ = decay.narrow(0, dim, 1).fill_(0.0);
    let bound = match kind {
        Targets::Exclusive => 0.5,
        Targets::Independent => 0.25,
    };
    let curvature = (&x * &weights).transpose(0, 1).matmul(&x) * bound + (&decay + 1e-9).diag(0);
    let step = curvature.f_inverse().map_err(torch)?;

    let mut head = Tensor::zeros([dim + 1, classes], (Kind::Double, x.device()));
    let (mut ahead, mut momentum) = (head.copy(), 1.0f64);
    for _ in 0..MAX_STEPS {
        let logits = x.matmul(&ahead);
        let predicted = match kind {
            Targets::Exclusive => logits.softmax(-1, Kind::Double),
            Targets::Independent => logits.sigmoid(),
        };
        let gradient = x.transpose(0, 1).matmul(&((predicted - &y) * &weights)) + &ahead * decay.unsqueeze(1);
        if gradient.abs().max().double_value(&[]) < TOLERANCE {
            head = ahead;
            break;
        }
        let next = &ahead - step.matmul(&gradient);
        let moved = &next - &head;
        let uphill = (&gradient * &moved).sum(Kind::Double).double_value(&[]) > 0.0;
        let later = if uphill { 1.0 } else { (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0 };
        ahead = &next + moved * ((momentum - 1.0) / later * f64::from(u8::from(!uphill)));
        (head, momentum) = (next, later);
    }
    // Back to embeddings as they are.
    let weight = (head.narrow(0, 0, dim) / &scale).transpose(0, 1); // (classes, dim)
    let bias = head.select(0, dim) - weight.matmul(&center.squeeze_dim(0));
    let single = |tensor: &Tensor| tensor.to_kind(Kind::Float).contiguous();
    Ok(LinearHead { weight: single(&weight), bias: single(&bias) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::transformer::noise;

    /// Three classes in a plane and a third direction that says nothing.
    fn data() -> (Tensor, Tensor) {
        let centers = Tensor::from_slice(&[3.0f32, 0.0, 0.0, -1.0, 2.0, 0.0, -1.0, -2.0, 0.0]).view([3, 3]);
        let labels = Tensor::arange(60, (Kind::Int64, tch::Device::Cpu)).remainder(3);
        let x = centers.index_select(0, &labels) + noise(&[60, 3]) + 100.0;
        (x, labels.one_hot(3).to_kind(Kind::Float))
    }

    /// The gradient of what is minimised, by libtorch.
    fn gradient(head: &LinearHead, x: &Tensor, y: &Tensor, kind: Targets, l2: f64) -> f64 {
        let scale = (x - x.mean_dim(0i64, true, Kind::Float)).square().mean(Kind::Float).double_value(&[]);
        let (weight, bias) = (head.weight.copy().set_requires_grad(true), head.bias.copy().set_requires_grad(true));
        let logits = x.linear(&weight, Some(&bias));
        let loss = match kind {
            Targets::Exclusive => -(logits.log_softmax(-1, Kind::Float) * y).sum(Kind::Float) / 60.0,
            Targets::Independent => {
                logits.binary_cross_entropy_with_logits::<Tensor>(y, None, None, tch::Reduction::Sum) / 60.0
            }
        };
        let loss = loss + weight.square().sum(Kind::Float) * (0.5 * l2 * scale);
        loss.backward();
        // Of weights in the units of the scaled embeddings.
        let weights = weight.grad() - bias.grad().unsqueeze(1) * x.mean_dim(0i64, true, Kind::Float);
        (weights.abs().max().double_value(&[]) / scale.sqrt()).max(bias.grad().abs().max().double_value(&[]))
    }

    #[test]
    fn the_head_is_where_the_gradient_vanishes() {
        let (x, y) = data();
        let even = Tensor::ones([60], (Kind::Float, tch::Device::Cpu));
        for kind in [Targets::Exclusive, Targets::Independent] {
            for l2 in [1e-3, 1e-1, 1.0] {
                let head = fit(&x, &y, &even, kind, l2).unwrap();
                let left = gradient(&head, &x, &y, kind, l2);
                assert!(left < 1e-3, "{kind:?}, {l2}: {left:e}");
            }
        }
    }

    #[test]
    fn what_can_be_told_apart_is_and_much_regularisation_flattens_it() {
        let (x, y) = data();
        let even = Tensor::ones([60], (Kind::Float, tch::Device::Cpu));
        let head = fit(&x, &y, &even, Targets::Exclusive, 1e-3).unwrap();
        let right =
            head.logits(&x).argmax(-1, false).eq_tensor(&y.argmax(-1, false)).sum(Kind::Float).double_value(&[]);
        assert!(right >= 57.0, "{right} of 60");
        let flat = fit(&x, &y, &even, Targets::Exclusive, 1e3).unwrap();
        assert!(flat.weight.abs().max().double_value(&[]) < 1e-2 * head.weight.abs().max().double_value(&[]));
    }

    #[test]
    fn a_recording_of_weight_two_counts_as_two() {
        let (x, y) = data();
        let even = Tensor::ones([60], (Kind::Float, tch::Device::Cpu));
        let doubled = even.copy();
        let _ = doubled.narrow(0, 0, 10).fill_(2.0);
        let by_weight = fit(&x, &y, &doubled, Targets::Exclusive, 0.1).unwrap();
        let twice = |rows: &Tensor| Tensor::cat(&[rows, &rows.narrow(0, 0, 10)], 0);
        let ones = Tensor::ones([70], (Kind::Float, tch::Device::Cpu));
        let by_count = fit(&twice(&x), &twice(&y), &ones, Targets::Exclusive, 0.1).unwrap();
        assert!((by_weight.weight - by_count.weight).abs().max().double_value(&[]) < 1e-3);
    }
}
