//! Blocks of 1 or 2 elements along each of three axes: what pooling and nearest enlargement share.
//!
//! The large side is `[plane][depth][row][column]`; the small side has one element per block. What
//! an odd axis has beyond its last whole block belongs to none.

use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;

/// Columns of the large side that are folded at once, in the first-level cache.
const PIECE: usize = 512;

/// Room for the lines of blocks while they are folded.
pub(crate) type Line = [f32; PIECE];

pub(crate) const LINE: Line = [0.0; PIECE];

/// The large side and its cut into blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    large: [usize; 3],
    factor: [usize; 3],
}

impl Blocks {
    /// # Panics
    ///
    /// Where a factor is neither 1 nor 2, or a length does not fit.
    pub(crate) fn new(
        planes: usize,
        large: [usize; 3],
        factor: [usize; 3],
        large_len: usize,
        small_len: usize,
    ) -> Self {
        assert!(
            factor.iter().all(|f| [1, 2].contains(f)),
            "factors are 1 or 2, not {factor:?}"
        );
        let blocks = Self { large, factor };
        let elements = |size: [usize; 3]| planes * size.iter().product::<usize>();
        assert_eq!(large_len, elements(large), "elements of the large side");
        assert_eq!(
            small_len,
            elements(blocks.small()),
            "elements of the small side"
        );
        blocks
    }

    pub(crate) fn small(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.large[axis] / self.factor[axis])
    }

    /// Elements of a block.
    pub(crate) fn volume(&self) -> usize {
        self.factor.iter().product()
    }

    /// Elements of the slices of the large side that one slice of blocks covers.
    fn slab(&self) -> usize {
        self.factor[0] * self.large[1] * self.large[2]
    }

    /// Each small element becomes `scale` times its block folded by `op`, which must be
    /// associative.
    pub(crate) fn fold(
        &self,
        level: Level,
        large: &[f32],
        op: impl Fn(f32, f32) -> f32 + Copy + Sync,
        scale: f32,
        small: &mut [f32],
    ) {
        if small.is_empty() {
            return;
        }
        let [depth, rows, cols] = self.small();
        let slice = self.large[1] * self.large[2];
        small
            .par_chunks_mut(rows * cols)
            .with_min_len(threads::least(self.slab()))
            .enumerate()
            .for_each(|(i, small)| {
                let start = (i / depth * self.large[0] + i % depth * self.factor[0]) * slice;
                level.run(Fold {
                    blocks: *self,
                    large: &large[start..][..self.slab()],
                    op,
                    scale,
                    small,
                });
            });
    }

    /// Each element of a block becomes `scale` times the small element; elements of no block, 0.
    pub(crate) fn spread(&self, level: Level, small: &[f32], scale: f32, large: &mut [f32]) {
        let [_, rows, cols] = self.small();
        self.slabs(large, |i, large| {
            level.run(Spread {
                blocks: *self,
                small: &small[i * rows * cols..][..rows * cols],
                scale,
                large,
            });
        });
    }

    /// Calls `each` with every slice of the small side, by its index over all planes, and its slab
    /// of the large side; what belongs to no slab is set to 0.
    pub(crate) fn slabs(&self, large: &mut [f32], each: impl Fn(usize, &mut [f32]) + Sync) {
        if large.is_empty() {
            return;
        }
        let slab = self.slab();
        let depth = self.small()[0];
        let plane = self.large.iter().product();
        large
            .par_chunks_mut(plane)
            .with_min_len(threads::least(plane))
            .enumerate()
            .for_each(|(p, large)| {
                let (large, rest) = large.split_at_mut(depth * slab);
                rest.fill(0.0);
                large
                    .par_chunks_mut(slab)
                    .with_min_len(threads::least(slab))
                    .enumerate()
                    .for_each(|(d, large)| each(p * depth + d, large));
            });
    }

    /// Folds the blocks of a small row, or of a part of it that starts at column `start`: first
    /// the rows of the slab, held in `line`, then neighbouring columns.
    #[inline(always)]
    pub(crate) fn fold_row(
        &self,
        slab: &[f32],
        row: usize,
        start: usize,
        op: impl Fn(f32, f32) -> f32 + Copy,
        line: &mut Line,
        out: &mut [f32],
    ) {
        let wide = self.factor[2];
        let mut at = 0;
        while at < out.len() {
            let out = &mut out[at..];
            let len = out.len().min(PIECE / wide);
            let line = &mut line[..len * wide];
            for k in 0..self.factor[0] * self.factor[1] {
                let from = self.line(row, k) + (start + at) * wide;
                let part = &slab[from..][..len * wide];
                if k == 0 {
                    line.copy_from_slice(part);
                } else {
                    for (line, value) in line.iter_mut().zip(part) {
                        *line = op(*line, *value);
                    }
                }
            }
            if wide == 1 {
                out[..len].copy_from_slice(line);
            } else {
                for (out, pair) in out.iter_mut().zip(line.as_chunks::<2>().0) {
                    *out = op(pair[0], pair[1]);
                }
            }
            at += len;
        }
    }

    /// Where in a slab line `k` of the blocks of a small row begins, in row-major order.
    #[inline(always)]
    pub(crate) fn line(&self, row: usize, k: usize) -> usize {
        let (slice, line) = (k / self.factor[1], k % self.factor[1]);
        (slice * self.large[1] + row * self.factor[1] + line) * self.large[2]
    }
}

struct Fold<'a, F> {
    blocks: Blocks,
    large: &'a [f32],
    op: F,
    scale: f32,
    small: &'a mut [f32],
}

impl<F: Fn(f32, f32) -> f32 + Copy> Kernel for Fold<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let cols = self.blocks.small()[2];
        let mut line = LINE;
        for (row, small) in self.small.chunks_mut(cols).enumerate() {
            self.blocks
                .fold_row(self.large, row, 0, self.op, &mut line, small);
            if self.scale != 1.0 {
                for small in small {
                    *small *= self.scale;
                }
            }
        }
    }
}

struct Spread<'a> {
    blocks: Blocks,
    small: &'a [f32],
    scale: f32,
    large: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let [high, wide] = [self.blocks.factor[1], self.blocks.factor[2]];
        let [_, rows, cols] = self.blocks.large;
        let (first, second) = self.large.split_at_mut(rows * cols);
        let small_cols = self.blocks.small()[2];
        let (lines, rest) = first.split_at_mut(rows / high * high * cols);
        rest.fill(0.0);
        for (i, large) in lines.chunks_mut(high * cols).enumerate() {
            let small = &self.small[i * small_cols..][..small_cols];
            let (line, copy) = large.split_at_mut(cols);
            let (whole, rest) = line.split_at_mut(wide * small_cols);
            rest.fill(0.0);
            if wide == 1 {
                for (large, small) in whole.iter_mut().zip(small) {
                    *large = small * self.scale;
                }
            } else {
                for (pair, small) in whole.as_chunks_mut::<2>().0.iter_mut().zip(small) {
                    *pair = [small * self.scale; 2];
                }
            }
            if high == 2 {
                copy.copy_from_slice(line);
            }
        }
        if self.blocks.factor[0] == 2 {
            second.copy_from_slice(first);
        }
    }
}
