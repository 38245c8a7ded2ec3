//! A U-Net segmentor with instance norm, of slices or of volumes.
//!
//! Ronneberger et al. (arXiv:1505.04597) in nnU-Net's dress (Isensee et al.,
//! doi:10.1038/s41592-020-01008-z): two 3×3 convolutions a level, instance norm with affine,
//! LeakyReLU 0.01, stride-2 convolution down, transposed 2×2 up; over volumes kernels are as long
//! along depth.

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

/// An encoder-decoder with skips, from images (`D` = 4) or volumes (`D` = 5) to `classes` logits.
#[derive(Module, Debug)]
pub struct UNet<const D: usize = 4> {
    encoder: Vec<Level<D>>,
    up: Vec<ConvTransposed<D>>,
    decoder: Vec<Level<D>>,
    head: Conv<D>,
}

impl UNetConfig {
    /// Builds the net of images of so many channels, for so many classes, with He's initial weights.
    #[must_use]
    pub fn init<const D: usize>(
        &self,
        [inputs, classes]: [usize; 2],
        rng: &mut Rng,
        device: &Device,
    ) -> UNet<D> {
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

impl<const D: usize> UNet<D> {
    /// # Shapes
    /// `[n, channels, (d,) h, w]` to logits `[n, classes, (d,) h, w]`; sizes multiples of
    /// [`UNetConfig::multiple`].
    #[must_use]
    pub fn forward(&self, x: Tensor<D>) -> Tensor<D> {
        let mut skips: Vec<Tensor<D>> = Vec::with_capacity(self.encoder.len());
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
        let y = net.forward(Tensor::<4>::ones([2, 1, 16, 24], &device));
        assert_eq!(y.dims(), [2, 3, 16, 24]);
        let net = config.init([1, 3], &mut Rng::new(1, 0, 0), &device);
        let y = net.forward(Tensor::<5>::ones([1, 1, 8, 16, 24], &device));
        assert_eq!(y.dims(), [1, 3, 8, 16, 24]);
    }
}
