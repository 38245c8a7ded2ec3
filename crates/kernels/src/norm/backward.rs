//! The backward pass: two sums per instance, then one sweep that writes the gradient.
//!
//! With g the gradient before the activation and n the normalised value,
//! `dx = gamma * inv_std * (g - mean(g) - n * mean(g * n))`; the gradient of the residual is g,
//! those of beta and gamma are the sums of g and of g times n.

use super::InstanceNorm;
use crate::simd::{Kernel, Lanes, Level};
use crate::sums::{BLOCK, CHUNK, LANES, join};
use crate::threads;
use rayon::prelude::*;

/// What the forward pass left.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a> {
    pub(super) x: &'a [f32],
    /// The output, where a residual was added.
    pub(super) y: Option<&'a [f32]>,
    pub(super) mean: &'a [f32],
    pub(super) inv_std: &'a [f32],
    pub(super) affine: Option<(&'a [f32], &'a [f32])>,
}

pub(super) fn backward(
    level: Level,
    norm: &InstanceNorm,
    saved: Saved<'_>,
    dy: &[f32],
    dx: &mut [f32],
    dresidual: Option<&mut [f32]>,
    dgamma_dbeta: Option<(&mut [f32], &mut [f32])>,
) {
    let (mean, inv_std) = (saved.mean, saved.inv_std);
    let len = saved.x.len();
    norm.check(len, dx.len(), mean.len(), inv_std.len(), saved.affine);
    assert_eq!(dy.len(), len, "elements of dy");
    assert!(
        saved.y.is_none_or(|y| y.len() == len),
        "an output of the size of x"
    );
    assert!(
        dresidual.as_ref().is_none_or(|r| r.len() == len),
        "a gradient of the residual of the size of x"
    );
    let slope = norm.activation.slope();
    assert!(
        saved.y.is_none() || slope >= 0.0,
        "the output tells the side of the activation"
    );
    let spatial = norm.spatial;
    let mut sums = vec![[0.0; 2]; norm.instances];
    if len > 0 {
        let chunks = spatial.div_ceil(CHUNK);
        let mut partial = vec![[0.0; 2]; norm.instances * chunks];
        let dresidual: Vec<Option<&mut [f32]>> = match dresidual {
            Some(all) => all.chunks_mut(spatial).map(Some).collect(),
            None => (0..norm.instances).map(|_| None).collect(),
        };
        let arrays = (
            dx.par_chunks_mut(spatial),
            dresidual,
            partial.par_chunks_mut(chunks),
            &mut sums,
        );
        arrays
            .into_par_iter()
            .with_min_len(threads::least(spatial))
            .enumerate()
            .for_each(|(i, (dx, dresidual, partial, sums))| {
                let (gamma, beta) = norm.pair(saved.affine, i);
                let instance = Instance {
                    x: &saved.x[i * spatial..][..spatial],
                    y: saved.y.map(|y| &y[i * spatial..][..spatial]),
                    dy: &dy[i * spatial..][..spatial],
                    centre: mean[i],
                    inverse: inv_std[i],
                    gamma,
                    beta,
                    slope,
                };
                *sums = instance.gradient(level, dx, dresidual, partial);
            });
    }
    if let Some((dgamma, dbeta)) = dgamma_dbeta {
        assert!(
            [dgamma.len(), dbeta.len()] == [norm.channels; 2],
            "gradients of gamma and beta per channel"
        );
        for channel in 0..norm.channels {
            let of = || sums.iter().skip(channel).step_by(norm.channels);
            dbeta[channel] = of().map(|s| s[0]).sum::<f64>() as f32;
            dgamma[channel] = of().map(|s| s[1]).sum::<f64>() as f32;
        }
    }
}

/// An instance, or a chunk of one.
#[derive(Clone, Copy)]
struct Instance<'a> {
    x: &'a [f32],
    y: Option<&'a [f32]>,
    dy: &'a [f32],
    centre: f32,
    inverse: f32,
    gamma: f32,
    beta: f32,
    slope: f32,
}

impl<'a> Instance<'a> {
    fn part(self, start: usize, len: usize) -> Self {
        Self {
            x: &self.x[start..][..len],
            y: self.y.map(|y| &y[start..][..len]),
            dy: &self.dy[start..][..len],
            ..self
        }
    }

