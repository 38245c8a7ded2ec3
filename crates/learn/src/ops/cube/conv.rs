//! Convolutions and their gradients, reflecting and repeating borders laid on beforehand.

use burn::backend::ops::{FloatTensorOps as _, ModuleOps as _};
use burn::backend::{Cube, TensorMetadata as _};
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{FloatDType, Tensor};

use super::{Array, Shape, pull, volume};
use crate::ops::{Padding, Walk};

/// The convolution of `x`, with `bias` where there is one.
pub(super) fn forward(x: Array, weight: Array, bias: Option<Array>, walk: Walk) -> Array {
    let (x, walk) = padded(x, walk);
    match Shape::of(&x) {
        Shape::Image => Cube::conv2d(x, weight, bias, flat(walk)),
        Shape::Volume => Cube::conv3d(x, weight, bias, deep(walk)),
    }
}

/// The transposed convolution: the gradient to the input of the convolution that goes the other
/// way.
pub(super) fn transpose(x: Array, weight: Array, bias: Array, walk: Walk) -> Array {
    let small = size(&x);
    let large = [0, 1, 2].map(|i| small[i] * walk.stride[i]);
    let y = grad_input(x, weight, large, walk);
    let bias = Tensor::<1>::from_primitive::<Cube>(bias);
    let channels = bias.dims()[0];
    let shape = Shape::of(&y);
    shape.restore(volume(y) + bias.reshape([1, channels, 1, 1, 1]))
}

/// The gradient to an input of depth, height and width `size`.
pub(super) fn grad_input(dy: Array, weight: Array, size: [usize; 3], walk: Walk) -> Array {
    let like = |size: [usize; 3]| {
        let [n, c] = [dy.shape()[0], weight.shape()[1]];
        let shape = match Shape::of(&dy) {
            Shape::Image => vec![n, c, size[1], size[2]],
            Shape::Volume => vec![n, c, size[0], size[1], size[2]],
        };
        Cube::float_empty(shape.into(), &dy.device(), FloatDType::F32)
    };
    if walk.mode == Padding::Zero {
        return unpadded_grad_input(like(size), weight, dy, walk);
    }
    let bordered = [0, 1, 2].map(|i| size[i] + 2 * walk.padding[i]);
    let inner = Walk {
        padding: [0; 3],
        mode: Padding::Zero,
        ..walk
    };
    let (x, shape) = (volume(like(size)), Shape::of(&dy));
    let dy = volume(unpadded_grad_input(like(bordered), weight, dy, inner));
    shape.restore(pull(x, dy, |x| border(x, walk)))
}

/// The gradient to weights of a `kernel` of depth, height and width.
pub(super) fn grad_weight(x: Array, dy: Array, kernel: [usize; 3], walk: Walk) -> Array {
    let (x, walk) = padded(x, walk);
    let [out, of] = [dy.shape()[1], x.shape()[1]];
    let [d, h, w] = kernel;
    let (shape, device) = (Shape::of(&x), x.device());
    let like = |shape: Vec<usize>| Cube::float_empty(shape.into(), &device, FloatDType::F32);
    match shape {
        Shape::Image => Cube::conv2d_weight_backward(x, like(vec![out, of, h, w]), dy, flat(walk)),
        Shape::Volume => {
            Cube::conv3d_weight_backward(x, like(vec![out, of, d, h, w]), dy, deep(walk))
        }
    }
}

fn unpadded_grad_input(x: Array, weight: Array, dy: Array, walk: Walk) -> Array {
    match Shape::of(&x) {
        Shape::Image => Cube::conv2d_x_backward(x, weight, dy, flat(walk)),
        Shape::Volume => Cube::conv3d_x_backward(x, weight, dy, deep(walk)),
    }
}

/// The input with its border, where that is not zeros, and the walk over it.
fn padded(x: Array, walk: Walk) -> (Array, Walk) {
    if walk.mode == Padding::Zero {
        return (x, walk);
    }
    let shape = Shape::of(&x);
    let inner = Walk {
        padding: [0; 3],
        mode: Padding::Zero,
        ..walk
    };
    (shape.restore(border(volume(x), walk)), inner)
}

/// The input with its border laid on.
fn border(x: Tensor<5>, walk: Walk) -> Tensor<5> {
    let mode = match walk.mode {
        Padding::Zero => PadMode::Constant(0.0),
        Padding::Reflect => PadMode::Reflect,
        Padding::Replicate => PadMode::Edge,
    };
    x.pad(walk.padding.map(|p| (p, p)), mode)
}

/// Depth (1 where there is none), height and width.
fn size(x: &Array) -> [usize; 3] {
    let shape = x.shape();
    match Shape::of(x) {
        Shape::Image => [1, shape[2], shape[3]],
        Shape::Volume => [shape[2], shape[3], shape[4]],
    }
}

fn flat(walk: Walk) -> ConvOptions<2> {
    let [_, s, t] = walk.stride;
    let [_, p, q] = walk.padding;
    ConvOptions::new([s, t], [p, q], [1; 2], 1)
}

fn deep(walk: Walk) -> ConvOptions<3> {
    ConvOptions::new(walk.stride, walk.padding, [1; 3], 1)
}
