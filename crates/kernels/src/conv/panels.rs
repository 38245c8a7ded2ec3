//! Convolution as a matrix product: weights times the unrolled input (im2col), of which only a
//! part exists at a time, in the second-level cache.
//!
//! A task takes a stretch of outputs. For some channels at a time it copies the rows they read, with
//! their padding and split by parity, and unrolls this copy into panels: for every channel and tap
//! the inputs of a few vectors of outputs. A panel stays in the first-level cache while the weights
//! of all output channels pass over it. This is the order of Goto & van de Geijn (2008,
//! doi:10.1145/1356052.1356053), with the packing of the right side taking the place of im2col.
//!
//! In layers of stride 2 this reaches 56 to 75 % of the peak of a Zen 3 core, where the direct way,
//! which copies the whole input first, reaches 40 to 66 %. What is unrolled has to meet many output
//! channels, though: with few of them the direct way stays ahead.
//!
//! The gradients are products of the same kind, see `grad_input` and `grad_weight`.

mod grad_input;
mod grad_weight;
mod unroll;

pub(super) use grad_input::grad_input;
pub(super) use grad_weight::grad_weight;

use super::Conv;
use super::pack::{blocks, pack};
use super::tile::add_products;
use super::window::{Reading, Stretch, Window};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;
use unroll::Unrolled;

/// Bytes of a panel: less than half of a small first-level cache. With wide vectors, whose processors
/// have a larger second-level cache, it passes through the first: the fewer are its parts, the fewer
/// times sums are stored and taken up again.
const fn panel(wide: bool) -> usize {
    if wide { 56 << 10 } else { 14 << 10 }
}

/// Bytes of the panels of a stretch: half of a small second-level cache.
const fn panels(wide: bool) -> usize {
    if wide { 512 << 10 } else { 256 << 10 }
}

/// Elements of the largest tile: 24 vectors of 16.
const TILE: usize = 384;

/// Vectors of a panel.
const fn span(wide: bool) -> usize {
    if wide { 3 } else { 2 }
}

/// Calls `$method::<V, BLOCK, SPAN>` for a block of channels, SPAN being that of a panel.
macro_rules! by_rows {
    ($v:ty, $channels:expr, $kernel:ident . $method:ident ( $($argument:expr),* )) => {
        match (<$v as Lanes>::WIDE, $channels) {
            (true, 8) => $kernel.$method::<$v, 8, 3>($($argument),*),
            (true, 7) => $kernel.$method::<$v, 7, 3>($($argument),*),
            (true, 6) => $kernel.$method::<$v, 6, 3>($($argument),*),
            (true, 5) => $kernel.$method::<$v, 5, 3>($($argument),*),
            (true, 4) => $kernel.$method::<$v, 4, 3>($($argument),*),
            (true, 3) => $kernel.$method::<$v, 3, 3>($($argument),*),
            (true, 2) => $kernel.$method::<$v, 2, 3>($($argument),*),
            (true, 1) => $kernel.$method::<$v, 1, 3>($($argument),*),
            (false, 6) => $kernel.$method::<$v, 6, 2>($($argument),*),
            (false, 5) => $kernel.$method::<$v, 5, 2>($($argument),*),
            (false, 4) => $kernel.$method::<$v, 4, 2>($($argument),*),
            (false, 3) => $kernel.$method::<$v, 3, 2>($($argument),*),
            (false, 2) => $kernel.$method::<$v, 2, 2>($($argument),*),
            (false, 1) => $kernel.$method::<$v, 1, 2>($($argument),*),
            (_, channels) => unreachable!("a block of {channels} channels"),
        }
    };
}

/// A correlation with packed weights.
struct Panels<'a> {
    reading: Reading,
    in_channels: usize,
    /// From `pack`.
    weights: &'a [f32],
    blocks: &'a [Range<usize>],
    bias: Option<&'a [f32]>,
}

/// Where the outputs of a stretch go.
#[derive(Clone, Copy)]
struct Target<'a> {
    out: Shared<'a>,
    /// The first output of the first channel.
    start: usize,
    /// Elements from channel to channel.
    channel: usize,
}

