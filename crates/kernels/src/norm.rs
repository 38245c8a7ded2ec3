//! Instance normalisation with scale, shift and activation in one.
//!
//! Ulyanov et al. 2016, arXiv:1607.08022: each channel of each sample is brought to mean 0 and
//! variance 1 (biased variance, plus eps) over its spatial elements. The variance is that about the
//! mean (two passes), summed in blocks of `f32` lanes joined in `f64`.

use crate::conv2d::Sum;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;

/// What is applied after the normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(z, 0)`.
    Relu,
    /// `z` where positive, else the slope times `z`.
    LeakyRelu(f32),
}

impl Activation {
    /// The slope for negative values; for the others it is 1.
    fn slope(self) -> f32 {
        match self {
            Self::None => 1.0,
            Self::Relu => 0.0,
            Self::LeakyRelu(slope) => slope,
        }
    }
}

/// The geometry and constants of an instance normalisation of `[batch][channel][spatial]`.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceNorm {
    /// Samples times channels.
    pub instances: usize,
    /// Channels.
    pub channels: usize,
    /// Spatial elements of an instance.
    pub spatial: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

impl InstanceNorm {
    /// `y = activation(gamma * (x - mean) * inv_std + beta)`; `affine` is `(gamma, beta)`, one each
    /// per channel. `mean` and `inv_std`, one each per instance, are written for the backward pass.
    ///
    /// # Panics
    ///
    /// Where a length does not fit.
    pub fn forward(
        &self,
        x: &[f32],
        affine: Option<(&[f32], &[f32])>,
        y: &mut [f32],
        mean: &mut [f32],
        inv_std: &mut [f32],
    ) {
        self.forward_with(Level::best(), x, affine, y, mean, inv_std);
    }

    /// The gradient `dx` of the input, and of `(gamma, beta)` if asked for, from the gradient `dy`
    /// of the output; `x`, `mean`, `inv_std` and `affine` as in [`InstanceNorm::forward`].
    ///
    /// # Panics
    ///
    /// Where a length does not fit.
    #[allow(clippy::too_many_arguments, reason = "the arrays of a backward pass")]
    pub fn backward(
        &self,
        x: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        affine: Option<(&[f32], &[f32])>,
        dy: &[f32],
        dx: &mut [f32],
        dgamma_dbeta: Option<(&mut [f32], &mut [f32])>,
    ) {
        self.backward_with(
            Level::best(),
            x,
            mean,
            inv_std,
            affine,
            dy,
            dx,
            dgamma_dbeta,
        );
    }

    fn forward_with(
        &self,
        level: Level,
        x: &[f32],
        affine: Option<(&[f32], &[f32])>,
        y: &mut [f32],
        mean: &mut [f32],
        inv_std: &mut [f32],
    ) {
        self.check(x.len(), y.len(), mean.len(), inv_std.len(), affine);
        if x.is_empty() {
            return;
        }
        let slope = self.activation.slope();
        let statistics = mean.par_iter_mut().zip(inv_std);
        x.par_chunks(self.spatial)
            .zip(y.par_chunks_mut(self.spatial))
            .zip(statistics)
            .with_min_len(threads::least(self.spatial))
            .enumerate()
            .for_each(|(i, ((x, y), (mean, inv_std)))| {
                let n = self.spatial as f64;
                let centre = (level.run(Sum(x)) / n) as f32;
                let variance = level.run(SquaredDeviations { x, centre }) / n;
                let inverse = (1.0 / (variance + f64::from(self.eps)).sqrt()) as f32;
                *mean = centre;
                *inv_std = inverse;
                let (gamma, beta) = self.pair(affine, i);
                level.run(Apply {
                    x,
                    y,
                    centre,
                    scale: gamma * inverse,
                    beta,
                    slope,
                });
            });
    }

