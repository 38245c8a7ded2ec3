//! The nets' arithmetic as differentiable Burn operations.
//!
//! On the CPU each operation and its gradient is one kernel of `crossmod-kernels`; Burn keeps the
//! tape. The public functions take and return plain tensors, so a net does not know which device
//! runs it. Tensors are `[batch, channels, height, width]`, f32.

mod autodiff;
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
pub use crossmod_kernels::{Activation, Padding};

/// How a convolution walks: equal in both axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stride {
    /// Step between outputs (or, transposed, between inputs): 1 or 2.
    pub stride: usize,
    /// Padding on every side.
    pub padding: usize,
    /// What is beyond the border.
    pub mode: Padding,
}

impl Stride {
    /// Stride 1 that keeps the size under an odd `kernel`.
    #[must_use]
    pub fn same(kernel: usize, mode: Padding) -> Self {
        Self {
            stride: 1,
            padding: kernel / 2,
            mode,
        }
    }

    /// Stride `stride` with zero padding.
    #[must_use]
    pub fn zero(stride: usize, padding: usize) -> Self {
        Self {
            stride,
            padding,
            mode: Padding::Zero,
        }
    }
}

/// The forward operations; implemented by the CPU backend and, with tape, by autodiff over it.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait NetOps: Backend {
    /// See [`conv2d`].
    fn net_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Stride,
    ) -> FloatTensor<Self>;
    /// See [`conv_transpose2d`].
    fn net_conv_transpose2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Stride,
    ) -> FloatTensor<Self>;
    /// See [`instance_norm`].
    fn net_instance_norm(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
    /// See [`instance_norm_affine`].
    fn net_instance_norm_affine(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;
}

/// What the backward passes need beside [`NetOps`]; never differentiated themselves.
pub(crate) trait NetGrads: NetOps {
    /// Gradient to the input of [`NetOps::net_conv2d`], of size `[height, width]`.
    fn conv2d_grad_input(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        size: [usize; 2],
        geometry: Stride,
    ) -> FloatTensor<Self>;
    /// Gradient to the weight of [`NetOps::net_conv2d`], of kernel `[height, width]`.
    fn conv2d_grad_weight(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        kernel: [usize; 2],
        geometry: Stride,
    ) -> FloatTensor<Self>;
    /// Convolution without bias.
    fn conv2d_plain(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Stride,
    ) -> FloatTensor<Self>;
    /// Sum over batch and pixels: the gradient to a bias.
    fn channel_sum(dy: FloatTensor<Self>) -> FloatTensor<Self>;
    /// Instance norm that also returns each instance's mean and 1/sd.
    fn instance_norm_stats(
        x: FloatTensor<Self>,
        affine: Option<(FloatTensor<Self>, FloatTensor<Self>)>,
        activation: Activation,
    ) -> (FloatTensor<Self>, NormStats);
    /// Gradients of instance norm to its input and, where affine, to gamma and beta.
    #[expect(
        clippy::type_complexity,
        reason = "one gradient for each input of the operation"
    )]
    fn instance_norm_grad(
        x: FloatTensor<Self>,
        affine: Option<(FloatTensor<Self>, FloatTensor<Self>)>,
        stats: NormStats,
        dy: FloatTensor<Self>,
        activation: Activation,
    ) -> (
        FloatTensor<Self>,
        Option<(FloatTensor<Self>, FloatTensor<Self>)>,
    );
}

/// Mean and 1/sd of every instance (batch × channels), kept for the backward pass.
#[derive(Debug, Clone)]
pub(crate) struct NormStats {
    pub(crate) mean: Vec<f32>,
    pub(crate) inv_std: Vec<f32>,
}

/// Added to the variance by every instance norm (PyTorch's default).
pub(crate) const NORM_EPSILON: f32 = 1e-5;

/// 2-D convolution (cross-correlation) with the padding inside the operation.
///
/// # Shapes
/// `x` `[n, ci, h, w]`, `weight` `[co, ci, kh, kw]`, `bias` `[co]`; out
/// `[n, co, (h + 2p - kh)/s + 1, (w + 2p - kw)/s + 1]`.
///
/// # Panics
/// Where shapes do not fit each other.
#[must_use]
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, geometry: Stride) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_conv2d(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

/// 2-D transposed convolution that multiplies height and width by the stride: the adjoint of the
/// stride-2 [`conv2d`] from the doubled size (kernel 3, padding 1 has output padding 1; kernel 2,
/// padding 0 none).
///
/// # Shapes
/// `x` `[n, ci, h, w]`, `weight` `[ci, co, kh, kw]`, `bias` `[co]`; out `[n, co, s h, s w]`.
///
/// # Panics
/// Where shapes do not fit each other.
#[must_use]
pub fn conv_transpose2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    geometry: Stride,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_conv_transpose2d(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

/// Instance norm without affine or running statistics (biased variance, ε = 1e-5; Ulyanov et al.,
/// arXiv:1607.08022), followed by `activation`.
///
/// # Shapes
/// `[n, c, h, w]` in and out.
#[must_use]
pub fn instance_norm(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_instance_norm(
        x.into_dispatch(),
        activation,
    ))
}

/// [`instance_norm`] with a learnt scale and offset per channel before the activation.
///
/// # Shapes
/// `x` `[n, c, h, w]`, `gamma` and `beta` `[c]`.
#[must_use]
pub fn instance_norm_affine(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    activation: Activation,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_instance_norm_affine(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        activation,
    ))
}

