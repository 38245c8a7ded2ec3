//! Enlargement by 2, nearest or linear.
//!
//! Planes are `[depth][row][column]`; the factor along each axis is 1 or 2 (images have depth 1 and
//! factor `[1, 2, 2]`). Linear enlargement aligns the centres of half pixels, not the corners:
//! along an axis output 2i is ¾ x\[i\] + ¼ x\[i - 1\], output 2i + 1 is ¾ x\[i\] + ¼ x\[i + 1\], and
//! the border element goes on beyond the border.

use crate::blocks::Blocks;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;

/// How the new elements are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The element is repeated.
    Nearest,
    /// Linear between the centres of the elements.
    Linear,
}

/// The geometry of an enlargement of `[plane][depth][row][column]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upsample {
    /// Samples times channels.
    pub planes: usize,
    /// Depth, rows and columns of the input.
    pub size: [usize; 3],
    /// Enlargement along each axis: 1 or 2.
    pub factor: [usize; 3],
    /// How the new elements are found.
    pub interpolation: Interpolation,
}

impl Upsample {
    /// Depth, rows and columns of the output.
    #[must_use]
    pub fn out_size(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.size[axis] * self.factor[axis])
    }

    /// The enlargement `y` of `x`.
    ///
    /// # Panics
    ///
    /// Where a length does not fit, or a factor is neither 1 nor 2.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) {
        self.forward_with(Level::best(), x, y);
    }

    /// The gradient `dx` of the input from the gradient `dy` of the output: the adjoint of
    /// [`Upsample::forward`]. Every element of `dx` is written.
    ///
    /// # Panics
    ///
    /// As [`Upsample::forward`].
    pub fn backward(&self, dy: &[f32], dx: &mut [f32]) {
        self.backward_with(Level::best(), dy, dx);
    }

    fn forward_with(&self, level: Level, x: &[f32], y: &mut [f32]) {
        let blocks = self.blocks(y.len(), x.len());
        if self.interpolation == Interpolation::Nearest {
            return blocks.spread(level, x, 1.0, y);
        }
        let [depth, rows, cols] = self.size;
        blocks.slabs(y, |i, y| {
            let plane = depth * rows * cols;
            level.run(Enlarge {
                of: self,
                x: &x[i / depth * plane..][..plane],
                depth: i % depth,
                y,
            });
        });
    }

    fn backward_with(&self, level: Level, dy: &[f32], dx: &mut [f32]) {
        let blocks = self.blocks(dy.len(), dx.len());
        if self.interpolation == Interpolation::Nearest {
            return blocks.fold(level, dy, |a, b| a + b, 1.0, dx);
        }
        if dx.is_empty() {
            return;
        }
        let [depth, rows, cols] = self.size;
        let plane = depth * rows * cols * self.factor.iter().product::<usize>();
        dx.par_chunks_mut(rows * cols)
            .with_min_len(threads::least(4 * rows * cols))
            .enumerate()
            .for_each(|(i, dx)| {
                level.run(Gather {
                    of: self,
                    dy: &dy[i / depth * plane..][..plane],
                    depth: i % depth,
                    dx,
                });
            });
    }

    fn blocks(&self, large: usize, small: usize) -> Blocks {
        Blocks::new(self.planes, self.out_size(), self.factor, large, small)
    }
}

/// Places along an axis and their weights.
#[derive(Clone, Copy)]
struct Taps {
    of: [(usize, f32); 4],
    count: usize,
}

impl Taps {
    const fn one(at: usize) -> Self {
        Self {
            of: [(at, 1.0), (0, 0.0), (0, 0.0), (0, 0.0)],
            count: 1,
        }
    }

    /// What output `at` is made of, on an axis of `n` inputs.
    #[inline(always)]
    fn forward(at: usize, n: usize, factor: usize) -> Self {
        if factor == 1 {
            return Self::one(at);
        }
        let near = at / 2;
        let far = if at % 2 == 1 {
            (near + 1).min(n - 1)
        } else {
            near.saturating_sub(1)
        };
        Self {
            of: [(near, 0.75), (far, 0.25), (0, 0.0), (0, 0.0)],
            count: 2,
        }
    }

    /// What the gradient of input `at` is made of. The border output has the weight of the one
    /// beyond the border too.
    #[inline(always)]
    fn adjoint(at: usize, n: usize, factor: usize) -> Self {
        if factor == 1 {
            return Self::one(at);
        }
        let (before, after) = ((2 * at).saturating_sub(1), (2 * at + 2).min(2 * n - 1));
        Self {
            of: [
                (before, 0.25),
                (2 * at, 0.75),
                (2 * at + 1, 0.75),
                (after, 0.25),
            ],
            count: 4,
        }
    }

