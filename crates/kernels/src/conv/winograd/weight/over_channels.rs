//! Sums over tiles with channels in the lanes of a vector: for many channels and few tiles.

use super::Products;
use crate::conv::matrix::{products, write};
use crate::conv::pack::{by_part, panel};
use crate::scratch::Scratch;
use crate::simd::Lanes;
use std::ops::Range;

impl Products<'_> {
    /// All sums.
    ///
    /// # Safety
    ///
    /// The CPU has V; only this task has this point.
    #[inline(always)]
    pub(super) unsafe fn over_channels<V: Lanes>(&self) {
        let mut turned = Scratch::take(self.turned_len());
        // SAFETY: the caller's promise.
        unsafe {
            self.turn_all::<V>(&mut turned);
            self.over_turned::<V>(&turned);
        }
    }

    /// Tiles of the input.
    fn sources(&self) -> usize {
        self.tiles + (self.columns / self.channels - 1) * self.shift
    }

    /// Elements from tile to tile of the turned input: room for whole vectors of any size, and an odd
    /// number of cache lines.
    fn turned_row(&self) -> usize {
        (self.channels.div_ceil(16) | 1) * 16
    }

    /// Elements of the turned input.
    pub(super) fn turned_len(&self) -> usize {
        self.sources() * self.turned_row()
    }

    /// Turns the input, so that a vector holds channels and sums need not be taken across its lanes.
    ///
    /// # Safety
    ///
    /// The CPU has V.
    #[inline(always)]
    pub(super) unsafe fn turn_all<V: Lanes>(&self, to: &mut [f32]) {
        for first in (0..self.channels).step_by(4) {
            // SAFETY: the caller's promise.
            unsafe { self.turn::<V>(first, self.sources(), self.turned_row(), to) };
        }
    }

    /// All sums, of the turned input.
    ///
    /// # Safety
    ///
    /// The CPU has V; only this task has this point.
    #[inline(always)]
    pub(super) unsafe fn over_turned<V: Lanes>(&self, turned: &[f32]) {
        let row = self.turned_row();
        let filters = self.blocks.last().map_or(0, |block| block.end);
        assert!(turned.len() >= self.turned_len());
        assert!(self.tiles <= self.filters_row && filters * self.filters_row <= self.filters.len());
        let vectors = self.channels.div_ceil(V::LANES);
        let kernel = self;
        let panel = panel::<V>(self.blocks, vectors);
        for tap in 0..self.columns / self.channels {
            let from = &turned[tap * self.shift * row..];
            for first in (0..vectors).step_by(panel) {
                let vectors = first..(first + panel).min(vectors);
                for block in self.blocks {
                    // SAFETY: `turned` holds whole vectors of all tiles; the asserts above.
                    unsafe {
                        by_part!(
                            V,
                            block.len(),
                            vectors.clone(),
                            kernel.part(block.start, from, row, tap)
                        )
                    }
                }
            }
        }
    }

    /// Turns four channels, `[channel][tile]` to `[tile][channel]`.
    ///
    /// # Safety
    ///
    /// The CPU has V.
    #[inline(always)]
    unsafe fn turn<V: Lanes>(&self, first: usize, tiles: usize, row: usize, to: &mut [f32]) {
        let channels = 4.min(self.channels - first);
        for start in (0..tiles).step_by(V::LANES) {
            let mut turned = [[0.0f32; 4]; 16];
            // SAFETY: rows are a vector longer than their tiles; `turned` holds four vectors.
            unsafe {
                let mut lines = [V::splat(0.0); 4];
                for (i, line) in lines[..channels].iter_mut().enumerate() {
                    let from = &self.source[(first + i) * self.source_row + start..];
                    assert!(from.len() >= V::LANES);
                    *line = V::load(from.as_ptr());
                }
                for (i, vector) in V::interleave(lines).into_iter().enumerate() {
                    vector.store(turned.as_mut_ptr().cast::<f32>().add(i * V::LANES));
                }
            }
            // What is written beyond the channels is room of the row.
            for (tile, four) in turned[..V::LANES.min(tiles - start)].iter().enumerate() {
                to[(start + tile) * row + first..][..4].copy_from_slice(four);
            }
        }
    }

    /// # Safety
    ///
    /// The CPU has V; `turned` has a row of whole vectors for each tile, and there are filters of
    /// the block for each; no other task writes this point.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn part<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &self,
        block: usize,
        turned: &[f32],
        row: usize,
        tap: usize,
        vectors: Range<usize>,
    ) {
        // SAFETY: the caller's promise; `Shared::at` checks.
        unsafe {
            // A part of fewer vectors repeats its last one and does not store the repetition.
            let mut from = [turned.as_ptr(); SPAN];
            for i in 0..SPAN {
                let vector = vectors.start + i.min(vectors.len() - 1);
                from[i] = from[i].add(vector * V::LANES);
            }
            let filters = self.filters.as_ptr().add(block * self.filters_row);
            let (step, tiles) = (self.filters_row, self.tiles);
            let sums = products::<V, BLOCK, SPAN>(from, row, filters, [step, 1], tiles);
            for c in 0..BLOCK {
                for (i, vector) in vectors.clone().enumerate() {
                    let channel = vector * V::LANES;
                    let len = V::LANES.min(self.channels - channel);
                    let at = (block + c) * self.columns + tap * self.channels + channel;
                    let to = self.sums.to.at(self.sums.start + at, len);
                    write(sums[c][i], 0..len, to, !self.sums.first);
                }
            }
        }
    }
}
