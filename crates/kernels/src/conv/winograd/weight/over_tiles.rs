//! Sums over tiles with tiles in the lanes of a vector: for many tiles and few channels.

use super::Products;
use crate::conv::grad_weight::totals;
use crate::conv::pack::by_block;
use crate::conv::tile::add_products;
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
                let filters = self.filters.as_ptr().add(block * self.filters_row);
                let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
                for vector in 0..self.tiles.div_ceil(V::LANES) {
                    let at = vector * V::LANES;
                    let (filters, step) = (filters.add(at), self.filters_row);
                    add_products::<V, BLOCK, SPAN, false>(&mut sums, from, at, filters, step);
                }
                let totals = totals(sums);
                for c in 0..BLOCK {
                    let at = self.sums.start + (block + c) * self.columns + first;
                    let to = self.sums.to.at(at, count);
                    for i in 0..count {
                        let before = if self.sums.first { 0.0 } else { *to.add(i) };
                        to.add(i).write(before + totals[c * SPAN + i]);
                    }
                }
            }
        }
    }
}
