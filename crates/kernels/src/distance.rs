//! Mean absolute and mean squared difference, with their gradients.

use crate::simd::{Kernel, Lanes, Level};
use crate::sums;
use rayon::prelude::*;

/// How a difference counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// Its absolute value: the mean of these is called L1.
    Absolute,
    /// Its square: the mean of these is called MSE.
    Squared,
}

/// What values are compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target<'a> {
    /// One value each.
    Values(&'a [f32]),
    /// The same for all, as a least-squares discriminator has.
    Constant(f32),
}

impl Distance {
    /// The mean over all elements of `a`.
    ///
    /// # Panics
    ///
    /// Where `a` is empty, or the target has another length.
    #[must_use]
    pub fn mean(self, a: &[f32], target: Target<'_>) -> f64 {
        self.mean_with(Level::best(), a, target)
    }

    /// The gradient `da` of `scale` times the mean with respect to `a`; that with respect to target
    /// values is its negative. Where two values are equal the absolute difference has gradient 0.
    ///
    /// # Panics
    ///
    /// As [`Distance::mean`], or where `da` has another length than `a`.
    pub fn gradient(self, a: &[f32], target: Target<'_>, scale: f32, da: &mut [f32]) {
        self.gradient_with(Level::best(), a, target, scale, da);
    }

    fn mean_with(self, level: Level, a: &[f32], target: Target<'_>) -> f64 {
        target.check(a);
        let total = sums::of_chunks(a.len(), |at| {
            level.run(Sum {
                of: self,
                a: &a[at.clone()],
                target: target.part(at.start, at.len()),
            })
        });
        total / a.len() as f64
    }

    fn gradient_with(
        self,
        level: Level,
        a: &[f32],
        target: Target<'_>,
        scale: f32,
        da: &mut [f32],
    ) {
        target.check(a);
        assert_eq!(da.len(), a.len(), "a gradient per element");
        let share = (f64::from(scale) / a.len() as f64) as f32;
        (a.par_chunks(sums::CHUNK), da.par_chunks_mut(sums::CHUNK))
            .into_par_iter()
            .enumerate()
            .for_each(|(i, (a, da))| {
                level.run(Gradient {
                    of: self,
                    a,
                    target: target.part(i * sums::CHUNK, a.len()),
                    share,
                    da,
                });
            });
    }
}

impl Target<'_> {
    fn part(self, start: usize, len: usize) -> Self {
        match self {
            Self::Values(values) => Self::Values(&values[start..][..len]),
            Self::Constant(_) => self,
        }
    }

    fn check(self, a: &[f32]) {
        assert!(!a.is_empty(), "values to compare");
        if let Self::Values(values) = self {
            assert_eq!(values.len(), a.len(), "a target per value");
        }
    }
}

struct Sum<'a> {
    of: Distance,
    a: &'a [f32],
    target: Target<'a>,
}

impl Kernel for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes>(self) -> f64 {
        let a = self.a;
        match (self.of, self.target) {
            (Distance::Absolute, Target::Values(b)) => sums::of_pairs(a, b, |a, b| (a - b).abs()),
            (Distance::Absolute, Target::Constant(b)) => sums::of_pairs(a, a, |a, _| (a - b).abs()),
            (Distance::Squared, Target::Values(b)) => {
                sums::of_pairs(a, b, |a, b| (a - b) * (a - b))
            }
            (Distance::Squared, Target::Constant(b)) => {
                sums::of_pairs(a, a, |a, _| (a - b) * (a - b))
            }
        }
    }
}

struct Gradient<'a> {
    of: Distance,
    a: &'a [f32],
    target: Target<'a>,
    share: f32,
    da: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (a, share) = (self.a, self.share);
        // The last case is 0 for 0, and NaN for NaN.
        let sign = |d: f32| {
            if d > 0.0 {
                share
            } else if d < 0.0 {
                -share
            } else {
                d * 0.0
            }
        };
        let double = 2.0 * share;
        match (self.of, self.target) {
            (Distance::Absolute, Target::Values(b)) => write(a, b, self.da, |a, b| sign(a - b)),
            (Distance::Absolute, Target::Constant(b)) => write(a, a, self.da, |a, _| sign(a - b)),
            (Distance::Squared, Target::Values(b)) => {
                write(a, b, self.da, |a, b| double * (a - b));
            }
            (Distance::Squared, Target::Constant(b)) => {
                write(a, a, self.da, |a, _| double * (a - b));
            }
        }
    }
}

#[inline(always)]
fn write(a: &[f32], b: &[f32], to: &mut [f32], of: impl Fn(f32, f32) -> f32) {
    for (to, (a, b)) in to.iter_mut().zip(a.iter().zip(b)) {
        *to = of(*a, *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{same_on_any_pool, slope, wave, wide};

    const BOTH: [Distance; 2] = [Distance::Absolute, Distance::Squared];

    #[test]
    fn by_hand() {
        let (a, b) = ([1.0, -2.0, 3.0, 0.5], [0.0, 2.0, 3.0, 1.0]);
        let mut da = [9.0; 4];
        assert_eq!(Distance::Absolute.mean(&a, Target::Values(&b)), 5.5 / 4.0);
        Distance::Absolute.gradient(&a, Target::Values(&b), 4.0, &mut da);
        assert_eq!(da, [1.0, -1.0, 0.0, -1.0]);
        assert_eq!(
            Distance::Squared.mean(&a, Target::Constant(1.0)),
            13.25 / 4.0
        );
        Distance::Squared.gradient(&a, Target::Constant(1.0), 2.0, &mut da);
        assert_eq!(da, [0.0, -3.0, 2.0, -0.5]);
    }

    #[test]
    fn values_and_gradients_agree_with_f64() {
        let n = 70_003;
        let (a, b) = (wave(n, 0.7, 0.1), wave(n, 0.31, 0.0));
        for level in Level::all() {
            for distance in BOTH {
                for target in [Target::Values(&b), Target::Constant(0.8)] {
                    let loss = |a: &[f64]| -> f64 {
                        let total: f64 = (0..a.len())
                            .map(|i| {
                                let d = match target {
                                    Target::Values(b) => a[i] - f64::from(b[i]),
                                    Target::Constant(b) => a[i] - f64::from(b),
                                };
                                match distance {
                                    Distance::Absolute => d.abs(),
                                    Distance::Squared => d * d,
                                }
                            })
                            .sum();
                        total / a.len() as f64
                    };
                    let wide = wide(&a);
                    let exact = loss(&wide);
                    let found = distance.mean_with(level, &a, target);
                    assert!((found - exact).abs() < 1e-6 * exact, "{level:?}");
                    let mut da = vec![9.0; n];
                    distance.gradient_with(level, &a, target, n as f32, &mut da);
                    for i in (0..n).step_by(9973) {
                        let expected = n as f64 * slope(loss, &wide, i, 1e-4);
                        assert!((f64::from(da[i]) - expected).abs() < 1e-4, "{level:?} {i}");
                    }
                }
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let (a, b) = (wave(200_001, 0.7, 0.1), wave(200_001, 0.31, 0.0));
        same_on_any_pool(|| {
            BOTH.iter()
                .flat_map(|d| {
                    let bits = d.mean(&a, Target::Values(&b)).to_bits();
                    [bits as u32, (bits >> 32) as u32].map(f32::from_bits)
                })
                .collect()
        });
    }
}
