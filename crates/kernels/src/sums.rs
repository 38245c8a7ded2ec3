//! Long sums in a fixed order: `f32` lanes within a block, blocks in `f64`, chunks by threads.

use rayon::prelude::*;
use std::ops::Range;

/// Elements in one task. Fixed: the order of the sums follows from it.
pub(crate) const CHUNK: usize = 1 << 15;

/// Elements summed in `f32` before joining in `f64`.
pub(crate) const BLOCK: usize = 4096;

/// Lanes of a sum, wide enough for two vectors of any instruction set.
pub(crate) const LANES: usize = 32;

/// The sum of the lanes, halves first: an order that vectors can follow.
#[inline(always)]
pub(crate) fn join(lanes: &[f32; LANES]) -> f64 {
    let mut sums = lanes.map(f64::from);
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

/// The sum of `term` over the elements of two slices of the same length.
#[inline(always)]
pub(crate) fn of_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let (a, a_rest) = a.as_chunks::<LANES>();
        let (b, b_rest) = b.as_chunks::<LANES>();
        let mut lanes = [0.0f32; LANES];
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] += term(a[lane], b[lane]);
            }
        }
        total += join(&lanes);
        for (a, b) in a_rest.iter().zip(b_rest) {
            total += f64::from(term(*a, *b));
        }
    }
    total
}

/// The sum of `part` over the chunks of `0..len`.
pub(crate) fn of_chunks(len: usize, part: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
    let parts: Vec<f64> = (0..len.div_ceil(CHUNK))
        .into_par_iter()
        .map(|i| part(i * CHUNK..len.min((i + 1) * CHUNK)))
        .collect();
    parts.iter().sum()
}
