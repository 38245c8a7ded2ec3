//! What a stretch of outputs reads of one channel: its window.

use super::pad::{Layout, SLACK, place};
use super::{Conv, Padding, positions};
use std::ops::Range;

/// How outputs read inputs: along every axis output `o` reads, under tap `t`, input element
/// `stride o + t - before`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) in_size: [usize; 3],
    pub(super) out_size: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) before: [isize; 3],
    pub(super) mode: Padding,
}

impl Reading {
    pub(super) fn forward(conv: &Conv) -> Self {
        Self {
            in_size: conv.in_size,
            out_size: conv.out_size(),
            kernel: conv.kernel,
            stride: conv.stride,
            before: conv.padding.map(|p| p as isize),
            mode: conv.mode,
        }
    }

    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Elements of a channel of the input.
    pub(super) fn in_spatial(&self) -> usize {
        self.in_size.iter().product()
    }

    /// Outputs of a channel.
    pub(super) fn out_spatial(&self) -> usize {
        self.out_size.iter().product()
    }

    /// All outputs in stretches of about `most`, a multiple of `width` where that can be.
    pub(super) fn stretches(&self, batch: usize, most: usize, width: usize) -> Vec<Stretch> {
        let [depth, rows, cols] = self.out_size;
        // Whole planes where more than one is wanted, else rows.
        let even = |count: usize, len: usize| {
            let wanted = (most / len).clamp(1, count);
            let waste = |n: usize| ((n * len).next_multiple_of(width) - n * len) as f64 / n as f64;
            (wanted.div_ceil(2)..=wanted)
                .rev()
                .min_by(|&a, &b| waste(a).total_cmp(&waste(b)))
                .unwrap_or(wanted)
        };
        let (planes, lines) = if rows * cols * 2 <= most {
            (even(depth, rows * cols), rows)
        } else {
            (1, even(rows, cols))
        };
        let cut = |n: usize, step: usize| {
            (0..n)
                .step_by(step)
                .map(move |first| first..(first + step).min(n))
        };
        let mut stretches = Vec::new();
        for sample in 0..batch {
            for planes in cut(depth, planes) {
                for rows in cut(rows, lines) {
                    let planes = planes.clone();
                    stretches.push(Stretch {
                        sample,
                        planes,
                        rows,
                        cols,
                    });
                }
            }
        }
        stretches
    }
}

/// Some rows of a plane of outputs, or some planes: neighbours in memory.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) sample: usize,
    pub(super) planes: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) cols: usize,
}

impl Stretch {
    pub(super) fn len(&self) -> usize {
        self.planes.len() * self.rows.len() * self.cols
    }

    /// The place of the first output in a channel with `rows` rows a plane.
    pub(super) fn first(&self, rows: usize) -> usize {
        (self.planes.start * rows + self.rows.start) * self.cols
    }
}

/// A line of a window that is read.
struct Line {
    /// Where it begins; its odd columns lie a phase further.
    at: usize,
    /// Where its source begins in a channel; `None`: zeros.
    from: Option<usize>,
}

/// The window of a stretch: a padded copy of the rows it reads, split by parity as in `pad`.
pub(super) struct Window {
    reading: Reading,
    layout: Layout,
    /// Outputs of the stretch.
    size: [usize; 3],
    lines: Vec<Line>,
    /// Columns, of either parity, that are neighbours in the source, which begin at column `skip`.
    inner: Range<usize>,
    skip: usize,
    /// The other columns: where each lies from the start of its line, and its column in the source.
    border: Vec<(usize, Option<usize>)>,
}

impl Window {
    pub(super) fn new(reading: &Reading, stretch: &Stretch) -> Self {
        let Reading {
            kernel,
            stride,
            before,
            in_size,
            mode,
            ..
        } = *reading;
        let size = [stretch.planes.len(), stretch.rows.len(), stretch.cols];
        let first = [stretch.planes.start, stretch.rows.start, 0];
        let layout = Layout {
            batch: 1,
            channels: 1,
            stride,
            size: [0, 1, 2].map(|i| size[i] - 1 + kernel[i].div_ceil(stride[i])),
            planes: true,
        };
        let source = |axis: usize, u: usize| {
            let u = (first[axis] * stride[axis] + u) as isize;
            place(u - before[axis], in_size[axis], mode)
        };
        let read = [0, 1].map(|i| (size[i] - 1) * stride[i] + kernel[i]);
        let mut lines = Vec::with_capacity(read[0] * read[1]);
        for u in 0..read[0] {
            let plane = source(0, u);
            for v in 0..read[1] {
                let from = plane.zip(source(1, v));
                lines.push(Line {
                    at: layout.tap([u, v, 0]),
                    from: from.map(|(plane, row)| (plane * in_size[1] + row) * in_size[2]),
                });
            }
        }
        let (step, cols) = (stride[2] as isize, layout.size[2]);
        let lo = (before[2].max(0) as usize).div_ceil(stride[2]).min(cols);
        let skip = (step * lo as isize - before[2]).max(0) as usize;
        let hi = cols.min(lo + in_size[2].saturating_sub(skip) / stride[2]);
        let outer = (0..lo).chain(hi..cols);
        let border = outer.flat_map(|v| (stride[2] * v..stride[2] * (v + 1)).map(move |w| (w, v)));
        Self {
            reading: *reading,
            size,
            lines,
            inner: lo..hi,
            skip,
            border: border
                .map(|(w, v)| (w % stride[2] * layout.phase_stride() + v, source(2, w)))
                .collect(),
            layout,
        }
    }

