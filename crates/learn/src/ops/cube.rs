//! [`NetOps`] on a GPU: Burn's own operations, composed where it has none that fits.
//!
//! Every runtime of CubeCL (wgpu, Vulkan, CUDA) is the one backend [`Cube`]. Tensors are worked on
//! as volumes `[batch, channels, depth, height, width]`, images with a depth of 1, and images are
//! given back as images. Convolutions call Burn's gradients, instance norm has its own; those of
//! pooling, upsampling and losses come from a tape over the composition, see [`pull`].

mod conv;
mod loss;
mod norm;
mod resample;
#[cfg(test)]
mod tests;

use burn::backend::{Cube, TensorMetadata as _, tensor::FloatTensor};
use burn::tensor::Tensor;
use crossmod_kernels::{Activation, Pointwise};

use super::simple::{Binary, Unary};
use super::{NetGrads, NetOps, NormStats, Walk};

/// A tensor on the GPU.
type Array = FloatTensor<Cube>;

impl NetOps for Cube {
    fn net_conv(x: Array, weight: Array, bias: Array, walk: Walk) -> Array {
        conv::forward(x, weight, Some(bias), walk)
    }

    fn net_conv_transpose(x: Array, weight: Array, bias: Array, walk: Walk) -> Array {
        conv::transpose(x, weight, bias, walk)
    }

    fn net_instance_norm(x: Array, activation: Activation) -> Array {
        norm::forward(x, None, None, activation)
    }

    fn net_instance_norm_affine(
        x: Array,
        gamma: Array,
        beta: Array,
        activation: Activation,
    ) -> Array {
        norm::forward(x, None, Some((gamma, beta)), activation)
    }

    fn net_instance_norm_add(x: Array, residual: Array) -> Array {
        norm::forward(x, Some(residual), None, Activation::None)
    }

    fn net_unary(x: Array, op: Unary) -> Array {
        let shape = Shape::of(&x);
        match scalar(&op) {
            true => array(of_one(volume(x), &op).reshape([1])),
            false => shape.restore(of_one(volume(x), &op)),
        }
    }

    fn net_binary(a: Array, b: Array, op: Binary) -> Array {
        array(loss::of_two(volume(a), volume(b), op))
    }
}

impl NetGrads for Cube {
    fn conv_grad_input(dy: Array, weight: Array, size: [usize; 3], walk: Walk) -> Array {
        conv::grad_input(dy, weight, size, walk)
    }

    fn conv_grad_weight(x: Array, dy: Array, kernel: [usize; 3], walk: Walk) -> Array {
        conv::grad_weight(x, dy, kernel, walk)
    }

    fn conv_plain(x: Array, weight: Array, walk: Walk) -> Array {
        conv::forward(x, weight, None, walk)
    }

    fn channel_sum(dy: Array) -> Array {
        array(planes(dy).sum_dims_squeeze::<1, _>(&[0, 2]))
    }

    fn instance_norm_stats(
        x: Array,
        residual: Option<Array>,
        affine: Option<(Array, Array)>,
        activation: Activation,
    ) -> (Array, NormStats) {
        // Reading them back would wait for the GPU: the gradient computes them again.
        let none = NormStats {
            mean: Vec::new(),
            inv_std: Vec::new(),
        };
        (norm::forward(x, residual, affine, activation), none)
    }

    fn instance_norm_grad(
        x: Array,
        affine: Option<(Array, Array)>,
        _: NormStats,
        dy: Array,
        activation: Activation,
    ) -> (Array, Option<(Array, Array)>) {
        norm::gradient(x, affine, dy, activation)
    }

    fn unary_grad(x: Array, op: &Unary, dy: Array) -> Array {
        let shape = Shape::of(&x);
        let dy = match scalar(op) {
            true => Tensor::<1>::from_primitive::<Self>(dy).reshape([1; 5]),
            false => volume(dy),
        };
        shape.restore(pull(volume(x), dy, |x| of_one(x, op)))
    }

    fn binary_grad(a: Array, b: Array, op: Binary, dy: Array) -> (Array, Array) {
        let shape = Shape::of(&a);
        let [a, b] = [a, b].map(|t| volume(t).autodiff().require_grad());
        let dy = Tensor::<1>::from_primitive::<Self>(dy);
        let mut grads = (loss::of_two(a.clone(), b.clone(), op) * dy).backward();
        let [da, db] = [a, b].map(|t| {
            let gradient = t.grad_remove(&mut grads);
            shape.restore(gradient.expect("both inputs are tracked"))
        });
        (da, db)
    }
}

/// Whether the result is a loss rather than an image.
fn scalar(op: &Unary) -> bool {
    matches!(op, Unary::Distance(..) | Unary::Segmentation(_))
}

/// The operation on volumes; a loss as `[1, 1, 1, 1, 1]`.
fn of_one(x: Tensor<5>, op: &Unary) -> Tensor<5> {
    match op {
        Unary::Pointwise(Pointwise::LeakyRelu(slope)) => norm::leaky_relu(x, *slope),
        Unary::Pointwise(Pointwise::Tanh) => x.tanh(),
        Unary::MaxPool(factor) => resample::max_pool(x, *factor),
        Unary::AveragePool(factor) => resample::average_pool(x, *factor),
        Unary::Upsample(factor, interpolation) => resample::upsample(x, *factor, *interpolation),
        Unary::Distance(distance, target) => loss::mean(x - *target, *distance).reshape([1; 5]),
        Unary::Segmentation(of) => loss::segmentation(x, of).reshape([1; 5]),
    }
}

/// The gradient that `dy` gives to `x` through `of`, by a tape of its own.
fn pull(x: Tensor<5>, dy: Tensor<5>, of: impl Fn(Tensor<5>) -> Tensor<5>) -> Tensor<5> {
    let x = x.autodiff().require_grad();
    let mut grads = (of(x.clone()) * dy).sum().backward();
    x.grad_remove(&mut grads).expect("the input is tracked")
}

/// Whether tensors are images or volumes.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Image,
    Volume,
}

impl Shape {
    fn of(x: &Array) -> Self {
        match x.shape().num_dims() {
            5 => Self::Volume,
            _ => Self::Image,
        }
    }

    fn restore(self, y: Tensor<5>) -> Array {
        match self {
            Self::Image => {
                let [n, c, _, h, w] = y.dims();
                array(y.reshape([n, c, h, w]))
            }
            Self::Volume => array(y),
        }
    }
}

/// An image as a volume, or a volume.
fn volume(x: Array) -> Tensor<5> {
    match Shape::of(&x) {
        Shape::Image => {
            let x = Tensor::<4>::from_primitive::<Cube>(x);
            let [n, c, h, w] = x.dims();
            x.reshape([n, c, 1, h, w])
        }
        Shape::Volume => Tensor::from_primitive::<Cube>(x),
    }
}

/// An image or a volume as `[batch, channels, elements]`.
fn planes(x: Array) -> Tensor<3> {
    let x = volume(x);
    let [n, c, d, h, w] = x.dims();
    x.reshape([n, c, d * h * w])
}

fn array<const D: usize>(y: Tensor<D>) -> Array {
    y.try_into_primitive::<Cube>()
        .expect("what is computed from tensors of a GPU without a tape is one")
}
