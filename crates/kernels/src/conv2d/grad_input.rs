//! The gradient of the input: a correlation of the padded `dy` with the flipped kernel.
//!
//! Padded input element u = s m + r (s the stride, r its phase) was read by output m - t under tap
//! s t + r, so each pair of phases is a stride-1 correlation of `dy` with its own taps. What fell
//! into the padding is then added where it came from (reflect, replicate) or left away (zero).

use super::correlate::Correlation;
use super::pack::{blocks, pack};
use super::pad::{Layout, place};
use super::sweep::{Frame, Sweep};
use super::{Conv2d, Padding};
use crate::scratch::Scratch;
use crate::simd::Level;
use crate::threads;
use rayon::prelude::*;

/// One phase of one axis.
#[derive(Debug, Clone, Copy)]
struct Phase {
    /// Its first m.
    first: usize,
    /// Its number of m.
    count: usize,
    /// Its number of taps.
    taps: usize,
}

/// One axis: padded elements `low..high` are wanted.
struct Axis {
    low: usize,
    high: usize,
    phases: Vec<Phase>,
    /// Zeros before `dy` in its padded copy; negative: cropped.
    before: isize,
    /// Elements of the padded copy.
    len: usize,
}

impl Axis {
    fn new(conv: &Conv2d, axis: usize) -> Self {
        let (p, s, k, n) = (
            conv.padding,
            conv.stride,
            conv.kernel[axis],
            conv.in_size[axis],
        );
        let (low, high) = if conv.mode == Padding::Zero {
            (p, p + n)
        } else {
            (0, n + 2 * p)
        };
        let phases: Vec<Phase> = (0..s)
            .map(|r| {
                let index = |u: usize| u.saturating_sub(r).div_ceil(s);
                let first = index(low);
                Phase {
                    first,
                    count: index(high) - first,
                    taps: k.saturating_sub(r).div_ceil(s),
                }
            })
            .collect();
        let used = || phases.iter().filter(|f| f.taps > 0 && f.count > 0);
        let before = used()
            .map(|f| f.taps as isize - 1 - f.first as isize)
            .max()
            .unwrap_or_default();
        let len = used()
            .map(|f| (before + f.first as isize) as usize + f.count)
            .max()
            .unwrap_or_default();
        Self {
            low,
            high,
            phases,
            before,
            len,
        }
    }

    /// Where, in the padded copy, output 0 of a phase reads its last tap in flipped order.
    fn origin(&self, phase: Phase) -> usize {
        (self.before + phase.first as isize + 1) as usize - phase.taps
    }
}

pub(super) fn grad_input(level: Level, conv: &Conv2d, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    if dx.is_empty() {
        return;
    }
    let s = conv.stride;
    let axes = [Axis::new(conv, 0), Axis::new(conv, 1)];
    let phases = || {
        axes[0]
            .phases
            .iter()
            .flat_map(|a| axes[1].phases.iter().map(move |b| (*a, *b)))
    };
    // All phases read one copy, laid out for the largest.
    let largest = [0, 1].map(|i| {
        axes[i]
            .phases
            .iter()
            .map(|f| f.count)
            .max()
            .unwrap_or(1)
            .max(1)
    });
    let layout = Layout {
        batch: conv.batch,
        channels: conv.out_channels,
        stride: 1,
        size: [axes[0].len, axes[1].len],
        planes: Sweep::prefers_planes(level.lanes(), largest, axes[1].len),
    };
    let copy = layout.copy(
        dy,
        conv.out_size(),
        [axes[0].before, axes[1].before],
        Padding::Zero,
    );
    let blocks = blocks(level, conv.in_channels);

    let direct = s == 1 && conv.mode == Padding::Zero;
    let frames: Vec<Frame> = phases()
        .map(|(a, b)| {
            let size = [a.count, b.count];
            if direct {
                Frame::tight(size, conv.in_channels)
            } else {
                Frame::roomy(level.lanes(), &layout, size, conv.in_channels)
            }
        })
        .collect();
    let room: usize = frames.iter().map(|frame| conv.batch * frame.sample).sum();
    let mut parts = Scratch::take(if direct { 0 } else { room });
    let mut rest = &mut parts[..];
    for (i, ((a, b), frame)) in phases().zip(&frames).enumerate() {
        let len = if direct { 0 } else { conv.batch * frame.sample };
        let (part, tail) = rest.split_at_mut(len);
        rest = tail;
        if a.count * b.count == 0 {
            continue;
        }
        let out = if direct { &mut *dx } else { part };
        if a.taps == 0 || b.taps == 0 {
            out.fill(0.0);
            continue;
        }
        let (row_phase, col_phase) = (i / s, i % s);
        let mut taps = Vec::new();
        let mut order = Vec::new();
        for t in 0..a.taps {
            for q in 0..b.taps {
                taps.push(layout.tap(t, q));
                // Flipped: the first place in the copy meets the last tap.
                let row = s * (a.taps - 1 - t) + row_phase;
                let col = s * (b.taps - 1 - q) + col_phase;
                order.push(row * conv.kernel[1] + col);
            }
        }
        let size = [a.count, b.count];
        let origin = layout.tap(axes[0].origin(a), axes[1].origin(b));
        let sweep = Sweep::new(level.lanes(), &layout, size, frame, origin);
        let weights = pack(&blocks, conv.out_channels, &order, |out, channel| {
            &w[(channel * conv.in_channels + out) * conv.taps()..][..conv.taps()]
        });
        Correlation {
            source: &copy,
            in_channels: conv.out_channels,
            channel_stride: layout.channel_stride(),
            taps: &taps,
            sweep: &sweep,
            weights: &weights,
            blocks: &blocks,
            bias: None,
            out_stride: frame.channel,
        }
        .run(level, out);
    }
    if !direct {
        gather(conv, &axes, &frames, &parts, dx);
    }
}

