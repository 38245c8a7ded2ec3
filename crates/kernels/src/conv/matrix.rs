//! Matrix products with a left side that is read element by element.

use super::pack::{by_part, panel};
use super::tile::add_products;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of the right side that are taken at once: with as many columns as an image of few pixels
/// has they stay in a second-level cache.
const ROWS: usize = 512;

/// `c[i][j] = Σ_k a[i][k] b[k][j]`, each row of `b` and `c` so many elements from the next.
#[derive(Clone, Copy)]
pub(super) struct Matrices<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Terms of a sum.
    pub(super) terms: usize,
    pub(super) a: &'a [f32],
    /// Elements from row to row and from term to term.
    pub(super) a_steps: [usize; 2],
    pub(super) b: &'a [f32],
    pub(super) b_row: usize,
    pub(super) c_row: usize,
    /// Whether `c` is added to.
    pub(super) add: bool,
}

impl Matrices<'_> {
    /// # Panics
    ///
    /// Where a slice is too short, or there are fewer columns than a vector has lanes.
    pub(super) fn run(&self, level: Level, c: &mut [f32]) {
        let blocks = super::pack::blocks(level, self.rows);
        assert!(self.columns >= level.lanes() && self.terms > 0);
        let len = |rows: usize, row: usize, columns: usize| (rows - 1) * row + columns;
        let [row, term] = self.a_steps;
        assert!((self.rows - 1) * row + (self.terms - 1) * term < self.a.len());
        assert!(len(self.terms, self.b_row, self.columns) <= self.b.len());
        // By rows where there are more of them, else by columns: the other side is shared.
        let tasks = threads::tasks(self.rows * self.columns * self.terms);
        let vectors = self.columns.div_ceil(level.lanes());
        let (down, across) = if blocks.len() >= vectors {
            (tasks.min(blocks.len()), 1)
        } else {
            (1, tasks.min(vectors))
        };
        let c = Shared::new(c);
        (0..down * across)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|i| {
                let part = |i: usize, of: usize, n: usize| i * n / of..(i + 1) * n / of;
                level.run(Task {
                    of: *self,
                    blocks: &blocks[part(i / across, down, blocks.len())],
                    vectors: part(i % across, across, vectors),
                    c,
                });
            });
    }
}

/// Some blocks of rows of some vectors of columns.
struct Task<'a> {
    of: Matrices<'a>,
    blocks: &'a [Range<usize>],
    vectors: Range<usize>,
    c: Shared<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let kernel = &self;
        let panel = panel::<V>(self.blocks, self.vectors.len());
        for start in (0..self.of.terms).step_by(ROWS) {
            let terms = start..(start + ROWS).min(self.of.terms);
            for block in self.blocks {
                for first in self.vectors.clone().step_by(panel) {
                    let vectors = first..(first + panel).min(self.vectors.end);
                    // SAFETY: `Matrices::run` checked what is read; only this task writes these
                    // rows of these columns.
                    unsafe {
                        by_part!(
                            V,
                            block.len(),
                            vectors.clone(),
                            kernel.part(block.start, &terms)
                        );
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// # Safety
    ///
    /// The CPU has V; the matrices hold these rows, terms and vectors; no other task writes them.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn part<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &self,
        block: usize,
        terms: &Range<usize>,
        vectors: Range<usize>,
    ) {
        let of = &self.of;
        // SAFETY: the caller's promise; `Shared::at` checks.
        unsafe {
            // A part of fewer vectors repeats its last one and does not store the repetition. A
            // short last vector begins early enough to end with the columns, and stores its end.
            let mut starts = [0; SPAN];
            let mut from = [of.b.as_ptr(); SPAN];
            for i in 0..SPAN {
                let column = (vectors.start + i.min(vectors.len() - 1)) * V::LANES;
                starts[i] = column.min(of.columns - V::LANES);
                from[i] = from[i].add(terms.start * of.b_row + starts[i]);
            }
            let [row, term] = of.a_steps;
            let factors = of.a.as_ptr().add(block * row + terms.start * term);
            let sums = products::<V, BLOCK, SPAN>(from, of.b_row, factors, of.a_steps, terms.len());
            let add = of.add || terms.start > 0;
            for c in 0..BLOCK {
                for (i, vector) in vectors.clone().enumerate() {
                    let column = vector * V::LANES;
                    let lanes = column - starts[i]..V::LANES;
                    let to = self.c.at((block + c) * of.c_row + column, lanes.len());
                    write(sums[c][i], lanes, to, add);
                }
            }
        }
    }
}

/// Writes, or adds, some lanes of a vector.
///
/// # Safety
///
/// The CPU has V; only this thread touches these elements.
#[inline(always)]
pub(super) unsafe fn write<V: Lanes>(values: V, lanes: Range<usize>, to: *mut f32, add: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        if lanes.len() == V::LANES {
            let before = if add { V::load(to) } else { V::splat(0.0) };
            values.mul_add(V::splat(1.0), before).store(to);
        } else {
            let mut buffer = [0.0f32; 16];
            values.store(buffer.as_mut_ptr());
            for (i, lane) in buffer[lanes].iter().enumerate() {
                let before = if add { *to.add(i) } else { 0.0 };
                to.add(i).write(before + lane);
            }
        }
    }
}

/// Sums over `terms` rows, `row` elements apart, of vectors times `factors`, so many elements from sum
/// to sum and from term to term.
///
/// # Safety
///
/// The CPU has V; there are so many rows and elements.
#[inline(always)]
pub(super) unsafe fn products<V: Lanes, const BLOCK: usize, const SPAN: usize>(
    from: [*const f32; SPAN],
    row: usize,
    factors: *const f32,
    [step, next]: [usize; 2],
    terms: usize,
) -> [[V; SPAN]; BLOCK] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
        for term in 0..terms {
            let at = term * row;
            let factors = factors.add(term * next);
            add_products::<V, BLOCK, SPAN, true>(&mut sums, from, at, factors, step);
        }
        sums
    }
}
