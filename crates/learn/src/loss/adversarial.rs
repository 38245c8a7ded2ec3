//! The loss on a discriminator's scores.

use burn::tensor::Tensor;

use crate::ops::{self, Distance};

/// Least-squares adversarial loss: mean of (score - target)², target 1 for real and 0 for fake
/// (Mao et al., arXiv:1611.04076).
///
/// # Shapes
/// `[n, 1, (d,) h, w]` to a scalar `[1]`.
#[must_use]
pub fn least_squares<const D: usize>(scores: Tensor<D>, target: f32) -> Tensor<1> {
    ops::distance_to(scores, target, Distance::Squared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::gradient;

    const X: [f32; 4] = [0.5, -1.0, 2.0, 0.1];

    #[test]
    fn value_by_hand() {
        let device = crate::device::cpu();
        let x = Tensor::<1>::from_floats(X, &device).reshape([1, 1, 2, 2]);
        let squares = least_squares::<4>(x, 1.0).into_scalar::<f32>();
        assert!((squares - (0.25 + 4.0 + 1.0 + 0.81) / 4.0).abs() < 1e-6);
    }

    #[test]
    fn gradient_matches_differences() {
        gradient::assert_matches([1, 1, 2, 2], &X, 1e-2, 1e-3, |x: Tensor<4>| {
            least_squares(x, 1.0)
        });
    }
}
