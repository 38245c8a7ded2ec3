//! The gradient of the input: a correlation of `dy` with the flipped kernel for every phase.
//!
//! Padded input element u = s m + r (s the stride, r its phase) was read by output m - t under tap
//! s t + r, so each phase of the three axes is a stride-1 correlation of `dy` with its own taps. A
//! task computes both phases of the columns of some rows and joins them.

use super::{Panels, Target, plain};
use crate::conv::pack::{blocks, pack};
use crate::conv::pad::place;
use crate::conv::window::{Reading, Stretch};
use crate::conv::{Conv, Padding, positions};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads;
use rayon::prelude::*;
use std::ops::Range;

/// One phase of every axis.
struct Phase {
    index: [usize; 3],
    /// The first m of every axis.
    first: [usize; 3],
    /// `dy` as outputs from the first m on read it.
    reading: Reading,
    weights: Scratch,
}

impl Phase {
    fn new(conv: &Conv, blocks: &[Range<usize>], w: &[f32], index: [usize; 3]) -> Self {
        let of = |axis: usize, u: usize| u.saturating_sub(index[axis]).div_ceil(conv.stride[axis]);
        let first = [0, 1, 2].map(|i| of(i, conv.padding[i]));
        let count = [0, 1, 2].map(|i| of(i, conv.padding[i] + conv.in_size[i]) - first[i]);
        let taps = [0, 1, 2].map(|i| of(i, conv.kernel[i]));
        let order: Vec<usize> = positions(taps)
            .map(|tap| {
                // Flipped: the first element read meets the last tap.
                let [a, b, c] =
                    [0, 1, 2].map(|i| conv.stride[i] * (taps[i] - 1 - tap[i]) + index[i]);
                (a * conv.kernel[1] + b) * conv.kernel[2] + c
            })
            .collect();
        let weights = pack(blocks, conv.out_channels, &order, |out, channel| {
            &w[(channel * conv.in_channels + out) * conv.taps()..][..conv.taps()]
        });
        Self {
            index,
            first,
            reading: Reading {
                in_size: conv.out_size(),
                out_size: count,
                kernel: taps,
                stride: [1; 3],
                before: [0, 1, 2].map(|i| taps[i] as isize - 1 - first[i] as isize),
                mode: Padding::Zero,
            },
            weights,
        }
    }

    fn panels<'a>(&'a self, conv: &Conv, blocks: &'a [Range<usize>]) -> Panels<'a> {
        Panels {
            reading: self.reading,
            in_channels: conv.out_channels,
            weights: &self.weights,
            blocks,
            bias: None,
        }
    }
}

/// See [`Conv::grad_input`].
pub(in crate::conv) fn grad_input(
    level: Level,
    conv: &Conv,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) {
    if conv.mode != Padding::Zero && conv.padding != [0; 3] {
        let padded = Conv {
            in_size: [0, 1, 2].map(|i| conv.in_size[i] + 2 * conv.padding[i]),
            padding: [0; 3],
            mode: Padding::Zero,
            ..conv.clone()
        };
        let mut sums = Scratch::take(padded.in_len());
        grad_input(level, &padded, dy, w, &mut sums);
        return fold(conv, padded.in_size, &sums, dx);
    }
    let blocks = blocks(level, conv.in_channels);
    if conv.stride == [1; 3] {
        let phase = Phase::new(conv, &blocks, w, [0; 3]);
        return plain(level, &phase.panels(conv, &blocks), conv.batch, dy, dx);
    }
    let phases: Vec<Phase> = positions(conv.stride)
        .map(|index| Phase::new(conv, &blocks, w, index))
        .collect();
    let dx = Shared::new(dx);
    // Phases that differ in their columns only are joined.
    let panels: Vec<Panels<'_>> = phases.iter().map(|p| p.panels(conv, &blocks)).collect();
    let across = conv.stride[2];
    let mut tasks = Vec::new();
    for (phases, panels) in phases.chunks(across).zip(panels.chunks(across)) {
        let widest = panels.iter().max_by_key(|p| p.reading.out_spatial());
        let Some(widest) = widest.filter(|p| p.reading.out_spatial() > 0) else {
            continue;
        };
        let (stretches, groups) = widest.tasks(level, conv.batch);
        for stretch in stretches {
            for group in 0..groups {
                tasks.push(Task {
                    conv,
                    level,
                    phases,
                    panels,
                    dy,
                    stretch: stretch.clone(),
                    blocks: widest.group(group, groups),
                    dx,
                });
            }
        }
    }
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| level.run(task));
}