    #[allow(clippy::too_many_arguments, reason = "the arrays of a backward pass")]
    fn backward_with(
        &self,
        level: Level,
        x: &[f32],
        mean: &[f32],
        inv_std: &[f32],
        affine: Option<(&[f32], &[f32])>,
        dy: &[f32],
        dx: &mut [f32],
        dgamma_dbeta: Option<(&mut [f32], &mut [f32])>,
    ) {
        self.check(x.len(), dx.len(), mean.len(), inv_std.len(), affine);
        assert_eq!(x.len(), dy.len(), "elements of dy");
        let slope = self.activation.slope();
        let mut sums = vec![(0.0, 0.0); self.instances];
        if !x.is_empty() {
            dx.par_chunks_mut(self.spatial)
                .zip(&mut sums)
                .with_min_len(threads::least(self.spatial))
                .enumerate()
                .for_each(|(i, (dx, sums))| {
                    let at = i * self.spatial..(i + 1) * self.spatial;
                    let (gamma, beta) = self.pair(affine, i);
                    let (centre, inverse) = (mean[i], inv_std[i]);
                    let (x, dy) = (&x[at.clone()], &dy[at]);
                    let instance = Instance {
                        x,
                        dy,
                        centre,
                        inverse,
                        gamma,
                        beta,
                        slope,
                    };
                    *sums = level.run(Sums(instance));
                    level.run(Gradient {
                        of: instance,
                        sums: *sums,
                        dx,
                    });
                });
        }
        if let Some((dgamma, dbeta)) = dgamma_dbeta {
            assert!(
                [dgamma.len(), dbeta.len()] == [self.channels; 2],
                "gradients of gamma and beta per channel"
            );
            for channel in 0..self.channels {
                let of = || sums.iter().skip(channel).step_by(self.channels);
                dbeta[channel] = of().map(|s| s.0).sum::<f64>() as f32;
                dgamma[channel] = of().map(|s| s.1).sum::<f64>() as f32;
            }
        }
    }

    fn pair(&self, affine: Option<(&[f32], &[f32])>, instance: usize) -> (f32, f32) {
        let channel = instance % self.channels;
        affine.map_or((1.0, 0.0), |(gamma, beta)| (gamma[channel], beta[channel]))
    }

    fn check(
        &self,
        x: usize,
        y: usize,
        mean: usize,
        inv_std: usize,
        affine: Option<(&[f32], &[f32])>,
    ) {
        let len = self.instances * self.spatial;
        assert!(x == len && y == len, "{x} and {y} elements for {self:?}");
        assert!(
            mean == self.instances && inv_std == mean,
            "a mean and deviation per instance"
        );
        assert!(
            self.channels > 0 && self.instances.is_multiple_of(self.channels),
            "instances are samples times channels"
        );
        if let Some((gamma, beta)) = affine {
            assert!(
                [gamma.len(), beta.len()] == [self.channels; 2],
                "gamma and beta per channel"
            );
        }
    }
}

/// Lanes of a sum, wide enough for two vectors of any instruction set.
const LANES: usize = 32;

/// Elements summed in `f32` before joining in `f64`.
const BLOCK: usize = 4096;

/// Elements whose terms are held at once: two arrays of it stay in the first-level cache.
const PIECE: usize = 1024;

struct SquaredDeviations<'a> {
    x: &'a [f32],
    centre: f32,
}

impl Kernel for SquaredDeviations<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes>(self) -> f64 {
        let mut total = 0.0;
        for block in self.x.chunks(BLOCK) {
            let (vectors, rest) = block.as_chunks::<LANES>();
            let mut lanes = [0.0f32; LANES];
            for vector in vectors {
                for (lane, value) in lanes.iter_mut().zip(vector) {
                    let d = value - self.centre;
                    *lane += d * d;
                }
            }
            total += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
            total += rest
                .iter()
                .map(|v| f64::from(v - self.centre).powi(2))
                .sum::<f64>();
        }
        total
    }
}

struct Apply<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    centre: f32,
    scale: f32,
    beta: f32,
    slope: f32,
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self {
            centre,
            scale,
            beta,
            slope,
            ..
        } = self;
        for (y, x) in self.y.iter_mut().zip(self.x) {
            let z = (x - centre) * scale + beta;
            *y = if z > 0.0 { z } else { z * slope };
        }
    }
}

