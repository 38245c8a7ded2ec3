//! The forward pass: statistics, then one sweep that applies all the rest.

use super::InstanceNorm;
use super::statistics::{self, Moments};
use crate::simd::{Kernel, Lanes, Level};
use crate::sums::CHUNK;
use crate::threads;
use rayon::prelude::*;

#[allow(clippy::too_many_arguments, reason = "the arrays of the pass")]
pub(super) fn forward(
    level: Level,
    norm: &InstanceNorm,
    x: &[f32],
    residual: Option<&[f32]>,
    affine: Option<(&[f32], &[f32])>,
    y: &mut [f32],
    mean: &mut [f32],
    inv_std: &mut [f32],
) {
    norm.check(x.len(), y.len(), mean.len(), inv_std.len(), affine);
    assert!(
        residual.is_none_or(|r| r.len() == x.len()),
        "a residual of the size of x"
    );
    if x.is_empty() {
        return;
    }
    let spatial = norm.spatial;
    let chunks = spatial.div_ceil(CHUNK);
    let mut partial = vec![Moments::default(); norm.instances * chunks];
    let arrays = (
        x.par_chunks(spatial),
        y.par_chunks_mut(spatial),
        partial.par_chunks_mut(chunks),
        mean,
        inv_std,
    );
    arrays
        .into_par_iter()
        .with_min_len(threads::least(spatial))
        .enumerate()
        .for_each(|(i, (x, y, partial, mean, inv_std))| {
            let moments = statistics::moments(level, x, partial);
            let (gamma, beta) = norm.pair(affine, i);
            *mean = moments.mean as f32;
            *inv_std = (1.0 / (moments.variance() + f64::from(norm.eps)).sqrt()) as f32;
            let (centre, scale) = (*mean, gamma * *inv_std);
            let residual = residual.map(|r| &r[i * spatial..][..spatial]);
            (x.par_chunks(CHUNK), y.par_chunks_mut(CHUNK))
                .into_par_iter()
                .enumerate()
                .for_each(|(chunk, (x, y))| {
                    level.run(Apply {
                        x,
                        residual: residual.map(|r| &r[chunk * CHUNK..][..x.len()]),
                        y,
                        centre,
                        scale,
                        beta,
                        slope: norm.activation.slope(),
                    });
                });
        });
}

struct Apply<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
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
        let activate = |z: f32| if z > 0.0 { z } else { z * self.slope };
        let normal = |x: f32| (x - self.centre) * self.scale + self.beta;
        match self.residual {
            None => {
                for (y, &x) in self.y.iter_mut().zip(self.x) {
                    *y = activate(normal(x));
                }
            }
            Some(residual) => {
                for (y, (&x, r)) in self.y.iter_mut().zip(self.x.iter().zip(residual)) {
                    *y = activate(normal(x) + r);
                }
            }
        }
    }
}