/// Input channels that are unrolled at once, and outputs of a stretch.
fn sizes(level: Level, reading: &Reading, in_channels: usize) -> (usize, usize) {
    let width = span(level.wide()) * level.lanes();
    let taps = reading.taps().max(1);
    let held = (panel(level.wide()) / (4 * width * taps)).max(1);
    let held = in_channels.div_ceil(in_channels.div_ceil(held));
    (held, (panels(level.wide()) / (4 * held * taps)).max(width))
}

impl Panels<'_> {
    /// Stretches of outputs, and groups of blocks of channels, that make tasks.
    fn tasks(&self, level: Level, batch: usize) -> (Vec<Stretch>, usize) {
        let (_, most) = sizes(level, &self.reading, self.in_channels);
        let width = span(level.wide()) * level.lanes();
        let positions = batch * self.reading.out_spatial();
        let wanted = threads::tasks(positions * self.weights.len());
        let most = most.min(positions.div_ceil(wanted).max(2 * width));
        let stretches = self.reading.stretches(batch, most, width);
        let groups = wanted.div_ceil(stretches.len()).min(self.blocks.len());
        (stretches, groups)
    }

    /// The `i`-th of `groups` groups of blocks.
    fn group(&self, i: usize, groups: usize) -> &[Range<usize>] {
        let part = |i: usize| i * self.blocks.len() / groups;
        &self.blocks[part(i)..part(i + 1)]
    }

    /// The outputs of some blocks of channels of a stretch; `x` is the input of its sample.
    ///
    /// # Safety
    ///
    /// The CPU has V; no other task touches these outputs.
    #[inline(always)]
    unsafe fn run<V: Lanes>(
        &self,
        level: Level,
        x: &[f32],
        stretch: &Stretch,
        blocks: &[Range<usize>],
        target: Target<'_>,
    ) {
        let spatial = self.reading.in_spatial();
        let taps = self.reading.taps();
        let (held, _) = sizes(level, &self.reading, self.in_channels);
        let window = Window::new(&self.reading, stretch);
        let mut copy = Scratch::take(window.len());
        let mut unrolled = Unrolled::new(
            &window,
            stretch.cols,
            stretch.len(),
            span(V::WIDE) * V::LANES,
            held * taps,
            V::LANES,
        );
        for first in (0..self.in_channels).step_by(held) {
            let channels = first..(first + held).min(self.in_channels);
            for channel in channels.clone() {
                window.fill(&x[channel * spatial..][..spatial], &mut copy);
                // SAFETY: V is the caller's promise.
                unsafe {
                    let row = (channel - first) * taps;
                    if V::WIDE {
                        unrolled.add::<V, { span(true) }>(&copy, row);
                    } else {
                        unrolled.add::<V, { span(false) }>(&copy, row);
                    }
                }
            }
            let terms = channels.len() * taps;
            for panel in 0..unrolled.panels() {
                for block in blocks {
                    let at = (block.start * self.in_channels + block.len() * first) * taps;
                    let tile = Tile {
                        weights: self.weights[at..][..block.len() * terms].as_ptr(),
                        panel: unrolled.panel(panel, terms).as_ptr(),
                        terms,
                        bias: self.bias.map(|bias| &bias[block.clone()]),
                        add: first > 0,
                        outputs: unrolled.outputs(panel),
                        target: Target {
                            start: target.start
                                + (block.start - blocks[0].start) * target.channel
                                + unrolled.place(panel),
                            ..target
                        },
                    };
                    // SAFETY: the slices hold what is read; the rest is the caller's promise.
                    unsafe { by_rows!(V, block.len(), tile.run()) }
                }
            }
        }
    }
}

/// A block of output channels of a panel of outputs.
struct Tile<'a> {
    /// `[term][channel of the block]`.
    weights: *const f32,
    /// `[term][output]`.
    panel: *const f32,
    terms: usize,
    bias: Option<&'a [f32]>,
    /// Whether the outputs hold sums to add to.
    add: bool,
    /// Outputs that count.
    outputs: usize,
    /// Where the first output of the first channel goes.
    target: Target<'a>,
}

