//! The gradient of the weights: for every output channel, input channel and tap the dot product of
//! `dy` with the input as that tap saw it.
//!
//! A block of output channels times a few (input channel, tap) pairs stays in registers while
//! vectors of positions stream by. Positions are taken in chunks small enough that the block's part
//! of `dy`, packed, stays in the first-level cache while a task's pairs pass over it. Chunks are
//! added in order, each pair by one thread: the result does not depend on the number of threads.

use super::Conv;
use super::forward::Padded;
use super::pack::{GRANULE, blocks, by_block};
use super::tile::add_products;
use super::way::Way;
use super::{columns, panels, unrolled, winograd};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of packed `dy` per chunk: 24 KiB of the 32 or 48 KiB of a first-level cache.
const CHUNK: usize = 6144;

/// Bytes of the padded copy that should stay in a second-level cache while all blocks pass.
const COPY: usize = 128 << 10;

/// Pairs per task at least: `dy` is packed for them.
const PAIRS: usize = 72;

pub(super) fn grad_weight(
    level: Level,
    way: Way,
    conv: &Conv,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    if dw.is_empty() {
        return;
    }
    if conv.batch == 0 {
        dw.fill(0.0);
        return;
    }
    match way {
        Way::Columns => return columns::grad_weight(level, conv, x, dy, dw),
        Way::Unrolled => return unrolled::grad_weight(level, conv, x, dy, dw),
        Way::Winograd => return winograd::grad_weight(level, conv, x, dy, dw),
        Way::Panels => return panels::grad_weight(level, conv, x, dy, dw),
        Way::Direct => {}
    }
    let padded = Padded::new(level, conv, x, false);
    let last = padded.sweep.starts.iter().max().copied().unwrap_or(0)
        + padded.taps.iter().max().copied().unwrap_or(0)
        + (conv.in_channels - 1) * padded.layout.channel_stride();
    assert!(
        last + level.lanes() <= padded.copy.len(),
        "the padded copy holds every read"
    );

    let blocks = blocks(level, conv.out_channels);
    let pairs = conv.in_channels * conv.taps();
    let wanted = threads::tasks(pairs * dy.len());
    // Channels whose part of the copy under a chunk stays in cache.
    let vectors = CHUNK / (blocks[0].len() * level.lanes());
    let per_channel =
        4 * padded.copy.len() / (conv.in_channels * padded.sweep.starts.len()) * vectors;
    let span = (COPY / per_channel * conv.taps())
        .max(PAIRS)
        .next_multiple_of(GRANULE);
    let groups = pairs.div_ceil(span.min(pairs));
    let span = pairs.div_ceil(groups).next_multiple_of(GRANULE);
    let groups = pairs.div_ceil(span);
    let shares = wanted.div_ceil(groups).min(blocks.len());
    let out = Shared::new(dw);
    (0..groups * shares)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| {
            let (group, share) = (i / shares, i % shares);
            let part = |n: usize| n * blocks.len() / shares;
            level.run(Task {
                conv,
                padded: &padded,
                dy,
                blocks: &blocks[part(share)..part(share + 1)],
                pairs: group * span..((group + 1) * span).min(pairs),
                out,
            });
        });
}

/// Some blocks of output channels and some pairs of input channel and tap.
struct Task<'a> {
    conv: &'a Conv,
    padded: &'a Padded<'a>,
    dy: &'a [f32],
    blocks: &'a [Range<usize>],
    pairs: Range<usize>,
    out: Shared<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let kernel = &self;
        let starts = &self.padded.sweep.starts;
        let largest = self.blocks.iter().map(ExactSizeIterator::len).max();
        let most = (CHUNK / (largest.unwrap_or(1) * V::LANES)).min(256);
        // Even chunks: sums across lanes are taken for each.
        let chunk = starts.len().div_ceil(starts.len().div_ceil(most));
        let mut packed = Scratch::take(CHUNK);
        // All blocks pass over the pairs' part of a chunk while it is in the second-level cache.
        for first in (0..starts.len()).step_by(chunk) {
            let chunk = first..(first + chunk).min(starts.len());
            for block in self.blocks {
                // SAFETY: only this task has these pairs of this block; the furthest read was
                // checked; V is what Level::run chose.
                unsafe { by_block!(V, block.len(), kernel.block(block, &chunk, &mut packed)) }
            }
        }
    }
}

