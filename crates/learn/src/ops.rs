//! The nets' arithmetic as differentiable Burn operations.
//!
//! On the CPU each operation and its gradient is one kernel of `crossmod-kernels`; Burn keeps the
//! tape. The public functions take and return plain tensors, so a net does not know which device
//! runs it. Tensors are f32, images `[batch, channels, height, width]` and volumes
//! `[batch, channels, depth, height, width]`; the operations below take either.

mod autodiff;
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
pub use crossmod_kernels::{Activation, Padding};

/// How a convolution walks over depth, height and width; images have a depth of 1, stride 1 and
/// padding 0 along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Step between outputs (or, transposed, between inputs): 1 or 2.
    pub stride: [usize; 3],
    /// Padding on both sides.
    pub padding: [usize; 3],
    /// What is beyond the border.
    pub mode: Padding,
}

impl Walk {
    /// Over images, with stride 1 and the size kept under an odd `kernel`.
    #[must_use]
    pub fn same(kernel: usize, mode: Padding) -> Self {
        Self {
            mode,
            ..Self::zero(1, kernel / 2)
        }
    }

    /// Over images, with zero padding.
    #[must_use]
    pub fn zero(stride: usize, padding: usize) -> Self {
        Self {
            stride: [1, stride, stride],
            padding: [0, padding, padding],
            mode: Padding::Zero,
        }
    }

    /// The same over volumes: along depth as along height.
    #[must_use]
    pub fn deep(self) -> Self {
        let Self {
            stride: [_, s, t],
            padding: [_, p, q],
            mode,
        } = self;
        Self {
            stride: [s, s, t],
            padding: [p, p, q],
            mode,
        }
    }
}

/// The forward operations; implemented by the CPU backend and, with tape, by autodiff over it.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait NetOps: Backend {
    /// See [`conv`].
    fn net_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        walk: Walk,
    ) -> FloatTensor<Self>;
    /// See [`conv_transpose`].
    fn net_conv_transpose(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        walk: Walk,
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
    /// Gradient to the input of [`NetOps::net_conv`], of size `[depth, height, width]`.
    fn conv_grad_input(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        size: [usize; 3],
        walk: Walk,
    ) -> FloatTensor<Self>;
    /// Gradient to the weight of [`NetOps::net_conv`], of kernel `[depth, height, width]`.
    fn conv_grad_weight(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        kernel: [usize; 3],
        walk: Walk,
    ) -> FloatTensor<Self>;
    /// Convolution without bias.
    fn conv_plain(x: FloatTensor<Self>, weight: FloatTensor<Self>, walk: Walk)
    -> FloatTensor<Self>;
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

/// Convolution (cross-correlation) with the padding inside the operation.
///
/// # Shapes
/// `x` `[n, ci, (d,) h, w]`, `weight` `[co, ci, (kd,) kh, kw]`, `bias` `[co]`; out
/// `[n, co, …]`, of each size (size + 2p - k)/s + 1.
///
/// # Panics
/// Where shapes do not fit each other.
#[must_use]
pub fn conv<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<D>,
    bias: Tensor<1>,
    walk: Walk,
) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        walk,
    ))
}

/// Transposed convolution that multiplies each size by its stride: the adjoint of the strided
/// [`conv`] from the larger size (with stride 2, kernel 3 and padding 1 have output padding 1,
/// kernel 2 and padding 0 none).
///
/// # Shapes
/// `x` `[n, ci, (d,) h, w]`, `weight` `[ci, co, (kd,) kh, kw]`, `bias` `[co]`; out `[n, co, …]`.
///
/// # Panics
/// Where shapes do not fit each other.
#[must_use]
pub fn conv_transpose<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<D>,
    bias: Tensor<1>,
    walk: Walk,
) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_conv_transpose(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        walk,
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
            let ours = conv(x.clone(), w.clone(), b.clone(), Walk::zero(stride, 1));
            assert_eq!(ours.dims(), theirs.dims());
            assert!((ours - theirs).abs().max().into_scalar::<f32>() < 1e-4);
        }
    }

    #[test]
    fn convolution_gradients_match_differences() {
        let (x, w, b) = (values(120, 1), values(3 * 2 * 9, 2), values(3, 3));
        for walk in [
            Walk::same(3, Padding::Reflect),
            Walk::same(3, Padding::Replicate),
            Walk::zero(2, 1),
        ] {
            gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
                let (w, b) = (tensor(&w, [3, 2, 3, 3], &x), tensor(&b, [3], &x));
                weigh(conv(x, w, b, walk))
            });
            gradient::assert_matches([3, 2, 3, 3], &w, 1e-1, 1e-3, |w| {
                let (x, b) = (tensor(&x, X, &w), tensor(&b, [3], &w));
                weigh(conv(x, w, b, walk))
            });
            gradient::assert_matches([3], &b, 1e-1, 1e-3, |b| {
                let x = Tensor::from_data(TensorData::new(x.clone(), X), &b.device());
                let w = tensor(&w, [3, 2, 3, 3], &x);
                weigh(conv(x, w, b, walk))
            });
        }
    }

    #[test]
    fn transposed_convolution_gradients_match_differences() {
        let x = values(120, 1);
        for (kernel, padding) in [(3, 1), (2, 0)] {
            let walk = Walk::zero(2, padding);
            let (shape, b) = ([2, 3, kernel, kernel], values(3, 3));
            let w = values(6 * kernel * kernel, 2);
            gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
                let (w, b) = (tensor(&w, shape, &x), tensor(&b, [3], &x));
                let y = conv_transpose(x, w, b, walk);
                assert_eq!(y.dims(), [2, 3, 12, 10]);
                weigh(y)
            });
            gradient::assert_matches(shape, &w, 1e-1, 1e-3, |w| {
                let (x, b) = (tensor(&x, X, &w), tensor(&b, [3], &w));
                weigh(conv_transpose(x, w, b, walk))
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
