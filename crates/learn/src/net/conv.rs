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

/// A transposed convolution with bias that multiplies each size by its stride.
#[derive(Module, Debug)]
pub struct ConvTransposed<const D: usize = 4> {
    weight: Param<Tensor<D>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    walk: Route,
}

#[derive(Debug, Clone)]
struct Route(Walk);

impl<const D: usize> Conv<D> {
    /// A convolution from `channels[0]` to `channels[1]` channels, its kernel and its walk alike in
    /// all directions.
    pub fn new(
        channels: [usize; 2],
        kernel: usize,
        walk: Walk,
        init: Init,
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        Self::along(channels, [kernel; 3], alike::<D>(walk), init, rng, device)
    }

    /// The same with a kernel of its own length along depth (of volumes), height and width.
    pub fn along(
        channels: [usize; 2],
        kernel: [usize; 3],
        walk: Walk,
        init: Init,
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let [ci, co] = channels;
        let shape = weight_shape([co, ci], kernel);
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

impl<const D: usize> ConvTransposed<D> {
    /// A doubling layer: kernel 3 (padding 1, output padding 1) or kernel 2 (no padding).
    pub fn new(
        channels: [usize; 2],
        kernel: usize,
        init: Init,
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let walk = alike::<D>(Walk::zero(2, kernel / 3));
        Self::along(channels, [kernel; 3], walk, init, rng, device)
    }

    /// A layer with its own kernel and stride along depth (of volumes), height and width; see
    /// [`ops::conv_transpose`] for the paddings there can be.
    pub fn along(
        channels: [usize; 2],
        kernel: [usize; 3],
        walk: Walk,
        init: Init,
        rng: &mut Rng,
        device: &Device,
    ) -> Self {
        let [ci, co] = channels;
        let shape: [usize; D] = weight_shape([ci, co], kernel);
        let taps: usize = shape[2..].iter().product();
        // Each output sums over one of so many taps of every input channel.
        let shared: usize = walk.stride[5 - D..].iter().product();
        Self {
            weight: draw(shape, (ci * taps).div_ceil(shared), init, rng, device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([co]), device),
            walk: Route(walk),
        }
    }

    /// # Shapes
    /// `[n, ci, (d,) h, w]` to `[n, co, …]` of each size times its stride.
    #[must_use]
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        ops::conv_transpose(x, self.weight.val(), self.bias.val(), self.walk.0)
    }
}

/// The walk over images, and over volumes the same along depth.
fn alike<const D: usize>(walk: Walk) -> Walk {
    if D == 5 { walk.deep() } else { walk }
}

/// The channels, then the kernel along as many axes as there are.
fn weight_shape<const D: usize>(channels: [usize; 2], kernel: [usize; 3]) -> [usize; D] {
    let mut shape = [0; D];
    shape[..2].copy_from_slice(&channels);
    shape[2..].copy_from_slice(&kernel[5 - D..]);
    shape
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
