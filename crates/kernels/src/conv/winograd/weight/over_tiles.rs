//! Sums over tiles with tiles in the lanes of a vector: for many tiles and few channels.

use super::Products;
use crate::conv::grad_weight::totals;
use crate::conv::pack::by_block;
use crate::simd::Lanes;
use std::ops::Range;

/// Rows of the transformed input that stay in the second-level cache while all of `dy` passes.
const ROWS: usize = 48;

impl Products<'_> {
    /// All sums.
    ///
    /// # Safety
    ///
    /// The CPU has V; only this task has this point.
    #[inline(always)]
    pub(super) unsafe fn over_tiles<V: Lanes>(&self) {
        let end = self.tiles.next_multiple_of(V::LANES);
        let taps = self.columns / self.channels;
        assert!(end <= self.filters_row && end + (taps - 1) * self.shift <= self.source_row);
        let kernel = self;
        for columns in (0..self.columns).step_by(ROWS) {
            let columns = columns..(columns + ROWS).min(self.columns);
            for block in self.blocks {
                // SAFETY: the assert above; blocks check where their rows begin.
                unsafe { by_block!(V, block.len(), kernel.tiles(block.start, columns.clone())) }
            }
        }
    }

    /// # Safety
    ///
    /// The CPU has V; rows hold whole vectors of all tiles; no other task writes this point.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn tiles<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &self,
        block: usize,
        columns: Range<usize>,
    ) {
        for first in columns.clone().step_by(SPAN) {
            let count = SPAN.min(columns.end - first);
            // SAFETY: the caller's promise; slices check where rows begin.
            unsafe {
                // The last span repeats its last column and does not add the repetition.
                let mut from = [self.source.as_ptr(); SPAN];
                for i in 0..SPAN {
                    let column = first + i.min(count - 1);
                    let (tap, channel) = (column / self.channels, column % self.channels);
                    from[i] = from[i].add(channel * self.source_row + tap * self.shift);
                }
                let mut filters = [self.filters.as_ptr(); BLOCK];
                for c in 0..BLOCK {
                    filters[c] = filters[c].add((block + c) * self.filters_row);
                }
                let sums = dots::<V, BLOCK, SPAN>(from, filters, self.tiles.div_ceil(V::LANES));
                let totals = totals(sums);
                for c in 0..BLOCK {
                    let at = self.start + (block + c) * self.columns + first;
                    let to = self.to.at(at, count);
                    for i in 0..count {
                        let before = if self.first { 0.0 } else { *to.add(i) };
                        to.add(i).write(before + totals[c * SPAN + i]);
                    }
                }
            }
        }
    }
}

/// Lane-wise dot products of rows with rows over `vectors` vectors.
///
/// # Safety
///
/// The CPU has V; rows hold so many vectors.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
unsafe fn dots<V: Lanes, const BLOCK: usize, const SPAN: usize>(
    from: [*const f32; SPAN],
    filters: [*const f32; BLOCK],
    vectors: usize,
) -> [[V; SPAN]; BLOCK] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
        for vector in 0..vectors {
            let at = vector * V::LANES;
            // The fewer operands are held, the others pass through one register.
            if SPAN <= BLOCK {
                let mut values = [V::splat(0.0); SPAN];
                for i in 0..SPAN {
                    values[i] = V::load(from[i].add(at));
                }
                for c in 0..BLOCK {
                    let filter = V::load(filters[c].add(at));
                    for i in 0..SPAN {
                        sums[c][i] = values[i].mul_add(filter, sums[c][i]);
                    }
                }
            } else {
                let mut held = [V::splat(0.0); BLOCK];
                for c in 0..BLOCK {
                    held[c] = V::load(filters[c].add(at));
                }
                for i in 0..SPAN {
                    let value = V::load(from[i].add(at));
                    for c in 0..BLOCK {
                        sums[c][i] = value.mul_add(held[c], sums[c][i]);
                    }
                }
            }
        }
        sums
    }
}