impl Task<'_> {
    /// Adds what a chunk of vectors contributes to the block's pairs.
    ///
    /// # Safety
    ///
    /// The CPU has V; all reads lie in the copy; no other task writes these weights.
    #[inline(always)]
    unsafe fn block<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &self,
        block: &Range<usize>,
        chunk: &Range<usize>,
        packed: &mut [f32],
    ) {
        let taps = self.conv.taps();
        let all = self.conv.in_channels * taps;
        let starts = &self.padded.sweep.starts[chunk.clone()];
        self.pack::<V, BLOCK>(block.start, chunk, packed);
        for first in self.pairs.clone().step_by(SPAN) {
            let count = SPAN.min(self.pairs.end - first);
            // The last tile repeats its last pair and does not add the repetition.
            let mut offsets = [0; SPAN];
            for (i, offset) in offsets.iter_mut().enumerate() {
                let pair = first + i.min(count - 1);
                *offset = pair / taps * self.padded.layout.channel_stride()
                    + self.padded.taps[pair % taps];
            }
            // SAFETY: the caller's promise.
            unsafe {
                let sums = tile::<V, BLOCK, SPAN>(&self.padded.copy, offsets, starts, packed);
                let totals = totals(sums);
                for c in 0..BLOCK {
                    let to = self.out.at((block.start + c) * all + first, count);
                    for i in 0..count {
                        let before = if chunk.start == 0 { 0.0 } else { *to.add(i) };
                        to.add(i).write(before + totals[c * SPAN + i]);
                    }
                }
            }
        }
    }

    /// `dy` of the block from channel `block` under a chunk of vectors, as
    /// `[vector][channel][lane]`; 0 in lanes that belong to no output.
    #[inline(always)]
    fn pack<V: Lanes, const BLOCK: usize>(
        &self,
        block: usize,
        chunk: &Range<usize>,
        to: &mut [f32],
    ) {
        let spatial: usize = self.conv.out_size().iter().product();
        for (i, vector) in chunk.clone().zip(to.chunks_exact_mut(BLOCK * V::LANES)) {
            let pieces = self.padded.sweep.pieces(i);
            for (c, lanes) in vector.chunks_exact_mut(V::LANES).enumerate() {
                let shift = (block + c) * spatial;
                if let [piece] = pieces
                    && piece.len as usize == V::LANES
                {
                    lanes.copy_from_slice(&self.dy[shift + piece.place..][..V::LANES]);
                    continue;
                }
                lanes.fill(0.0);
                for piece in pieces {
                    let len = piece.len as usize;
                    lanes[piece.lane as usize..][..len]
                        .copy_from_slice(&self.dy[shift + piece.place..][..len]);
                }
            }
        }
    }
}

/// The sums of the lanes of each vector, in order.
///
/// # Safety
///
/// The CPU has V.
#[inline(always)]
pub(super) unsafe fn totals<V: Lanes, const BLOCK: usize, const SPAN: usize>(
    sums: [[V; SPAN]; BLOCK],
) -> [f32; 24] {
    let mut totals = [0.0; 24];
    for (group, totals) in totals.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if 4 * group < BLOCK * SPAN {
            // SAFETY: the caller's promise.
            unsafe {
                let mut four = [V::splat(0.0); 4];
                for (i, vector) in four.iter_mut().enumerate() {
                    let at = 4 * group + i;
                    if at < BLOCK * SPAN {
                        *vector = sums[at / SPAN][at % SPAN];
                    }
                }
                *totals = V::sums(four);
            }
        }
    }
    totals
}

/// Lane-wise dot products of `BLOCK` channels of packed `dy` with `SPAN` views of the copy.
///
/// # Safety
///
/// The CPU has V; all reads lie in the copy; `packed` holds a vector per channel and start.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
unsafe fn tile<V: Lanes, const BLOCK: usize, const SPAN: usize>(
    copy: &[f32],
    offsets: [usize; SPAN],
    starts: &[usize],
    packed: &[f32],
) -> [[V; SPAN]; BLOCK] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
        let mut from = [copy.as_ptr(); SPAN];
        for i in 0..SPAN {
            from[i] = from[i].add(offsets[i]);
        }
        let mut packed = packed.as_ptr();
        for &start in starts {
            add_products::<V, BLOCK, SPAN, false>(&mut sums, from, start, packed, V::LANES);
            packed = packed.add(BLOCK * V::LANES);
        }
        sums
    }
}
