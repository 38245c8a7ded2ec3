//! The inner loop of the forward pass and of the gradient of the input: every output is a sum over
//! input channels and taps of a padded copy, always in that order.

use super::pack::{GRANULE, by_block};
use super::sweep::Sweep;
use super::tile::add_products;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Bytes of the padded copy that a task should find in its second-level cache: a quarter of a
/// small one, which other work may share.
const COPY: usize = 128 << 10;

/// Bytes of weights of a block that should stay in the first-level cache: half of a small one.
const WEIGHTS: usize = 16 << 10;

/// Input channels taken at once at least: sums are loaded and stored for each part of them.
const LEAST: usize = 8;

/// Elements of the largest tile: 24 vectors of 16.
const BUFFER: usize = 384;

/// Everything a correlation needs.
#[derive(Clone, Copy)]
pub(super) struct Correlation<'a> {
    /// The padded copy.
    pub(super) source: &'a [f32],
    pub(super) in_channels: usize,
    pub(super) channel_stride: usize,
    /// Elements of a channel that the taps of one row of outputs read.
    pub(super) window: usize,
    /// Where a tap lies from the start of a vector.
    pub(super) taps: &'a [usize],
    pub(super) sweep: &'a Sweep,
    /// Weights from `pack`.
    pub(super) weights: &'a [f32],
    pub(super) blocks: &'a [Range<usize>],
    pub(super) bias: Option<&'a [f32]>,
    /// Elements between channels of the output.
    pub(super) out_stride: usize,
}

impl Correlation<'_> {
    /// Computes all outputs.
    pub(super) fn run(&self, level: Level, out: &mut [f32]) {
        let vectors = self.sweep.starts.len();
        let last = self.sweep.starts.iter().max().copied().unwrap_or(0)
            + self.taps.iter().max().copied().unwrap_or(0)
            + (self.in_channels - 1) * self.channel_stride;
        assert!(
            last + level.lanes() <= self.source.len(),
            "the padded copy holds every read"
        );
        let channels = self.blocks.last().map_or(0, |b| b.end);
        assert_eq!(
            self.weights.len(),
            channels * self.in_channels * self.taps.len()
        );

        // Few vectors per task and few input channels at once, so that their part of the copy and
        // of the weights stays in cache; and enough tasks for the threads.
        let largest = self
            .blocks
            .iter()
            .map(ExactSizeIterator::len)
            .max()
            .unwrap_or(1);
        // One element of a channel at a time is a poor use of a cache line and of a page.
        let held = if self.taps.len() == 1 {
            LEAST
        } else {
            let held = (WEIGHTS / (4 * largest * self.taps.len())).min(COPY / (4 * self.window));
            held.max(LEAST)
        };
        let parts = self.in_channels.div_ceil(held);
        let per_vector = 4 * self.source.len() / (vectors * parts);
        let span = (COPY / per_vector.max(1))
            .next_multiple_of(GRANULE)
            .min(vectors);
        let ranges = vectors.div_ceil(span);
        let products = vectors * level.lanes() * self.weights.len();
        let wanted = threads::tasks(products);
        let groups = wanted.div_ceil(ranges).min(self.blocks.len());
        let span = if ranges * groups < wanted {
            vectors
                .div_ceil(wanted.div_ceil(groups))
                .next_multiple_of(GRANULE)
        } else {
            span
        };
        let out = Shared::new(out);
        let task = |i: usize| {
            let (range, group) = (i / groups, i % groups);
            let first = group * self.blocks.len() / groups;
            let end = (group + 1) * self.blocks.len() / groups;
            let vectors = range * span..((range + 1) * span).min(vectors);
            level.run(Task {
                of: *self,
                blocks: first..end,
                vectors,
                parts,
                out,
            });
        };
        let tasks = vectors.div_ceil(span) * groups;
        let least = (tasks / wanted).max(1);
        (0..tasks)
            .into_par_iter()
            .with_min_len(least)
            .for_each(task);
    }
}

/// Some blocks of channels of some vectors.
struct Task<'a> {
    of: Correlation<'a>,
    blocks: Range<usize>,
    vectors: Range<usize>,
    /// Parts in which the input channels are taken.
    parts: usize,
    out: Shared<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let kernel = &self;
        for part in 0..self.parts {
            let channels = |i| i * self.of.in_channels / self.parts;
            let channels = channels(part)..channels(part + 1);
            for block in &self.of.blocks[self.blocks.clone()] {
                // SAFETY: only this task has these blocks of these vectors; `Correlation::run`
                // checked the furthest read; V is what Level::run chose.
                unsafe { by_block!(V, block.len(), kernel.block(block.start, &channels)) }
            }
        }
    }
}

impl Task<'_> {
    /// The block of output channels from `block`, `SPAN` vectors at a time, over some input channels;
    /// what the output holds is added to if they are not the first.
    ///
    /// # Safety
    ///
    /// The CPU has V; all reads lie in the copy; no other task writes these outputs.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn block<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &self,
        block: usize,
        channels: &Range<usize>,
    ) {
        let of = &self.of;
        let taps = of.taps.len();
        let weights = &of.weights[(block * of.in_channels + BLOCK * channels.start) * taps..];
        let source = &of.source[channels.start * of.channel_stride..];
        let views = Views {
            source,
            channels: channels.len(),
            stride: of.channel_stride,
            taps: of.taps,
        };
        let mut first = self.vectors.start;
        while first < self.vectors.end {
            let count = SPAN.min(self.vectors.end - first);
            // The last tile repeats its last vector and does not store the repetition.
            let mut starts = [0; SPAN];
            let mut together = true;
            for i in 0..SPAN {
                starts[i] = of.sweep.starts[first + i.min(count - 1)];
                together &= starts[i] == starts[0] + i * V::LANES;
            }
            let tile = Tile {
                task: self,
                views: &views,
                weights: weights.as_ptr(),
                block,
                first,
                count,
            };
            let add = channels.start > 0;
            // SAFETY: the caller's promise.
            unsafe {
                if together {
                    tile.run::<V, BLOCK, SPAN, true>(starts, add);
                } else {
                    tile.run::<V, BLOCK, SPAN, false>(starts, add);
                }
            }
            first += SPAN;
        }
    }
}