#[derive(Clone, Copy)]
struct Instance<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    centre: f32,
    inverse: f32,
    gamma: f32,
    beta: f32,
    slope: f32,
}

impl Instance<'_> {
    /// Normalised value, and gradient before the activation, of one element.
    ///
    /// The sign is that of the very expression of the forward pass: the two must agree at 0.
    #[inline(always)]
    fn element(self, x: f32, dy: f32) -> (f32, f32) {
        let z = (x - self.centre) * (self.gamma * self.inverse) + self.beta;
        (
            (x - self.centre) * self.inverse,
            if z > 0.0 { dy } else { dy * self.slope },
        )
    }
}

/// The sums of g and of g times the normalised value, g the gradient before the activation.
struct Sums<'a>(Instance<'a>);

impl Kernel for Sums<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<V: Lanes>(self) -> (f64, f64) {
        let of = self.0;
        let mut total = (0.0, 0.0);
        let (mut first, mut second) = ([0.0; PIECE], [0.0; PIECE]);
        for (x, dy) in of.x.chunks(PIECE).zip(of.dy.chunks(PIECE)) {
            let terms = first.iter_mut().zip(&mut second);
            for ((first, second), (x, dy)) in terms.zip(x.iter().zip(dy)) {
                let (normal, g) = of.element(*x, *dy);
                *first = g;
                *second = g * normal;
            }
            total.0 += Sum(&first[..x.len()]).run::<V>();
            total.1 += Sum(&second[..x.len()]).run::<V>();
        }
        total
    }
}

