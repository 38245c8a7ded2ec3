//! The transforms of Winograd's way: tiles of inputs and kernels to points, points to outputs.
//!
//! A vector holds the same element of neighbouring tiles. Rows of an image are first split by
//! column modulo the tile's side, so that this element lies together for them.

use super::line::{add, points, to_outputs};
use super::{Band, POINTS, SIDE, Winograd, point_stride};
use crate::conv::Padding;
use crate::conv::pad::place;
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;
use std::ops::Range;

/// Channels that a task transforms.
const CHANNELS: usize = 4;

/// Rows of one plane of one channel, split as `[row][column mod TILE][column div TILE]`.
struct Split<const TILE: usize> {
    rows: Scratch,
    /// Elements of one residue.
    len: usize,
}

impl<const TILE: usize> Split<TILE> {
    fn new<V: Lanes>(rows: usize, tiles: usize) -> Self {
        let len = tiles.next_multiple_of(V::LANES) + V::LANES;
        Self {
            rows: Scratch::take(rows * TILE * len),
            len,
        }
    }

    /// Fills a row with `tiles + 1` groups of TILE of a padded row of the image, `None` being zeros.
    ///
    /// # Safety
    ///
    /// The CPU has V.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn fill<V: Lanes>(
        &mut self,
        row: usize,
        source: Option<&[f32]>,
        before: isize,
        mode: Padding,
        tiles: usize,
    ) {
        let len = self.len;
        let to = &mut self.rows[row * TILE * len..][..TILE * len];
        let Some(source) = source else {
            to.fill(0.0);
            return;
        };
        let n = source.len() as isize;
        // Groups lo..hi lie wholly within the image.
        let (groups, side) = (tiles as isize + 1, TILE as isize);
        let lo = (before + side - 1).div_euclid(side).clamp(0, groups);
        let hi = (n + before).div_euclid(side).clamp(lo, groups);
        let (lo, hi) = (lo as usize, hi as usize);
        if hi > lo {
            let from = (TILE * lo) as isize - before;
            let within = &source[from as usize..][..TILE * (hi - lo)];
            // SAFETY: V is the caller's promise.
            unsafe {
                match hi - lo {
                    groups if TILE == 4 && groups >= V::LANES => {
                        deal::<V>(within, &mut to[lo..], len)
                    }
                    groups if TILE == 4 && groups >= V::Half::LANES => {
                        deal::<V::Half>(within, &mut to[lo..], len);
                    }
                    _ => {
                        for (i, group) in within.as_chunks::<TILE>().0.iter().enumerate() {
                            for (residue, value) in group.iter().enumerate() {
                                to[residue * len + lo + i] = *value;
                            }
                        }
                    }
                }
            }
        }
        for group in (0..lo).chain(hi..groups as usize) {
            for residue in 0..TILE {
                let column = (TILE * group + residue) as isize - before;
                to[residue * len + group] =
                    place(column, n as usize, mode).map_or(0.0, |column| source[column]);
            }
        }
    }

    /// Element `column` of the tiles from `tile`.
    ///
    /// # Safety
    ///
    /// The CPU has V; the row has been filled.
    #[inline(always)]
    unsafe fn load<V: Lanes>(&self, row: usize, tile: usize, column: usize) -> V {
        let at = (row * TILE + column % TILE) * self.len + tile + column / TILE;
        debug_assert!(at + V::LANES <= self.rows.len());
        // SAFETY: `new` made room for a vector behind the last tile.
        unsafe { V::load(self.rows.as_ptr().add(at)) }
    }

    /// The points of a vector of tiles of N rows from `row`, the points `step` elements apart.
    ///
    /// # Safety
    ///
    /// The CPU has V; these rows have been filled; a vector can be written at every point.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn transform<V: Lanes, const N: usize>(
        &self,
        row: usize,
        tile: usize,
        to: *mut f32,
        step: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut half = [[V::splat(0.0); SIDE]; N];
            for i in 0..N {
                let mut line = [V::splat(0.0); N];
                for j in 0..N {
                    line[j] = self.load(row + i, tile, j);
                }
                half[i] = points(line);
            }
            for j in 0..SIDE {
                let mut line = [V::splat(0.0); N];
                for i in 0..N {
                    line[i] = half[i][j];
                }
                let points = points(line);
                for i in 0..SIDE {
                    points[i].store(to.add((i * SIDE + j) * step));
                }
            }
        }
    }
}