impl Tile<'_> {
    /// # Safety
    ///
    /// The CPU has V; weights and panel can be read; no other task touches the outputs.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn run<V: Lanes, const BLOCK: usize, const SPAN: usize>(&self) {
        let Target {
            out,
            start,
            channel,
        } = self.target;
        let width = SPAN * V::LANES;
        // Outputs at the end of a stretch that do not fill the panel go by way of a buffer.
        let mut buffer = MaybeUninit::<[f32; TILE]>::uninit();
        let whole = self.outputs == width;
        // SAFETY: the caller's promise; `Shared::at` checks the bounds of the output.
        unsafe {
            let (to, step) = if whole {
                (out.at(start, (BLOCK - 1) * channel + width), channel)
            } else {
                (buffer.write([0.0; TILE]).as_mut_ptr(), width)
            };
            if !whole && self.add {
                for c in 0..BLOCK {
                    let from = out.at(start + c * channel, self.outputs);
                    to.add(c * step)
                        .copy_from_nonoverlapping(from, self.outputs);
                }
            }
            let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
            if self.add {
                for c in 0..BLOCK {
                    for i in 0..SPAN {
                        sums[c][i] = V::load(to.add(c * step + i * V::LANES));
                    }
                }
            } else if let Some(bias) = self.bias {
                for c in 0..BLOCK {
                    sums[c] = [V::splat(bias[c]); SPAN];
                }
            }
            let mut from = [self.panel; SPAN];
            for i in 0..SPAN {
                from[i] = from[i].add(i * V::LANES);
            }
            let mut weights = self.weights;
            for term in 0..self.terms {
                let at = term * width;
                add_products::<V, BLOCK, SPAN, true>(&mut sums, from, at, weights, 1);
                weights = weights.add(BLOCK);
            }
            for c in 0..BLOCK {
                for i in 0..SPAN {
                    sums[c][i].store(to.add(c * step + i * V::LANES));
                }
            }
            if !whole {
                for c in 0..BLOCK {
                    let out = out.at(start + c * channel, self.outputs);
                    out.copy_from_nonoverlapping(to.add(c * step), self.outputs);
                }
            }
        }
    }
}

/// Some blocks of channels of a stretch of outputs as they lie.
struct Task<'a> {
    of: &'a Panels<'a>,
    level: Level,
    x: &'a [f32],
    stretch: &'a Stretch,
    blocks: &'a [Range<usize>],
    target: Target<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        // SAFETY: V is what Level::run chose; a task has its stretch and blocks to itself.
        unsafe {
            self.of
                .run::<V>(self.level, self.x, self.stretch, self.blocks, self.target);
        }
    }
}

/// All outputs, tightly: `[batch][channel][position]`.
fn plain(level: Level, of: &Panels<'_>, batch: usize, x: &[f32], y: &mut [f32]) {
    let (stretches, groups) = of.tasks(level, batch);
    let sample = of.in_channels * of.reading.in_spatial();
    let spatial = of.reading.out_spatial();
    let out_channels = of.blocks.last().map_or(0, |block| block.end);
    let out = Shared::new(y);
    (0..stretches.len() * groups)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| {
            let stretch = &stretches[i / groups];
            let blocks = of.group(i % groups, groups);
            let channel = stretch.sample * out_channels + blocks[0].start;
            level.run(Task {
                of,
                level,
                x: &x[stretch.sample * sample..][..sample],
                stretch,
                blocks,
                target: Target {
                    out,
                    start: channel * spatial + stretch.first(of.reading.out_size[1]),
                    channel: spatial,
                },
            });
        });
}

/// See [`Conv::forward`].
pub(super) fn forward(
    level: Level,
    conv: &Conv,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let blocks = blocks(level, conv.out_channels);
    let order: Vec<usize> = (0..conv.taps()).collect();
    let weights = pack(&blocks, conv.in_channels, &order, |out, channel| {
        &w[(out * conv.in_channels + channel) * conv.taps()..][..conv.taps()]
    });
    let panels = Panels {
        reading: Reading::forward(conv),
        in_channels: conv.in_channels,
        weights: &weights,
        blocks: &blocks,
        bias,
    };
    plain(level, &panels, conv.batch, x, y);
}
