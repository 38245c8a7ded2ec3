//! The gradient of the input: a correlation of the padded `dy` with the flipped kernel.
//!
//! Padded input element u = s m + r (s the stride, r its phase) was read by output m - t under tap
//! s t + r, so each pair of phases is a stride-1 correlation of `dy` with its own taps. What fell
//! into the padding is then added where it came from (reflect, replicate) or left away (zero).

use super::correlate::Correlation;
use super::pack::{blocks, pack};
use super::pad::{Layout, place};
use super::sweep::{Frame, Sweep};
use super::way::Way;
use super::winograd::Winograd;
use super::{Conv, Padding, columns, panels, positions, unrolled};
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
    fn new(conv: &Conv, axis: usize) -> Self {
        let (p, s, k, n) = (
            conv.padding[axis],
            conv.stride[axis],
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

/// One phase of each axis: `index` counts the phases row-major.
#[derive(Clone, Copy)]
struct Part {
    index: [usize; 3],
    phases: [Phase; 3],
}

impl Part {
    fn size(&self) -> [usize; 3] {
        self.phases.map(|phase| phase.count)
    }

    fn taps(&self) -> [usize; 3] {
        self.phases.map(|phase| phase.taps)
    }
}

pub(super) fn grad_input(
    level: Level,
    way: Way,
    conv: &Conv,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) {
    if dx.is_empty() {
        return;
    }
    match way {
        Way::Panels => return panels::grad_input(level, conv, dy, w, dx),
        Way::Unrolled => return unrolled::grad_input(level, conv, dy, w, dx),
        Way::Columns => return columns::grad_input(level, conv, dy, w, dx),
        Way::Winograd | Way::Direct => {}
    }
    let axes = [0, 1, 2].map(|axis| Axis::new(conv, axis));
    let parts: Vec<Part> = positions(conv.stride)
        .map(|index| Part {
            index,
            phases: [0, 1, 2].map(|i| axes[i].phases[index[i]]),
        })
        .collect();
    let weight = |out: usize, channel: usize| {
        &w[(channel * conv.in_channels + out) * conv.taps()..][..conv.taps()]
    };
    // Whether the sums are the gradient itself, and their vectors whole.
    let plain = conv.stride == [1; 3] && conv.mode == Padding::Zero;
    let direct = plain && conv.in_size[2].is_multiple_of(level.lanes());
    if way == Way::Winograd {
        let wanted = axes.each_ref().map(|axis| axis.phases[0].count);
        let winograd = Winograd {
            batch: conv.batch,
            in_channels: conv.out_channels,
            out_channels: conv.in_channels,
            in_size: conv.out_size(),
            out_size: wanted,
            before: axes.each_ref().map(|axis| axis.before),
            mode: Padding::Zero,
            depth: conv.kernel[0],
            side: conv.kernel[2],
        };
        if plain {
            return winograd.run(level, dy, weight, true, None, dx);
        }
        let frame = Frame::tight(wanted, conv.in_channels);
        let mut sums = Scratch::take(conv.batch * frame.sample);
        winograd.run(level, dy, weight, true, None, &mut sums);
        return gather(conv, &axes, &[frame], &sums, dx);
    }
    if conv.pointwise() && dy.len() / conv.batch / conv.out_channels >= level.lanes() {
        return pointwise(level, conv, dy, weight, dx);
    }
    // All phases read one copy, laid out for the largest.
    let largest = [0, 1, 2].map(|i| {
        let counts = axes[i].phases.iter().map(|phase| phase.count);
        counts.max().unwrap_or(1).max(1)
    });
    let size = [0, 1, 2].map(|i| axes[i].len);
    if size.contains(&0) {
        // No output reads the image itself, only its padding.
        return dx.fill(0.0);
    }
    let layout = Layout {
        batch: conv.batch,
        channels: conv.out_channels,
        stride: [1; 3],
        size,
        planes: Sweep::prefers_planes(level.lanes(), largest, size),
    };
    let before = [0, 1, 2].map(|i| axes[i].before);
    let copy = layout.copy(dy, conv.out_size(), before, Padding::Zero);
    let blocks = blocks(level, conv.in_channels);

    let frames: Vec<Frame> = parts
        .iter()
        .map(|part| {
            if direct {
                Frame::tight(part.size(), conv.in_channels)
            } else {
                Frame::roomy(level.lanes(), &layout, part.size(), conv.in_channels)
            }
        })
        .collect();
    let room: usize = frames.iter().map(|frame| conv.batch * frame.sample).sum();
    let mut sums = Scratch::take(if direct { 0 } else { room });
    let mut rest = &mut sums[..];
    for (part, frame) in parts.iter().zip(&frames) {
        let len = if direct { 0 } else { conv.batch * frame.sample };
        let (sums, tail) = rest.split_at_mut(len);
        rest = tail;
        if part.size().contains(&0) {
            continue;
        }
        let out = if direct { &mut *dx } else { sums };
        if part.taps().contains(&0) {
            out.fill(0.0);
            continue;
        }
        let mut taps = Vec::new();
        let mut order = Vec::new();
        for tap in positions(part.taps()) {
            taps.push(layout.tap(tap));
            // Flipped: the first place in the copy meets the last tap.
            let [a, b, c] =
                [0, 1, 2].map(|i| conv.stride[i] * (part.taps()[i] - 1 - tap[i]) + part.index[i]);
            order.push((a * conv.kernel[1] + b) * conv.kernel[2] + c);
        }
        let origin = layout.tap([0, 1, 2].map(|i| axes[i].origin(part.phases[i])));
        let sweep = Sweep::new(level.lanes(), &layout, part.size(), frame, origin);
        let weights = pack(&blocks, conv.out_channels, &order, weight);
        Correlation {
            source: &copy,
            in_channels: conv.out_channels,
            channel_stride: layout.channel_stride(),
            window: layout.window(part.taps()),
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
        gather(conv, &axes, &frames, &sums, dx);
    }
}

/// Kernels of one element: nothing is padded, `dy` is read as it lies.
fn pointwise<'a>(
    level: Level,
    conv: &Conv,
    dy: &[f32],
    weight: impl Fn(usize, usize) -> &'a [f32] + Sync,
    dx: &mut [f32],
) {
    let spatial = conv.in_size.iter().product();
    let layout = Layout::plain(conv.batch, conv.out_channels, spatial);
    let blocks = blocks(level, conv.in_channels);
    Correlation {
        source: dy,
        in_channels: conv.out_channels,
        channel_stride: spatial,
        window: spatial,
        taps: &[0],
        sweep: &Sweep::plain(level.lanes(), &layout, conv.in_channels),
        weights: &pack(&blocks, conv.out_channels, &[0], weight),
        blocks: &blocks,
        bias: None,
        out_stride: spatial,
    }
    .run(level, dx);
}

/// Joins the phases into `dx` and adds what fell into the padding to where it came from.
fn gather(conv: &Conv, axes: &[Axis; 3], frames: &[Frame], sums: &[f32], dx: &mut [f32]) {
    let [r, s, t] = conv.stride;
    let [depth, rows, cols] = conv.in_size;
    let [deep, down, across] = axes;
    let padding = conv.padding.map(|p| p as isize);
    let mut offsets = vec![0; frames.len()];
    for i in 1..frames.len() {
        offsets[i] = offsets[i - 1] + conv.batch * frames[i - 1].sample;
    }
    // Phase k of the columns of padded row v of padded plane u.
    let part = |image: usize, u: usize, v: usize, k: usize| {
        let i = (u % r * s + v % s) * t + k;
        let plane = u / r - deep.phases[u % r].first;
        let row = v / s - down.phases[v % s].first;
        let frame = &frames[i];
        let start = offsets[i] + image * frame.channel + plane * frame.depth + row * frame.row;
        &sums[start..][..across.phases[k].count]
    };
    // Padded elements before the image, and the image itself.
    let inner = [0, 1, 2].map(|i| conv.padding[i] - axes[i].low);
    let image = [0, 1].map(|i| conv.padding[i]..conv.padding[i] + conv.in_size[i]);
    let width = across.high - across.low;
    let least = threads::least(depth * rows * cols);
    dx.par_chunks_mut(depth * rows * cols)
        .with_min_len(least)
        .enumerate()
        .for_each(|(channel, dx)| {
            let mut joined = vec![0.0; if t == 2 { width } else { 0 }];
            let lines = || {
                let rows = move || down.low..down.high;
                (deep.low..deep.high).flat_map(move |u| rows().map(move |v| (u, v)))
            };
            let within = |&(u, v): &(usize, usize)| image[0].contains(&u) && image[1].contains(&v);
            // The rows of the image itself first, then those of the padding.
            let border = lines().filter(|line| !within(line));
            for (u, v) in lines().filter(within).chain(border) {
                let line = if t == 1 {
                    part(channel, u, v, 0)
                } else {
                    let first = across.low % 2;
                    interleave(
                        part(channel, u, v, first),
                        part(channel, u, v, 1 - first),
                        &mut joined,
                    );
                    &joined
                };
                let plane = place(u as isize - padding[0], depth, conv.mode);
                let row = place(v as isize - padding[1], rows, conv.mode);
                let (Some(plane), Some(row)) = (plane, row) else {
                    continue;
                };
                let row = &mut dx[(plane * rows + row) * cols..][..cols];
                let middle = &line[inner[2]..inner[2] + cols];
                if within(&(u, v)) {
                    row.copy_from_slice(middle);
                } else {
                    for (to, from) in row.iter_mut().zip(middle) {
                        *to += from;
                    }
                }
                for k in (0..inner[2]).chain(inner[2] + cols..width) {
                    let at = (k + across.low) as isize - padding[2];
                    if let Some(col) = place(at, cols, conv.mode) {
                        row[col] += line[k];
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