/// Deals elements out to four rows of `to`, `row` elements apart, in turns: at least a vector for each.
///
/// # Safety
///
/// The CPU has V.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
unsafe fn deal<V: Lanes>(elements: &[f32], to: &mut [f32], row: usize) {
    let groups = elements.len() / 4;
    assert!(groups >= V::LANES && 3 * row + groups <= to.len());
    let mut at = 0;
    loop {
        // SAFETY: the assert; the last vectors begin early enough to end with the elements.
        unsafe {
            let from = elements.as_ptr().add(4 * at);
            let dealt = V::deinterleave([
                V::load(from),
                V::load(from.add(V::LANES)),
                V::load(from.add(2 * V::LANES)),
                V::load(from.add(3 * V::LANES)),
            ]);
            let to = to.as_mut_ptr().add(at);
            for i in 0..4 {
                dealt[i].store(to.add(i * row));
            }
        }
        if at == groups - V::LANES {
            break;
        }
        at = (at + V::LANES).min(groups - V::LANES);
    }
}

/// Transforms tiles of images: with N = 6 Bᵀ d B of tiles that overlap, with N = TILE G g Gᵀ of
/// tiles side by side.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a, const N: usize, const TILE: usize> {
    pub(super) x: &'a [f32],
    /// Channels of a sample.
    pub(super) channels: usize,
    pub(super) size: [usize; 3],
    /// Padded elements before the first.
    pub(super) before: [isize; 3],
    pub(super) mode: Padding,
    /// Tiles of a row.
    pub(super) tiles: usize,
    pub(super) band: &'a Band,
    /// Planes beyond those of the band.
    pub(super) more: usize,
}

/// Some channels of [`Tiles`], to `to[point * step + channel * row + tile]`.
pub(super) struct Transform<'a, const N: usize, const TILE: usize> {
    pub(super) of: Tiles<'a, N, TILE>,
    pub(super) channels: Range<usize>,
    pub(super) to: Shared<'a>,
    pub(super) row: usize,
    pub(super) step: usize,
}

impl<const N: usize, const TILE: usize> Kernel for Transform<'_, N, TILE> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let rows = TILE * self.of.band.rows.len() + N - TILE;
        let mut split = Split::<TILE>::new::<V>(rows, self.of.tiles);
        for channel in self.channels.clone() {
            // SAFETY: V is what Level::run chose; only this task has these channels.
            unsafe { self.channel::<V>(channel, &mut split) };
        }
    }
}

impl<const N: usize, const TILE: usize> Transform<'_, N, TILE> {
    /// # Safety
    ///
    /// The CPU has V; no other task writes this channel.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn channel<V: Lanes>(&self, channel: usize, split: &mut Split<TILE>) {
        let (of, band) = (&self.of, self.of.band);
        let [depth, rows, cols] = of.size;
        let planes = band.planes.start..band.planes.end + of.more;
        let tiles = planes.len() * band.plane(of.tiles);
        assert!(tiles + V::LANES <= self.row);
        let len = (POINTS - 1) * self.step + self.row;
        // SAFETY: points of other channels lie between, which this task does not touch.
        let to = unsafe { self.to.at(channel * self.row, len) };
        let mut at = 0;
        for plane in planes {
            let plane = place(plane as isize - of.before[0], depth, of.mode);
            for row in 0..TILE * band.rows.len() + N - TILE {
                let padded = (TILE * band.rows.start + row) as isize;
                let row_of = place(padded - of.before[1], rows, of.mode);
                let source = plane.zip(row_of).map(|(plane, row)| {
                    let image = band.sample * of.channels + channel;
                    &of.x[((image * depth + plane) * rows + row) * cols..][..cols]
                });
                // SAFETY: the caller's promise.
                unsafe { split.fill::<V>(row, source, of.before[2], of.mode, of.tiles) };
            }
            for row in 0..band.rows.len() {
                let mut tile = 0;
                while tile < of.tiles {
                    // SAFETY: the caller's promise; a row holds a vector more than its tiles.
                    unsafe {
                        let to = to.add(at + tile);
                        if of.tiles - tile > V::Half::LANES {
                            split.transform::<V, N>(TILE * row, tile, to, self.step);
                            tile += V::LANES;
                        } else {
                            split.transform::<V::Half, N>(TILE * row, tile, to, self.step);
                            tile += V::Half::LANES;
                        }
                    }
                }
                at += of.tiles;
            }
        }
        // Vectors of tiles read on behind the last one; what is there must be a number.
        for point in 0..POINTS {
            // SAFETY: as above.
            unsafe { V::splat(0.0).store(to.add(point * self.step + at)) };
        }
    }
}