    /// Elements of a channel's window, with room for a vector more.
    pub(super) fn len(&self) -> usize {
        self.layout.channel_len() + SLACK
    }

    /// Where the taps lie from the place of an output, row-major.
    pub(super) fn taps(&self) -> Vec<usize> {
        positions(self.reading.kernel)
            .map(|tap| self.layout.tap(tap))
            .collect()
    }

    /// Where every line of outputs reads its first tap.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> {
        let [planes, rows, _] = self.size;
        let (depth, row) = (self.layout.depth_stride(), self.layout.row_stride());
        (0..planes).flat_map(move |a| (0..rows).map(move |b| a * depth + b * row))
    }

    /// The window of a channel `x`. What no tap of an output reads holds any value.
    #[inline(always)]
    pub(super) fn fill(&self, x: &[f32], to: &mut [f32]) {
        let (cols, phase) = (self.layout.size[2], self.layout.phase_stride());
        let in_cols = self.reading.in_size[2];
        let len = self.inner.len();
        for line in &self.lines {
            let to = &mut to[line.at..];
            if self.reading.stride[2] == 1 {
                let Some(from) = line.from else {
                    to[..cols].fill(0.0);
                    continue;
                };
                let from = &x[from..][..in_cols];
                if len > 0 {
                    to[self.inner.clone()].copy_from_slice(&from[self.skip..][..len]);
                }
                for &(at, column) in &self.border {
                    to[at] = column.map_or(0.0, |column| from[column]);
                }
                continue;
            }
            let (even, odd) = to.split_at_mut(phase);
            let (even, odd) = (&mut even[..cols], &mut odd[..cols]);
            let Some(from) = line.from else {
                even.fill(0.0);
                odd.fill(0.0);
                continue;
            };
            let from = &x[from..][..in_cols];
            if len > 0 {
                let (pairs, _) = from[self.skip..][..2 * len].as_chunks::<2>();
                let even = &mut even[self.inner.clone()];
                let odd = &mut odd[self.inner.clone()];
                for ((even, odd), pair) in even.iter_mut().zip(odd).zip(pairs) {
                    *even = pair[0];
                    *odd = pair[1];
                }
            }
            for &(at, column) in &self.border {
                let to = if at < phase {
                    &mut even[at]
                } else {
                    &mut odd[at - phase]
                };
                *to = column.map_or(0.0, |column| from[column]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tap of every output of every stretch reads the element of the definition.
    #[test]
    fn a_window_holds_what_its_outputs_read() {
        for mode in [Padding::Zero, Padding::Reflect, Padding::Replicate] {
            for (stride, kernel, before, out_size) in [
                ([1, 2, 2], [1, 3, 4], [0, 1, 1], [2, 4, 5]),
                ([2, 1, 2], [3, 2, 3], [1, 0, 2], [2, 5, 6]),
                ([1, 1, 1], [2, 3, 3], [1, -1, -1], [3, 4, 4]),
                ([2, 2, 1], [1, 1, 7], [2, 0, 3], [3, 3, 9]),
            ] {
                let reading = Reading {
                    in_size: [3, 7, 9],
                    out_size,
                    kernel,
                    stride,
                    before,
                    mode,
                };
                let x: Vec<f32> = (1..=3 * 7 * 9).map(|i| i as f32).collect();
                for stretch in reading.stretches(1, 24, 8) {
                    let window = Window::new(&reading, &stretch);
                    let mut copy = vec![f32::NAN; window.len()];
                    window.fill(&x, &mut copy);
                    let taps = window.taps();
                    let lines = stretch.planes.flat_map(|plane| {
                        let rows = stretch.rows.clone();
                        rows.map(move |row| [plane, row])
                    });
                    for ([plane, row], start) in lines.zip(window.starts()) {
                        for column in 0..stretch.cols {
                            for (tap, offset) in positions(kernel).zip(&taps) {
                                let out = [plane, row, column];
                                let at = [0, 1, 2].map(|i| {
                                    let u = (out[i] * stride[i] + tap[i]) as isize;
                                    place(u - before[i], reading.in_size[i], mode)
                                });
                                let expected = match at {
                                    [Some(u), Some(v), Some(w)] => x[(u * 7 + v) * 9 + w],
                                    _ => 0.0,
                                };
                                assert_eq!(copy[start + column + offset], expected);
                            }
                        }
                    }
                }
            }
        }
    }
}
