//! Kernels of 3 × 3 and 4 × 4 with stride 1 by Winograd's minimal filtering: 36 products in place of
//! 144, for a tile of 4 × 4 outputs of the former and of 3 × 3 of the latter.
//!
//! Winograd 1980, as Lavin & Gray (2016, arXiv:1509.09308) use it for nets:
//! Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A. The points are 0, ±√½, ±√2 and ∞ instead of their 0, ±1, ±2
//! and ∞: the largest error is a fifth of theirs, 1e-5 of the outputs' standard deviation with 256
//! channels, and the mean one is twice that of the direct sum. The sums over input channels, and over the taps along
//! depth of a 3-D kernel, are then 36 matrix products. The gradient of the input is the same with
//! the kernel flipped. The gradient of the weights takes tiles of `dy` as the filter and the same
//! Bᵀ d B, so it has 36 products for 144 as well; what is G for one kernel is Aᵀ for the other's.
//!
//! The transforms cost some hundred operations a tile and channel whatever the other side's number
//! of channels, so this pays from about 12 channels on both sides.
//!
//! Of a large image a task takes a band, of a small one with many channels some output channels:
//! see `by_blocks`.

mod by_blocks;
mod line;
mod product;
mod transform;
mod weight;

pub(super) use weight::grad_weight;

use super::pack::blocks;
use super::{Conv, Padding};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use product::Product;
use rayon::prelude::*;
use std::ops::Range;
use transform::{Output, Tiles, Transform, Weights};

/// Points of a tile on a side.
const SIDE: usize = 6;

/// Outputs of a tile on a side, for kernels of so many taps on a side.
pub(super) const fn tile(kernel: usize) -> usize {
    SIDE + 1 - kernel
}

/// Calls `$call` with the outputs of a tile and the taps of a kernel, on a side, as constants.
macro_rules! by_kernel {
    ($kernel:expr, $function:ident($($argument:expr),*)) => {
        match $kernel {
            3 => $function::<4, 3>($($argument),*),
            _ => $function::<3, 4>($($argument),*),
        }
    };
}
use by_kernel;

/// Points of a tile.
pub(super) const POINTS: usize = SIDE * SIDE;

/// Bytes of transformed input and output that a task works on: they pass through the second-level
/// cache and stay in the third. Half of the transformed weights where that is more, as every task
/// reads all of these.
const BAND: usize = 3 << 19;

/// Tiles a band has at least, where there are that many: a few vectors for the matrix products.
const LEAST_TILES: usize = 48;

/// A correlation with kernels of `depth` × `side` × `side` and stride 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Winograd {
    pub(super) batch: usize,
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(super) in_size: [usize; 3],
    pub(super) out_size: [usize; 3],
    /// Padded elements before the first; negative: cropped.
    pub(super) before: [isize; 3],
    pub(super) mode: Padding,
    /// Taps along depth.
    pub(super) depth: usize,
    /// Taps along either other axis: 3 or 4.
    pub(super) side: usize,
}

impl Winograd {
    pub(super) fn forward(conv: &Conv) -> Self {
        Self {
            batch: conv.batch,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            in_size: conv.in_size,
            out_size: conv.out_size(),
            before: conv.padding.map(|p| p as isize),
            mode: conv.mode,
            depth: conv.kernel[0],
            side: conv.kernel[2],
        }
    }

    /// Whether a kernel is one that is computed so, at stride 1.
    pub(super) fn knows([_, rows, cols]: [usize; 3]) -> bool {
        rows == cols && matches!(cols, 3 | 4)
    }

    /// Rows and columns of tiles of a plane.
    fn tiles(&self) -> [usize; 2] {
        [1, 2].map(|i| self.out_size[i].div_ceil(tile(self.side)))
    }

    /// Whether transformed weights are more than transformed inputs and outputs: then they are to stay
    /// in the caches of those who made them.
    fn few_tiles(&self) -> bool {
        let [rows, cols] = self.tiles();
        let tiles = self.batch * self.out_size[0] * rows * cols;
        let pairs = self.depth * self.in_channels * self.out_channels;
        pairs > tiles * (self.in_channels + self.out_channels)
    }

    /// All of a sample.
    fn whole(&self, sample: usize) -> Band {
        Band {
            sample,
            planes: 0..self.out_size[0],
            rows: 0..self.tiles()[0],
        }
    }

