//! The nets' arithmetic as differentiable Burn operations.
//!
//! On the CPU each operation and its gradient is one kernel of `crossmod-kernels`, on a GPU (feature
//! `gpu`) a composition of Burn's; Burn keeps the tape. The public functions take and return plain
//! tensors, so a net does not know which device runs it. Tensors are f32, images
//! `[batch, channels, height, width]` and volumes `[batch, channels, depth, height, width]`; the
//! operations below take either.

mod autodiff;
#[cfg(feature = "gpu")]
mod cube;
mod flex;
mod simple;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
pub use crossmod_kernels::{Activation, Distance, Interpolation, Padding, Pointwise, SoftDice};
pub use simple::Segmentation;
use simple::{Binary, Unary};
use std::sync::Arc;

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

/// The forward operations; implemented by the backends and, with tape, by autodiff over them.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
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
    /// See [`instance_norm_add`].
    fn net_instance_norm_add(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// Pooling, upsampling and losses of one tensor.
    fn net_unary(x: FloatTensor<Self>, op: Unary) -> FloatTensor<Self>;
    /// Losses of two tensors.
    fn net_binary(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Binary) -> FloatTensor<Self>;
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
    /// Instance norm that also returns each instance's mean and 1/sd; the residual is added before
    /// the activation.
    fn instance_norm_stats(
        x: FloatTensor<Self>,
        residual: Option<FloatTensor<Self>>,
        affine: Option<(FloatTensor<Self>, FloatTensor<Self>)>,
        activation: Activation,
    ) -> (FloatTensor<Self>, NormStats);
    /// Gradients of instance norm without residual to its input and, where affine, to gamma and
    /// beta.
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
    /// The gradient to the input of [`NetOps::net_unary`].
    fn unary_grad(x: FloatTensor<Self>, op: &Unary, dy: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradients to both inputs of [`NetOps::net_binary`].
    fn binary_grad(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        op: Binary,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
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
/// `[n, c, (d,) h, w]` in and out.
#[must_use]
pub fn instance_norm<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_instance_norm(
        x.into_dispatch(),
        activation,
    ))
}

/// [`instance_norm`] with a learnt scale and offset per channel before the activation.
///
/// # Shapes
/// `x` `[n, c, (d,) h, w]`, `gamma` and `beta` `[c]`.
#[must_use]
pub fn instance_norm_affine<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    activation: Activation,
) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_instance_norm_affine(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        activation,
    ))
}

/// `residual` plus the [`instance_norm`] of `x`, without activation: the end of a residual block.
///
/// # Shapes
/// `[n, c, (d,) h, w]` all.
#[must_use]
pub fn instance_norm_add<const D: usize>(x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_instance_norm_add(
        x.into_dispatch(),
        residual.into_dispatch(),
    ))
}

fn unary<const D: usize, const E: usize>(x: Tensor<D>, op: Unary) -> Tensor<E> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_unary(x.into_dispatch(), op))
}

fn binary<const D: usize>(a: Tensor<D>, b: Tensor<D>, op: Binary) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as NetOps>::net_binary(
        a.into_dispatch(),
        b.into_dispatch(),
        op,
    ))
}

/// An activation that follows no normalisation.
///
/// # Shapes
/// `[n, c, (d,) h, w]` in and out.
#[must_use]
pub fn pointwise<const D: usize>(x: Tensor<D>, of: Pointwise) -> Tensor<D> {
    unary(x, Unary::Pointwise(of))
}

/// Maxima of blocks; `factor`, 1 or 2, along depth, height and width (images: `[1, 2, 2]`). An odd
/// last element belongs to no block.
///
/// # Shapes
/// `[n, c, (d,) h, w]` to `[n, c, …]` of each size divided by its factor.
#[must_use]
pub fn max_pool<const D: usize>(x: Tensor<D>, factor: [usize; 3]) -> Tensor<D> {
    unary(x, Unary::MaxPool(factor))
}

/// Means of blocks; see [`max_pool`].
#[must_use]
pub fn average_pool<const D: usize>(x: Tensor<D>, factor: [usize; 3]) -> Tensor<D> {
    unary(x, Unary::AveragePool(factor))
}

/// `factor`, 1 or 2, times larger along depth, height and width. Linear interpolation is between
/// the centres of elements, the border repeated (PyTorch's `align_corners = False`).
///
/// # Shapes
/// `[n, c, (d,) h, w]` to `[n, c, …]` of each size times its factor.
#[must_use]
pub fn upsample<const D: usize>(
    x: Tensor<D>,
    factor: [usize; 3],
    interpolation: Interpolation,
) -> Tensor<D> {
    unary(x, Unary::Upsample(factor, interpolation))
}

/// The mean difference of `x` from `target`: with [`Distance::Squared`] the loss of a least-squares
/// discriminator.
///
/// # Shapes
/// `[n, c, (d,) h, w]` to a scalar `[1]`.
#[must_use]
pub fn distance_to<const D: usize>(x: Tensor<D>, target: f32, distance: Distance) -> Tensor<1> {
    unary(x, Unary::Distance(distance, target))
}

/// The weighted sum of cross-entropy and 1 minus soft Dice that `of` asks for, fused with the
/// softmax: the cross-entropy is divided by the number of pixels.
///
/// # Shapes
/// Logits `[n, classes, (d,) h, w]` to a scalar `[1]`.
///
/// # Panics
/// Where a label is no class, or there are not as many as pixels.
#[must_use]
pub fn segmentation_loss<const D: usize>(logits: Tensor<D>, of: Segmentation) -> Tensor<1> {
    unary(logits, Unary::Segmentation(Arc::new(of)))
}

/// The mean difference of two tensors: L1 or MSE.
///
/// # Shapes
/// Two of `[n, c, (d,) h, w]` to a scalar `[1]`.
#[must_use]
pub fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>, distance: Distance) -> Tensor<1> {
    binary(a, b, Binary::Distance(distance))
}

/// The mean structural similarity of two tensors whose values span `range`, over the positions of
/// a Gaussian window of 11 elements (σ 1.5) that lie within (Wang et al.,
/// doi:10.1109/TIP.2003.819861).
///
/// # Shapes
/// Two of `[n, c, (d,) h, w]`, at least 11 along every axis of more than one element, to a scalar
/// `[1]`.
///
/// # Panics
/// Where an axis is shorter than the window.
#[must_use]
pub fn ssim<const D: usize>(a: Tensor<D>, b: Tensor<D>, range: f32) -> Tensor<1> {
    binary(a, b, Binary::Ssim(range))
}

/// The values of a tensor, last axis fastest.
///
/// # Panics
/// Never: every tensor of this crate's nets is f32.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.without_autodiff().into_data();
    data.try_into_vec().expect("tensors here are f32")
}
