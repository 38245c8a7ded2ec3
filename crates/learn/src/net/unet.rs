//! A 2-D U-Net segmentor with instance norm.
//!
//! Ronneberger et al. (arXiv:1505.04597) in nnU-Net's dress (Isensee et al.,
//! doi:10.1038/s41592-020-01008-z): two 3×3 convolutions a level, instance norm with affine,
//! LeakyReLU 0.01, stride-2 convolution down, transposed 2×2 up.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::conv::{Conv, ConvTransposed, Init};
use super::level::Level;
use crate::ops::Walk;

/// Size of a [`UNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Features of the first level; 32 in nnU-Net.
    pub width: usize,
    /// Features never exceed this; 512 in nnU-Net's 2-D plans.
    pub max_width: usize,
    /// Resolutions, the first included.
    pub levels: usize,
}

impl Default for UNetConfig {
    /// nnU-Net's first width and cap, five levels (each halves the image, so sides are multiples
    /// of 16).
    fn default() -> Self {
        Self {
            width: 32,
            max_width: 512,
            levels: 5,
        }
    }
}

/// An encoder-decoder with skips, from one channel to `classes` logits.
#[derive(Module, Debug)]
pub struct UNet {
    encoder: Vec<Level>,
    up: Vec<ConvTransposed>,
    decoder: Vec<Level>,
    head: Conv,
}

impl UNetConfig {
    /// Builds the net of images of so many channels, for so many classes, with He's initial weights.
    #[must_use]
    pub fn init(&self, [inputs, classes]: [usize; 2], rng: &mut Rng, device: &Device) -> UNet {
        let widths: Vec<usize> = (0..self.levels)
            .map(|l| (self.width << l).min(self.max_width))
            .collect();
        let mut encoder = vec![Level::new([inputs, widths[0]], 1, rng, device)];
        let (mut up, mut decoder) = (Vec::new(), Vec::new());
        for pair in widths.windows(2) {
            encoder.push(Level::new([pair[0], pair[1]], 2, rng, device));
        }
        for pair in widths.windows(2).rev() {
            up.push(ConvTransposed::new(
                [pair[1], pair[0]],
                2,
                Init::He,
                rng,
                device,
            ));
            decoder.push(Level::new([2 * pair[0], pair[0]], 1, rng, device));
        }
        let head = Conv::new(
            [widths[0], classes],
            1,
            Walk::zero(1, 0),
            Init::He,
            rng,
            device,
        );
        UNet {
            encoder,
            up,
            decoder,
            head,
        }
    }

    /// Sizes the net takes: multiples of this.
    #[must_use]
    pub fn multiple(&self) -> usize {
        1 << (self.levels - 1)
    }
}

impl UNet {
    /// # Shapes
    /// `[n, 1, h, w]` to logits `[n, classes, h, w]`; h and w multiples of
    /// [`UNetConfig::multiple`].
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut skips: Vec<Tensor<4>> = Vec::with_capacity(self.encoder.len());
        let mut x = x;
        for level in &self.encoder {
            x = level.forward(x);
            skips.push(x.clone());
        }
        skips.pop();
        for (up, level) in self.up.iter().zip(&self.decoder) {
            x = up.forward(x);
            if let Some(skip) = skips.pop() {
                x = Tensor::cat(vec![x, skip], 1);
            }
            x = level.forward(x);
        }
        self.head.forward(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_size() {
        let device = crate::device::cpu();
        let config = UNetConfig {
            width: 4,
            max_width: 16,
            levels: 4,
        };
        let net = config.init([1, 3], &mut Rng::new(1, 0, 0), &device);
        assert_eq!(config.multiple(), 8);
        let y = net.forward(Tensor::ones([2, 1, 16, 24], &device));
        assert_eq!(y.dims(), [2, 3, 16, 24]);
    }
}