/// What a tile reads of the copy.
struct Views<'a> {
    /// From the first of its channels on.
    source: &'a [f32],
    channels: usize,
    /// Elements between channels.
    stride: usize,
    taps: &'a [usize],
}

/// A block of output channels of a few vectors.
struct Tile<'a, 'b> {
    task: &'a Task<'b>,
    views: &'a Views<'a>,
    weights: *const f32,
    /// First output channel.
    block: usize,
    /// First vector.
    first: usize,
    /// Vectors that count.
    count: usize,
}

impl Tile<'_, '_> {
    /// Sums `BLOCK` channels of `SPAN` vectors in registers, beginning with what the output holds
    /// (`add`) or with the bias. With `TOGETHER` the vectors follow each other in the copy and one
    /// address serves all.
    ///
    /// # Safety
    ///
    /// The CPU has V; all reads lie in the copy and in the weights; no other task writes these
    /// outputs.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn run<V: Lanes, const BLOCK: usize, const SPAN: usize, const TOGETHER: bool>(
        &self,
        starts: [usize; SPAN],
        add: bool,
    ) {
        // Plain loops, no closures: a closure is a function of its own, without the instructions
        // of V. And short loops of constant length: sums stay in registers only if all are unrolled.
        let of = &self.task.of;
        let Views {
            source,
            channels,
            stride,
            taps,
        } = *self.views;
        // Vectors whose lanes all belong to neighbouring outputs are loaded and stored where these
        // lie, others by way of a buffer.
        let mut places = [0; SPAN];
        let mut whole = self.count == SPAN;
        for i in 0..SPAN {
            let pieces = of.sweep.pieces(self.first + i.min(self.count - 1));
            whole &= pieces.len() == 1 && pieces[0].len as usize == V::LANES;
            places[i] = pieces.first().map_or(0, |piece| piece.place);
        }
        // SAFETY: the caller's promise; `Shared::at` checks the bounds of the output.
        unsafe {
            let mut buffer = MaybeUninit::<[f32; BUFFER]>::uninit();
            let mut to = [buffer.as_mut_ptr().cast::<f32>(); SPAN];
            let mut step = SPAN * V::LANES;
            for i in 0..SPAN {
                to[i] = to[i].add(i * V::LANES);
            }
            if whole {
                step = of.out_stride;
                for i in 0..SPAN {
                    let len = (BLOCK - 1) * step + V::LANES;
                    to[i] = self.task.out.at(self.block * step + places[i], len);
                }
            } else if add {
                buffer.write([0.0; BUFFER]);
                self.exchange(to[0], BLOCK, [step, V::LANES], false);
            }
            let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
            for c in 0..BLOCK {
                if add {
                    for i in 0..SPAN {
                        sums[c][i] = V::load(to[i].add(c * step));
                    }
                } else if let Some(bias) = of.bias {
                    sums[c] = [V::splat(bias[self.block + c]); SPAN];
                }
            }
            let mut weights = self.weights;
            let mut from = [source.as_ptr(); SPAN];
            for i in 0..SPAN {
                let start = if TOGETHER {
                    starts[0] + i * V::LANES
                } else {
                    starts[i]
                };
                from[i] = from[i].add(start);
            }
            for channel in 0..channels {
                let shift = channel * stride;
                for &tap in taps {
                    let at = shift + tap;
                    add_products::<V, BLOCK, SPAN, true>(&mut sums, from, at, weights, 1);
                    weights = weights.add(BLOCK);
                }
            }
            for c in 0..BLOCK {
                for i in 0..SPAN {
                    sums[c][i].store(to[i].add(c * step));
                }
            }
            if !whole {
                self.exchange(to[0], BLOCK, [step, V::LANES], true);
            }
        }
    }

    /// Copies lanes that belong to outputs between the outputs of `channels` channels and a buffer
    /// whose channels and vectors are `steps` apart.
    ///
    /// # Safety
    ///
    /// As [`Tile::run`]; the buffer holds what is read from it, and has room for the rest.
    #[inline(never)]
    unsafe fn exchange(&self, buffer: *mut f32, channels: usize, steps: [usize; 2], store: bool) {
        for i in 0..self.count {
            for piece in self.task.of.sweep.pieces(self.first + i) {
                let len = piece.len as usize;
                for c in 0..channels {
                    let place = (self.block + c) * self.task.of.out_stride + piece.place;
                    // SAFETY: the caller's promise; `at` checks the bounds.
                    unsafe {
                        let inner = buffer.add(c * steps[0] + i * steps[1] + piece.lane as usize);
                        let outer = self.task.out.at(place, len);
                        if store {
                            outer.copy_from_nonoverlapping(inner, len);
                        } else {
                            inner.copy_from_nonoverlapping(outer, len);
                        }
                    }
                }
            }
        }
    }
}
