//! The transforms of Winograd's way, for the points 0, ±√½, ±√2 and ∞.
//!
//! A vector holds the same element of neighbouring tiles. Rows of an image are first split by
//! column modulo the tile's side, so that this element lies together for them.

use super::{Band, POINTS, SIDE, Winograd};
use crate::conv::Padding;
use crate::conv::pad::place;
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes};
use std::ops::Range;

/// The points besides 0 and ∞ are those and their negatives; their squares are 1/2 and 2.
const NEAR: f32 = std::f32::consts::FRAC_1_SQRT_2;
const FAR: f32 = std::f32::consts::SQRT_2;

/// `a + b`.
///
/// # Safety
///
/// The CPU has V; so for all that follow.
#[inline(always)]
unsafe fn add<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.mul_add(V::splat(1.0), b) }
}

/// `a + factor * b`.
#[inline(always)]
unsafe fn plus<V: Lanes>(a: V, factor: f32, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { b.mul_add(V::splat(factor), a) }
}

/// `factor * a`.
#[inline(always)]
unsafe fn times<V: Lanes>(factor: f32, a: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.mul_add(V::splat(factor), V::splat(0.0)) }
}

/// Bᵀ: six neighbouring elements to six points.
#[inline(always)]
unsafe fn to_points<V: Lanes>([a, b, c, d, e, f]: [V; SIDE]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let (even, odd) = (plus(e, -2.0, c), plus(d, -2.0, b));
        let (even2, odd2) = (plus(e, -0.5, c), plus(d, -0.5, b));
        [
            plus(add(a, e), -2.5, c),
            plus(even, NEAR, odd),
            plus(even, -NEAR, odd),
            plus(even2, FAR, odd2),
            plus(even2, -FAR, odd2),
            plus(add(b, f), -2.5, d),
        ]
    }
}

/// The first three powers of the points, summed: what Aᵀ begins with.
#[inline(always)]
unsafe fn moments<V: Lanes>([a, b, c, d, e]: [V; 5]) -> ([V; 3], [V; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        let (even, odd) = (add(b, c), plus(b, -1.0, c));
        let (even2, odd2) = (add(d, e), plus(d, -1.0, e));
        let first = plus(times(NEAR, odd), FAR, odd2);
        let second = plus(times(0.5, even), 2.0, even2);
        ([add(add(a, even), even2), first, second], [odd, odd2])
    }
}

/// Aᵀ for four outputs.
#[inline(always)]
unsafe fn to_four<V: Lanes>([a, b, c, d, e, f]: [V; SIDE]) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let ([zeroth, first, second], [odd, odd2]) = moments([a, b, c, d, e]);
        let third = plus(plus(f, 0.5 * NEAR, odd), 2.0 * FAR, odd2);
        [zeroth, first, second, third]
    }
}

/// Aᵀ for three outputs.
#[inline(always)]
unsafe fn to_three<V: Lanes>([a, b, c, d, e, f]: [V; SIDE]) -> [V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let ([zeroth, first, second], _) = moments([a, b, c, d, e]);
        [zeroth, first, add(second, f)]
    }
}

/// Aᵀ for so many outputs, three or four.
#[inline(always)]
pub(super) unsafe fn to_outputs<V: Lanes, const N: usize>(points: [V; SIDE]) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut outputs = [V::splat(0.0); N];
        if N == 4 {
            outputs.copy_from_slice(&to_four(points));
        } else {
            outputs.copy_from_slice(&to_three(points));
        }
        outputs
    }
}

/// G for a filter of three.
#[inline(always)]
unsafe fn filter3<V: Lanes>([a, b, c]: [V; 3]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let near = times(-2.0 / 3.0, plus(a, 0.5, c));
        let far = times(1.0 / 6.0, plus(a, 2.0, c));
        [
            a,
            plus(near, -2.0 / 3.0 * NEAR, b),
            plus(near, 2.0 / 3.0 * NEAR, b),
            plus(far, FAR / 6.0, b),
            plus(far, -FAR / 6.0, b),
            c,
        ]
    }
}

