//! Losses between images and on the discriminator's scores.

use burn::tensor::Tensor;

use crate::ops::{self, Distance};

/// Least-squares adversarial loss: mean of (score - target)², target 1 for real and 0 for fake
/// (Mao et al., arXiv:1611.04076).
///
/// # Shapes
/// `[n, 1, h, w]` to a scalar `[1]`.
#[must_use]
pub fn least_squares(scores: Tensor<4>, target: f32) -> Tensor<1> {
    ops::distance_to(scores, target, Distance::Squared)
}

/// Mean absolute difference: CycleGAN's cycle and identity loss before its weight
/// (arXiv:1703.10593, eq. 2).
///
/// # Shapes
/// Two of `[n, c, h, w]` to a scalar `[1]`.
#[must_use]
pub fn mean_absolute(a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
    ops::distance(a, b, Distance::Absolute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::gradient;

    const X: [f32; 4] = [0.5, -1.0, 2.0, 0.1];

    #[test]
    fn values_by_hand() {
        let device = crate::device::cpu();
        let x = Tensor::<1>::from_floats(X, &device).reshape([1, 1, 2, 2]);
        let squares = least_squares(x.clone(), 1.0).into_scalar::<f32>();
        assert!((squares - (0.25 + 4.0 + 1.0 + 0.81) / 4.0).abs() < 1e-6);
        let absolute = mean_absolute(x.clone(), x * 0.0).into_scalar::<f32>();
        assert!((absolute - 0.9).abs() < 1e-6);
    }

    #[test]
    fn gradients_match_differences() {
        gradient::assert_matches([1, 1, 2, 2], &X, 1e-2, 1e-3, |x| least_squares(x, 1.0));
        gradient::assert_matches([1, 1, 2, 2], &X, 1e-2, 1e-3, |x| {
            let zeros = x.zeros_like();
            mean_absolute(x, zeros)
        });
    }
}
