//! Maximum and average over blocks, in steps of the block.
//!
//! Planes are `[depth][row][column]`; the factor along each axis is 1 or 2. Images have depth 1 and
//! factor `[1, 2, 2]`, as have volumes that are coarse along depth. What an odd axis has beyond its
//! last whole block is left out, and gets gradient 0.

use crate::blocks::{Blocks, LINE};
use crate::simd::{Kernel, Lanes, Level};

/// Small columns whose gradient is placed at once, in the first-level cache.
const PIECE: usize = 256;

/// The geometry of a pooling of `[plane][depth][row][column]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Samples times channels.
    pub planes: usize,
    /// Depth, rows and columns of the input.
    pub size: [usize; 3],
    /// Elements of a block along each axis: 1 or 2.
    pub factor: [usize; 3],
}

impl Pool {
    /// Depth, rows and columns of the output.
    #[must_use]
    pub fn out_size(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.size[axis] / self.factor[axis])
    }

    /// The maxima `y` of the blocks of `x`; NaN where a block holds one.
    ///
    /// # Panics
    ///
    /// Where a length does not fit, or a factor is neither 1 nor 2.
    pub fn max(&self, x: &[f32], y: &mut [f32]) {
        self.max_with(Level::best(), x, y);
    }

    /// The gradient `dx` of the input of [`Pool::max`]: `dy` goes to the first maximum of its block
    /// in row-major order (the first NaN, where there is one). Every element of `dx` is written.
    ///
    /// # Panics
    ///
    /// As [`Pool::max`].
    pub fn max_backward(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.max_backward_with(Level::best(), x, dy, dx);
    }

    /// The means `y` of the blocks of `x`.
    ///
    /// # Panics
    ///
    /// As [`Pool::max`].
    pub fn average(&self, x: &[f32], y: &mut [f32]) {
        let blocks = self.blocks(x.len(), y.len());
        let share = 1.0 / blocks.volume() as f32;
        blocks.fold(Level::best(), x, |a, b| a + b, share, y);
    }

    /// The gradient `dx` of the input of [`Pool::average`]: an equal share of `dy` for every
    /// element of its block. Every element of `dx` is written.
    ///
    /// # Panics
    ///
    /// As [`Pool::max`].
    pub fn average_backward(&self, dy: &[f32], dx: &mut [f32]) {
        let blocks = self.blocks(dx.len(), dy.len());
        blocks.spread(Level::best(), dy, 1.0 / blocks.volume() as f32, dx);
    }

    fn blocks(&self, large: usize, small: usize) -> Blocks {
        Blocks::new(self.planes, self.size, self.factor, large, small)
    }

    fn max_with(&self, level: Level, x: &[f32], y: &mut [f32]) {
        self.blocks(x.len(), y.len()).fold(level, x, larger, 1.0, y);
    }

    fn max_backward_with(&self, level: Level, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        assert_eq!(x.len(), dx.len(), "elements of the input");
        let blocks = self.blocks(dx.len(), dy.len());
        let [depth, rows, cols] = self.out_size();
        let slice = self.size[1] * self.size[2];
        blocks.slabs(dx, |i, dx| {
            let start = (i / depth * self.size[0] + i % depth * self.factor[0]) * slice;
            level.run(Place {
                pool: self,
                blocks,
                x: &x[start..][..dx.len()],
                dy: &dy[i * rows * cols..][..rows * cols],
                dx,
            });
        });
    }
}

/// The larger one; NaN if one is.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    let larger = if a > b { a } else { b };
    // Adding -0 changes nothing. A choice would become a masked store, slow on some CPUs.
    larger + if a.is_nan() { a } else { -0.0 }
}

