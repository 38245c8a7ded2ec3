//! The forward pass.

use super::Conv2d;
use super::correlate::Correlation;
use super::pack::{blocks, pack};
use super::pad::Layout;
use super::sweep::{Frame, Sweep};
use crate::scratch::Scratch;
use crate::simd::Level;

/// The padded copy of an input, and the vectors and taps with which outputs read it.
pub(super) struct Padded {
    pub(super) copy: Scratch,
    pub(super) layout: Layout,
    pub(super) sweep: Sweep,
    pub(super) taps: Vec<usize>,
}

impl Padded {
    pub(super) fn new(level: Level, conv: &Conv2d, x: &[f32]) -> Self {
        let size = conv.out_size();
        let phase = [0, 1].map(|i| size[i] - 1 + conv.kernel[i].div_ceil(conv.stride));
        let layout = Layout {
            batch: conv.batch,
            channels: conv.in_channels,
            stride: conv.stride,
            size: phase,
            planes: Sweep::prefers_planes(level.lanes(), size, phase[1]),
        };
        let frame = Frame::tight(size, conv.out_channels);
        let sweep = Sweep::new(level.lanes(), &layout, size, &frame, 0);
        let mut taps = Vec::with_capacity(conv.taps());
        for a in 0..conv.kernel[0] {
            taps.extend((0..conv.kernel[1]).map(|b| layout.tap(a, b)));
        }
        let copy = layout.copy(x, conv.in_size, [conv.padding as isize; 2], conv.mode);
        Self {
            copy,
            layout,
            sweep,
            taps,
        }
    }
}

pub(super) fn forward(
    level: Level,
    conv: &Conv2d,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    if y.is_empty() {
        return;
    }
    let [rows, cols] = conv.out_size();
    let blocks = blocks(level, conv.out_channels);
    let order: Vec<usize> = (0..conv.taps()).collect();
    let padded = Padded::new(level, conv, x);
    let weights = pack(&blocks, conv.in_channels, &order, |out, channel| {
        &w[(out * conv.in_channels + channel) * conv.taps()..][..conv.taps()]
    });
    Correlation {
        source: &padded.copy,
        in_channels: conv.in_channels,
        channel_stride: padded.layout.channel_stride(),
        taps: &padded.taps,
        sweep: &padded.sweep,
        weights: &weights,
        blocks: &blocks,
        bias,
        out_stride: rows * cols,
    }
    .run(level, y);
}
