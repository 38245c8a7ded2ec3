//! The ResNet generator of CycleGAN, which SynSeg-Net also uses as its segmentor.
//!
//! Johnson et al. (arXiv:1603.08155) as used by Zhu et al. (arXiv:1703.10593, §7.2): reflection-
//! padded 7×7, two stride-2 3×3, `blocks` residual blocks, two transposed 3×3, 7×7; instance norm
//! without affine after every convolution but the last. A block ends in the sum, with no ReLU
//! after it. Convolutions keep their bias, as the reference code does with instance norm.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::conv::{Conv, ConvTransposed, Init};
use crate::ops::{self, Activation, Padding, Pointwise, Walk};

/// Size of a [`ResNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResNetConfig {
    /// Features after the first convolution (`ngf`); 64 in CycleGAN.
    pub width: usize,
    /// Residual blocks; 9 in CycleGAN for 256² images.
    pub blocks: usize,
}

impl Default for ResNetConfig {
    /// CycleGAN's `resnet_9blocks` (arXiv:1703.10593, §7.2).
    fn default() -> Self {
        Self {
            width: 64,
            blocks: 9,
        }
    }
}

/// What follows the last convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// tanh: images in [-1, 1], and the bounded logits of SynSeg-Net's published code.
    Tanh,
    /// Nothing: free logits.
    Linear,
}

/// A ResNet from `in` to `out` channels at the same size, which must be a multiple of 4, of images
/// (`D` = 4) or, its kernels as long along depth, of volumes (`D` = 5).
#[derive(Module, Debug)]
pub struct ResNet<const D: usize = 4> {
    stem: Conv<D>,
    down: Vec<Conv<D>>,
    blocks: Vec<Block<D>>,
    up: Vec<ConvTransposed<D>>,
    head: Conv<D>,
    #[module(skip)]
    end: End,
}

#[derive(Debug, Clone)]
struct End(Head);

#[derive(Module, Debug)]
struct Block<const D: usize> {
    first: Conv<D>,
    second: Conv<D>,
}

/// The last block that is tapped, from 1.
const DEEPEST: usize = 5;

impl<const D: usize> Block<D> {
    fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        let inner = ops::instance_norm(self.first.forward(x.clone()), Activation::Relu);
        ops::instance_norm_add(self.second.forward(inner), x)
    }
}

impl ResNetConfig {
    /// Channels of each of [`ResNet::taps`], of images of one channel.
    #[must_use]
    pub fn tap_channels(&self) -> Vec<usize> {
        let blocks = self.blocks.min(DEEPEST).min(2);
        [vec![1, 2 * self.width], vec![4 * self.width; 1 + blocks]].concat()
    }

    /// Builds the net with weights from N(0, 0.02²).
    #[must_use]
    pub fn init<const D: usize>(
        &self,
        channels: [usize; 2],
        head: Head,
        rng: &mut Rng,
        device: &Device,
    ) -> ResNet<D> {
        let (w, init) = (self.width, Init::Normal(super::INIT_SD));
        let reflect = |kernel| Walk::same(kernel, Padding::Reflect);
        let half = Walk::zero(2, 1);
        ResNet {
            stem: Conv::new([channels[0], w], 7, reflect(7), init, rng, device),
            down: [[w, 2 * w], [2 * w, 4 * w]]
                .map(|c| Conv::new(c, 3, half, init, rng, device))
                .into(),
            blocks: (0..self.blocks)
                .map(|_| Block {
                    first: Conv::new([4 * w, 4 * w], 3, reflect(3), init, rng, device),
                    second: Conv::new([4 * w, 4 * w], 3, reflect(3), init, rng, device),
                })
                .collect(),
            up: [[4 * w, 2 * w], [2 * w, w]]
                .map(|c| ConvTransposed::new(c, 3, init, rng, device))
                .into(),
            head: Conv::new([w, channels[1]], 7, reflect(7), init, rng, device),
            end: End(head),
        }
    }
}

impl ResNet {
    /// Sizes the net takes: multiples of this.
    pub const MULTIPLE: usize = 4;
}

