//! What U-Nets have at each resolution: two 3×3(×3) convolutions, each with its norm.
//!
//! As nnU-Net (Isensee et al., doi:10.1038/s41592-020-01008-z): instance norm with affine, LeakyReLU
//! 0.01, He's initial weights.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;

use super::conv::{Conv, Init};
use crate::ops::{self, Activation, Walk};

const SLOPE: f32 = 0.01;

/// Two convolutions of images (`D` = 4) or volumes (`D` = 5).
#[derive(Module, Debug)]
pub(super) struct Level<const D: usize = 4> {
    first: NormedConv<D>,
    second: NormedConv<D>,
}

#[derive(Module, Debug)]
struct NormedConv<const D: usize> {
    conv: Conv<D>,
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
}

impl<const D: usize> NormedConv<D> {
    fn new(channels: [usize; 2], stride: usize, rng: &mut Rng, device: &Device) -> Self {
        Self {
            conv: Conv::new(channels, 3, Walk::zero(stride, 1), Init::He, rng, device),
            gamma: Param::from_tensor(Tensor::ones([channels[1]], device)),
            beta: Param::from_tensor(Tensor::zeros([channels[1]], device)),
        }
    }

    fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        let y = self.conv.forward(x);
        ops::instance_norm_affine(
            y,
            self.gamma.val(),
            self.beta.val(),
            Activation::LeakyRelu(SLOPE),
        )
    }
}

impl<const D: usize> Level<D> {
    /// From `channels[0]` to `channels[1]` features; the first convolution has the stride.
    pub(super) fn new(channels: [usize; 2], stride: usize, rng: &mut Rng, device: &Device) -> Self {
        Self {
            first: NormedConv::new(channels, stride, rng, device),
            second: NormedConv::new([channels[1]; 2], 1, rng, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        self.second.forward(self.first.forward(x))
    }
}