    /// Writes `dx` and, where wanted, `dresidual`; the sums of g and of g times the
    /// normalised value.
    fn gradient(
        self,
        level: Level,
        dx: &mut [f32],
        dresidual: Option<&mut [f32]>,
        partial: &mut [[f64; 2]],
    ) -> [f64; 2] {
        let kept = match dresidual {
            Some(dresidual) => {
                (dresidual.par_chunks_mut(CHUNK), &mut *partial)
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(i, (kept, partial))| {
                        let of = self.part(i * CHUNK, kept.len());
                        let kept = Some(kept);
                        *partial = level.run(Sums { of, kept });
                    });
                Some(&*dresidual)
            }
            None => {
                partial.par_iter_mut().enumerate().for_each(|(i, partial)| {
                    let of = self.part(i * CHUNK, CHUNK.min(self.x.len() - i * CHUNK));
                    *partial = level.run(Sums { of, kept: None });
                });
                None
            }
        };
        let sums = partial
            .iter()
            .fold([0.0; 2], |all, next| [all[0] + next[0], all[1] + next[1]]);
        let n = self.x.len() as f64;
        let scale = f64::from(self.gamma) * f64::from(self.inverse);
        let offset = (scale * sums[0] / n) as f32;
        let along = (scale * f64::from(self.inverse) * sums[1] / n) as f32;
        dx.par_chunks_mut(CHUNK).enumerate().for_each(|(i, dx)| {
            let mut of = self.part(i * CHUNK, dx.len());
            if let Some(g) = kept {
                of.dy = &g[i * CHUNK..][..dx.len()];
                of.slope = 1.0;
            }
            level.run(Gradient {
                of,
                scale: scale as f32,
                offset,
                along,
                dx,
            });
        });
        sums
    }

    /// Which arrays tell the side of the activation.
    fn gate(self) -> Gate {
        if self.slope == 1.0 {
            Gate::Open
        } else if self.y.is_some() {
            Gate::Output
        } else {
            Gate::Input
        }
    }

    /// The gradient `dy` before the activation, at `z` or what has the sign of it.
    #[inline(always)]
    fn side(self, z: f32, dy: f32) -> f32 {
        if z > 0.0 { dy } else { dy * self.slope }
    }

    /// The value before the activation: the very expression of the forward pass, since the two
    /// must agree at 0.
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        (x - self.centre) * (self.gamma * self.inverse) + self.beta
    }
}

enum Gate {
    /// There is no activation.
    Open,
    Output,
    Input,
}

/// The sums of g and of g times the normalised value; g is kept if there is room for it.
struct Sums<'a> {
    of: Instance<'a>,
    kept: Option<&'a mut [f32]>,
}

impl Kernel for Sums<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<V: Lanes>(mut self) -> [f64; 2] {
        let mut total = [0.0; 2];
        for start in (0..self.of.x.len()).step_by(BLOCK) {
            let mut of = self.of.part(start, BLOCK.min(self.of.x.len() - start));
            if let Some(kept) = &mut self.kept {
                let kept = &mut kept[start..][..of.x.len()];
                Gradient {
                    of,
                    scale: 1.0,
                    offset: 0.0,
                    along: 0.0,
                    dx: kept,
                }
                .run::<V>();
                of.dy = kept;
                of.slope = 1.0;
            }
            let sums = match of.gate() {
                Gate::Open => sums(of, |_, _, dy| dy),
                Gate::Output => sums(of, |_, y, dy| of.side(y, dy)),
                Gate::Input => sums(of, |x, _, dy| of.side(of.value(x), dy)),
            };
            total[0] += sums[0];
            total[1] += sums[1];
        }
        [total[0], total[1] * f64::from(self.of.inverse)]
    }
}

/// The sums of g and of `g * (x - centre)`, g from x, y and dy.
#[inline(always)]
fn sums(of: Instance<'_>, g: impl Fn(f32, f32, f32) -> f32) -> [f64; 2] {
    let (xs, x_rest) = of.x.as_chunks::<LANES>();
    let (ys, y_rest) = of.y.unwrap_or(of.x).as_chunks::<LANES>();
    let (dys, dy_rest) = of.dy.as_chunks::<LANES>();
    let (mut plain, mut along) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (x, (y, dy)) in xs.iter().zip(ys.iter().zip(dys)) {
        for lane in 0..LANES {
            let g = g(x[lane], y[lane], dy[lane]);
            plain[lane] += g;
            along[lane] += g * (x[lane] - of.centre);
        }
    }
    let mut total = [join(&plain), join(&along)];
    for (&x, (&y, &dy)) in x_rest.iter().zip(y_rest.iter().zip(dy_rest)) {
        let g = g(x, y, dy);
        total[0] += f64::from(g);
        total[1] += f64::from(g * (x - of.centre));
    }
    total
}

/// `dx = scale * g - (offset + along * (x - centre))`.
struct Gradient<'a> {
    of: Instance<'a>,
    scale: f32,
    offset: f32,
    along: f32,
    dx: &'a mut [f32],
}

impl Gradient<'_> {
    #[inline(always)]
    fn write(self, g: impl Fn(f32, f32, f32) -> f32) {
        let Self {
            of,
            scale,
            offset,
            along,
            dx,
        } = self;
        let others = of.y.unwrap_or(of.x).iter().zip(of.dy);
        for (dx, (&x, (&y, &dy))) in dx.iter_mut().zip(of.x.iter().zip(others)) {
            *dx = scale * g(x, y, dy) - (offset + along * (x - of.centre));
        }
    }
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let of = self.of;
        match of.gate() {
            Gate::Open => self.write(|_, _, dy| dy),
            Gate::Output => self.write(|_, y, dy| of.side(y, dy)),
            Gate::Input => self.write(|x, _, dy| of.side(of.value(x), dy)),
        }
    }
}