impl<const D: usize> ResNet<D> {
    /// What the encoder sees: the image, the maps after each halving, after the first block and
    /// after the fifth or the last; the taps of CUT (Park et al., arXiv:2007.15651, and its code).
    ///
    /// # Shapes
    /// `[n, in, (d,) h, w]` to [`ResNetConfig::tap_channels`] channels each, at their own sizes.
    #[must_use]
    pub fn taps(&self, x: Tensor<D>) -> Vec<Tensor<D>> {
        let relu = |x| ops::instance_norm(x, Activation::Relu);
        let mut taps = vec![x.clone()];
        let mut x = relu(self.stem.forward(x));
        for down in &self.down {
            x = relu(down.forward(x));
            taps.push(x.clone());
        }
        let deepest = self.blocks.len().min(DEEPEST);
        for (i, block) in self.blocks.iter().take(deepest).enumerate() {
            x = block.forward(x);
            if i == 0 || i + 1 == deepest {
                taps.push(x.clone());
            }
        }
        taps
    }

    /// # Shapes
    /// `[n, in, (d,) h, w]` to `[n, out, (d,) h, w]`, sizes multiples of 4 and at least 8.
    #[must_use]
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        let relu = |x| ops::instance_norm(x, Activation::Relu);
        let mut x = relu(self.stem.forward(x));
        for down in &self.down {
            x = relu(down.forward(x));
        }
        for block in &self.blocks {
            x = block.forward(x);
        }
        for up in &self.up {
            x = relu(up.forward(x));
        }
        let y = self.head.forward(x);
        match self.end.0 {
            Head::Tanh => ops::pointwise(y, Pointwise::Tanh),
            Head::Linear => y,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(channels: [usize; 2]) -> usize {
        let net: ResNet = ResNetConfig::default().init(
            channels,
            Head::Tanh,
            &mut Rng::new(0, 0, 0),
            &crate::device::cpu(),
        );
        net.num_params()
    }

    #[test]
    fn published_parameter_counts() {
        assert_eq!(parameters([1, 1]), 11_365_633);
        assert_eq!(parameters([1, 7]), 11_384_455);
    }

    #[test]
    fn taps_have_the_channels_they_are_said_to_have() {
        let device = crate::device::cpu();
        for blocks in [1, 2, 6] {
            let config = ResNetConfig { width: 3, blocks };
            let net: ResNet = config.init([1, 1], Head::Tanh, &mut Rng::new(1, 0, 0), &device);
            let taps = net.taps(Tensor::ones([1, 1, 16, 24], &device));
            let channels: Vec<usize> = taps.iter().map(|tap| tap.dims()[1]).collect();
            assert_eq!(channels, config.tap_channels());
            assert_eq!(taps[taps.len() - 1].dims(), [1, 12, 4, 6]);
        }
    }

    #[test]
    fn keeps_the_size_and_the_range() {
        let device = crate::device::cpu();
        let config = ResNetConfig {
            width: 4,
            blocks: 2,
        };
        let net = config.init([1, 3], Head::Tanh, &mut Rng::new(1, 0, 0), &device);
        let x = Tensor::<4>::ones([2, 1, 12, 20], &device);
        let y = net.forward(x);
        assert_eq!(y.dims(), [2, 3, 12, 20]);
        assert!(y.abs().max().into_scalar::<f32>() <= 1.0);
    }

    /// By hand: of volumes a kernel has a third axis as long; the size is kept.
    #[test]
    fn volumes_are_translated_alike() {
        let device = crate::device::cpu();
        let config = ResNetConfig {
            width: 2,
            blocks: 1,
        };
        let net: ResNet<5> = config.init([1, 1], Head::Tanh, &mut Rng::new(1, 0, 0), &device);
        let conv = |ci: usize, co: usize, k: usize| ci * co * k.pow(3) + co;
        let halves = conv(2, 4, 3) + conv(4, 8, 3);
        let doubles = conv(8, 4, 3) + conv(4, 2, 3);
        let expected = conv(1, 2, 7) + halves + 2 * conv(8, 8, 3) + doubles + conv(2, 1, 7);
        assert_eq!(net.num_params(), expected);
        let y = net.forward(Tensor::ones([1, 1, 8, 12, 16], &device));
        assert_eq!(y.dims(), [1, 1, 8, 12, 16]);
        assert_eq!(net.taps(y)[3].dims(), [1, 8, 2, 3, 4]);
    }
}