/// All channels of a band, `[point][channel][tile]` with rows of `row`.
pub(super) fn transform<const N: usize, const TILE: usize>(
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

/// Aᵀ M A of one channel of a band, written to the outputs.
pub(super) struct Output<'a, const TILE: usize> {
    pub(super) of: &'a Winograd,
    pub(super) band: &'a Band,
    /// From the channel's first tile at the first point on.
    pub(super) sums: &'a [f32],
    /// Elements from point to point.
    pub(super) point: usize,
    pub(super) channel: usize,
    pub(super) bias: f32,
    pub(super) out: Shared<'a>,
}

impl<const TILE: usize> Output<'_, TILE> {
    /// # Safety
    ///
    /// The CPU has V; no other task writes this band of the channel.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    pub(super) unsafe fn run<V: Lanes>(&self) {
        let Self { of, band, .. } = self;
        let [depth, rows, _] = of.out_size;
        let tiles = of.tiles()[1];
        let lines = band.planes.len() * band.rows.len();
        assert!((POINTS - 1) * self.point + lines * tiles + V::LANES <= self.sums.len());
        let image = band.sample * of.out_channels + self.channel;
        let mut at = 0;
        for plane in band.planes.clone() {
            for tile_row in band.rows.clone() {
                let mut tile = 0;
                while tile < tiles {
                    // SAFETY: the caller's promise; the assert above.
                    unsafe {
                        let from = self.sums.as_ptr().add(at + tile);
                        let place = (image * depth + plane) * rows;
                        if tiles - tile > V::Half::LANES {
                            self.tiles::<V>(from, place, tile_row, tile);
                            tile += V::LANES;
                        } else {
                            self.tiles::<V::Half>(from, place, tile_row, tile);
                            tile += V::Half::LANES;
                        }
                    }
                }
                at += tiles;
            }
        }
    }

    /// A vector of tiles of row `tile_row` of tiles, from tile `tile`, of the plane whose first row is
    /// `plane`.
    ///
    /// # Safety
    ///
    /// The CPU has V; vectors can be read at all points; no other task writes these outputs.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn tiles<V: Lanes>(&self, from: *const f32, plane: usize, tile_row: usize, tile: usize) {
        let [_, rows, cols] = self.of.out_size;
        // SAFETY: the caller's promise; `Shared::at` checks.
        unsafe {
            let mut half = [[V::splat(0.0); TILE]; SIDE];
            for i in 0..SIDE {
                let mut line = [V::splat(0.0); SIDE];
                for j in 0..SIDE {
                    line[j] = V::load(from.add((i * SIDE + j) * self.point));
                }
                half[i] = to_outputs(line);
            }
            let mut outputs = [[V::splat(0.0); TILE]; TILE];
            for j in 0..TILE {
                let mut line = [V::splat(0.0); SIDE];
                for i in 0..SIDE {
                    line[i] = half[i][j];
                }
                let column: [V; TILE] = to_outputs(line);
                for i in 0..TILE {
                    outputs[i][j] = add(column[i], V::splat(self.bias));
                }
            }
            let first = TILE * tile;
            let count = (TILE * V::LANES).min(cols - first);
            for i in 0..TILE {
                let row = TILE * tile_row + i;
                if row >= rows {
                    break;
                }
                let to = self.out.at((plane + row) * cols + first, count);
                let mut buffer = [0.0f32; 64];
                let whole = count == TILE * V::LANES;
                let joined = if whole { to } else { buffer.as_mut_ptr() };
                if TILE == 4 {
                    let [a, b, c] = [0, 1, 2].map(|j| outputs[i][j]);
                    let vectors = V::interleave([a, b, c, outputs[i][TILE - 1]]);
                    for (j, vector) in vectors.into_iter().enumerate() {
                        vector.store(joined.add(j * V::LANES));
                    }
                } else {
                    let mut apart = [[0.0f32; 16]; TILE];
                    for j in 0..TILE {
                        outputs[i][j].store(apart[j].as_mut_ptr());
                    }
                    for lane in 0..V::LANES {
                        for j in 0..TILE {
                            *joined.add(lane * TILE + j) = apart[j][lane];
                        }
                    }
                }
                if !whole {
                    to.copy_from_nonoverlapping(buffer.as_ptr(), count);
                }
            }
        }
    }
}

