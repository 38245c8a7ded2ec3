//! The translator of volumes: a U-Net with instance norm.
//!
//! Zhang, Yang and Zheng, CVPR 2018, §3.5: three halvings by 3×3×3 convolutions of stride 2, two
//! convolutions at each resolution, nearest ×2 up followed by a 3×3×3 convolution that changes the
//! features too, long skips, instance norm and ReLU. Features and the last activation are not
//! given there: they double at each resolution, and tanh ends the net as in CycleGAN.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::conv::{Conv, Init};
use crate::ops::{self, Activation, Interpolation, Pointwise, Walk};

/// Size of a [`Generator3d`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Generator3dConfig {
    /// Features of the finest resolution, doubled at each coarser one.
    pub width: usize,
}

impl Default for Generator3dConfig {
    /// Chosen: with 16, training on 88 × 112 × 112 voxels fits 16 GB.
    fn default() -> Self {
        Self { width: 16 }
    }
}

/// A U-Net of volumes from one channel to one in [-1, 1].
#[derive(Module, Debug)]
pub struct Generator3d {
    /// The finest resolution first.
    down: Vec<Fall>,
    up: Vec<Rise>,
    head: Conv<5>,
}

/// To a resolution, and there.
#[derive(Module, Debug)]
struct Fall {
    halve: Option<Conv<5>>,
    pair: Vec<Conv<5>>,
}

/// From below to a resolution, and there with what skipped the rest.
#[derive(Module, Debug)]
struct Rise {
    after: Conv<5>,
    pair: Vec<Conv<5>>,
}

const HALVINGS: usize = 3;

impl Generator3dConfig {
    /// Builds the net with weights from N(0, 0.02²), as CycleGAN's.
    #[must_use]
    pub fn init(&self, rng: &mut Rng, device: &Device) -> Generator3d {
        let features = |level: usize| self.width << level;
        let mut conv = |channels, stride| {
            let walk = Walk::zero(stride, 1);
            Conv::new(channels, 3, walk, Init::Normal(super::INIT_SD), rng, device)
        };
        let mut down = Vec::new();
        let mut up = Vec::new();
        for level in 0..=HALVINGS {
            let own = features(level);
            let halve = (level > 0).then(|| conv([own / 2, own], 2));
            let first = if level == 0 { 1 } else { own };
            let pair = vec![conv([first, own], 1), conv([own, own], 1)];
            down.push(Fall { halve, pair });
        }
        for level in (0..HALVINGS).rev() {
            let own = features(level);
            let after = conv([2 * own, own], 1);
            let pair = vec![conv([2 * own, own], 1), conv([own, own], 1)];
            up.push(Rise { after, pair });
        }
        let head = conv([self.width, 1], 1);
        Generator3d { down, up, head }
    }
}

impl Generator3d {
    /// Sizes the net takes: multiples of this.
    pub const MULTIPLE: usize = 1 << HALVINGS;

    /// # Shapes
    /// `[n, 1, d, h, w]` in and out, sizes multiples of [`Generator3d::MULTIPLE`].
    #[must_use]
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let relu = |conv: &Conv<5>, x| ops::instance_norm(conv.forward(x), Activation::Relu);
        let pair = |pair: &[Conv<5>], x| pair.iter().fold(x, |x, conv| relu(conv, x));
        let mut skips: Vec<Tensor<5>> = Vec::with_capacity(HALVINGS);
        let mut x = x;
        for fall in &self.down {
            if let Some(halve) = &fall.halve {
                skips.push(x.clone());
                x = relu(halve, x);
            }
            x = pair(&fall.pair, x);
        }
        for rise in &self.up {
            x = relu(
                &rise.after,
                ops::upsample(x, [2; 3], Interpolation::Nearest),
            );
            if let Some(skip) = skips.pop() {
                x = Tensor::cat(vec![x, skip], 1);
            }
            x = pair(&rise.pair, x);
        }
        ops::pointwise(self.head.forward(x), Pointwise::Tanh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_size_and_the_range() {
        let device = crate::device::cpu();
        let net = Generator3dConfig { width: 2 }.init(&mut Rng::new(1, 0, 0), &device);
        let y = net.forward(Tensor::ones([1, 1, 16, 8, 24], &device));
        assert_eq!(y.dims(), [1, 1, 16, 8, 24]);
        assert!(y.abs().max().into_scalar::<f32>() <= 1.0);
    }

    /// Counted by hand: 27 taps a pair of channels and a bias a feature.
    #[test]
    fn parameters() {
        let w = 16;
        let net =
            Generator3dConfig { width: w }.init(&mut Rng::new(1, 0, 0), &crate::device::cpu());
        let conv = |ci: usize, co: usize| 27 * ci * co + co;
        let down: usize = [2 * w, 4 * w, 8 * w]
            .map(|f| conv(f / 2, f) + 2 * conv(f, f))
            .iter()
            .sum();
        let up: usize = [4 * w, 2 * w, w]
            .map(|f| 2 * conv(2 * f, f) + conv(f, f))
            .iter()
            .sum();
        let ends = conv(1, w) + conv(w, w) + conv(w, 1);
        assert_eq!(net.num_params(), down + up + ends);
        assert_eq!(net.num_params(), 2_186_097);
    }
}
