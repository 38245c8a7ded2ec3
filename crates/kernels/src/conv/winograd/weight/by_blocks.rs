//! Few tiles, many channels: the deep levels of a net.
//!
//! There the sums at all points, four times the weights of 3 × 3, are by far the largest operand. So a
//! task takes those of some output channels only, and brings them back to the kernel's taps while
//! they are in its cache.

use super::{Pair, Products, Sums, Taps};
use crate::conv::pack::blocks;
use crate::conv::winograd::{POINTS, Winograd, plane_stride};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use rayon::prelude::*;
use std::ops::Range;

/// See [`super::grad_weight`].
pub(super) fn run<const TILE: usize, const KERNEL: usize>(
    of: &Winograd,
    level: Level,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let pairs: Vec<Pair<TILE>> = (0..of.batch)
        .map(|sample| Pair::new(of, level, &of.whole(sample), x, dy))
        .collect();
    // Turned once for all blocks.
    let nothing = Sums {
        first: true,
        start: 0,
        to: Shared::new(&mut []),
    };
    let turned: Vec<Scratch> = pairs
        .iter()
        .map(|pair| {
            let len = pair.products(of, 0, 0, &[], nothing).turned_len();
            let mut turned = Scratch::take(POINTS * len);
            turned
                .par_chunks_mut(len)
                .enumerate()
                .for_each(|(point, to)| {
                    level.run(Turn(pair.products(of, point, 0, &[], nothing), to))
                });
            turned
        })
        .collect();
    let blocks = blocks(level, of.out_channels);
    let dw = Shared::new(dw);
    blocks.par_iter().with_max_len(1).for_each(|block| {
        level.run(Task::<TILE, KERNEL> {
            of,
            pairs: &pairs,
            turned: &turned,
            block: block.clone(),
            dw,
        });
    });
}

/// The input at a point, to be turned.
struct Turn<'a>(Products<'a>, &'a mut [f32]);

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        // SAFETY: V is what Level::run chose.
        unsafe { self.0.turn_all::<V>(self.1) };
    }
}

/// A block of output channels.
struct Task<'a, const TILE: usize, const KERNEL: usize> {
    of: &'a Winograd,
    /// Of every sample.
    pairs: &'a [Pair<TILE>],
    /// Of every sample, at every point.
    turned: &'a [Scratch],
    block: Range<usize>,
    dw: Shared<'a>,
}

impl<const TILE: usize, const KERNEL: usize> Kernel for Task<'_, TILE, KERNEL> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let of = self.of;
        let columns = of.depth * of.in_channels;
        let plane = plane_stride(self.block.len() * columns);
        let mut sums = Scratch::take(POINTS * plane);
        let to = Shared::new(&mut sums);
        let block = 0..self.block.len();
        let blocks = std::slice::from_ref(&block);
        for (sample, (pair, turned)) in self.pairs.iter().zip(self.turned).enumerate() {
            for (point, turned) in turned.chunks(turned.len() / POINTS).enumerate() {
                let sums = Sums {
                    first: sample == 0,
                    start: point * plane,
                    to,
                };
                let products = pair.products(of, point, self.block.start, blocks, sums);
                // SAFETY: V is what Level::run chose; only this task has these sums.
                unsafe { products.over_turned::<V>(turned) };
            }
        }
        let len = KERNEL * KERNEL * columns;
        for (i, channel) in self.block.clone().enumerate() {
            // SAFETY: no other task writes this channel.
            let dw = unsafe { std::slice::from_raw_parts_mut(self.dw.at(channel * len, len), len) };
            Taps::<KERNEL> {
                sums: &sums[i * columns..],
                plane,
                channels: of.in_channels,
                depth: of.depth,
                dw,
            }
            .run::<V>();
        }
    }
}
