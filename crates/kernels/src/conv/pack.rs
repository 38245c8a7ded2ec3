//! Blocks of output channels, and weights in the order the inner loop reads them.

use crate::scratch::Scratch;
use crate::simd::{Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::ops::Range;

/// Output channels in blocks as even as can be, none larger than the registers hold: 8 where there
/// are 32 registers, 6 where there are 16.
pub(super) fn blocks(level: Level, channels: usize) -> Vec<Range<usize>> {
    let most = if level.wide() { 8 } else { 6 };
    let count = channels.div_ceil(most);
    (0..count)
        .map(|i| i * channels / count..(i + 1) * channels / count)
        .collect()
}

/// Vectors that `by_block` takes at once with each of `blocks`: all may be taken in panels of so
/// many, every block passing over a panel before the next one's turn.
pub(super) fn panel<V: Lanes>(blocks: &[Range<usize>]) -> usize {
    let span = |channels: usize| match (V::WIDE, channels) {
        (true, 7..) => 3,
        (true, 5..) => 4,
        (true, 4) => 6,
        (true, _) => 8,
        (false, 4..) => 2,
        (false, 3) => 4,
        (false, 2) => 6,
        (false, _) => 8,
    };
    let first = blocks.first().map_or(1, |block| span(block.len()));
    let equal = blocks.iter().all(|block| span(block.len()) == first);
    if equal { first } else { GRANULE }
}

/// A multiple of every number of vectors that `by_block` takes at once.
pub(super) const GRANULE: usize = 24;

/// Calls `$method::<V, BLOCK, SPAN>`, where BLOCK is the number of channels of a block and SPAN the
/// number of vectors that go with it: their product is the number of accumulators.
macro_rules! by_block {
    ($v:ty, $channels:expr, $kernel:ident . $method:ident ( $($argument:expr),* )) => {
        match (<$v as Lanes>::WIDE, $channels) {
            (true, 8) => $kernel.$method::<$v, 8, 3>($($argument),*),
            (true, 7) => $kernel.$method::<$v, 7, 3>($($argument),*),
            (true, 6) => $kernel.$method::<$v, 6, 4>($($argument),*),
            (true, 5) => $kernel.$method::<$v, 5, 4>($($argument),*),
            (true, 4) => $kernel.$method::<$v, 4, 6>($($argument),*),
            (true, 3) => $kernel.$method::<$v, 3, 8>($($argument),*),
            (true, 2) => $kernel.$method::<$v, 2, 8>($($argument),*),
            (true, 1) => $kernel.$method::<$v, 1, 8>($($argument),*),
            (false, 6) => $kernel.$method::<$v, 6, 2>($($argument),*),
            (false, 5) => $kernel.$method::<$v, 5, 2>($($argument),*),
            (false, 4) => $kernel.$method::<$v, 4, 2>($($argument),*),
            (false, 3) => $kernel.$method::<$v, 3, 4>($($argument),*),
            (false, 2) => $kernel.$method::<$v, 2, 6>($($argument),*),
            (false, 1) => $kernel.$method::<$v, 1, 8>($($argument),*),
            (_, channels) => unreachable!("a block of {channels} channels"),
        }
    };
}
pub(super) use by_block;

/// Weights as `[block][in channel][tap][channel of the block]`.
///
/// `weight(out, in)` is the slice of taps of a pair of channels, `taps` says which of them are
/// taken, in which order.
pub(super) fn pack<'a>(
    blocks: &[Range<usize>],
    in_channels: usize,
    taps: &[usize],
    weight: impl Fn(usize, usize) -> &'a [f32] + Sync,
) -> Scratch {
    let per_channel = in_channels * taps.len();
    let out_channels = blocks.last().map_or(0, |b| b.end);
    let mut packed = Scratch::take(out_channels * per_channel);
    if packed.is_empty() {
        return packed;
    }
    let mut rest = &mut packed[..];
    let mut parts = Vec::with_capacity(blocks.len());
    for block in blocks {
        let (part, tail) = rest.split_at_mut(block.len() * per_channel);
        parts.push((block.clone(), part));
        rest = tail;
    }
    let least = threads::least(per_channel * 8);
    parts
        .into_par_iter()
        .with_min_len(least)
        .for_each(|(block, part)| {
            let n = block.len();
            for (channel, part) in part.chunks_exact_mut(taps.len() * n).enumerate() {
                let from: [&[f32]; 8] =
                    std::array::from_fn(|i| weight(block.start + i.min(n - 1), channel));
                for (to, &tap) in part.chunks_exact_mut(n).zip(taps) {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = from[tap];
                    }
                }
            }
        });
    packed
}
