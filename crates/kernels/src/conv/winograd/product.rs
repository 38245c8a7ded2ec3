//! The matrix products of Winograd's way: weights times tiles at one point.

use crate::conv::pack::{by_part, panel};
use crate::conv::tile::add_products;
use crate::simd::Lanes;
use std::ops::Range;

/// `sums[out][tile] = Σ weights[out][tap, channel] source[channel][tile + tap shift]`.
pub(super) struct Product<'a> {
    /// `[block][depth tap][channel][channel of the block]`.
    pub(super) weights: &'a [f32],
    pub(super) blocks: &'a [Range<usize>],
    pub(super) channels: usize,
    /// Taps along depth.
    pub(super) depth: usize,
    /// Tiles from tap to tap.
    pub(super) shift: usize,
    pub(super) source: &'a [f32],
    pub(super) source_row: usize,
    pub(super) sums: &'a mut [f32],
    pub(super) sums_row: usize,
    pub(super) tiles: usize,
}

impl Product<'_> {
    /// # Safety
    ///
    /// The CPU has V.
    #[inline(always)]
    pub(super) unsafe fn run<V: Lanes>(mut self) {
        let vectors = self.tiles.div_ceil(V::LANES);
        let end = vectors * V::LANES;
        let furthest = (self.channels - 1) * self.source_row + (self.depth - 1) * self.shift + end;
        assert!(furthest <= self.source.len());
        let channels = self.blocks.last().map_or(0, |block| block.end);
        assert!(channels * self.sums_row <= self.sums.len() && end <= self.sums_row);
        assert!(self.weights.len() == channels * self.depth * self.channels);
        // A panel's part of the source stays in the first-level cache while all weights pass.
        let panel = panel::<V>(self.blocks, vectors);
        for first in (0..vectors).step_by(panel) {
            let range = first..(first + panel).min(vectors);
            for i in 0..self.blocks.len() {
                let block = self.blocks[i].clone();
                let kernel = &mut self;
                // SAFETY: the asserts above; V is the caller's promise.
                unsafe { by_part!(V, block.len(), range.clone(), kernel.part(block.start)) }
            }
        }
    }

    /// # Safety
    ///
    /// The CPU has V; all reads and writes lie in the slices.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn part<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &mut self,
        block: usize,
        vectors: Range<usize>,
    ) {
        let mut weights = self.weights[block * self.depth * self.channels..].as_ptr();
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
            for tap in 0..self.depth {
                // A part of fewer vectors repeats its last one and does not store the repetition.
                let mut from = [self.source.as_ptr(); SPAN];
                for i in 0..SPAN {
                    let vector = vectors.start + i.min(vectors.len() - 1);
                    from[i] = from[i].add(tap * self.shift + vector * V::LANES);
                }
                for channel in 0..self.channels {
                    let at = channel * self.source_row;
                    add_products::<V, BLOCK, SPAN, true>(&mut sums, from, at, weights, 1);
                    weights = weights.add(BLOCK);
                }
            }
            for c in 0..BLOCK {
                let row = self.sums.as_mut_ptr().add((block + c) * self.sums_row);
                for i in 0..SPAN {
                    if i < vectors.len() {
                        sums[c][i].store(row.add((vectors.start + i) * V::LANES));
                    }
                }
            }
        }
    }
}