    /// The tiles of an input in a band.
    fn input<'a, const TILE: usize>(&self, x: &'a [f32], band: &'a Band) -> Tiles<'a, SIDE, TILE> {
        Tiles {
            x,
            channels: self.in_channels,
            size: self.in_size,
            before: self.before,
            mode: self.mode,
            tiles: self.tiles()[1],
            band,
            more: self.depth - 1,
        }
    }

    /// The outputs of `x`; `weight(out, in)` is the slice of taps of a pair of channels, read
    /// backwards where `flipped`.
    pub(super) fn run<'a>(
        &self,
        level: Level,
        x: &[f32],
        weight: impl Fn(usize, usize) -> &'a [f32] + Sync,
        flipped: bool,
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        by_kernel!(
            self.side,
            run_tiles(self, level, x, (&weight, flipped), bias, out)
        );
    }

    /// The weights' transforms as `[point][block][depth tap][in channel][channel of the block]`.
    fn transform_weights<'a, const KERNEL: usize>(
        &self,
        level: Level,
        blocks: &[Range<usize>],
        (weight, flipped): (&(impl Fn(usize, usize) -> &'a [f32] + Sync), bool),
    ) -> Scratch {
        let plane = self.weights_plane(self.out_channels);
        let mut weights = Scratch::take(POINTS * plane);
        let to = Shared::new(&mut weights);
        blocks.par_iter().with_max_len(1).for_each(|block| {
            level.run(Weights::<_, KERNEL> {
                channels: self.in_channels,
                depth: self.depth,
                block: block.clone(),
                weight,
                flipped,
                plane,
                to,
            });
        });
        weights
    }

    /// Elements from point to point of the transformed weights of so many output channels: a cache
    /// line more than they need, lest points share few sets of the cache.
    fn weights_plane(&self, out_channels: usize) -> usize {
        plane_stride(out_channels * self.depth * self.in_channels)
    }

    /// The parts of the output that are worked on one by one: at least `wanted` where that leaves
    /// them large enough, each of at most `bytes` where that does.
    fn bands(&self, wanted: usize, bytes: usize) -> Vec<Band> {
        let [rows, cols] = self.tiles();
        let depth = self.out_size[0];
        let line = 4 * POINTS * cols * (self.in_channels + self.out_channels);
        let lines = (bytes / line)
            .min(self.batch * depth * rows / wanted.max(1))
            .max(LEAST_TILES.div_ceil(cols));
        // Taps along depth share transformed planes, so long bands along depth are better.
        let (planes, lines) = if self.depth == 1 {
            (lines.div_ceil(rows).min(depth), lines.min(rows))
        } else {
            (lines.min(depth), lines.div_ceil(depth).min(rows))
        };
        let mut bands = Vec::new();
        for sample in 0..self.batch {
            for planes in parts(depth, planes) {
                for rows in parts(rows, lines) {
                    bands.push(Band {
                        sample,
                        planes: planes.clone(),
                        rows,
                    });
                }
            }
        }
        bands
    }
}

