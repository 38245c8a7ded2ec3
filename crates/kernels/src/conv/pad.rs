//! The padded copy of the input, split by parity along every axis where the stride is 2.
//!
//! Padded element u of an axis lies in phase u mod s at u div s, s being the stride: then output i
//! reads tap a at i + a div s of one phase, and neighbouring outputs read neighbouring elements,
//! whatever the stride. The phases of the three axes together are numbered row-major.
//!
//! Two orders in memory. `Rows`: `[sample][depth][row][channel][phase][column]`, so that what one
//! row of outputs needs lies together; a vector must stay within its row. `Planes`:
//! `[sample][channel][phase][depth][row][column]`, where a vector may run on into the next row,
//! which wastes less when rows are shorter than a vector.

use super::Padding;
use crate::scratch::Scratch;
use crate::threads;
use rayon::prelude::*;
use std::ops::Deref;

/// Elements after the last one that a vector may read.
pub(super) const SLACK: usize = 32;

/// What a pass reads: a padded copy, or, where nothing is padded or moved, the input itself.
pub(super) enum Source<'a> {
    Copy(Scratch),
    Plain(&'a [f32]),
}

impl Deref for Source<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Copy(copy) => copy,
            Self::Plain(input) => input,
        }
    }
}

/// How a padded copy lies in memory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) stride: [usize; 3],
    /// Depth, rows and columns of one phase.
    pub(super) size: [usize; 3],
    /// `Planes` order.
    pub(super) planes: bool,
}

impl Layout {
    /// The input of a kernel of one element as it lies: `spatial` elements a channel.
    pub(super) fn plain(batch: usize, channels: usize, spatial: usize) -> Self {
        Self {
            batch,
            channels,
            stride: [1; 3],
            size: [1, 1, spatial],
            planes: true,
        }
    }

    fn phases(&self) -> usize {
        self.stride.iter().product()
    }

    pub(super) fn sample_stride(&self) -> usize {
        self.channels * self.channel_len()
    }

    pub(super) fn channel_len(&self) -> usize {
        self.phases() * self.size.iter().product::<usize>()
    }

    pub(super) fn channel_stride(&self) -> usize {
        if self.planes {
            self.channel_len()
        } else {
            self.phases() * self.size[2]
        }
    }

    pub(super) fn row_stride(&self) -> usize {
        if self.planes {
            self.size[2]
        } else {
            self.channels * self.channel_stride()
        }
    }

    pub(super) fn depth_stride(&self) -> usize {
        self.size[1] * self.row_stride()
    }

    pub(super) fn phase_stride(&self) -> usize {
        if self.planes {
            self.size.iter().product()
        } else {
            self.size[2]
        }
    }

    /// Elements of a channel that a row of outputs reads under a kernel.
    pub(super) fn window(&self, kernel: [usize; 3]) -> usize {
        kernel[0] * kernel[1] * self.stride[2] * self.size[2]
    }

    /// Where a tap lies from the place of its output.
    pub(super) fn tap(&self, [a, b, c]: [usize; 3]) -> usize {
        let [r, s, t] = self.stride;
        let phase = (a % r * s + b % s) * t + c % t;
        phase * self.phase_stride()
            + a / r * self.depth_stride()
            + b / s * self.row_stride()
            + c / t
    }

    /// The padded copy of `x`, `[batch][channel]` images of `from` elements, `before[axis]` padded
    /// elements (negative: cropped) preceding the first.
    pub(super) fn copy(
        &self,
        x: &[f32],
        from: [usize; 3],
        before: [isize; 3],
        mode: Padding,
    ) -> Scratch {
        let total = self.batch * self.sample_stride();
        let mut copy = Scratch::take(total + SLACK);
        copy[total..].fill(0.0);
        if total == 0 {
            return copy;
        }
        let [r, s, t] = self.stride;
        let [_, rows, cols] = self.size;
        let source = |sample: usize, channel: usize, u: usize, v: usize| {
            let plane = place(u as isize - before[0], from[0], mode)?;
            let row = place(v as isize - before[1], from[1], mode)?;
            let start = ((sample * self.channels + channel) * from[0] + plane) * from[1] + row;
            Some(&x[start * from[2]..][..from[2]])
        };
        let body = &mut copy[..total];
        if self.planes {
            let phase = self.phase_stride();
            let chunk = self.channel_len();
            let least = threads::least(chunk);
            body.par_chunks_mut(chunk)
                .with_min_len(least)
                .enumerate()
                .for_each(|(i, volume)| {
                    let (sample, channel) = (i / self.channels, i % self.channels);
                    for (parity, half) in volume.chunks_mut(t * phase).enumerate() {
                        let (even, odd) = half.split_at_mut(phase);
                        for line in 0..self.size[0] * rows {
                            let (plane, row) = (line / rows, line % rows);
                            let at = line * cols..(line + 1) * cols;
                            let u = plane * r + parity / s;
                            let source = source(sample, channel, u, row * s + parity % s);
                            let odd = if t == 2 {
                                &mut odd[at.clone()]
                            } else {
                                &mut []
                            };
                            fill(&mut even[at], odd, source, before[2], mode);
                        }
                    }
                });
        } else {
            let chunk = self.row_stride();
            let least = threads::least(chunk);
            body.par_chunks_mut(chunk)
                .with_min_len(least)
                .enumerate()
                .for_each(|(i, lines)| {
                    let (sample, line) = (i / (self.size[0] * rows), i % (self.size[0] * rows));
                    let (plane, row) = (line / rows, line % rows);
                    for (j, line) in lines.chunks_mut(t * cols).enumerate() {
                        let (channel, parity) = (j / (r * s), j % (r * s));
                        let (even, odd) = line.split_at_mut(cols);
                        let u = plane * r + parity / s;
                        let source = source(sample, channel, u, row * s + parity % s);
                        fill(even, odd, source, before[2], mode);
                    }
                });
        }
        copy
    }
}

