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

/// The most vectors that go with a block of so many channels: their product is the number of
/// accumulators.
pub(super) const fn span(wide: bool, channels: usize) -> usize {
    match (wide, channels) {
        (true, 7..) => 3,
        (true, 5..) => 4,
        (true, 4) => 6,
        (true, _) => 8,
        (false, 4..) => 2,
        (false, 3) => 4,
        (false, 2) => 6,
        (false, _) => 8,
    }
}

/// Vectors to take at once of `vectors`, every one of `blocks` passing over such a panel before the
/// next one's turn: even parts that `by_part` takes whole.
pub(super) fn panel<V: Lanes>(blocks: &[Range<usize>], vectors: usize) -> usize {
    let span = |block: &Range<usize>| span(V::WIDE, block.len());
    let first = blocks.first().map_or(1, span);
    let equal = blocks.iter().all(|block| span(block) == first);
    let most = if equal { first } else { GRANULE };
    vectors.div_ceil(vectors.div_ceil(most).max(1))
}

/// A multiple of every number of vectors that `by_block` takes at once.
pub(super) const GRANULE: usize = 24;

/// Calls `$method::<V, BLOCK, SPAN>`, where BLOCK is the number of channels of a block and SPAN the
/// `span` that goes with it.
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

/// Calls `$method::<V, BLOCK, SPAN>(…, part)` for even parts of a range of vectors, none of more than
/// the `span` that goes with a block of BLOCK channels. SPAN is a part's length or, where there are
/// many lengths, little more.
macro_rules! by_part {
    ($v:ty, $channels:expr, $vectors:expr, $kernel:ident . $method:ident ( $($argument:expr),* )) => {{
        let (channels, vectors) = ($channels, $vectors);
        let parts = vectors
            .len()
            .div_ceil($crate::conv::pack::span(<$v as Lanes>::WIDE, channels));
        for part in 0..parts {
            let at = |part: usize| vectors.start + part * vectors.len() / parts;
            let part = at(part)..at(part + 1);
            $crate::conv::pack::by_part!(
                @match $v, channels, part, $kernel.$method ( $($argument),* );
                true 8: 1 2 3; true 7: 1 2 3; true 6: 1 2 3 4; true 5: 1 2 3 4; true 4: 1 2 3 4 6;
                true 3: 1 2 3 4 8; true 2: 1 2 3 4 8; true 1: 1 2 3 4 8;
                false 6: 1 2; false 5: 1 2; false 4: 1 2; false 3: 1 2 4; false 2: 1 2 4 6;
                false 1: 1 2 4 8
            )
        }
    }};
    (@match $v:ty, $channels:ident, $part:ident, $kernel:ident . $method:ident $arguments:tt;
     $($wide:literal $block:literal : $($span:literal)*);*) => {
        match (<$v as Lanes>::WIDE, $channels) {
            $(($wide, $block) => $crate::conv::pack::by_part!(
                @spans $v, $part, $kernel.$method $arguments; $block; $($span)*
            ),)*
            (_, channels) => unreachable!("a block of {channels} channels"),
        }
    };
    (@spans $v:ty, $part:ident, $kernel:ident . $method:ident $arguments:tt; $block:literal;
     $($span:literal)*) => {
        match $part.len() {
            $(..=$span => $crate::conv::pack::by_part!(
                @call $v, $part, $kernel.$method $arguments; $block; $span
            ),)*
            vectors => unreachable!("a part of {vectors} vectors"),
        }
    };
    (@call $v:ty, $part:ident, $kernel:ident . $method:ident ( $($argument:expr),* ); $block:literal;
     $span:literal) => {
        $kernel.$method::<$v, $block, $span>($($argument,)* $part)
    };
}
pub(super) use by_part;

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
