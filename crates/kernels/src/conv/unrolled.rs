//! Few positions, many channels: the deep levels of a net.
//!
//! There the weights are by far the largest operand, and putting them into another order costs as
//! much as the sums. So the input is unrolled instead (im2col: for every position what every tap of
//! every channel reads), and the weights are read as they lie: the forward pass and the gradients are
//! matrix products, that of the input to be rolled up again.

use super::matrix::Matrices;
use super::pad::place;
use super::{Conv, positions};
use crate::scratch::Scratch;
use crate::simd::Level;
use rayon::prelude::*;

/// What a tap reads that lies in the padding.
const NOTHING: usize = usize::MAX;

/// Where in a channel each tap reads at each position, `[tap][position]`.
fn table(conv: &Conv) -> Vec<usize> {
    let [_, rows, cols] = conv.in_size;
    let mut table = Vec::with_capacity(conv.taps() * conv.out_size().iter().product::<usize>());
    for tap in positions(conv.kernel) {
        for at in positions(conv.out_size()) {
            let from = [0, 1, 2].map(|i| {
                let u = (at[i] * conv.stride[i] + tap[i]) as isize;
                place(u - conv.padding[i] as isize, conv.in_size[i], conv.mode)
            });
            table.push(match from {
                [Some(u), Some(v), Some(w)] => (u * rows + v) * cols + w,
                _ => NOTHING,
            });
        }
    }
    table
}

/// Sizes of one sample: input, output, and positions.
fn lens(conv: &Conv) -> (usize, usize, usize) {
    let spatial = conv.out_size().iter().product();
    let input = conv.in_len() / conv.batch;
    (input, conv.out_channels * spatial, spatial)
}

/// See [`Conv::forward`].
pub(super) fn forward(
    level: Level,
    conv: &Conv,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let table = table(conv);
    let (input, output, spatial) = lens(conv);
    let terms = conv.in_channels * conv.taps();
    let mut unrolled = Scratch::take(terms * spatial);
    for (x, y) in x.chunks(input).zip(y.chunks_mut(output)) {
        unrolled
            .par_chunks_mut(table.len())
            .zip(x.par_chunks(input / conv.in_channels))
            .for_each(|(to, x)| {
                for (to, &from) in to.iter_mut().zip(&table) {
                    *to = if from == NOTHING { 0.0 } else { x[from] };
                }
            });
        if let Some(bias) = bias {
            for (y, &bias) in y.chunks_mut(spatial).zip(bias) {
                y.fill(bias);
            }
        }
        Matrices {
            rows: conv.out_channels,
            columns: spatial,
            terms,
            a: w,
            a_steps: [terms, 1],
            b: &unrolled,
            b_row: spatial,
            c_row: spatial,
            add: bias.is_some(),
        }
        .run(level, y);
    }
}

/// See [`Conv::grad_input`].
pub(super) fn grad_input(level: Level, conv: &Conv, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let table = table(conv);
    let (input, output, spatial) = lens(conv);
    let rows = conv.in_channels * conv.taps();
    let mut unrolled = Scratch::take(rows * spatial);
    for (dx, dy) in dx.chunks_mut(input).zip(dy.chunks(output)) {
        Matrices {
            rows,
            columns: spatial,
            terms: conv.out_channels,
            a: w,
            a_steps: [1, rows],
            b: dy,
            b_row: spatial,
            c_row: spatial,
            add: false,
        }
        .run(level, &mut unrolled);
        dx.par_chunks_mut(input / conv.in_channels)
            .zip(unrolled.par_chunks(table.len()))
            .for_each(|(dx, from)| {
                dx.fill(0.0);
                for (from, &to) in from.iter().zip(&table) {
                    if to != NOTHING {
                        dx[to] += from;
                    }
                }
            });
    }
}

/// See [`Conv::grad_weight`].
pub(super) fn grad_weight(level: Level, conv: &Conv, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let table = table(conv);
    let (input, output, spatial) = lens(conv);
    let columns = conv.in_channels * conv.taps();
    let channel = input / conv.in_channels;
    let mut unrolled = Scratch::take(spatial * columns);
    for (sample, (x, dy)) in x.chunks(input).zip(dy.chunks(output)).enumerate() {
        unrolled
            .par_chunks_mut(columns)
            .enumerate()
            .for_each(|(position, to)| {
                for (to, x) in to.chunks_mut(conv.taps()).zip(x.chunks(channel)) {
                    let table = table[position..].iter().step_by(spatial);
                    for (to, &from) in to.iter_mut().zip(table) {
                        *to = if from == NOTHING { 0.0 } else { x[from] };
                    }
                }
            });
        Matrices {
            rows: conv.out_channels,
            columns,
            terms: spatial,
            a: dy,
            a_steps: [spatial, 1],
            b: &unrolled,
            b_row: columns,
            c_row: columns,
            add: sample > 0,
        }
        .run(level, dw);
    }
}
