//! How two images of one modality differ.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ops::{self, Distance};

/// What is taken as the difference of two images in [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// The mean absolute difference: CycleGAN's cycle and identity loss (arXiv:1703.10593, eq. 2).
    #[default]
    L1,
    /// The mean squared difference.
    Mse,
    /// 1 minus the mean structural similarity of the images brought to [0, 1] (Liu et al.,
    /// doi:10.1007/978-3-030-33391-1_8, after Wang et al., doi:10.1109/TIP.2003.819861): a window
    /// of 11 pixels, σ 1.5, constants (0.01, 0.03), which the former paper does not state.
    Ssim,
}

impl Difference {
    /// The difference of `a` and `b`, 0 where they are the same.
    ///
    /// # Shapes
    /// Two of `[n, c, (d,) h, w]` to a scalar `[1]`; with [`Difference::Ssim`] at least 11 along
    /// every axis.
    ///
    /// # Panics
    /// With [`Difference::Ssim`] where an axis is shorter.
    #[must_use]
    pub fn of<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<1> {
        match self {
            Self::L1 => ops::distance(a, b, Distance::Absolute),
            Self::Mse => ops::distance(a, b, Distance::Squared),
            Self::Ssim => {
                // The luminance term depends on where zero is.
                let [a, b] = [a, b].map(|image| image * 0.5 + 0.5);
                -ops::ssim(a, b, 1.0) + 1.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::loss::gradient;

    fn image(f: impl Fn(usize) -> f32) -> Tensor<4> {
        let values: Vec<f32> = (0..144).map(f).collect();
        let device = crate::device::cpu();
        Tensor::from_data(TensorData::new(values, [1, 1, 12, 12]), &device)
    }

    #[test]
    fn values_by_hand() {
        let device = crate::device::cpu();
        let x = Tensor::<1>::from_floats([0.5, -1.0, 2.0, 0.1], &device).reshape([1, 1, 2, 2]);
        let zero = Tensor::<4>::zeros([1, 1, 2, 2], &device);
        let of = |kind: Difference| kind.of(x.clone(), zero.clone()).into_scalar::<f32>();
        assert!((of(Difference::L1) - 0.9).abs() < 1e-6);
        assert!((of(Difference::Mse) - (0.25 + 1.0 + 4.0 + 0.01) / 4.0).abs() < 1e-6);
    }

    /// Constant images have no variance: the luminance term of their means in [0, 1] is left.
    #[test]
    fn structural_similarity_of_constants() {
        let (a, b) = (0.2f32, -0.6f32);
        let [m, n] = [a, b].map(|v| v * 0.5 + 0.5);
        let c1 = 1e-4;
        let expected = 1.0 - (2.0 * m * n + c1) / (m * m + n * n + c1);
        let found = Difference::Ssim.of(image(|_| a), image(|_| b));
        assert!((found.into_scalar::<f32>() - expected).abs() < 1e-4);
        let x = image(|i| (i as f32 * 0.7).sin());
        let same = Difference::Ssim.of(x.clone(), x).into_scalar::<f32>();
        assert!(same.abs() < 1e-5, "{same}");
    }

    #[test]
    fn gradients_match_differences() {
        let values: Vec<f32> = (0..144).map(|i| (i as f32 * 0.37).sin()).collect();
        // Nowhere as near as a step of the differences, where L1 has its edge.
        let other: Vec<f32> = (0..144).map(|i| (i as f32 * 0.53 + 0.2).cos()).collect();
        for kind in [Difference::L1, Difference::Mse, Difference::Ssim] {
            gradient::assert_matches([1, 1, 12, 12], &values, 1e-2, 2e-3, |x: Tensor<4>| {
                let data = TensorData::new(other.clone(), [1, 1, 12, 12]);
                let b = Tensor::from_data(data, &x.device());
                kind.of(x, b)
            });
        }
    }

    /// On an image without structure the variances are 0, where nothing may become infinite.
    #[test]
    fn constant_images_have_finite_gradients() {
        let device = crate::device::cpu_training();
        let flat = |v: f32| Tensor::<4>::full([1, 1, 12, 12], v, &device);
        let x = flat(-1.0).require_grad();
        let grads = Difference::Ssim.of(x.clone(), flat(-1.0)).backward();
        let grad = x.grad(&grads).expect("it takes part");
        assert!(ops::values(grad).iter().all(|g| g.is_finite()));
    }
}