/// The gradient of a slab.
struct Place<'a> {
    pool: &'a Pool,
    blocks: Blocks,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Place<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let [_, rows, cols] = self.pool.out_size();
        let [slices, high, wide] = self.pool.factor;
        if self.pool.size[1] != rows * high || self.pool.size[2] != cols * wide {
            self.dx.fill(0.0);
        }
        let mut line = LINE;
        let [mut maxima, mut left, mut next] = [[0.0; PIECE]; 3];
        let mut gradients = [&mut left, &mut next];
        let mut columns = [[0.0; PIECE]; 2];
        for row in 0..rows {
            let mut at = 0;
            while at < cols {
                let len = PIECE.min(cols - at);
                let maxima = &mut maxima[..len];
                self.blocks
                    .fold_row(self.x, row, at, larger, &mut line, maxima);
                gradients[0][..len].copy_from_slice(&self.dy[row * cols + at..][..len]);
                for k in 0..slices * high {
                    let from = self.blocks.line(row, k) + at * wide;
                    let x = &self.x[from..][..len * wide];
                    let dx = &mut self.dx[from..][..len * wide];
                    if wide == 1 {
                        place::<1>(x, maxima, &mut gradients, &mut columns, dx);
                    } else {
                        place::<2>(x, maxima, &mut gradients, &mut columns, dx);
                    }
                }
                at += len;
            }
        }
    }
}

