//! The gradient of the input: a correlation of the padded `dy` with the flipped kernel.
//!
//! Padded input element u = s m + r (s the stride, r its phase) was read by output m - t under tap
//! s t + r, so each pair of phases is a stride-1 correlation of `dy` with its own taps. What fell
//! into the padding is then added where it came from (reflect, replicate) or left away (zero).

use super::correlate::Correlation;
use super::pack::{blocks, pack};
use super::pad::{Layout, place};
use super::sweep::Sweep;
use super::{Conv2d, Padding};
use crate::scratch::Scratch;
use crate::simd::Level;
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
    if conv.out_channels == 0 {
        dx.fill(0.0);
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
    let sizes: Vec<usize> = phases().map(|(a, b)| a.count * b.count).collect();
    let planes = conv.batch * conv.in_channels;
    let mut parts = if direct {
        Scratch::take(0)
    } else {
        Scratch::take(planes * sizes.iter().sum::<usize>())
    };
    let mut rest = &mut parts[..];
    for (i, (a, b)) in phases().enumerate() {
        let (part, tail) = rest.split_at_mut(if direct { 0 } else { planes * sizes[i] });
        rest = tail;
        if sizes[i] == 0 {
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
        let sweep = Sweep::new(
            level.lanes(),
            &layout,
            size,
            conv.in_channels * sizes[i],
            origin,
        );
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
            out_stride: sizes[i],
        }
        .run(level, out);
    }
    if !direct {
        gather(conv, &axes, &sizes, &parts, dx);
    }
}

/// Joins the phases into `dx` and adds what fell into the padding to where it came from.
fn gather(conv: &Conv2d, axes: &[Axis; 2], sizes: &[usize], parts: &[f32], dx: &mut [f32]) {
    let s = conv.stride;
    let [rows, cols] = conv.in_size;
    let planes = conv.batch * conv.in_channels;
    let [down, across] = axes;
    let padding = conv.padding as isize;
    let mut offsets = vec![0; sizes.len()];
    for i in 1..sizes.len() {
        offsets[i] = offsets[i - 1] + planes * sizes[i - 1];
    }
    let least = (1 << 14) / (rows * cols) + 1;
    dx.par_chunks_mut(rows * cols)
        .with_min_len(least)
        .enumerate()
        .for_each(|(plane, dx)| {
            let mut line = vec![0.0; across.high - across.low];
            dx.fill(0.0);
            for u in down.low..down.high {
                for (r, phase) in across.phases.iter().enumerate() {
                    let i = u % s * s + r;
                    let row = u / s - down.phases[u % s].first;
                    let part = &parts[offsets[i] + plane * sizes[i] + row * phase.count..];
                    let first = s * phase.first + r - across.low;
                    for (to, from) in line[first..]
                        .iter_mut()
                        .step_by(s)
                        .zip(&part[..phase.count])
                    {
                        *to = *from;
                    }
                }
                let Some(row) = place(u as isize - padding, rows, conv.mode) else {
                    continue;
                };
                let row = &mut dx[row * cols..][..cols];
                // The middle first, then the borders.
                let inner = conv.padding - across.low;
                for (to, from) in row.iter_mut().zip(&line[inner..]) {
                    *to += from;
                }
                for v in (0..inner).chain(inner + cols..line.len()) {
                    if let Some(col) = place(v as isize - padding, cols, conv.mode) {
                        row[col] += line[v];
                    }
                }
            }
        });
}
