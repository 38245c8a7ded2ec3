//! The padded copy of the input, split by parity where the stride is 2.
//!
//! Padded element (u, v) of a channel lies in phase (u mod s, v mod s) at (u div s, v div s), s
//! being the stride: then an output (i, j) reads tap (a, b) at (i + a div s, j + b div s) of one
//! phase, and neighbouring outputs read neighbouring elements, whatever the stride.
//!
//! Two orders in memory. `Rows`: `[sample][row][channel][phase][column]`, so that what one row of
//! outputs needs lies together; a vector must stay within its row. `Planes`:
//! `[sample][channel][phase][row][column]`, where a vector may run on into the next row, which
//! wastes less when rows are shorter than a vector.

use super::Padding;
use crate::scratch::Scratch;
use crate::threads;
use rayon::prelude::*;

/// Elements after the last one that a vector may read.
const SLACK: usize = 32;

/// How a padded copy lies in memory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) stride: usize,
    /// Rows and columns of one phase.
    pub(super) size: [usize; 2],
    /// `Planes` order.
    pub(super) planes: bool,
}

impl Layout {
    pub(super) fn sample_stride(&self) -> usize {
        self.channels * self.channel_len()
    }

    fn channel_len(&self) -> usize {
        self.stride * self.stride * self.size[0] * self.size[1]
    }

    pub(super) fn channel_stride(&self) -> usize {
        if self.planes {
            self.channel_len()
        } else {
            self.stride * self.stride * self.size[1]
        }
    }

    pub(super) fn row_stride(&self) -> usize {
        if self.planes {
            self.size[1]
        } else {
            self.channels * self.channel_stride()
        }
    }

    fn phase_stride(&self) -> usize {
        if self.planes {
            self.size[0] * self.size[1]
        } else {
            self.size[1]
        }
    }

    /// Where tap (a, b) lies from the place of its output.
    pub(super) fn tap(&self, a: usize, b: usize) -> usize {
        let s = self.stride;
        (a % s * s + b % s) * self.phase_stride() + a / s * self.row_stride() + b / s
    }

    /// The padded copy of `x`, `[batch][channel]` images of `from` elements, `before[axis]` padded
    /// elements (negative: cropped) preceding the first.
    pub(super) fn copy(
        &self,
        x: &[f32],
        from: [usize; 2],
        before: [isize; 2],
        mode: Padding,
    ) -> Scratch {
        let total = self.batch * self.sample_stride();
        let mut copy = Scratch::take(total + SLACK);
        copy[total..].fill(0.0);
        let s = self.stride;
        let line = s * self.size[1];
        let image = from[0] * from[1];
        let source = |sample: usize, channel: usize, u: usize| {
            let row = place(u as isize - before[0], from[0], mode)?;
            Some(&x[(sample * self.channels + channel) * image + row * from[1]..][..from[1]])
        };
        let body = &mut copy[..total];
        if self.planes {
            let phase = self.phase_stride();
            let chunk = self.channel_len();
            let least = threads::least(chunk);
            body.par_chunks_mut(chunk)
                .with_min_len(least)
                .enumerate()
                .for_each(|(i, plane)| {
                    let (sample, channel) = (i / self.channels, i % self.channels);
                    for (parity, half) in plane.chunks_mut(s * phase).enumerate() {
                        let (even, odd) = half.split_at_mut(phase);
                        for row in 0..self.size[0] {
                            let at = row * self.size[1]..(row + 1) * self.size[1];
                            let source = source(sample, channel, row * s + parity);
                            let odd = if s == 2 {
                                &mut odd[at.clone()]
                            } else {
                                &mut []
                            };
                            fill(&mut even[at], odd, source, before[1], mode);
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
                    let (sample, row) = (i / self.size[0], i % self.size[0]);
                    for (j, line) in lines.chunks_mut(line).enumerate() {
                        let (channel, parity) = (j / s, j % s);
                        let (even, odd) = line.split_at_mut(self.size[1]);
                        fill(
                            even,
                            odd,
                            source(sample, channel, row * s + parity),
                            before[1],
                            mode,
                        );
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

    /// Both orders, both strides, cropping and every width against the definition.
    #[test]
    fn a_copy_holds_every_padded_element_at_its_place() {
        for mode in [Padding::Zero, Padding::Reflect, Padding::Replicate] {
            for (planes, stride, before) in [
                (false, 1, 2),
                (true, 1, 3),
                (false, 2, 1),
                (true, 2, 2),
                (true, 1, -1),
            ] {
                let from = [4, 7];
                let layout = Layout {
                    batch: 2,
                    channels: 3,
                    stride,
                    size: [5, 6],
                    planes,
                };
                let x: Vec<f32> = (1..=2 * 3 * 28).map(|i| i as f32).collect();
                let copy = layout.copy(&x, from, [before, before], mode);
                for (sample, channel) in [(0, 0), (1, 2)] {
                    for (u, v) in [(0, 0), (1, 2), (3, 1), (4, 5), (2, 4)] {
                        let expected = place(u as isize - before, 4, mode)
                            .zip(place(v as isize - before, 7, mode))
                            .map_or(0.0, |(i, j)| x[(sample * 3 + channel) * 28 + i * 7 + j]);
                        let at = sample * layout.sample_stride()
                            + channel * layout.channel_stride()
                            + layout.tap(u, v);
                        assert_eq!(copy[at], expected, "{layout:?} {mode:?} {u} {v}");
                    }
                }
            }
        }
    }
}
