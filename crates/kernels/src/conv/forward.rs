//! The forward pass.

use super::correlate::Correlation;
use super::pack::{blocks, pack};
use super::pad::{Layout, Source};
use super::sweep::{Frame, Sweep};
use super::way::Way;
use super::winograd::Winograd;
use super::{Conv, columns, panels, positions, unrolled};
use crate::scratch::Scratch;
use crate::simd::Level;
use crate::threads;
use rayon::prelude::*;

/// The padded copy of an input, and the vectors and taps with which outputs read it.
pub(super) struct Padded<'a> {
    pub(super) copy: Source<'a>,
    pub(super) layout: Layout,
    /// How the outputs lie that the vectors belong to.
    pub(super) frame: Frame,
    pub(super) sweep: Sweep,
    pub(super) taps: Vec<usize>,
}

impl<'a> Padded<'a> {
    pub(super) fn new(level: Level, conv: &Conv, x: &'a [f32], roomy: bool) -> Self {
        let size = conv.out_size();
        let spatial = size.iter().product();
        if conv.pointwise() && spatial >= level.lanes() {
            let layout = Layout::plain(conv.batch, conv.in_channels, spatial);
            return Self {
                copy: Source::Plain(x),
                frame: Frame::tight(size, conv.out_channels),
                sweep: Sweep::plain(level.lanes(), &layout, conv.out_channels),
                layout,
                taps: vec![0],
            };
        }
        let phase = [0, 1, 2].map(|i| size[i] - 1 + conv.kernel[i].div_ceil(conv.stride[i]));
        let layout = Layout {
            batch: conv.batch,
            channels: conv.in_channels,
            stride: conv.stride,
            size: phase,
            planes: Sweep::prefers_planes(level.lanes(), size, phase),
        };
        let frame = if roomy {
            Frame::roomy(level.lanes(), &layout, size, conv.out_channels)
        } else {
            Frame::tight(size, conv.out_channels)
        };
        let sweep = Sweep::new(level.lanes(), &layout, size, &frame, 0);
        let taps = positions(conv.kernel).map(|tap| layout.tap(tap)).collect();
        let copy = layout.copy(x, conv.in_size, conv.padding.map(|p| p as isize), conv.mode);
        Self {
            copy: Source::Copy(copy),
            layout,
            frame,
            sweep,
            taps,
        }
    }
}

pub(super) fn forward(
    level: Level,
    way: Way,
    conv: &Conv,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    if y.is_empty() {
        return;
    }
    match way {
        Way::Panels => return panels::forward(level, conv, x, w, bias, y),
        Way::Columns => return columns::forward(level, conv, x, w, bias, y),
        Way::Unrolled => return unrolled::forward(level, conv, x, w, bias, y),
        Way::Winograd | Way::Direct => {}
    }
    let weight = |out: usize, channel: usize| {
        &w[(out * conv.in_channels + channel) * conv.taps()..][..conv.taps()]
    };
    if way == Way::Winograd {
        return Winograd::forward(conv).run(level, x, weight, false, bias, y);
    }
    let blocks = blocks(level, conv.out_channels);
    let order: Vec<usize> = (0..conv.taps()).collect();
    // Vectors that are not whole would be stored, and added to, piece by piece.
    let size = conv.out_size();
    let roomy = !size[2].is_multiple_of(level.lanes()) && !conv.pointwise();
    let padded = Padded::new(level, conv, x, roomy);
    let frame = padded.frame;
    let weights = pack(&blocks, conv.in_channels, &order, weight);
    let correlation = Correlation {
        source: &padded.copy,
        in_channels: conv.in_channels,
        channel_stride: padded.layout.channel_stride(),
        window: padded.layout.window(conv.kernel),
        taps: &padded.taps,
        sweep: &padded.sweep,
        weights: &weights,
        blocks: &blocks,
        bias,
        out_stride: frame.channel,
    };
    if !roomy {
        return correlation.run(level, y);
    }
    let mut wide = Scratch::take(conv.batch * frame.sample);
    correlation.run(level, &mut wide);
    let spatial = size.iter().product();
    y.par_chunks_mut(spatial)
        .with_min_len(threads::least(spatial))
        .zip(wide.par_chunks(frame.channel))
        .for_each(|(y, wide)| {
            for (line, y) in y.chunks_mut(size[2]).enumerate() {
                let (plane, row) = (line / size[1], line % size[1]);
                let from = plane * frame.depth + row * frame.row;
                y.copy_from_slice(&wide[from..][..size[2]]);
            }
        });
}