/// The values of a tensor, last axis fastest.
///
/// # Panics
/// Never: every tensor of this crate's nets is f32.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.without_autodiff().into_data();
    data.try_into_vec().expect("tensors here are f32")
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn::tensor::module::conv2d as burn_conv2d;
    use burn::tensor::ops::ConvOptions;
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::loss::gradient;

    fn values(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0, 0);
        (0..n).map(|_| rng.normal()).collect()
    }

    fn tensor<const D: usize>(values: &[f32], shape: [usize; D], like: &Tensor<4>) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &like.device())
    }

    /// A scalar that weighs every output differently, so that no gradient can hide.
    fn weigh(y: Tensor<4>) -> Tensor<1> {
        let n = y.shape().num_elements();
        let weights = Tensor::<4>::from_data(TensorData::new(values(n, 9), y.dims()), &y.device());
        (y * weights).sum()
    }

    const X: [usize; 4] = [2, 2, 6, 5];

    #[test]
    fn convolution_agrees_with_burn() {
        let device = crate::device::cpu();
        let x = Tensor::<4>::from_data(
            TensorData::new(values(2 * 3 * 9 * 10, 1), [2, 3, 9, 10]),
            &device,
        );
        let w = tensor(&values(4 * 3 * 16, 2), [4, 3, 4, 4], &x);
        let b = tensor(&values(4, 3), [4], &x);
        for stride in [1, 2] {
            let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
            let theirs = burn_conv2d(x.clone(), w.clone(), Some(b.clone()), options);
            let ours = conv2d(x.clone(), w.clone(), b.clone(), Stride::zero(stride, 1));
            assert_eq!(ours.dims(), theirs.dims());
            assert!((ours - theirs).abs().max().into_scalar::<f32>() < 1e-4);
        }
    }

    #[test]
    fn convolution_gradients_match_differences() {
        let (x, w, b) = (values(120, 1), values(3 * 2 * 9, 2), values(3, 3));
        for geometry in [
            Stride::same(3, Padding::Reflect),
            Stride::same(3, Padding::Replicate),
            Stride::zero(2, 1),
        ] {
            gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
                let (w, b) = (tensor(&w, [3, 2, 3, 3], &x), tensor(&b, [3], &x));
                weigh(conv2d(x, w, b, geometry))
            });
            gradient::assert_matches([3, 2, 3, 3], &w, 1e-1, 1e-3, |w| {
                let (x, b) = (tensor(&x, X, &w), tensor(&b, [3], &w));
                weigh(conv2d(x, w, b, geometry))
            });
            gradient::assert_matches([3], &b, 1e-1, 1e-3, |b| {
                let x = Tensor::from_data(TensorData::new(x.clone(), X), &b.device());
                let w = tensor(&w, [3, 2, 3, 3], &x);
                weigh(conv2d(x, w, b, geometry))
            });
        }
    }

    #[test]
    fn transposed_convolution_gradients_match_differences() {
        let x = values(120, 1);
        for (kernel, padding) in [(3, 1), (2, 0)] {
            let geometry = Stride::zero(2, padding);
            let (shape, b) = ([2, 3, kernel, kernel], values(3, 3));
            let w = values(6 * kernel * kernel, 2);
            gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
                let (w, b) = (tensor(&w, shape, &x), tensor(&b, [3], &x));
                let y = conv_transpose2d(x, w, b, geometry);
                assert_eq!(y.dims(), [2, 3, 12, 10]);
                weigh(y)
            });
            gradient::assert_matches(shape, &w, 1e-1, 1e-3, |w| {
                let (x, b) = (tensor(&x, X, &w), tensor(&b, [3], &w));
                weigh(conv_transpose2d(x, w, b, geometry))
            });
        }
    }

    #[test]
    fn instance_norm_gradients_match_differences() {
        let (x, gamma, beta) = (values(120, 1), [1.5, -0.5], [0.2, 0.4]);
        for activation in [Activation::None, Activation::LeakyRelu(0.2)] {
            gradient::assert_matches(X, &x, 1e-3, 2e-2, |x| weigh(instance_norm(x, activation)));
            gradient::assert_matches(X, &x, 1e-3, 2e-2, |x| {
                let (g, b) = (tensor(&gamma, [2], &x), tensor(&beta, [2], &x));
                weigh(instance_norm_affine(x, g, b, activation))
            });
            gradient::assert_matches([2], &gamma, 1e-2, 1e-2, |g| {
                let x = Tensor::from_data(TensorData::new(x.clone(), X), &g.device());
                let b = tensor(&beta, [2], &x);
                weigh(instance_norm_affine(x, g, b, activation))
            });
        }
    }
}