/// As [`Winograd::run`], for tiles and kernels of known sides.
fn run_tiles<'a, const TILE: usize, const KERNEL: usize>(
    of: &Winograd,
    level: Level,
    x: &[f32],
    weight: (&(impl Fn(usize, usize) -> &'a [f32] + Sync), bool),
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    if of.few_tiles() {
        return by_blocks::run::<TILE, KERNEL>(of, level, x, weight, bias, out);
    }
    let blocks = blocks(level, of.out_channels);
    let weights = of.transform_weights::<KERNEL>(level, &blocks, weight);
    let bytes = BAND.max(size_of_val(&*weights) / 2);
    let bands = of.bands(rayon::current_num_threads(), bytes);
    let out = Shared::new(out);
    bands.into_par_iter().with_max_len(1).for_each(|band| {
        level.run(Task::<TILE> {
            of,
            x,
            blocks: &blocks,
            weights: &weights,
            bias,
            band,
            out,
        });
    });
}

/// `0..n` in even parts of at most `most`.
fn parts(n: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = n.div_ceil(most);
    (0..count).map(move |i| i * n / count..(i + 1) * n / count)
}

/// Some planes of outputs and some rows of tiles of them.
#[derive(Debug, Clone)]
struct Band {
    sample: usize,
    planes: Range<usize>,
    rows: Range<usize>,
}

impl Band {
    /// Tiles of a plane.
    fn plane(&self, cols: usize) -> usize {
        self.rows.len() * cols
    }

    /// Tiles of the output.
    fn tiles(&self, cols: usize) -> usize {
        self.planes.len() * self.plane(cols)
    }

    /// Tiles of the input, which has more planes.
    fn sources(&self, cols: usize, depth: usize) -> usize {
        (self.planes.len() + depth - 1) * self.plane(cols)
    }
}

/// Elements from channel to channel of `tiles` transformed tiles: room for a vector more, and an
/// odd number of cache lines, lest channels share few sets of the cache.
fn row_stride(tiles: usize) -> usize {
    ((tiles + 32).div_ceil(16) | 1) * 16
}

/// Elements from point to point of `channels` channels: a cache line more than they need, for the
/// same reason.
fn point_stride(channels: usize, row: usize) -> usize {
    channels * row + 16
}

/// Elements from point to point of `pairs` transformed weights, for the same reason.
fn plane_stride(pairs: usize) -> usize {
    pairs.next_multiple_of(16) + 16
}

/// A band of outputs.
struct Task<'a, const TILE: usize> {
    of: &'a Winograd,
    x: &'a [f32],
    blocks: &'a [Range<usize>],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    band: Band,
    out: Shared<'a>,
}

impl<const TILE: usize> Kernel for Task<'_, TILE> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { of, band, .. } = &self;
        let in_row = row_stride(band.sources(of.tiles()[1], of.depth));
        let in_point = point_stride(of.in_channels, in_row);
        let mut source = Scratch::take(POINTS * in_point);
        Transform {
            of: of.input::<TILE>(self.x, band),
            channels: 0..of.in_channels,
            to: Shared::new(&mut source),
            row: in_row,
            step: in_point,
        }
        .run::<V>();
        // SAFETY: V is what Level::run chose; no other task writes this band.
        unsafe {
            Outputs::<TILE> {
                of,
                band,
                first: 0,
                blocks: self.blocks,
                weights: self.weights,
                source: &source,
                bias: self.bias,
                out: self.out,
            }
            .run::<V>();
        }
    }
}

/// Some output channels of a band.
struct Outputs<'a, const TILE: usize> {
    of: &'a Winograd,
    band: &'a Band,
    /// The first of the channels.
    first: usize,
    /// Counted from there.
    blocks: &'a [Range<usize>],
    /// Of these blocks.
    weights: &'a [f32],
    /// The band's transformed input.
    source: &'a [f32],
    bias: Option<&'a [f32]>,
    out: Shared<'a>,
}

impl<const TILE: usize> Outputs<'_, TILE> {
    /// # Safety
    ///
    /// The CPU has V; no other task writes these channels of the band.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        let Self { of, band, .. } = *self;
        let cols = of.tiles()[1];
        let tiles = band.tiles(cols);
        let in_row = row_stride(band.sources(cols, of.depth));
        let in_point = point_stride(of.in_channels, in_row);
        let channels = self.blocks.last().map_or(0, |block| block.end);
        let out_row = row_stride(tiles);
        let out_point = point_stride(channels, out_row);
        let mut sums = Scratch::take(POINTS * out_point);
        let pairs = channels * of.depth * of.in_channels;
        for point in 0..POINTS {
            // SAFETY: the caller's promise; rows have room for a vector more than the tiles.
            unsafe {
                Product {
                    weights: &self.weights[point * of.weights_plane(channels)..][..pairs],
                    blocks: self.blocks,
                    channels: of.in_channels,
                    depth: of.depth,
                    shift: band.plane(cols),
                    source: &self.source[point * in_point..][..in_point],
                    source_row: in_row,
                    sums: &mut sums[point * out_point..][..out_point],
                    sums_row: out_row,
                    tiles,
                }
                .run::<V>();
            }
        }
        for i in 0..channels {
            let channel = self.first + i;
            let output = Output::<TILE> {
                of,
                band,
                sums: &sums[i * out_row..],
                point: out_point,
                channel,
                bias: self.bias.map_or(0.0, |bias| bias[channel]),
                out: self.out,
            };
            // SAFETY: the caller's promise.
            unsafe { output.run::<V>() };
        }
    }
}
