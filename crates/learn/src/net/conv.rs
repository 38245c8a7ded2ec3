//! Convolution layers: a weight, a bias, and how the kernel walks.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::Rng;

use crate::ops::{self, Walk};

/// How the initial weights are drawn; biases start at zero.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// N(0, sd²), as CycleGAN.
    Normal(f32),
    /// N(0, 2 / fan-in), for rectified units (He et al., arXiv:1502.01852).
    He,
}

/// A convolution with bias; `D` counts the axes of its tensors, 4 for images and 5 for volumes.
#[derive(Module, Debug)]
pub struct Conv<const D: usize = 4> {
    weight: Param<Tensor<D>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    walk: Route,
}

/// A transposed 2-D convolution with bias that doubles the size.
#[derive(Module, Debug)]
pub struct ConvTransposed {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    walk: Route,
}

#[derive(Debug, Clone)]
struct Route(Walk);

impl<const D: usize> Conv<D> {
    /// A convolution from `channels[0]` to `channels[1]` channels, its kernel alike in all
    /// directions.
    pub fn new(
        channels: [usize; 2],
        kernel: usize,
        walk: Walk,
        init: Init,
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let [ci, co] = channels;
        let mut shape = [kernel; D];
        shape[..2].copy_from_slice(&[co, ci]);
        let fan_in = shape[1..].iter().product();
        Self {
            weight: draw(shape, fan_in, init, rng, device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([co]), device),
            walk: Route(walk),
        }
    }

    /// # Shapes
    /// `[n, ci, (d,) h, w]` to `[n, co, (d',) h', w']`, see [`ops::conv`].
    #[must_use]
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        ops::conv(x, self.weight.val(), self.bias.val(), self.walk.0)
    }
}

impl ConvTransposed {
    /// A doubling layer: kernel 3 (padding 1, output padding 1) or kernel 2 (no padding).
    pub fn new(
        channels: [usize; 2],
        kernel: usize,
        init: Init,
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let [ci, co] = channels;
        // Each output pixel sums over a quarter of the taps of every input channel.
        let fan_in = (ci * kernel * kernel).div_ceil(4);
        let walk = Walk::zero(2, kernel / 3);
        Self {
            weight: draw([ci, co, kernel, kernel], fan_in, init, rng, device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([co]), device),
            walk: Route(walk),
        }
    }

    /// # Shapes
    /// `[n, ci, h, w]` to `[n, co, 2h, 2w]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv_transpose(x, self.weight.val(), self.bias.val(), self.walk.0)
    }
}

fn draw<const D: usize>(
    shape: [usize; D],
    fan_in: usize,
    init: Init,
    rng: &mut Rng,
    device: &Device,
) -> Param<Tensor<D>> {
    let sd = match init {
        Init::Normal(sd) => sd,
        Init::He => (2.0 / fan_in as f32).sqrt(),
    };
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| sd * rng.normal())
        .collect();
    Param::from_data(TensorData::new(values, shape), device)
}