/// Joins the phases into `dx` and adds what fell into the padding to where it came from.
fn gather(conv: &Conv2d, axes: &[Axis; 2], frames: &[Frame], parts: &[f32], dx: &mut [f32]) {
    let s = conv.stride;
    let [rows, cols] = conv.in_size;
    let [down, across] = axes;
    let padding = conv.padding as isize;
    let mut offsets = vec![0; frames.len()];
    for i in 1..frames.len() {
        offsets[i] = offsets[i - 1] + conv.batch * frames[i - 1].sample;
    }
    // Phase r of the columns of padded row u.
    let part = |plane: usize, u: usize, r: usize| {
        let i = u % s * s + r;
        let row = u / s - down.phases[u % s].first;
        let start = offsets[i] + plane * frames[i].channel + row * frames[i].row;
        &parts[start..][..across.phases[r].count]
    };
    // Padded elements before the image.
    let inner = [conv.padding - down.low, conv.padding - across.low];
    let width = across.high - across.low;
    let least = threads::least(rows * cols);
    dx.par_chunks_mut(rows * cols)
        .with_min_len(least)
        .enumerate()
        .for_each(|(plane, dx)| {
            let mut joined = vec![0.0; if s == 2 { width } else { 0 }];
            // The rows of the image itself first, then those of the padding.
            let image = down.low + inner[0]..down.low + inner[0] + rows;
            let border = (down.low..image.start).chain(image.end..down.high);
            for u in image.clone().chain(border) {
                let line = if s == 1 {
                    part(plane, u, 0)
                } else {
                    let first = across.low % 2;
                    interleave(
                        part(plane, u, first),
                        part(plane, u, 1 - first),
                        &mut joined,
                    );
                    &joined
                };
                let Some(row) = place(u as isize - padding, rows, conv.mode) else {
                    continue;
                };
                let row = &mut dx[row * cols..][..cols];
                let middle = &line[inner[1]..inner[1] + cols];
                if image.contains(&u) {
                    row.copy_from_slice(middle);
                } else {
                    for (to, from) in row.iter_mut().zip(middle) {
                        *to += from;
                    }
                }
                for v in (0..inner[1]).chain(inner[1] + cols..width) {
                    let at = (v + across.low) as isize - padding;
                    if let Some(col) = place(at, cols, conv.mode) {
                        row[col] += line[v];
                    }
                }
            }
        });
}

/// Elements of `even` and `odd` in turns.
fn interleave(even: &[f32], odd: &[f32], to: &mut [f32]) {
    let (pairs, rest) = to.as_chunks_mut::<2>();
    for (pair, (even, odd)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
        *pair = [*even, *odd];
    }
    if let (Some(last), [.., even]) = (rest.first_mut(), even) {
        *last = *even;
    }
}
