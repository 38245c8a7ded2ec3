//! The 70×70 PatchGAN discriminator.
//!
//! Isola et al. (arXiv:1611.07004) as used by Zhu et al. (arXiv:1703.10593, §7.2): 4×4
//! convolutions, padding 1, strides 2-2-2-1-1, features 64-128-256-512-1, LeakyReLU 0.2, instance
//! norm on the middle three. No sigmoid: the adversarial loss is least squares.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::conv::{Conv, Init};
use crate::ops::{self, Activation, Pointwise, Walk};

const SLOPE: f32 = 0.2;

/// Size of a [`PatchGan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchGanConfig {
    /// Features after the first convolution (`ndf`); 64 in CycleGAN.
    pub width: usize,
}

impl Default for PatchGanConfig {
    /// CycleGAN's `basic` discriminator (arXiv:1703.10593, §7.2).
    fn default() -> Self {
        Self { width: 64 }
    }
}

/// A discriminator whose every output judges one patch of 70 pixels a side, of images (`D` = 4) or
/// of volumes (`D` = 5).
#[derive(Module, Debug)]
pub struct PatchGan<const D: usize = 4> {
    first: Conv<D>,
    middle: Vec<Conv<D>>,
    last: Conv<D>,
}

impl PatchGanConfig {
    /// The smallest side that leaves an output.
    pub const MIN_SIDE: usize = 24;

    /// Builds the net for images or volumes of so many channels, weights from N(0, 0.02²). Over
    /// volumes its kernels are as long along depth (Zhang, Yang and Zheng, CVPR 2018).
    #[must_use]
    pub fn init<const D: usize>(
        &self,
        channels: usize,
        rng: &mut Rng,
        device: &Device,
    ) -> PatchGan<D> {
        let (w, init) = (self.width, Init::Normal(super::INIT_SD));
        let mut conv = |channels, stride| {
            let walk = Walk::zero(stride, 1);
            Conv::new(channels, 4, walk, init, rng, device)
        };
        PatchGan {
            first: conv([channels, w], 2),
            middle: vec![
                conv([w, 2 * w], 2),
                conv([2 * w, 4 * w], 2),
                conv([4 * w, 8 * w], 1),
            ],
            last: conv([8 * w, 1], 1),
        }
    }
}

impl<const D: usize> PatchGan<D> {
    /// # Shapes
    /// `[n, channels, (d,) h, w]` to a map of scores: `[n, 1, 30, 30]` for 256².
    #[must_use]
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        let mut x = ops::pointwise(self.first.forward(x), Pointwise::LeakyRelu(SLOPE));
        for conv in &self.middle {
            x = ops::instance_norm(conv.forward(x), Activation::LeakyRelu(SLOPE));
        }
        self.last.forward(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_parameter_count() {
        let device = crate::device::cpu();
        let net: PatchGan = PatchGanConfig::default().init(1, &mut Rng::new(0, 0, 0), &device);
        assert_eq!(net.num_params(), 2_762_689);
    }

    /// By hand: 64 taps a pair of channels and a bias a feature; maps as of images.
    #[test]
    fn volumes_are_judged_alike() {
        let device = crate::device::cpu();
        let net: PatchGan<5> = PatchGanConfig { width: 2 }.init(1, &mut Rng::new(0, 0, 0), &device);
        let conv = |ci: usize, co: usize| 64 * ci * co + co;
        let expected = conv(1, 2) + conv(2, 4) + conv(4, 8) + conv(8, 16) + conv(16, 1);
        assert_eq!(net.num_params(), expected);
        let scores = net.forward(Tensor::zeros([1, 1, 24, 32, 40], &device));
        assert_eq!(scores.dims(), [1, 1, 1, 2, 3]);
    }

    #[test]
    fn scores_are_30_by_30_for_256() {
        let device = crate::device::cpu();
        let net: PatchGan = PatchGanConfig { width: 2 }.init(1, &mut Rng::new(0, 0, 0), &device);
        let side = |s| net.forward(Tensor::zeros([1, 1, s, s], &device)).dims();
        assert_eq!(side(256), [1, 1, 30, 30]);
        assert_eq!(side(PatchGanConfig::MIN_SIDE), [1, 1, 1, 1]);
    }
}
