//! Losses between class logits and the true classes.

use burn::tensor::{Tensor, activation};

/// SynSeg-Net's weighted cross-entropy: `(1/N) Σ_i w[m_i] (-log softmax(z_i)[m_i])` over the N
/// pixels of the batch. It is divided by the number of pixels, not by the sum of the weights
/// (Huo et al., doi:10.1109/TMI.2018.2876633, and their code).
///
/// # Shapes
/// `logits` and `one_hot` `[n, classes, h, w]`, `weights` `[classes]`; a scalar `[1]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<4>, one_hot: Tensor<4>, weights: Tensor<1>) -> Tensor<1> {
    let [n, classes, h, w] = logits.dims();
    let weighted = one_hot * weights.reshape([1, classes, 1, 1]);
    (activation::log_softmax(logits, 1) * weighted).sum() * (-1.0 / (n * h * w) as f32)
}

/// Soft Dice with squared denominators, 1 minus its mean over the foreground classes:
/// `2 (Σ p g + ε) / (Σ p² + Σ g² + ε)`, sums over batch and pixels, ε = 1e-7, background left out
/// (`DiceNorm` of SynSeg-Net's code).
///
/// # Shapes
/// `logits` and `one_hot` `[n, classes, h, w]`, at least two classes; a scalar `[1]`.
#[must_use]
pub fn dice(logits: Tensor<4>, one_hot: Tensor<4>) -> Tensor<1> {
    const EPSILON: f32 = 1e-7;
    let classes = logits.dims()[1];
    let foreground = |t: Tensor<4>| t.narrow(1, 1, classes - 1);
    let p = foreground(activation::softmax(logits, 1));
    let g = foreground(one_hot);
    // Sums over batch and pixels, one figure a class.
    let per_class =
        |t: Tensor<4>| -> Tensor<1> { t.sum_dim(0).sum_dim(2).sum_dim(3).reshape([classes - 1]) };
    let both = per_class(p.clone() * g.clone());
    let sizes = per_class(p.square()) + per_class(g.square());
    let score = (both + EPSILON) * 2.0 / (sizes + EPSILON);
    score.mean().neg() + 1.0
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::loss::gradient;

    const LOGITS: [f32; 12] = [
        0.2, -0.4, 1.1, 0.3, -0.7, 0.9, 0.0, 0.6, -0.2, 0.5, 0.4, -1.0,
    ];
    const TRUTH: [usize; 4] = [0, 2, 1, 2];

    fn one_hot(device: &burn::tensor::Device) -> Tensor<4> {
        let mut values = vec![0.0f32; 12];
        TRUTH
            .iter()
            .enumerate()
            .for_each(|(pixel, class)| values[class * 4 + pixel] = 1.0);
        Tensor::from_data(TensorData::new(values, [1, 3, 2, 2]), device)
    }

    fn softmax(pixel: usize) -> [f32; 3] {
        let e = [0, 1, 2].map(|c| LOGITS[c * 4 + pixel].exp());
        e.map(|v| v / e.iter().sum::<f32>())
    }

    #[test]
    fn cross_entropy_is_divided_by_the_pixel_count() {
        let device = crate::device::cpu();
        let logits = Tensor::from_data(TensorData::new(LOGITS.to_vec(), [1, 3, 2, 2]), &device);
        let weights = [1.0, 10.0, 3.0];
        let expected: f32 = (0..4)
            .map(|i| -weights[TRUTH[i]] * softmax(i)[TRUTH[i]].ln())
            .sum::<f32>()
            / 4.0;
        let found = cross_entropy(
            logits,
            one_hot(&device),
            Tensor::from_floats(weights, &device),
        );
        assert!((found.into_scalar::<f32>() - expected).abs() < 1e-5);
    }

    /// Logits in [-1, 1] cannot go below ln(1 + (C-1) e⁻²): .127, .341, .594 for 2, 4, 7 classes.
    #[test]
    fn bounded_logits_leave_the_published_floor() {
        let device = crate::device::cpu();
        for (classes, floor) in [(2, 0.127), (4, 0.341), (7, 0.594)] {
            let truth = Tensor::<4>::zeros([1, classes, 1, 1], &device).slice_assign(
                [0..1, 0..1, 0..1, 0..1],
                Tensor::ones([1, 1, 1, 1], &device),
            );
            let best = truth.clone() * 2.0 - 1.0;
            let loss = cross_entropy(best, truth, Tensor::ones([classes], &device));
            assert!((loss.into_scalar::<f32>() - floor).abs() < 1e-3);
        }
    }

    #[test]
    fn dice_by_hand_without_background() {
        let device = crate::device::cpu();
        let logits = Tensor::from_data(TensorData::new(LOGITS.to_vec(), [1, 3, 2, 2]), &device);
        let score = |class: usize| {
            let p = [0, 1, 2, 3].map(|i| softmax(i)[class]);
            let g = TRUTH.map(|t| f32::from(u8::from(t == class)));
            let both: f32 = p.iter().zip(g).map(|(p, g)| p * g).sum();
            2.0 * both / (p.iter().map(|p| p * p).sum::<f32>() + g.iter().sum::<f32>())
        };
        let expected = 1.0 - (score(1) + score(2)) / 2.0;
        let found = dice(logits, one_hot(&device)).into_scalar::<f32>();
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn gradients_match_differences() {
        gradient::assert_matches([1, 3, 2, 2], &LOGITS, 1e-2, 2e-3, |z| {
            let device = z.device();
            cross_entropy(
                z,
                one_hot(&device),
                Tensor::from_floats([1.0, 10.0, 3.0], &device),
            )
        });
        gradient::assert_matches([1, 3, 2, 2], &LOGITS, 1e-2, 2e-3, |z| {
            let device = z.device();
            dice(z, one_hot(&device))
        });
    }
}