    #[inline(always)]
    fn list(&self) -> &[(usize, f32)] {
        &self.of[..self.count]
    }
}

/// `line` becomes the weighted sum of the rows of a plane that `slices` and `rows` choose.
#[inline(always)]
fn blend(plane: &[f32], rows_in: usize, slices: &Taps, rows: &Taps, line: &mut [f32]) {
    let cols = line.len();
    line.fill(0.0);
    for (slice, depth_weight) in slices.list() {
        let row = |k: usize| {
            let (row, weight) = rows.of[k];
            let start = (slice * rows_in + row) * cols;
            (&plane[start..][..cols], depth_weight * weight)
        };
        let (a, wa) = row(0);
        if rows.count == 1 {
            for (line, a) in line.iter_mut().zip(a) {
                *line += wa * a;
            }
            continue;
        }
        let (b, wb) = row(1);
        if rows.count == 2 {
            for (line, (a, b)) in line.iter_mut().zip(a.iter().zip(b)) {
                *line += wa * a + wb * b;
            }
            continue;
        }
        let ((c, wc), (d, wd)) = (row(2), row(3));
        let pairs = a.iter().zip(b).zip(c.iter().zip(d));
        for (line, ((a, b), (c, d))) in line.iter_mut().zip(pairs) {
            *line += (wa * a + wb * b) + (wc * c + wd * d);
        }
    }
}

/// The output slices of one input slice.
struct Enlarge<'a> {
    of: &'a Upsample,
    /// The whole input plane.
    x: &'a [f32],
    depth: usize,
    y: &'a mut [f32],
}

impl Kernel for Enlarge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let [depth, rows, cols] = self.of.size;
        let [deep, high, wide] = self.of.factor;
        // A row of the input, its border elements repeated once.
        let mut line = vec![0.0f32; cols + 2];
        for (i, y) in self.y.chunks_mut(cols * wide).enumerate() {
            let (slice, row) = (i / (rows * high), i % (rows * high));
            let slices = Taps::forward(self.depth * deep + slice, depth, deep);
            let lines = Taps::forward(row, rows, high);
            if wide == 1 {
                blend(self.x, rows, &slices, &lines, y);
                continue;
            }
            blend(self.x, rows, &slices, &lines, &mut line[1..=cols]);
            line[0] = line[1];
            line[cols + 1] = line[cols];
            let around = line.iter().zip(&line[1..]).zip(&line[2..]);
            for (pair, ((left, x), right)) in y.as_chunks_mut::<2>().0.iter_mut().zip(around) {
                *pair = [0.75 * x + 0.25 * left, 0.75 * x + 0.25 * right];
            }
        }
    }
}

