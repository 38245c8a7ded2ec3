//! The gradient of the weights: for every pair of input channel and tap, and every output channel,
//! the product of `dy` with the input as that tap saw it, summed over positions.
//!
//! Positions are taken in stretches. Within one, `dy` is turned so that output channels lie
//! together, in panels that stay in the first-level cache while all pairs pass over them; a pair's
//! inputs are read one by one from the windows of its channel. Stretches are added in order, each
//! sum by one thread: the result does not depend on the number of threads.

use super::span;
use crate::conv::Conv;
use crate::conv::pack::{blocks, by_part};
use crate::conv::window::{Reading, Stretch, Window};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::ops::Range;

/// Positions of a stretch: a panel of `dy` takes half of a small first-level cache.
const POSITIONS: usize = 256;

/// Bytes of the windows of the channels that are taken at once.
const WINDOWS: usize = 160 << 10;

/// See [`Conv::grad_weight`].
pub(in crate::conv) fn grad_weight(
    level: Level,
    conv: &Conv,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let reading = Reading::forward(conv);
    let stretches = reading.stretches(conv.batch, POSITIONS, 1);
    // Each half of the output channels fills the windows anew, each part of the input channels
    // turns `dy` anew: few tasks.
    let wanted = threads::tasks(conv.weight_len() * reading.out_spatial() * conv.batch);
    let wanted = wanted.min(2 * rayon::current_num_threads());
    let panels = conv
        .out_channels
        .div_ceil(span(level.wide()) * level.lanes());
    let shares = panels.min(wanted).min(2);
    let groups = wanted.div_ceil(shares).min(conv.in_channels);
    let dw = Shared::new(dw);
    (0..shares * groups)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| {
            let part = |i: usize, of: usize, n: usize| i * n / of..(i + 1) * n / of;
            level.run(Task {
                conv,
                level,
                reading,
                stretches: &stretches,
                x,
                dy,
                panels: part(i % shares, shares, panels),
                channels: part(i / shares, groups, conv.in_channels),
                dw,
            });
        });
}

/// Some panels of output channels, some input channels.
struct Task<'a> {
    conv: &'a Conv,
    level: Level,
    reading: Reading,
    stretches: &'a [Stretch],
    x: &'a [f32],
    dy: &'a [f32],
    panels: Range<usize>,
    channels: Range<usize>,
    dw: Shared<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let width = span(V::WIDE) * V::LANES;
        let taps = self.reading.taps();
        let in_spatial = self.reading.in_spatial();
        let pairs = self.channels.len() * taps;
        let longest = self.stretches.iter().map(Stretch::len).max().unwrap_or(0);
        let mut sums = Scratch::take(self.panels.len() * pairs * width);
        let mut turned = Scratch::take(self.panels.len() * longest * width);
        for (number, stretch) in self.stretches.iter().enumerate() {
            let len = stretch.len();
            self.turn(stretch, width, &mut turned);
            let window = Window::new(&self.reading, stretch);
            let offsets = window.taps();
            let places: Vec<usize> = window
                .starts()
                .flat_map(|line| line..line + stretch.cols)
                .collect();
            let step = window.len();
            let furthest = places.iter().max().unwrap_or(&0) + offsets.iter().max().unwrap_or(&0);
            assert!(furthest < step, "the window holds every read");
            let held = (WINDOWS / (4 * step)).clamp(1, self.channels.len());
            let mut copies = Scratch::take(held * step);
            for first in self.channels.clone().step_by(held) {
                let channels = first..(first + held).min(self.channels.end);
                for (channel, copy) in channels.clone().zip(copies.chunks_mut(step)) {
                    let image = stretch.sample * self.conv.in_channels + channel;
                    window.fill(&self.x[image * in_spatial..][..in_spatial], copy);
                }
                let start = (first - self.channels.start) * taps;
                let blocks = blocks(self.level, channels.len() * taps);
                for (place, panel) in self.panels.clone().enumerate() {
                    let channels = (self.conv.out_channels - panel * width).min(width);
                    let vectors = 0..channels.div_ceil(V::LANES);
                    for block in &blocks {
                        let tile = Tile {
                            copies: &copies,
                            step,
                            offsets: &offsets,
                            places: &places,
                            first: block.start,
                            turned: &turned[place * len * width..][..len * width],
                            width,
                            add: number > 0,
                        };
                        let at = (place * pairs + start + block.start) * width;
                        let sums = &mut sums[at..][..block.len() * width];
                        // SAFETY: V is what Level::run chose; the furthest read was checked.
                        unsafe { by_part!(V, block.len(), vectors.clone(), tile.run(sums)) }
                    }
                }
            }
        }
        self.write(width, &sums);
    }
}

