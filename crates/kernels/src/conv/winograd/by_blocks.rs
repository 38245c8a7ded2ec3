//! Few tiles, many channels: the deep levels of a net.
//!
//! There the transformed weights, four times the weights of 3 × 3, are by far the largest operand,
//! and written and read again by every band they would pass through memory. So all tiles are
//! transformed first, and a task transforms the weights of some output channels only to take their
//! products at once.

use super::transform::{Weights, transform};
use super::{Band, Outputs, POINTS, Winograd, row_stride};
use crate::conv::pack::blocks;
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of the transformed weights of a task, where a block has no more: they stay in a
/// second-level cache.
const WEIGHTS: usize = 512 << 10;

/// See [`Winograd::run`].
pub(super) fn run<'a, const TILE: usize, const KERNEL: usize>(
    of: &Winograd,
    level: Level,
    x: &[f32],
    (weight, flipped): (&(impl Fn(usize, usize) -> &'a [f32] + Sync), bool),
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let sources: Vec<(Band, Scratch)> = (0..of.batch)
        .map(|sample| {
            let band = of.whole(sample);
            let row = row_stride(band.sources(of.tiles()[1], of.depth));
            let source = transform(level, of.input::<TILE>(x, &band), row);
            (band, source)
        })
        .collect();
    let blocks = blocks(level, of.out_channels);
    let largest = blocks.iter().map(ExactSizeIterator::len).max().unwrap_or(1);
    let together = (WEIGHTS / (4 * POINTS * of.weights_plane(largest))).max(1);
    let out = Shared::new(out);
    blocks
        .par_chunks(together)
        .with_max_len(1)
        .for_each(|blocks| {
            level.run(Task::<_, TILE, KERNEL> {
                of,
                sources: &sources,
                blocks,
                weight,
                flipped,
                bias,
                out,
            });
        });
}

/// Some blocks of output channels.
struct Task<'a, F, const TILE: usize, const KERNEL: usize> {
    of: &'a Winograd,
    /// Of every sample.
    sources: &'a [(Band, Scratch)],
    blocks: &'a [Range<usize>],
    /// The taps of a pair of output and input channel.
    weight: &'a F,
    flipped: bool,
    bias: Option<&'a [f32]>,
    out: Shared<'a>,
}

impl<'w, F, const TILE: usize, const KERNEL: usize> Kernel for Task<'_, F, TILE, KERNEL>
where
    F: Fn(usize, usize) -> &'w [f32],
{
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let of = self.of;
        let first = self.blocks[0].start;
        let blocks: Vec<Range<usize>> = self
            .blocks
            .iter()
            .map(|block| block.start - first..block.end - first)
            .collect();
        let plane = of.weights_plane(blocks.last().map_or(0, |block| block.end));
        let mut weights = Scratch::take(POINTS * plane);
        let weight = |out: usize, channel: usize| (self.weight)(first + out, channel);
        let to = Shared::new(&mut weights);
        for block in &blocks {
            Weights::<_, KERNEL> {
                channels: of.in_channels,
                depth: of.depth,
                block: block.clone(),
                weight: &weight,
                flipped: self.flipped,
                plane,
                to,
            }
            .run::<V>();
        }
        for (band, source) in self.sources {
            // SAFETY: V is what Level::run chose; no other task writes these channels.
            unsafe {
                Outputs::<TILE> {
                    of,
                    band,
                    first,
                    blocks: &blocks,
                    weights: &weights,
                    source,
                    bias: self.bias,
                    out: self.out,
                }
                .run::<V>();
            }
        }
    }
}