/// Some channels of some rows of the gradient.
struct Task<'a> {
    conv: &'a Conv,
    level: Level,
    /// The phases of the columns of these rows.
    phases: &'a [Phase],
    panels: &'a [Panels<'a>],
    dy: &'a [f32],
    stretch: Stretch,
    blocks: &'a [Range<usize>],
    dx: Shared<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let sample = self.dy.len() / self.conv.batch;
        let dy = &self.dy[self.stretch.sample * sample..][..sample];
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else {
            return;
        };
        let channels = first.start..last.end;
        let mut sums = [0, 1].map(|_| Scratch::take(0));
        for (sums, panels) in sums.iter_mut().zip(self.panels) {
            let stretch = Stretch {
                cols: panels.reading.out_size[2],
                ..self.stretch.clone()
            };
            *sums = Scratch::take(channels.len() * stretch.len());
            if panels.reading.taps() == 0 {
                sums.fill(0.0);
            } else if stretch.len() > 0 {
                let target = Target {
                    out: Shared::new(sums),
                    start: 0,
                    channel: stretch.len(),
                };
                // SAFETY: V is what Level::run chose; the sums are this task's.
                unsafe { panels.run::<V>(self.level, dy, &stretch, self.blocks, target) }
            }
        }
        self.join(channels, &sums);
    }
}

impl Task<'_> {
    /// Writes the rows, the columns' phases in turns.
    #[inline(always)]
    fn join(&self, channels: Range<usize>, sums: &[Scratch; 2]) {
        let Conv {
            in_channels,
            in_size: [depth, rows, cols],
            stride,
            padding,
            ..
        } = *self.conv;
        let phase = &self.phases[0];
        let lines = self.stretch.planes.len() * self.stretch.rows.len();
        // The first column is of the phase of its padded place.
        let order = [padding[2] % stride[2], 1 - padding[2] % stride[2]];
        let widths = order.map(|t| self.panels.get(t).map_or(0, |p| p.reading.out_size[2]));
        let at = |axis: usize, m: usize| {
            stride[axis] * (phase.first[axis] + m) + phase.index[axis] - padding[axis]
        };
        for (i, channel) in channels.enumerate() {
            let mut line = i * lines;
            for plane in self.stretch.planes.clone() {
                for row in self.stretch.rows.clone() {
                    let image = (self.stretch.sample * in_channels + channel) * depth;
                    let place = (image + at(0, plane)) * rows + at(1, row);
                    // SAFETY: no other task has this row of this channel.
                    let to = unsafe {
                        std::slice::from_raw_parts_mut(self.dx.at(place * cols, cols), cols)
                    };
                    let [even, odd] =
                        [0, 1].map(|k| &sums[order[k]][line * widths[k]..][..widths[k]]);
                    if odd.is_empty() {
                        to.copy_from_slice(even);
                    } else {
                        interleave(even, odd, to);
                    }
                    line += 1;
                }
            }
        }
    }
}

/// Elements of `even` and `odd` in turns.
#[inline(always)]
fn interleave(even: &[f32], odd: &[f32], to: &mut [f32]) {
    let (pairs, rest) = to.as_chunks_mut::<2>();
    for (pair, (even, odd)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
        *pair = [*even, *odd];
    }
    if let (Some(last), [.., even]) = (rest.first_mut(), even) {
        *last = *even;
    }
}

/// Adds what fell into the padding to where it came from.
fn fold(conv: &Conv, padded: [usize; 3], sums: &[f32], dx: &mut [f32]) {
    let [depth, rows, cols] = conv.in_size;
    let from: usize = padded.iter().product();
    let source = |axis: usize, u: usize| {
        let at = u as isize - conv.padding[axis] as isize;
        place(at, conv.in_size[axis], conv.mode)
    };
    let columns: Vec<_> = (0..padded[2]).map(|u| source(2, u)).collect();
    let inner = conv.padding[2]..conv.padding[2] + cols;
    let least = threads::least(from);
    dx.par_chunks_mut(depth * rows * cols)
        .with_min_len(least)
        .zip(sums.par_chunks(from))
        .for_each(|(dx, sums)| {
            dx.fill(0.0);
            for (line, sums) in sums.chunks(padded[2]).enumerate() {
                let plane = source(0, line / padded[1]);
                let (Some(plane), Some(row)) = (plane, source(1, line % padded[1])) else {
                    continue;
                };
                let row = &mut dx[(plane * rows + row) * cols..][..cols];
                for (to, sum) in row.iter_mut().zip(&sums[inner.clone()]) {
                    *to += sum;
                }
                for u in (0..inner.start).chain(inner.end..padded[2]) {
                    if let Some(column) = columns[u] {
                        row[column] += sums[u];
                    }
                }
            }
        });
}
