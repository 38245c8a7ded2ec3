//! The gradient of the weights by Winograd's way: at each point the products of the transformed
//! input with the transformed `dy`, summed over tiles, then brought back to the kernel's taps.
//!
//! Bands of tiles are taken in order; within one, threads share the channels to transform and then
//! the points, each sum being one thread's: the result does not depend on their number.

mod over_channels;
mod over_tiles;

use super::line::to_outputs;
use super::transform::{Tiles, Transform};
use super::{POINTS, SIDE, Winograd, by_kernel, plane_stride, point_stride, row_stride};
use crate::conv::pack::blocks;
use crate::conv::{Conv, Padding};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of transformed input and `dy` of a band: they stay in a third-level cache.
const BAND: usize = 6 << 20;

/// Channels that a task transforms.
const CHANNELS: usize = 4;

pub(in crate::conv) fn grad_weight(
    level: Level,
    conv: &Conv,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    by_kernel!(conv.kernel[2], tiles(level, conv, x, dy, dw));
}

/// As [`grad_weight`], for tiles and kernels of known sides.
fn tiles<const TILE: usize, const KERNEL: usize>(
    level: Level,
    conv: &Conv,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let of = Winograd::forward(conv);
    let blocks = blocks(level, conv.out_channels);
    let columns = of.depth * of.in_channels;
    let plane = plane_stride(of.out_channels * columns);
    let cols = of.tiles()[1];
    let mut sums = Scratch::take(POINTS * plane);
    for (number, band) in of.bands(1, BAND).iter().enumerate() {
        let input = of.input::<TILE>(x, band);
        let row = row_stride(band.sources(cols, of.depth));
        let source = transform(level, input, row);
        let filters = Tiles::<TILE, TILE> {
            x: dy,
            channels: of.out_channels,
            size: of.out_size,
            before: [0; 3],
            mode: Padding::Zero,
            tiles: cols,
            band,
            more: 0,
        };
        let filters_row = row_stride(band.tiles(cols));
        let filters = transform(level, filters, filters_row);
        let to = Shared::new(&mut sums);
        (0..POINTS)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|point| {
                let part = |channels, row| {
                    let step = point_stride(channels, row);
                    point * step..(point + 1) * step
                };
                level.run(Products {
                    blocks: &blocks,
                    channels: of.in_channels,
                    columns,
                    shift: band.plane(cols),
                    tiles: band.tiles(cols),
                    source: &source[part(of.in_channels, row)],
                    source_row: row,
                    filters: &filters[part(of.out_channels, filters_row)],
                    filters_row,
                    first: number == 0,
                    start: point * plane,
                    to,
                });
            });
    }
    dw.par_chunks_mut(KERNEL * KERNEL * columns)
        .enumerate()
        .for_each(|(out, dw)| {
            level.run(Taps::<KERNEL> {
                sums: &sums[out * columns..],
                plane,
                channels: of.in_channels,
                depth: of.depth,
                dw,
            });
        });
}

/// All channels of a band, `[point][channel][tile]` with rows of `row`.
fn transform<const N: usize, const TILE: usize>(
    level: Level,
    of: Tiles<N, TILE>,
    row: usize,
) -> Scratch {
    let step = point_stride(of.channels, row);
    let mut points = Scratch::take(POINTS * step);
    let to = Shared::new(&mut points);
    (0..of.channels.div_ceil(CHANNELS))
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| {
            level.run(Transform {
                of,
                channels: i * CHANNELS..((i + 1) * CHANNELS).min(of.channels),
                to,
                row,
                step,
            });
        });
    points
}

/// The sums over tiles at one point, `[out channel][depth tap][in channel]`.
struct Products<'a> {
    blocks: &'a [Range<usize>],
    channels: usize,
    /// Depth taps times input channels.
    columns: usize,
    /// Tiles from depth tap to depth tap.
    shift: usize,
    tiles: usize,
    source: &'a [f32],
    source_row: usize,
    filters: &'a [f32],
    filters_row: usize,
    /// Whether there is nothing to add to.
    first: bool,
    start: usize,
    to: Shared<'a>,
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        // Turning costs about one sixteenth of an output channel's products, taking sums across
        // lanes as much as some 80 tiles.
        let filters = self.blocks.last().map_or(0, |block| block.end);
        // SAFETY: V is what Level::run chose; only this task has this point.
        unsafe {
            if self.tiles < 5 * filters {
                self.over_channels::<V>();
            } else {
                self.over_tiles::<V>();
            }
        }
    }
}

/// The taps of one output channel from its sums at all points.
struct Taps<'a, const KERNEL: usize> {
    /// From the channel's first sum at the first point on.
    sums: &'a [f32],
    /// Elements from point to point.
    plane: usize,
    channels: usize,
    depth: usize,
    dw: &'a mut [f32],
}

impl<const KERNEL: usize> Kernel for Taps<'_, KERNEL> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    fn run<V: Lanes>(self) {
        let area = KERNEL * KERNEL;
        let taps = area * self.depth;
        let columns = self.depth * self.channels;
        for first in (0..columns).step_by(V::LANES) {
            let count = V::LANES.min(columns - first);
            // SAFETY: V is what Level::run chose; a short end is read by way of a buffer.
            let outputs = unsafe {
                let mut half = [[V::splat(0.0); KERNEL]; SIDE];
                for i in 0..SIDE {
                    let mut line = [V::splat(0.0); SIDE];
                    for j in 0..SIDE {
                        let from = &self.sums[(i * SIDE + j) * self.plane + first..][..count];
                        line[j] = if count == V::LANES {
                            V::load(from.as_ptr())
                        } else {
                            let mut buffer = [0.0f32; 16];
                            buffer[..count].copy_from_slice(from);
                            V::load(buffer.as_ptr())
                        };
                    }
                    half[i] = to_outputs(line);
                }
                let mut outputs = [[[0.0f32; 16]; KERNEL]; KERNEL];
                for j in 0..KERNEL {
                    let mut line = [V::splat(0.0); SIDE];
                    for i in 0..SIDE {
                        line[i] = half[i][j];
                    }
                    let column: [V; KERNEL] = to_outputs(line);
                    for i in 0..KERNEL {
                        column[i].store(outputs[i][j].as_mut_ptr());
                    }
                }
                outputs
            };
            for lane in 0..count {
                let (tap, channel) = (
                    (first + lane) / self.channels,
                    (first + lane) % self.channels,
                );
                let to = &mut self.dw[channel * taps + area * tap..][..area];
                for (i, to) in to.iter_mut().enumerate() {
                    *to = outputs[i / KERNEL][i % KERNEL][lane];
                }
            }
        }
    }
}
