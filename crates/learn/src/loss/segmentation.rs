//! Losses between class logits and the true classes.

use burn::tensor::Tensor;

use crate::ops::{self, Segmentation, SoftDice};

/// SynSeg-Net's weighted cross-entropy: `(1/N) Σ_i w[m_i] (-log softmax(z_i)[m_i])` over the N
/// pixels of the batch. It is divided by the number of pixels, not by the sum of the weights
/// (Huo et al., doi:10.1109/TMI.2018.2876633, and their code).
///
/// # Shapes
/// `logits` `[n, classes, (d,) h, w]`, `truth` the class of every pixel of the batch, `weights`
/// `[classes]`; a scalar `[1]`.
///
/// # Panics
/// Where a class or the number of them does not fit.
#[must_use]
pub fn cross_entropy<const D: usize>(
    logits: Tensor<D>,
    truth: Vec<u16>,
    weights: &[f32],
) -> Tensor<1> {
    loss(logits, truth, weights, [1.0, 0.0])
}

/// Soft Dice with squared denominators, 1 minus its mean over the foreground classes:
/// `2 (Σ p g + ε) / (Σ p² + Σ g² + ε)`, sums over batch and pixels, ε = 1e-7, background left out
/// (`DiceNorm` of SynSeg-Net's code).
///
/// # Shapes
/// As [`cross_entropy`], at least two classes.
///
/// # Panics
/// As [`cross_entropy`].
#[must_use]
pub fn dice<const D: usize>(logits: Tensor<D>, truth: Vec<u16>) -> Tensor<1> {
    loss(logits, truth, &[], [0.0, 1.0])
}

/// The sum of [`cross_entropy`] and [`dice`], as nnU-Net adds them (Isensee et al.,
/// doi:10.1038/s41592-020-01008-z).
///
/// # Shapes
/// As [`cross_entropy`].
///
/// # Panics
/// As [`cross_entropy`].
#[must_use]
pub fn cross_entropy_dice<const D: usize>(
    logits: Tensor<D>,
    truth: Vec<u16>,
    weights: &[f32],
) -> Tensor<1> {
    loss(logits, truth, weights, [1.0, 1.0])
}

fn loss<const D: usize>(
    logits: Tensor<D>,
    labels: Vec<u16>,
    weights: &[f32],
    factors: [f32; 2],
) -> Tensor<1> {
    let of = Segmentation {
        labels,
        ignore: None,
        weights: (!weights.is_empty()).then(|| weights.to_vec()),
        dice: SoftDice::SYNSEG,
        factors,
    };
    ops::segmentation_loss(logits, of)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::loss::gradient;

    const LOGITS: [f32; 12] = [
        0.2, -0.4, 1.1, 0.3, -0.7, 0.9, 0.0, 0.6, -0.2, 0.5, 0.4, -1.0,
    ];
    const TRUTH: [u16; 4] = [0, 2, 1, 2];

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
            .map(|i| -weights[usize::from(TRUTH[i])] * softmax(i)[usize::from(TRUTH[i])].ln())
            .sum::<f32>()
            / 4.0;
        let found = cross_entropy::<4>(logits, TRUTH.to_vec(), &weights);
        assert!((found.into_scalar::<f32>() - expected).abs() < 1e-5);
    }

    /// Logits in [-1, 1] cannot go below ln(1 + (C-1) e⁻²): .127, .341, .594 for 2, 4, 7 classes.
    #[test]
    fn bounded_logits_leave_the_published_floor() {
        let device = crate::device::cpu();
        for (classes, floor) in [(2, 0.127), (4, 0.341), (7, 0.594)] {
            let mut logits = vec![-1.0f32; classes];
            logits[0] = 1.0;
            let best = Tensor::<4>::from_data(TensorData::new(logits, [1, classes, 1, 1]), &device);
            let loss = cross_entropy(best, vec![0], &[]);
            assert!((loss.into_scalar::<f32>() - floor).abs() < 1e-3);
        }
    }

    #[test]
    fn dice_by_hand_without_background() {
        let device = crate::device::cpu();
        let logits = Tensor::from_data(TensorData::new(LOGITS.to_vec(), [1, 3, 2, 2]), &device);
        let score = |class: usize| {
            let p = [0, 1, 2, 3].map(|i| softmax(i)[class]);
            let g = TRUTH.map(|t| f32::from(u8::from(usize::from(t) == class)));
            let both: f32 = p.iter().zip(g).map(|(p, g)| p * g).sum();
            2.0 * both / (p.iter().map(|p| p * p).sum::<f32>() + g.iter().sum::<f32>())
        };
        let expected = 1.0 - (score(1) + score(2)) / 2.0;
        let found = dice::<4>(logits, TRUTH.to_vec()).into_scalar::<f32>();
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn gradients_match_differences() {
        gradient::assert_matches([1, 3, 2, 2], &LOGITS, 1e-2, 2e-3, |z: Tensor<4>| {
            cross_entropy(z, TRUTH.to_vec(), &[1.0, 10.0, 3.0])
        });
        gradient::assert_matches([1, 3, 2, 2], &LOGITS, 1e-2, 2e-3, |z: Tensor<4>| {
            dice(z, TRUTH.to_vec())
        });
        gradient::assert_matches([1, 3, 4], &LOGITS, 1e-2, 2e-3, |z: Tensor<3>| {
            cross_entropy_dice(z.reshape([1, 3, 1, 2, 2]), TRUTH.to_vec(), &[])
        });
    }
}
