//! A 3-D U-Net segmentor with instance norm.
//!
//! Çiçek et al. (arXiv:1606.06650) with the norm and activation of nnU-Net (Isensee et al.,
//! doi:10.1038/s41592-020-01008-z): two 3×3×3 convolutions a level, max pool 2 down, nearest ×2 up,
//! skips joined behind what comes from below.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::conv::{Conv, Init};
use super::level::Level;
use crate::ops::{self, Interpolation, Walk};

/// Each level has half the size of the one above.
const HALF: [usize; 3] = [2; 3];

/// Size of a [`UNet3d`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNet3dConfig {
    /// Features of each level, the finest first.
    pub features: Vec<usize>,
}

impl Default for UNet3dConfig {
    /// The features of nnU-Net's 3-D plans (doi:10.1038/s41592-020-01008-z): 32, doubled at each
    /// level and never above 320. Five levels, so sides are multiples of 16.
    fn default() -> Self {
        Self {
            features: vec![32, 64, 128, 256, 320],
        }
    }
}

/// An encoder-decoder of volumes with skips, from one channel to `classes` logits.
#[derive(Module, Debug)]
pub struct UNet3d {
    encoder: Vec<Level<5>>,
    decoder: Vec<Level<5>>,
    head: Conv<5>,
}

impl UNet3dConfig {
    /// Builds the net with He's initial weights.
    ///
    /// # Panics
    /// Where there are no features.
    #[must_use]
    pub fn init(&self, classes: usize, rng: &mut Rng, device: &Device) -> UNet3d {
        let first = self.features[0];
        let mut encoder = vec![Level::new([1, first], 1, rng, device)];
        let mut decoder = Vec::new();
        for pair in self.features.windows(2) {
            encoder.push(Level::new([pair[0], pair[1]], 1, rng, device));
        }
        for pair in self.features.windows(2).rev() {
            decoder.push(Level::new([pair[0] + pair[1], pair[0]], 1, rng, device));
        }
        let pointwise = Walk::zero(1, 0);
        UNet3d {
            encoder,
            decoder,
            head: Conv::new([first, classes], 1, pointwise, Init::He, rng, device),
        }
    }

    /// Sizes the net takes: multiples of this.
    #[must_use]
    pub fn multiple(&self) -> usize {
        1 << self.features.len().saturating_sub(1)
    }
}

impl UNet3d {
    /// # Shapes
    /// `[n, 1, d, h, w]` to logits `[n, classes, d, h, w]`; d, h and w multiples of
    /// [`UNet3dConfig::multiple`].
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let mut skips: Vec<Tensor<5>> = Vec::with_capacity(self.encoder.len());
        let mut x = x;
        for (i, level) in self.encoder.iter().enumerate() {
            if i > 0 {
                skips.push(x.clone());
                x = ops::max_pool(x, HALF);
            }
            x = level.forward(x);
        }
        for level in &self.decoder {
            x = ops::upsample(x, HALF, Interpolation::Nearest);
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
    use crate::fit::{NetGradients, Sgd, SgdConfig};

    #[test]
    fn keeps_the_size() {
        let device = crate::device::cpu();
        let config = UNet3dConfig {
            features: vec![2, 4, 4],
        };
        let net = config.init(3, &mut Rng::new(1, 0, 0), &device);
        assert_eq!(config.multiple(), 4);
        let y = net.forward(Tensor::ones([2, 1, 8, 4, 12], &device));
        assert_eq!(y.dims(), [2, 3, 8, 4, 12]);
    }

    /// Counted by hand: 27 taps a pair of channels, and bias, scale and shift a feature.
    #[test]
    fn parameters() {
        let config = UNet3dConfig {
            features: vec![16, 32, 64, 128],
        };
        let net = config.init(6, &mut Rng::new(1, 0, 0), &crate::device::cpu());
        let level = |ci: usize, co: usize| 27 * (ci * co + co * co) + 2 * 3 * co;
        let encoder = level(1, 16) + level(16, 32) + level(32, 64) + level(64, 128);
        let decoder = level(128 + 64, 64) + level(64 + 32, 32) + level(32 + 16, 16);
        assert_eq!(net.num_params(), encoder + decoder + 16 * 6 + 6);
    }

    #[test]
    fn a_step_lowers_the_loss() {
        let device = crate::device::cpu_training();
        let config = UNet3dConfig {
            features: vec![2, 3],
        };
        let net = config.init(2, &mut Rng::new(1, 0, 0), &device);
        let mut rng = Rng::new(2, 0, 0);
        let values: Vec<f32> = (0..64).map(|_| rng.normal()).collect();
        let x = Tensor::<1>::from_floats(values.as_slice(), &device).reshape([1, 1, 4, 4, 4]);
        // Twice the image, which a linear net would find.
        let goal = Tensor::cat(vec![x.clone() * 2.0, x.clone()], 1);
        let loss = |net: &UNet3d| (net.forward(x.clone()) - goal.clone()).square().mean();
        let before = loss(&net);
        let mut sgd = Sgd::new(&SgdConfig::default(), &net);
        let grads = NetGradients::take(&net, before.backward());
        let net = sgd.step(net, grads, 1e-2, &device);
        let [before, after] = [before, loss(&net)].map(|l| l.into_scalar::<f32>());
        assert!(after < before, "{after} after {before}");
    }
}
