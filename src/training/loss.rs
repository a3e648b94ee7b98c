//! What training minimises, and what it counts beside it.

use tch::{Kind, Reduction, Tensor};

/// Mean cross-entropy with soft targets `(batch, num_classes)`, of which `smoothing` is shared out among all classes.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Tensor {
    let num_classes = targets.size()[1] as f64;
    let targets = targets * (1.0 - smoothing) + smoothing / num_classes;
    let log_probabilities = logits.log_softmax(-1, Kind::Float);
    -(targets * log_probabilities).sum_dim_intlist(1i64, false, Kind::Float).mean(Kind::Float)
}

/// Mean binary cross-entropy over all classes, of targets `(batch, num_classes)` between 0 and 1.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    logits.to_kind(Kind::Float).binary_cross_entropy_with_logits::<Tensor>(targets, None, None, Reduction::Mean)
}

/// Clips whose most probable class is that of their target.
pub fn count_right(logits: &Tensor, targets: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(targets).sum(Kind::Float).double_value(&[])
}

/// Clips whose most probable class is one of theirs, by targets `(batch, num_classes)` of 0 and 1.
pub fn count_hits(logits: &Tensor, targets: &Tensor) -> f64 {
    targets.gather(-1, &logits.argmax(-1, true), false).sum(Kind::Float).double_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn of_several_classes_each_counts_by_itself() {
        let logits = Tensor::from_slice(&[0.0f32, 2.0, -1.0, 1.0, 0.0, 3.0]).view([2, 3]);
        let targets = Tensor::from_slice(&[0.0f32, 1.0, 1.0, 1.0, 0.0, 0.0]).view([2, 3]);
        let of_one =
            |logit: f64, target: f64| -> f64 { (1.0 + (if target > 0.5 { -logit } else { logit }).exp()).ln() };
        let by_hand: f64 = [(0.0, 0.0), (2.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (0.0, 0.0), (3.0, 0.0)]
            .map(|(logit, target)| of_one(logit, target))
            .iter()
            .sum();
        let loss = binary_cross_entropy(&logits, &targets).double_value(&[]);
        assert!((loss - by_hand / 6.0).abs() < 1e-6, "{loss} {by_hand}");
        assert_eq!(count_hits(&logits, &targets), 1.0);
    }

    #[test]
    fn the_loss_is_that_of_libtorch_for_whole_targets_and_counts_parts_of_soft_ones() {
        let logits = Tensor::from_slice(&[2.0f32, -1.0, 0.5, 0.0, 3.0, -2.0]).view([2, 3]);
        let whole = Tensor::from_slice(&[0i64, 2]).one_hot(3).to_kind(Kind::Float);
        for smoothing in [0.0, 0.1] {
            let theirs = logits.cross_entropy_loss::<Tensor>(
                &Tensor::from_slice(&[0i64, 2]),
                None,
                tch::Reduction::Mean,
                -100,
                smoothing,
            );
            let difference = (cross_entropy(&logits, &whole, smoothing) - theirs).abs().double_value(&[]);
            assert!(difference < 1e-6, "smoothing {smoothing}: {difference}");
        }
        // Half of one class and half of another, between which an even network cannot choose: ln 2.
        let (even, soft) = (Tensor::zeros([1, 2], (Kind::Float, Device::Cpu)), Tensor::from_slice(&[0.5f32, 0.5]));
        let loss = cross_entropy(&even, &soft.view([1, 2]), 0.0).double_value(&[]);
        assert!((loss - 2f64.ln()).abs() < 1e-6);
        // Of targets [¾, ¼] and probabilities [e/(e+1), 1/(e+1)] by hand: ln(e + 1) − ¾.
        let (logits, soft) = (Tensor::from_slice(&[1.0f32, 0.0]), Tensor::from_slice(&[0.75f32, 0.25]));
        let loss = cross_entropy(&logits.view([1, 2]), &soft.view([1, 2]), 0.0).double_value(&[]);
        assert!((loss - ((1f64.exp() + 1.0).ln() - 0.75)).abs() < 1e-6);
    }
}
