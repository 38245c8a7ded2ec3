//! The gradient of the weights by Winograd's way: at each point the products of the transformed
//! input with the transformed `dy`, summed over tiles, then brought back to the kernel's taps.
//!
//! Bands of tiles are taken in order; within one, threads share the channels to transform and then
//! the points, each sum being one thread's: the result does not depend on their number. Where tiles
//! are few and channels many they share the output channels instead, see `by_blocks`.

mod by_blocks;
mod over_channels;
mod over_tiles;

use super::line::to_outputs;
use super::transform::{Tiles, transform};
use super::{Band, POINTS, SIDE, Winograd, by_kernel, plane_stride, point_stride, row_stride};
use crate::conv::pack::blocks;
use crate::conv::{Conv, Padding};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of transformed input and `dy` of a band: they stay in a third-level cache.
const BAND: usize = 6 << 20;

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
    if of.few_tiles() {
        return by_blocks::run::<TILE, KERNEL>(&of, level, x, dy, dw);
    }
    let blocks = blocks(level, conv.out_channels);
    let columns = of.depth * of.in_channels;
    let plane = plane_stride(of.out_channels * columns);
    let mut sums = Scratch::take(POINTS * plane);
    for (number, band) in of.bands(1, BAND).iter().enumerate() {
        let pair = Pair::<TILE>::new(&of, level, band, x, dy);
        let to = Shared::new(&mut sums);
        (0..POINTS)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|point| {
                let sums = Sums {
                    first: number == 0,
                    start: point * plane,
                    to,
                };
                level.run(pair.products(&of, point, 0, &blocks, sums));
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

/// The transformed input and `dy` of a band.
struct Pair<const TILE: usize> {
    /// Tiles of a plane, and of the band.
    plane: usize,
    tiles: usize,
    source: Scratch,
    source_row: usize,
    filters: Scratch,
    filters_row: usize,
}

impl<const TILE: usize> Pair<TILE> {
    fn new(of: &Winograd, level: Level, band: &Band, x: &[f32], dy: &[f32]) -> Self {
        let cols = of.tiles()[1];
        let source_row = row_stride(band.sources(cols, of.depth));
        let filters_row = row_stride(band.tiles(cols));
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
        Self {
            plane: band.plane(cols),
            tiles: band.tiles(cols),
            source: transform(level, of.input::<TILE>(x, band), source_row),
            source_row,
            filters: transform(level, filters, filters_row),
            filters_row,
        }
    }

    /// The sums at a point for `blocks` of output channels, counted from channel `channel`.
    fn products<'a>(
        &'a self,
        of: &Winograd,
        point: usize,
        channel: usize,
        blocks: &'a [Range<usize>],
        sums: Sums<'a>,
    ) -> Products<'a> {
        let source = point_stride(of.in_channels, self.source_row);
        let filters = point_stride(of.out_channels, self.filters_row);
        Products {
            blocks,
            channels: of.in_channels,
            columns: of.depth * of.in_channels,
            shift: self.plane,
            tiles: self.tiles,
            source: &self.source[point * source..][..source],
            source_row: self.source_row,
            filters: &self.filters[point * filters..][channel * self.filters_row..filters],
            filters_row: self.filters_row,
            sums,
        }
    }
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
    sums: Sums<'a>,
}

/// Where sums go.
#[derive(Clone, Copy)]
struct Sums<'a> {
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
