//! Activations that stand alone, with their gradients; those after a normalisation are part of it
//! (see `norm`).

use crate::exponential::exp;
use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;

/// Elements of a task: input and output of it stay in a second-level cache.
const CHUNK: usize = 1 << 15;

/// A function of each element alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pointwise {
    /// `x` where positive, else the slope times `x`.
    LeakyRelu(f32),
    /// The hyperbolic tangent, to 3e-7.
    Tanh,
}

impl Pointwise {
    /// `y` of `x`.
    ///
    /// # Panics
    ///
    /// Where the lengths differ.
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        self.forward_with(Level::best(), x, y);
    }

    /// The gradient `dx` to `x` from that to its image, `dy`.
    ///
    /// # Panics
    ///
    /// Where the lengths differ.
    pub fn backward(self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.backward_with(Level::best(), x, dy, dx);
    }

    fn forward_with(self, level: Level, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "an output per element");
        (x.par_chunks(CHUNK), y.par_chunks_mut(CHUNK))
            .into_par_iter()
            .for_each(|(x, y)| level.run(Forward { of: self, x, y }));
    }

    fn backward_with(self, level: Level, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        assert!(
            [dy.len(), dx.len()] == [x.len(); 2],
            "a gradient per element"
        );
        (
            x.par_chunks(CHUNK),
            dy.par_chunks(CHUNK),
            dx.par_chunks_mut(CHUNK),
        )
            .into_par_iter()
            .for_each(|(x, dy, dx)| {
                level.run(Backward {
                    of: self,
                    x,
                    dy,
                    dx,
                });
            });
    }
}

/// Of one element, written without branches: loops over it become vectors.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    // Beyond it the result rounds to 1.
    let wide = x.abs();
    let wide = if wide > 9.5 { 9.5 } else { wide };
    let large = 1.0 - 2.0 / (exp(2.0 * wide) + 1.0);
    let large = large.copysign(x);
    // (tanh x / x - 1) / x² on |x| < 5/8, in powers of x².
    let square = x * x;
    let tail = -5.704_988_7e-3 * square + 2.063_908_8e-2;
    let tail = tail * square - 5.373_971_5e-2;
    let tail = tail * square + 1.333_144_2e-1;
    let tail = tail * square - 3.333_328e-1;
    let small = x + x * square * tail;
    let value = if wide < 0.625 { small } else { large };
    if x.is_nan() { x } else { value }
}

struct Forward<'a> {
    of: Pointwise,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let pairs = self.y.iter_mut().zip(self.x);
        match self.of {
            Pointwise::LeakyRelu(slope) => {
                pairs.for_each(|(y, &x)| *y = if x > 0.0 { x } else { slope * x });
            }
            Pointwise::Tanh => pairs.for_each(|(y, &x)| *y = tanh(x)),
        }
    }
}

struct Backward<'a> {
    of: Pointwise,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let all = self.dx.iter_mut().zip(self.x).zip(self.dy);
        match self.of {
            Pointwise::LeakyRelu(slope) => {
                all.for_each(|((dx, &x), &dy)| *dx = if x > 0.0 { dy } else { slope * dy });
            }
            Pointwise::Tanh => all.for_each(|((dx, &x), &dy)| {
                let y = tanh(x);
                *dx = dy * (1.0 - y * y);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_agrees_with_f64() {
        for i in -2_000_000..=2_000_000 {
            let x = i as f32 * 1e-5;
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - exact).abs();
            assert!(error <= 3e-7 * exact.abs().max(1e-6), "{x}: {error}");
        }
        assert_eq!(tanh(0.0), 0.0);
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
    }

    #[test]
    fn gradients_match_differences_on_every_level() {
        let x: Vec<f32> = (0..1037).map(|i| (i as f32 - 500.3) * 0.007).collect();
        let dy: Vec<f32> = (0..1037).map(|i| (i % 17) as f32 - 8.0).collect();
        for of in [Pointwise::LeakyRelu(0.2), Pointwise::Tanh] {
            for level in Level::all() {
                let mut dx = vec![0.0; x.len()];
                of.backward_with(level, &x, &dy, &mut dx);
                let [mut above, mut below] = [1e-3, -1e-3].map(|step| {
                    let moved: Vec<f32> = x.iter().map(|x| x + step).collect();
                    let mut y = vec![0.0; x.len()];
                    of.forward_with(level, &moved, &mut y);
                    y.into_iter()
                });
                for (i, dx) in dx.iter().enumerate() {
                    let (a, b) = (above.next(), below.next());
                    let slope = (a.unwrap_or(f32::NAN) - b.unwrap_or(f32::NAN)) / 2e-3;
                    assert!((dx - dy[i] * slope).abs() < 5e-3, "{of:?} at {}", x[i]);
                }
            }
        }
    }
}