impl Task<'_> {
    /// `dy` of a stretch as `[panel][position][channel]`, 0 where a panel has no channel.
    #[inline(always)]
    fn turn(&self, stretch: &Stretch, width: usize, to: &mut [f32]) {
        let spatial = self.reading.out_spatial();
        let first = stretch.first(self.reading.out_size[1]);
        let len = stretch.len();
        for (panel, to) in self.panels.clone().zip(to.chunks_exact_mut(len * width)) {
            for lane in 0..width {
                let channel = panel * width + lane;
                let to = to[lane..].iter_mut().step_by(width);
                if channel < self.conv.out_channels {
                    let image = stretch.sample * self.conv.out_channels + channel;
                    let dy = &self.dy[image * spatial + first..][..len];
                    to.zip(dy).for_each(|(to, dy)| *to = *dy);
                } else {
                    to.for_each(|to| *to = 0.0);
                }
            }
        }
    }

    /// Writes the sums, `[panel][pair][channel]`, where they belong.
    #[inline(always)]
    fn write(&self, width: usize, sums: &[f32]) {
        let taps = self.reading.taps();
        let pairs = self.channels.len() * taps;
        for (panel, sums) in self.panels.clone().zip(sums.chunks_exact(pairs * width)) {
            let end = self.conv.out_channels.min((panel + 1) * width);
            for (lane, channel) in (panel * width..end).enumerate() {
                let at = (channel * self.conv.in_channels + self.channels.start) * taps;
                // SAFETY: no other task has these pairs.
                let to = unsafe { std::slice::from_raw_parts_mut(self.dw.at(at, pairs), pairs) };
                for (to, sum) in to.iter_mut().zip(sums[lane..].iter().step_by(width)) {
                    *to = *sum;
                }
            }
        }
    }
}

/// A block of pairs of a panel of output channels.
struct Tile<'a> {
    /// Windows, `step` elements each.
    copies: &'a [f32],
    step: usize,
    /// Where a tap lies from its place.
    offsets: &'a [usize],
    /// Where a position lies in a window.
    places: &'a [usize],
    /// The first pair.
    first: usize,
    /// `[position][channel]`.
    turned: &'a [f32],
    /// Channels of a panel.
    width: usize,
    /// Whether there are sums to add to.
    add: bool,
}

impl Tile<'_> {
    /// The sums, `[pair][channel]`, of some vectors of channels.
    ///
    /// # Safety
    ///
    /// The CPU has V; the windows hold every pair's reads; a part is SPAN vectors.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
    unsafe fn run<V: Lanes, const BLOCK: usize, const SPAN: usize>(
        &self,
        to: &mut [f32],
        part: Range<usize>,
    ) {
        let (width, first) = (self.width, part.start * V::LANES);
        assert!(first + SPAN * V::LANES <= width);
        assert!(to.len() >= BLOCK * width && self.turned.len() >= self.places.len() * width);
        let to = to[first..].as_mut_ptr();
        // SAFETY: the assert and the caller's promise.
        unsafe {
            let mut sums = [[V::splat(0.0); SPAN]; BLOCK];
            if self.add {
                for c in 0..BLOCK {
                    for i in 0..SPAN {
                        sums[c][i] = V::load(to.add(c * width + i * V::LANES));
                    }
                }
            }
            let mut from = [self.copies.as_ptr(); BLOCK];
            for c in 0..BLOCK {
                let pair = self.first + c;
                let (channel, tap) = (pair / self.offsets.len(), pair % self.offsets.len());
                from[c] = from[c].add(channel * self.step + self.offsets[tap]);
            }
            let mut turned = self.turned.as_ptr().add(first);
            for &place in self.places {
                let mut held = [V::splat(0.0); SPAN];
                for i in 0..SPAN {
                    held[i] = V::load(turned.add(i * V::LANES));
                }
                for c in 0..BLOCK {
                    let factor = V::splat(*from[c].add(place));
                    for i in 0..SPAN {
                        sums[c][i] = held[i].mul_add(factor, sums[c][i]);
                    }
                }
                turned = turned.add(width);
            }
            for c in 0..BLOCK {
                for i in 0..SPAN {
                    sums[c][i].store(to.add(c * width + i * V::LANES));
                }
            }
        }
    }
}
