//! Wide kernels with one or two channels on the side that is written.
//!
//! With so few sums in registers an input is loaded for every product or two. So the columns of the
//! kernel are taken as channels: a kernel of `[depth, rows, columns]` is `columns` kernels of
//! `[depth, rows, 1]`, whose results, each shifted by its column, are added.

use super::Conv;
use super::pad::place;
use super::way::Way;
use crate::scratch::Scratch;
use crate::simd::Level;
use crate::threads;
use rayon::prelude::*;

/// See [`Conv::forward`].
pub(super) fn forward(
    level: Level,
    conv: &Conv,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let columns = conv.kernel[2];
    let wide = by_out_channel(conv);
    let mut weights = Scratch::take(w.len());
    let filter = conv.in_channels * conv.taps();
    for (to, from) in weights.chunks_mut(filter).zip(w.chunks(filter)) {
        transpose(from, columns, to);
    }
    let mut parts = Scratch::take(wide.out_len());
    super::forward::forward(level, Way::Direct, &wide, x, &weights, None, &mut parts);
    let [_, _, cols] = conv.out_size();
    let [depth, rows, width] = wide.out_size();
    let (plane, lines) = (depth * rows * width, depth * rows);
    y.par_chunks_mut(lines * cols)
        .with_min_len(threads::least(columns * lines * cols))
        .enumerate()
        .for_each(|(image, y)| {
            let parts = &parts[image * columns * plane..][..columns * plane];
            let bias = bias.map_or(0.0, |bias| bias[image % conv.out_channels]);
            for (line, y) in y.chunks_mut(cols).enumerate() {
                y.fill(bias);
                for column in 0..columns {
                    let from = &parts[column * plane + line * width + column..][..cols];
                    y.iter_mut().zip(from).for_each(|(y, part)| *y += part);
                }
            }
        });
}

/// See [`Conv::grad_weight`].
pub(super) fn grad_weight(level: Level, conv: &Conv, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let columns = conv.kernel[2];
    let wide = by_out_channel(conv);
    let [_, _, cols] = conv.out_size();
    let [depth, rows, width] = wide.out_size();
    let (plane, lines) = (depth * rows * width, depth * rows);
    let mut shifted = Scratch::take(wide.out_len());
    shifted
        .par_chunks_mut(plane)
        .with_min_len(threads::least(plane))
        .enumerate()
        .for_each(|(i, to)| {
            let (image, column) = (i / columns, i % columns);
            let dy = &dy[image * lines * cols..][..lines * cols];
            for (to, dy) in to.chunks_mut(width).zip(dy.chunks(cols)) {
                to.fill(0.0);
                to[column..][..cols].copy_from_slice(dy);
            }
        });
    let mut weights = Scratch::take(dw.len());
    super::grad_weight::grad_weight(level, Way::Direct, &wide, x, &shifted, &mut weights);
    let filter = conv.in_channels * wide.taps();
    for (to, from) in dw
        .chunks_mut(filter * columns)
        .zip(weights.chunks(filter * columns))
    {
        transpose(from, filter, to);
    }
}

/// See [`Conv::grad_input`].
pub(super) fn grad_input(level: Level, conv: &Conv, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let columns = conv.kernel[2];
    let [_, _, cols] = conv.out_size();
    let [depth, rows, width] = conv.in_size;
    let wide = Conv {
        in_channels: conv.in_channels * columns,
        in_size: [depth, rows, cols],
        kernel: [conv.kernel[0], conv.kernel[1], 1],
        padding: [conv.padding[0], conv.padding[1], 0],
        ..conv.clone()
    };
    let mut weights = Scratch::take(w.len());
    let kernel = wide.taps() * columns;
    for (to, from) in weights.chunks_mut(kernel).zip(w.chunks(kernel)) {
        transpose(from, columns, to);
    }
    let mut parts = Scratch::take(wide.in_len());
    super::grad_input::grad_input(level, Way::Direct, &wide, dy, &weights, &mut parts);
    let (plane, lines) = (depth * rows * cols, depth * rows);
    let padding = conv.padding[2];
    dx.par_chunks_mut(lines * width)
        .with_min_len(threads::least(columns * lines * cols))
        .enumerate()
        .for_each(|(image, dx)| {
            let parts = &parts[image * columns * plane..][..columns * plane];
            let mut padded = vec![0.0f32; width + 2 * padding];
            for (line, dx) in dx.chunks_mut(width).enumerate() {
                padded.fill(0.0);
                for column in 0..columns {
                    let from = &parts[column * plane + line * cols..][..cols];
                    let to = &mut padded[column..][..cols];
                    to.iter_mut().zip(from).for_each(|(to, part)| *to += part);
                }
                dx.copy_from_slice(&padded[padding..][..width]);
                for at in (0..padding).chain(padding + width..padded.len()) {
                    let column = place(at as isize - padding as isize, width, conv.mode);
                    if let Some(column) = column {
                        dx[column] += padded[at];
                    }
                }
            }
        });
}

/// The convolution with every column of the kernel as an output channel: over all padded columns.
fn by_out_channel(conv: &Conv) -> Conv {
    Conv {
        out_channels: conv.out_channels * conv.kernel[2],
        kernel: [conv.kernel[0], conv.kernel[1], 1],
        ..conv.clone()
    }
}

/// The transpose of a matrix of rows of `columns` elements.
fn transpose(from: &[f32], columns: usize, to: &mut [f32]) {
    let rows = from.len() / columns;
    for (column, to) in to.chunks_mut(rows).enumerate() {
        for (to, row) in to.iter_mut().zip(from.chunks(columns)) {
            *to = row[column];
        }
    }
}