/// G g Gᵀ of the kernels of one block of output channels.
pub(super) struct Weights<'a, F, const KERNEL: usize> {
    pub(super) channels: usize,
    /// Taps along depth.
    pub(super) depth: usize,
    pub(super) block: Range<usize>,
    /// The taps of a pair of output and input channel.
    pub(super) weight: &'a F,
    /// Whether they are read backwards.
    pub(super) flipped: bool,
    /// Elements from point to point.
    pub(super) plane: usize,
    pub(super) to: Shared<'a>,
}

impl<'w, F, const KERNEL: usize> Kernel for Weights<'_, F, KERNEL>
where
    F: Fn(usize, usize) -> &'w [f32],
{
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    fn run<V: Lanes>(self) {
        let n = self.block.len();
        let area = KERNEL * KERNEL;
        let taps = area * self.depth;
        let start = self.block.start * self.depth * self.channels;
        let len = n * self.depth * self.channels;
        // Lanes are neighbours in the packed order: the block's channels, then the next column's.
        let mut lanes = [[[0.0f32; 16]; KERNEL]; KERNEL];
        let (mut tap, mut channel, mut out) = (0, 0, 0);
        for first in (0..len).step_by(V::LANES) {
            let count = V::LANES.min(len - first);
            for lane in 0..count {
                let weights = (self.weight)(self.block.start + out, channel);
                if self.flipped {
                    let weights = &weights[taps - area * (tap + 1)..][..area];
                    for i in 0..area {
                        lanes[i / KERNEL][i % KERNEL][lane] = weights[area - 1 - i];
                    }
                } else {
                    let weights = &weights[area * tap..][..area];
                    for i in 0..area {
                        lanes[i / KERNEL][i % KERNEL][lane] = weights[i];
                    }
                }
                out += 1;
                if out == n {
                    (channel, out) = (channel + 1, 0);
                }
                if channel == self.channels {
                    (tap, channel) = (tap + 1, 0);
                }
            }
            let at = start + first;
            // SAFETY: V is what Level::run chose; no other task writes this block.
            unsafe {
                let mut half = [[V::splat(0.0); SIDE]; KERNEL];
                for i in 0..KERNEL {
                    let mut line = [V::splat(0.0); KERNEL];
                    for j in 0..KERNEL {
                        line[j] = V::load(lanes[i][j].as_ptr());
                    }
                    half[i] = points(line);
                }
                for j in 0..SIDE {
                    let mut line = [V::splat(0.0); KERNEL];
                    for i in 0..KERNEL {
                        line[i] = half[i][j];
                    }
                    let points = points(line);
                    for i in 0..SIDE {
                        let at = (i * SIDE + j) * self.plane + at;
                        if count == V::LANES {
                            points[i].store(self.to.at(at, V::LANES));
                        } else {
                            let mut values = [0.0f32; 16];
                            points[i].store(values.as_mut_ptr());
                            let to = self.to.at(at, count);
                            to.copy_from_nonoverlapping(values.as_ptr(), count);
                        }
                    }
                }
            }
        }
    }
}