/// Gives what is left of each gradient (the first of two) to the block's maximum, if it is in this
/// line.
#[inline(always)]
fn place<const WIDE: usize>(
    x: &[f32],
    maxima: &[f32],
    gradients: &mut [&mut [f32; PIECE]; 2],
    columns: &mut [[f32; PIECE]; 2],
    dx: &mut [f32],
) {
    // The columns of the blocks side by side: loops over neighbouring elements vectorise.
    for (i, x) in x.as_chunks::<WIDE>().0.iter().enumerate() {
        for k in 0..WIDE {
            columns[k][i] = x[k];
        }
    }
    for column in &mut columns[..WIDE] {
        let [left, next] = gradients;
        let pairs = left.iter().zip(next.iter_mut());
        for ((x, max), (left, next)) in column.iter_mut().zip(maxima).zip(pairs) {
            // A block with a NaN has a maximum that equals nothing.
            let here = (*x == *max) | x.is_nan();
            *x = if here { *left } else { 0.0 };
            // In place it would become a masked store, which some CPUs are very slow at.
            *next = if here { 0.0 } else { *left };
        }
        gradients.swap(0, 1);
    }
    for (i, dx) in dx.as_chunks_mut::<WIDE>().0.iter_mut().enumerate() {
        for k in 0..WIDE {
            dx[k] = columns[k][i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{dot, same_on_any_pool, wave};

    const FACTORS: [[usize; 3]; 5] = [[1, 2, 2], [2, 2, 2], [1, 1, 2], [2, 2, 1], [1, 1, 1]];

    fn image(planes: usize, [rows, cols]: [usize; 2]) -> Pool {
        Pool {
            planes,
            size: [1, rows, cols],
            factor: [1, 2, 2],
        }
    }

    /// The indices of the elements of every block, in row-major order.
    fn members(pool: &Pool) -> Vec<Vec<usize>> {
        let ([depth, rows, cols], f) = (pool.out_size(), pool.factor);
        let mut all = Vec::new();
        for block in 0..pool.planes * depth * rows * cols {
            let (p, d) = (block / (depth * rows * cols), block / (rows * cols) % depth);
            let (r, c) = (block / cols % rows, block % cols);
            let mut of = Vec::new();
            for inner in 0..f.iter().product() {
                let z = p * pool.size[0] + d * f[0] + inner / (f[1] * f[2]);
                let y = z * pool.size[1] + r * f[1] + inner / f[2] % f[1];
                of.push(y * pool.size[2] + c * f[2] + inner % f[2]);
            }
            all.push(of);
        }
        all
    }

    #[test]
    fn maxima_and_where_they_were() {
        #[rustfmt::skip]
        let x = [
            1.0, 5.0, 2.0, 2.0, 9.0,
            4.0, 3.0, 2.0, 1.0, 9.0,
            9.0, 9.0, 9.0, 9.0, 9.0,
        ];
        let pool = image(1, [3, 5]);
        for level in Level::all() {
            let mut y = [0.0; 2];
            pool.max_with(level, &x, &mut y);
            assert_eq!(y, [5.0, 2.0]);
            let mut dx = [7.0; 15];
            pool.max_backward_with(level, &x, &[0.5, -2.0], &mut dx);
            let mut expected = [0.0; 15];
            expected[1] = 0.5;
            expected[2] = -2.0;
            assert_eq!(dx, expected);
        }
    }

    #[test]
    fn nan_is_not_lost() {
        for place in 0..8 {
            let pool = Pool {
                planes: 1,
                size: [2; 3],
                factor: [2; 3],
            };
            let mut x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, f32::NAN];
            x[place] = f32::NAN;
            let mut y = [0.0];
            pool.max(&x, &mut y);
            assert!(y[0].is_nan());
            let mut dx = [5.0; 8];
            pool.max_backward(&x, &[1.0], &mut dx);
            let mut expected = [0.0; 8];
            expected[place] = 1.0;
            assert_eq!(dx, expected, "the first NaN");
        }
    }

    /// Odd sizes, rows longer than a piece, and values with ties, against a search of each block.
    #[test]
    fn all_factors_agree_with_a_search() {
        for (planes, size) in [(3, [5, 6, 7]), (1, [2, 3, 1031]), (2, [3, 1, 1])] {
            let n = planes * size.iter().product::<usize>();
            let x: Vec<f32> = (0..n).map(|i| ((i * 37) % 11) as f32).collect();
            for (factor, level) in FACTORS
                .iter()
                .flat_map(|&f| Level::all().into_iter().map(move |l| (f, l)))
            {
                let pool = Pool {
                    planes,
                    size,
                    factor,
                };
                let members = members(&pool);
                let dy = wave(members.len(), 0.7, 0.0);
                let (mut y, mut dx) = (vec![9.0; members.len()], vec![9.0; n]);
                pool.max_with(level, &x, &mut y);
                pool.max_backward_with(level, &x, &dy, &mut dx);
                let mut expected = vec![0.0; n];
                for ((of, y), dy) in members.iter().zip(&y).zip(&dy) {
                    let mut best = of[0];
                    for &i in of {
                        if x[i] > x[best] {
                            best = i;
                        }
                    }
                    assert_eq!(*y, x[best], "{pool:?} {level:?}");
                    expected[best] = *dy;
                }
                assert!(dx == expected, "{pool:?} {level:?}");
            }
        }
    }

    #[test]
    fn averages_and_their_adjoint() {
        let (planes, size) = (2, [5, 4, 7]);
        let x = wave(280, 0.7, 0.2);
        for factor in FACTORS {
            let pool = Pool {
                planes,
                size,
                factor,
            };
            let members = members(&pool);
            let (mut y, mut dx) = (vec![9.0; members.len()], vec![9.0; 280]);
            let dy = wave(members.len(), 0.3, 0.0);
            pool.average(&x, &mut y);
            pool.average_backward(&dy, &mut dx);
            for (of, y) in members.iter().zip(&y) {
                let mean = of.iter().map(|&i| x[i]).sum::<f32>() / of.len() as f32;
                assert!((y - mean).abs() < 1e-6);
            }
            assert!((dot(&y, &dy) - dot(&x, &dx)).abs() < 1e-4, "{factor:?}");
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let pool = Pool {
            planes: 2,
            size: [17, 64, 64],
            factor: [2; 3],
        };
        let (x, dy) = (wave(2 * 17 * 4096, 0.7, 0.0), wave(2 * 8 * 1024, 0.2, 0.0));
        same_on_any_pool(|| {
            let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
            pool.max(&x, &mut y);
            pool.max_backward(&x, &dy, &mut dx);
            let mut all = [&y[..], &dx].concat();
            pool.average(&x, &mut y);
            pool.average_backward(&dy, &mut dx);
            all.extend(y);
            all.extend(dx);
            all
        });
    }
}
