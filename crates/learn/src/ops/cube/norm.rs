//! Instance norm with its gradient, on `[batch, channels, elements]`.

use burn::backend::Cube;
use burn::tensor::Tensor;
use crossmod_kernels::Activation;

use super::{Array, Shape, array, planes, volume};
use crate::ops::NORM_EPSILON;

/// `activation(γ z + β + residual)`, z being the input of mean 0 and variance 1.
pub(super) fn forward(
    x: Array,
    residual: Option<Array>,
    affine: Option<(Array, Array)>,
    activation: Activation,
) -> Array {
    let (shape, x) = (Shape::of(&x), volume(x));
    let dims = x.dims();
    let [n, c, d, h, w] = dims;
    let (z, _) = normalised(x.reshape([n, c, d * h * w]));
    let y = scaled(z, &affine.map(columns));
    let y = match residual {
        Some(residual) => y + planes(residual),
        None => y,
    };
    shape.restore(activated(y, activation).reshape(dims))
}

/// The gradients to the input and, where affine, to γ and β.
pub(super) fn gradient(
    x: Array,
    affine: Option<(Array, Array)>,
    dy: Array,
    activation: Activation,
) -> (Array, Option<(Array, Array)>) {
    let (shape, x) = (Shape::of(&x), volume(x));
    let dims = x.dims();
    let [n, c, d, h, w] = dims;
    let (z, inv_std) = normalised(x.reshape([n, c, d * h * w]));
    let affine = affine.map(columns);
    let dy = planes(dy);
    let dy = match slope(activation) {
        None => dy,
        Some(slope) => {
            let negative = scaled(z.clone(), &affine).lower_equal_elem(0.0);
            dy.clone().mask_where(negative, dy * slope)
        }
    };
    let daffine = affine.as_ref().map(|_| {
        let sum = |t: Tensor<3>| array(t.sum_dims_squeeze::<1, _>(&[0, 2]));
        (sum(dy.clone() * z.clone()), sum(dy.clone()))
    });
    let dz = match affine {
        Some((gamma, _)) => dy * gamma,
        None => dy,
    };
    // What moves mean and variance is taken out.
    let along = (dz.clone() * z.clone()).mean_dim(2);
    let dx = (dz.clone() - dz.mean_dim(2) - z * along) * inv_std;
    (shape.restore(dx.reshape(dims)), daffine)
}

/// The input of mean 0 and variance 1, and what it was divided by, inverted.
fn normalised(x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let x = x.clone() - x.mean_dim(2);
    let variance = x.clone().square().mean_dim(2);
    let inv_std = (variance + NORM_EPSILON).sqrt().recip();
    (x * inv_std.clone(), inv_std)
}

/// γ and β, `[1, channels, 1]`.
fn columns(affine: (Array, Array)) -> (Tensor<3>, Tensor<3>) {
    let column = |values| Tensor::<1>::from_primitive::<Cube>(values).reshape([1, -1, 1]);
    (column(affine.0), column(affine.1))
}

fn scaled(z: Tensor<3>, affine: &Option<(Tensor<3>, Tensor<3>)>) -> Tensor<3> {
    match affine {
        Some((gamma, beta)) => z * gamma.clone() + beta.clone(),
        None => z,
    }
}

fn activated(y: Tensor<3>, activation: Activation) -> Tensor<3> {
    match slope(activation) {
        None => y,
        Some(slope) => leaky_relu(y, slope),
    }
}

/// `y` where positive, else `slope` times it.
pub(super) fn leaky_relu<const D: usize>(y: Tensor<D>, slope: f32) -> Tensor<D> {
    let negative = y.clone().lower_equal_elem(0.0);
    y.clone().mask_where(negative, y * slope)
}

/// The slope of the activation below 0, where there is one.
fn slope(activation: Activation) -> Option<f32> {
    match activation {
        Activation::None => None,
        Activation::Relu => Some(0.0),
        Activation::LeakyRelu(slope) => Some(slope),
    }
}