/// Fills one padded row: all of it into `even`, or by parity into both where `odd` is not empty.
fn fill(even: &mut [f32], odd: &mut [f32], source: Option<&[f32]>, before: isize, mode: Padding) {
    let Some(source) = source else {
        even.fill(0.0);
        odd.fill(0.0);
        return;
    };
    let n = source.len();
    let at = |v: usize| place(v as isize - before, n, mode).map_or(0.0, |i| source[i]);
    if odd.is_empty() {
        // Columns lo..hi are source elements from `skip` on.
        let lo = before.clamp(0, even.len() as isize) as usize;
        let skip = (-before).max(0) as usize;
        let hi = even.len().min(lo + n.saturating_sub(skip));
        (0..lo).for_each(|v| even[v] = at(v));
        if hi > lo {
            even[lo..hi].copy_from_slice(&source[skip..][..hi - lo]);
        }
        (hi..even.len()).for_each(|v| even[v] = at(v));
    } else {
        // Pairs lo..hi lie wholly within the source, from `skip` on.
        let lo = (before.max(0) as usize).div_ceil(2).min(even.len());
        let skip = (2 * lo as isize - before).max(0) as usize;
        let hi = even.len().min(lo + n.saturating_sub(skip) / 2);
        for v in (0..lo).chain(hi..even.len()) {
            even[v] = at(2 * v);
            odd[v] = at(2 * v + 1);
        }
        if hi > lo {
            let (pairs, _) = source[skip..].as_chunks::<2>();
            for ((e, o), pair) in even[lo..hi].iter_mut().zip(&mut odd[lo..hi]).zip(pairs) {
                *e = pair[0];
                *o = pair[1];
            }
        }
    }
}

/// The element of 0..n that stands at `i`, which may lie outside; `None` where that is a zero.
pub(super) fn place(i: isize, n: usize, mode: Padding) -> Option<usize> {
    if (0..n as isize).contains(&i) {
        return Some(i as usize);
    }
    match mode {
        Padding::Zero => None,
        Padding::Replicate => Some(i.clamp(0, n as isize - 1) as usize),
        Padding::Reflect if n == 1 => Some(0),
        Padding::Reflect => {
            // Mirrored again and again: padding may be wider than the image.
            let period = 2 * (n as isize - 1);
            let i = i.rem_euclid(period);
            Some(i.min(period - i) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_outside_follow_the_mode() {
        let row = |mode| (-3..6).map(|i| place(i, 3, mode)).collect::<Vec<_>>();
        let some = |v: [usize; 9]| v.map(Some).to_vec();
        assert_eq!(row(Padding::Reflect), some([1, 2, 1, 0, 1, 2, 1, 0, 1]));
        assert_eq!(row(Padding::Replicate), some([0, 0, 0, 0, 1, 2, 2, 2, 2]));
        assert_eq!(
            row(Padding::Zero)[2..7],
            [None, Some(0), Some(1), Some(2), None]
        );
    }

    /// Both orders, every mix of strides, cropping and every width against the definition.
    #[test]
    fn a_copy_holds_every_padded_element_at_its_place() {
        for mode in [Padding::Zero, Padding::Reflect, Padding::Replicate] {
            for (planes, stride, before) in [
                (false, [1, 1, 1], 2),
                (true, [1, 1, 1], 3),
                (false, [1, 2, 2], 1),
                (true, [2, 2, 2], 2),
                (false, [2, 1, 2], 1),
                (true, [1, 1, 1], -1),
            ] {
                let from = [3, 4, 7];
                let layout = Layout {
                    batch: 2,
                    channels: 3,
                    stride,
                    size: [4, 5, 6],
                    planes,
                };
                let x: Vec<f32> = (1..=2 * 3 * 84).map(|i| i as f32).collect();
                let copy = layout.copy(&x, from, [before; 3], mode);
                for (sample, channel) in [(0, 0), (1, 2)] {
                    for tap in [[0, 0, 0], [1, 1, 2], [2, 3, 1], [3, 4, 5], [1, 2, 4]] {
                        let at = [0, 1, 2].map(|i| place(tap[i] as isize - before, from[i], mode));
                        let expected = match at {
                            [Some(u), Some(v), Some(w)] => {
                                x[(sample * 3 + channel) * 84 + (u * 4 + v) * 7 + w]
                            }
                            _ => 0.0,
                        };
                        let at = sample * layout.sample_stride()
                            + channel * layout.channel_stride()
                            + layout.tap(tap);
                        assert_eq!(copy[at], expected, "{layout:?} {mode:?} {tap:?}");
                    }
                }
            }
        }
    }
}