/// The gradient of one input slice.
struct Gather<'a> {
    of: &'a Upsample,
    /// The gradient of the whole output plane.
    dy: &'a [f32],
    depth: usize,
    dx: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let [depth, rows, cols] = self.of.size;
        let [deep, high, wide] = self.of.factor;
        let slices = Taps::adjoint(self.depth, depth, deep);
        // A row of the output, its border elements repeated once.
        let mut line = vec![0.0f32; cols * wide + 2];
        for (row, dx) in self.dx.chunks_mut(cols).enumerate() {
            let lines = Taps::adjoint(row, rows, high);
            if wide == 1 {
                blend(self.dy, rows * high, &slices, &lines, dx);
                continue;
            }
            blend(
                self.dy,
                rows * high,
                &slices,
                &lines,
                &mut line[1..=2 * cols],
            );
            line[0] = line[1];
            line[2 * cols + 1] = line[2 * cols];
            // Output 2i - 1 with 2i, and 2i + 1 with 2i + 2.
            let pairs = line.as_chunks::<2>().0;
            for (dx, (a, b)) in dx.iter_mut().zip(pairs.iter().zip(&pairs[1..])) {
                *dx = (0.25 * a[0] + 0.75 * a[1]) + (0.75 * b[0] + 0.25 * b[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{dot, same_on_any_pool, wave};

    const FACTORS: [[usize; 3]; 5] = [[1, 2, 2], [2, 2, 2], [1, 1, 2], [2, 2, 1], [1, 1, 1]];

    fn upsample(size: [usize; 3], factor: [usize; 3], interpolation: Interpolation) -> Upsample {
        Upsample {
            planes: 3,
            size,
            factor,
            interpolation,
        }
    }

    #[test]
    fn nearest_fills_a_block() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = [0.0; 24];
        let of = Upsample {
            planes: 1,
            ..upsample([1, 2, 3], [1, 2, 2], Interpolation::Nearest)
        };
        of.forward(&x, &mut y);
        let row = |a: f32, b: f32, c: f32| [a, a, b, b, c, c];
        let expected = [
            row(1.0, 2.0, 3.0),
            row(1.0, 2.0, 3.0),
            row(4.0, 5.0, 6.0),
            row(4.0, 5.0, 6.0),
        ];
        assert_eq!(y, *expected.as_flattened());
    }

    /// Along one axis by hand: what PyTorch's `interpolate(align_corners=False)` gives.
    #[test]
    fn linear_lies_between_centres() {
        let of = Upsample {
            planes: 1,
            ..upsample([1, 1, 3], [1, 1, 2], Interpolation::Linear)
        };
        let mut y = [0.0; 6];
        of.forward(&[0.0, 4.0, 8.0], &mut y);
        assert_eq!(y, [0.0, 1.0, 3.0, 5.0, 7.0, 8.0]);
    }

    /// Every output at its own place in the input, clamped, interpolated in f64.
    #[test]
    fn linear_agrees_with_the_definition() {
        for (size, factor) in [[4, 3, 5], [1, 6, 37], [3, 1, 1]]
            .into_iter()
            .flat_map(|s| FACTORS.map(|f| (s, f)))
        {
            let of = upsample(size, factor, Interpolation::Linear);
            let out = of.out_size();
            let plane: usize = size.iter().product();
            let x = wave(3 * plane, 0.9, 0.1);
            for level in Level::all() {
                let mut y = vec![9.0; 3 * out.iter().product::<usize>()];
                of.forward_with(level, &x, &mut y);
                for (i, y) in y.iter().enumerate() {
                    let at = [
                        i / (out[2] * out[1]) % out[0],
                        i / out[2] % out[1],
                        i % out[2],
                    ];
                    let place = [0, 1, 2].map(|a| {
                        let centre = (at[a] as f64 + 0.5) / factor[a] as f64 - 0.5;
                        centre.clamp(0.0, (size[a] - 1) as f64)
                    });
                    let mut expected = 0.0;
                    for corner in 0..8 {
                        let mut index = i / out.iter().product::<usize>();
                        let mut weight = 1.0;
                        for a in 0..3 {
                            let side = corner >> a & 1;
                            let low = place[a].floor();
                            let part = place[a] - low;
                            weight *= if side == 1 { part } else { 1.0 - part };
                            index = index * size[a] + (low as usize + side).min(size[a] - 1);
                        }
                        expected += weight * f64::from(x[index]);
                    }
                    assert!((f64::from(*y) - expected).abs() < 1e-6, "{of:?} {level:?}");
                }
            }
        }
    }

    #[test]
    fn backward_is_the_adjoint() {
        for (size, factor) in [[4, 3, 5], [1, 6, 37], [2, 1, 1]]
            .into_iter()
            .flat_map(|s| FACTORS.map(|f| (s, f)))
        {
            for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
                let of = upsample(size, factor, interpolation);
                let n = 3 * size.iter().product::<usize>();
                let m = 3 * of.out_size().iter().product::<usize>();
                // Small integers, and weights that are powers of 2: exact.
                let x: Vec<f32> = (0..n).map(|i| ((i * 7) % 13) as f32 - 6.0).collect();
                let dy: Vec<f32> = (0..m).map(|i| ((i * 5) % 11) as f32 - 5.0).collect();
                for level in Level::all() {
                    let (mut y, mut dx) = (vec![9.0; m], vec![9.0; n]);
                    of.forward_with(level, &x, &mut y);
                    of.backward_with(level, &dy, &mut dx);
                    assert_eq!(dot(&y, &dy), dot(&x, &dx), "{of:?} {level:?}");
                }
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let (x, dy) = (
            wave(3 * 16 * 1024, 0.7, 0.0),
            wave(24 * 16 * 1024, 0.2, 0.0),
        );
        for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
            let of = upsample([16, 32, 32], [2; 3], interpolation);
            same_on_any_pool(|| {
                let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
                of.forward(&x, &mut y);
                of.backward(&dy, &mut dx);
                [&y[..], &dx].concat()
            });
        }
    }
}
