//! The forward pass.

use super::correlate::Correlation;
use super::pack::{blocks, pack};
use super::pad::{Layout, Source};
use super::sweep::{Frame, Sweep};
use super::way::Way;
use super::winograd::Winograd;
use super::{Conv, columns, positions};
use crate::simd::Level;

/// The padded copy of an input, and the vectors and taps with which outputs read it.
pub(super) struct Padded<'a> {
    pub(super) copy: Source<'a>,
    pub(super) layout: Layout,
    pub(super) sweep: Sweep,
    pub(super) taps: Vec<usize>,
}

impl<'a> Padded<'a> {
    pub(super) fn new(level: Level, conv: &Conv, x: &'a [f32]) -> Self {
        let size = conv.out_size();
        let spatial = size.iter().product();
        if conv.pointwise() && spatial >= level.lanes() {
            let layout = Layout::plain(conv.batch, conv.in_channels, spatial);
            return Self {
                copy: Source::Plain(x),
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
        let frame = Frame::tight(size, conv.out_channels);
        let sweep = Sweep::new(level.lanes(), &layout, size, &frame, 0);
        let taps = positions(conv.kernel).map(|tap| layout.tap(tap)).collect();
        let copy = layout.copy(x, conv.in_size, conv.padding.map(|p| p as isize), conv.mode);
        Self {
            copy: Source::Copy(copy),
            layout,
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
    if way == Way::Columns {
        return columns::forward(level, conv, x, w, bias, y);
    }
    let weight = |out: usize, channel: usize| {
        &w[(out * conv.in_channels + channel) * conv.taps()..][..conv.taps()]
    };
    if way == Way::Winograd {
        return Winograd::forward(conv).run(level, x, weight, false, bias, y);
    }
    let blocks = blocks(level, conv.out_channels);
    let order: Vec<usize> = (0..conv.taps()).collect();
    let padded = Padded::new(level, conv, x);
    let weights = pack(&blocks, conv.in_channels, &order, weight);
    Correlation {
        source: &padded.copy,
        in_channels: conv.in_channels,
        channel_stride: padded.layout.channel_stride(),
        window: padded.layout.window(conv.kernel),
        taps: &padded.taps,
        sweep: &padded.sweep,
        weights: &weights,
        blocks: &blocks,
        bias,
        out_stride: conv.out_size().iter().product(),
    }
    .run(level, y);
}