struct Gradient<'a> {
    of: Instance<'a>,
    sums: (f64, f64),
    dx: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let of = self.of;
        let n = of.x.len() as f64;
        let (mean, along) = ((self.sums.0 / n) as f32, (self.sums.1 / n) as f32);
        let scale = of.gamma * of.inverse;
        let dx = self.dx;
        for (dx, (x, dy)) in dx.iter_mut().zip(of.x.iter().zip(of.dy)) {
            let (normal, g) = of.element(*x, *dy);
            *dx = scale * (g - mean - normal * along);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: usize = 3;

    fn norm(spatial: usize, activation: Activation) -> InstanceNorm {
        InstanceNorm {
            instances: 2 * CHANNELS,
            channels: CHANNELS,
            spatial,
            eps: 1e-5,
            activation,
        }
    }

    fn wave(n: usize, step: f32, offset: f32) -> Vec<f32> {
        (0..n)
            .map(|i| (i as f32 * step).sin() * 2.0 + offset)
            .collect()
    }

    /// y in f64 by the definition.
    fn exact(norm: &InstanceNorm, x: &[f64], gamma: &[f32], beta: &[f32]) -> Vec<f64> {
        let n = norm.spatial as f64;
        let slope = f64::from(norm.activation.slope());
        x.chunks(norm.spatial)
            .enumerate()
            .flat_map(|(i, x)| {
                let mean = x.iter().sum::<f64>() / n;
                let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                let inverse = 1.0 / (variance + f64::from(norm.eps)).sqrt();
                let (g, b) = (
                    f64::from(gamma[i % CHANNELS]),
                    f64::from(beta[i % CHANNELS]),
                );
                x.iter().map(move |v| {
                    let z = g * (v - mean) * inverse + b;
                    if z > 0.0 { z } else { slope * z }
                })
            })
            .collect()
    }

    const GAMMA: [f32; 3] = [1.5, -0.7, 0.3];
    const BETA: [f32; 3] = [0.2, -0.1, 0.05];
    const ACTIVATIONS: [Activation; 3] = [
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu(0.2),
    ];

    /// A large mean and odd lengths: the variance must not lose its digits.
    #[test]
    fn forward_agrees_with_the_definition() {
        for level in Level::all() {
            for (spatial, activation) in [5, 4097, 9000].into_iter().zip(ACTIVATIONS) {
                let norm = norm(spatial, activation);
                let x = wave(6 * spatial, 0.7, 300.0);
                let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
                let mut y = vec![0.0; x.len()];
                let (mut mean, mut inv_std) = ([0.0; 6], [0.0; 6]);
                let affine = Some((&GAMMA[..], &BETA[..]));
                norm.forward_with(level, &x, affine, &mut y, &mut mean, &mut inv_std);
                for (y, e) in y.iter().zip(exact(&norm, &wide, &GAMMA, &BETA)) {
                    assert!(
                        (f64::from(*y) - e).abs() < 2e-4,
                        "{level:?} {spatial}: {y} for {e}"
                    );
                }
            }
        }
    }

    /// Finite differences, in f64, of sum(y * r) for fixed weights r.
    #[test]
    fn backward_agrees_with_finite_differences() {
        for level in Level::all() {
            for activation in ACTIVATIONS {
                let norm = norm(37, activation);
                let x = wave(6 * 37, 0.7, 0.5);
                let r = wave(6 * 37, 1.3, 0.1);
                let mut y = vec![0.0; x.len()];
                let (mut mean, mut inv_std) = ([0.0; 6], [0.0; 6]);
                let affine = Some((&GAMMA[..], &BETA[..]));
                norm.forward_with(level, &x, affine, &mut y, &mut mean, &mut inv_std);
                let mut dx = vec![0.0; x.len()];
                let (mut dgamma, mut dbeta) = ([0.0; 3], [0.0; 3]);
                let gradients = Some((&mut dgamma[..], &mut dbeta[..]));
                norm.backward_with(level, &x, &mean, &inv_std, affine, &r, &mut dx, gradients);

                let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
                let loss = |x: &[f64], gamma: &[f32], beta: &[f32]| -> f64 {
                    exact(&norm, x, gamma, beta)
                        .iter()
                        .zip(&r)
                        .map(|(y, &r)| y * f64::from(r))
                        .sum()
                };
                let h = 1e-5;
                for i in (0..x.len()).step_by(5) {
                    let at = |h: f64| {
                        let mut moved = wide.clone();
                        moved[i] += h;
                        loss(&moved, &GAMMA, &BETA)
                    };
                    let slope = (at(h) - at(-h)) / (2.0 * h);
                    assert!(
                        (f64::from(dx[i]) - slope).abs() < 1e-3,
                        "{level:?} {activation:?} {i}"
                    );
                }
                let h = 2f32.powi(-9);
                for c in 0..CHANNELS {
                    let at = |dg: f32, db: f32| {
                        let (mut gamma, mut beta) = (GAMMA, BETA);
                        gamma[c] += dg;
                        beta[c] += db;
                        loss(&wide, &gamma, &beta)
                    };
                    let step = 2.0 * f64::from(h);
                    let gamma = (at(h, 0.0) - at(-h, 0.0)) / step;
                    let beta = (at(0.0, h) - at(0.0, -h)) / step;
                    // A kink within the step moves the difference a little.
                    assert!(
                        (f64::from(dgamma[c]) - gamma).abs() < 0.05,
                        "{activation:?} gamma {c}"
                    );
                    assert!(
                        (f64::from(dbeta[c]) - beta).abs() < 0.25,
                        "{activation:?} beta {c}"
                    );
                }
            }
        }
    }

    #[test]
    fn without_affine_the_output_is_standard() {
        let norm = norm(1000, Activation::None);
        let x = wave(6000, 0.013, -7.0);
        let mut y = vec![0.0; x.len()];
        let (mut mean, mut inv_std) = ([0.0; 6], [0.0; 6]);
        norm.forward(&x, None, &mut y, &mut mean, &mut inv_std);
        for y in y.chunks(1000) {
            let mean = y.iter().sum::<f32>() / 1000.0;
            let variance = y.iter().map(|v| v * v).sum::<f32>() / 1000.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3);
        }
    }
}