/// G for a filter of four.
#[inline(always)]
unsafe fn filter4<V: Lanes>([a, b, c, d]: [V; 4]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let near = times(-2.0 / 3.0, plus(a, 0.5, c));
        let far = times(1.0 / 6.0, plus(a, 2.0, c));
        let (odd, odd2) = (plus(b, 0.5, d), plus(b, 2.0, d));
        [
            a,
            plus(near, -2.0 / 3.0 * NEAR, odd),
            plus(near, 2.0 / 3.0 * NEAR, odd),
            plus(far, FAR / 6.0, odd2),
            plus(far, -FAR / 6.0, odd2),
            d,
        ]
    }
}

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
        let mut vectors = lo;
        if TILE == 4 && hi - lo >= V::LANES {
            let mut at = lo;
            loop {
                // SAFETY: groups at..at + LANES lie within the image and the row.
                unsafe {
                    let from = source.as_ptr().offset((TILE * at) as isize - before);
                    let split = V::deinterleave([
                        V::load(from),
                        V::load(from.add(V::LANES)),
                        V::load(from.add(2 * V::LANES)),
                        V::load(from.add(3 * V::LANES)),
                    ]);
                    let to = to.as_mut_ptr().add(at);
                    for i in 0..TILE {
                        split[i].store(to.add(i * len));
                    }
                }
                if at == hi - V::LANES {
                    break;
                }
                at = (at + V::LANES).min(hi - V::LANES);
            }
            vectors = hi;
        }
        if TILE != 4 && hi > lo {
            let from = (TILE * lo) as isize - before;
            let within = &source[from as usize..][..TILE * (hi - lo)];
            for (i, group) in within.as_chunks::<TILE>().0.iter().enumerate() {
                for (residue, value) in group.iter().enumerate() {
                    to[residue * len + lo + i] = *value;
                }
            }
            vectors = hi;
        }
        for group in (0..lo).chain(vectors..groups as usize) {
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
                for tile in (0..of.tiles).step_by(V::LANES) {
                    // SAFETY: the caller's promise; a row holds a vector more than its tiles.
                    unsafe {
                        let mut half = [[V::splat(0.0); SIDE]; N];
                        for i in 0..N {
                            let mut line = [V::splat(0.0); N];
                            for j in 0..N {
                                line[j] = split.load(TILE * row + i, tile, j);
                            }
                            half[i] = points(line);
                        }
                        let to = to.add(at + tile);
                        for j in 0..SIDE {
                            let mut line = [V::splat(0.0); N];
                            for i in 0..N {
                                line[i] = half[i][j];
                            }
                            let points = points(line);
                            for i in 0..SIDE {
                                points[i].store(to.add((i * SIDE + j) * self.step));
                            }
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

/// The points of a line of elements: as of an input with N = 6, as of a filter with fewer.
///
/// # Safety
///
/// The CPU has V.
#[inline(always)]
unsafe fn points<V: Lanes, const N: usize>(line: [V; N]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        match N {
            SIDE => to_points([line[0], line[1], line[2], line[3], line[N - 2], line[N - 1]]),
            4 => filter4([line[0], line[1], line[2], line[N - 1]]),
            _ => filter3([line[0], line[1], line[2]]),
        }
    }
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
        let [depth, rows, cols] = of.out_size;
        let tiles = of.tiles()[1];
        let lines = band.planes.len() * band.rows.len();
        assert!((POINTS - 1) * self.point + lines * tiles + V::LANES <= self.sums.len());
        let image = band.sample * of.out_channels + self.channel;
        let mut at = 0;
        for plane in band.planes.clone() {
            for tile_row in band.rows.clone() {
                for tile in (0..tiles).step_by(V::LANES) {
                    // SAFETY: the caller's promise; the assert above; `Shared::at` checks.
                    unsafe {
                        let from = self.sums.as_ptr().add(at + tile);
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
                            let start = ((image * depth + plane) * rows + row) * cols + first;
                            let to = self.out.at(start, count);
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
                at += tiles;
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
