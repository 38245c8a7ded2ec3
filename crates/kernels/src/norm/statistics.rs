//! Mean and variance of an instance in one pass over memory.
//!
//! A block that fits the first-level cache is gone through twice: for its mean, then for the
//! squared deviations about it. Blocks, then chunks, are joined by the pairwise update of Chan,
//! Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115. No large numbers are subtracted, so a
//! mean far from 0 costs no digits.

use crate::simd::{Kernel, Lanes, Level};
use crate::sums::{BLOCK, CHUNK, LANES, join};
use rayon::prelude::*;

/// Count, mean and sum of squared deviations about it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    count: f64,
    pub(super) mean: f64,
    squares: f64,
}

impl Moments {
    #[inline(always)]
    fn join(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        let share = other.count / count;
        Self {
            count,
            mean: self.mean + apart * share,
            squares: self.squares + other.squares + apart * apart * share * self.count,
        }
    }

    pub(super) fn variance(self) -> f64 {
        self.squares / self.count
    }
}

/// The moments of an instance; `partial` holds those of its chunks.
pub(super) fn moments(level: Level, x: &[f32], partial: &mut [Moments]) -> Moments {
    (x.par_chunks(CHUNK), &mut *partial)
        .into_par_iter()
        .for_each(|(x, partial)| *partial = level.run(OfChunk(x)));
    partial
        .iter()
        .fold(Moments::default(), |all, &next| all.join(next))
}

struct OfChunk<'a>(&'a [f32]);

impl Kernel for OfChunk<'_> {
    type Output = Moments;

    #[inline(always)]
    fn run<V: Lanes>(self) -> Moments {
        let mut all = Moments::default();
        for block in self.0.chunks(BLOCK) {
            let count = block.len() as f64;
            let centre = (sum(block) / count) as f32;
            let (first, second) = deviations(block, centre);
            // The centre is rounded: what is left of the mean is in the first sum.
            let rest = first / count;
            all = all.join(Moments {
                count,
                mean: f64::from(centre) + rest,
                squares: second - first * rest,
            });
        }
        all
    }
}

#[inline(always)]
fn sum(x: &[f32]) -> f64 {
    let (vectors, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for vector in vectors {
        for (lane, value) in lanes.iter_mut().zip(vector) {
            *lane += value;
        }
    }
    join(&lanes) + rest.iter().map(|&v| f64::from(v)).sum::<f64>()
}

/// The sums of the deviations from `centre` and of their squares.
#[inline(always)]
fn deviations(x: &[f32], centre: f32) -> (f64, f64) {
    let (vectors, rest) = x.as_chunks::<LANES>();
    let (mut first, mut second) = ([0.0f32; LANES], [0.0f32; LANES]);
    for vector in vectors {
        for lane in 0..LANES {
            let d = vector[lane] - centre;
            first[lane] += d;
            second[lane] += d * d;
        }
    }
    let mut total = (join(&first), join(&second));
    for value in rest {
        let d = f64::from(value - centre);
        total.0 += d;
        total.1 += d * d;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks of different means, far from 0, against sums in f64.
    #[test]
    fn moments_agree_with_the_definition() {
        for n in [1, 31, 5000, CHUNK + 1, 3 * CHUNK + 4097] {
            let x: Vec<f32> = (0..n)
                .map(|i| 900.0 + (i as f32 * 0.37).sin() + (i / 20_000) as f32)
                .collect();
            let count = n as f64;
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
            let variance = x
                .iter()
                .map(|&v| (f64::from(v) - mean).powi(2))
                .sum::<f64>()
                / count;
            for level in Level::all() {
                let mut partial = vec![Moments::default(); n.div_ceil(CHUNK)];
                let found = moments(level, &x, &mut partial);
                assert!((found.mean - mean).abs() < 1e-6, "{level:?} {n}");
                assert!(
                    (found.variance() - variance).abs() <= 1e-6 * variance,
                    "{level:?} {n}: {} for {variance}",
                    found.variance()
                );
            }
        }
    }

    #[test]
    fn a_constant_has_no_variance() {
        let x = vec![0.1f32; CHUNK + 77];
        let mut partial = vec![Moments::default(); 2];
        let found = moments(Level::best(), &x, &mut partial);
        assert!(found.variance().abs() < 1e-15);
        assert!((found.mean - f64::from(0.1f32)).abs() < 1e-9);
    }
}
