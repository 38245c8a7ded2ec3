//! The passes over the planes.
//!
//! 1. For each row of windows of each slice: blur along rows, then columns, into four fields.
//! 2. For each row of windows: blur along depth; similarity, and what the gradient needs.
//! 3. For the gradient: the adjoint along depth, then along rows and columns.
//!
//! With S the similarity of a window, A1 A2 / (B1 B2) its factors, and sums E of u² + v² and F of
//! u v: e = dS/dE = -S / B2, f = dS/dF = 2 A1 / (B1 B2), and along the mean of u
//! a = 2 my A2 / (B1 B2) - 2 mx S / B1 - f mean(v) - 2 e mean(u). The gradient at an element is the
//! weighted sum of `a + 2 e u + f v` over the windows that hold it. For v likewise.

use super::Ssim;
use super::blur::{meeting, moments, weighted};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Lanes, Level};
use crate::{sums, threads};
use rayon::prelude::*;

pub(super) fn mean(level: Level, of: &Ssim, x: &[f32], y: &[f32]) -> f64 {
    let pass = Pass::new(level, of, x, y);
    let blurred = pass.blur_slices();
    pass.similarity(&blurred, 0.0, 0, &mut [])
}

pub(super) fn gradient(
    level: Level,
    of: &Ssim,
    x: &[f32],
    y: &[f32],
    scale: f32,
    dx: &mut [f32],
    dy: Option<&mut [f32]>,
) -> f64 {
    let pass = Pass::new(level, of, x, y);
    assert!(
        dx.len() == x.len() && dy.as_ref().is_none_or(|dy| dy.len() == x.len()),
        "a gradient per element"
    );
    let fields = if dy.is_some() { 4 } else { 3 };
    let mut blurred = pass.blur_slices();
    let [depth, rows, cols] = pass.windows;
    let mut slopes = Scratch::take(of.planes * depth * rows * fields * cols);
    let mean = pass.similarity(&blurred, scale, fields, &mut slopes);
    let spread = if of.window[0] == 1 {
        &slopes
    } else {
        pass.spread_depth(&slopes, fields, &mut blurred);
        &blurred
    };
    pass.spread_slices(spread, fields, 0, dx);
    if let Some(dy) = dy {
        pass.spread_slices(spread, fields, 1, dy);
    }
    mean
}

struct Pass<'a> {
    level: Level,
    of: &'a Ssim,
    images: [&'a [f32]; 2],
    windows: [usize; 3],
    weights: [Vec<f32>; 3],
    /// Of each plane: the means of both images, subtracted from them.
    centres: Vec<[f32; 2]>,
}

impl<'a> Pass<'a> {
    fn new(level: Level, of: &'a Ssim, x: &'a [f32], y: &'a [f32]) -> Self {
        of.check(x.len(), y.len());
        let windows = of.windows();
        let plane = of.size.iter().product::<usize>();
        let centre = |image: &[f32], p: usize| {
            let total = sums::of_chunks(plane, |at| {
                level.run(Sum(&image[p * plane + at.start..][..at.len()]))
            });
            (total / plane as f64) as f32
        };
        Self {
            level,
            of,
            images: [x, y],
            windows,
            weights: [0, 1, 2].map(|axis| of.weights(axis)),
            centres: (0..of.planes)
                .map(|p| [x, y].map(|image| centre(image, p)))
                .collect(),
        }
    }

    /// Four fields `[plane][slice][row of windows][field][column of windows]`, blurred along rows
    /// and columns but not along depth.
    fn blur_slices(&self) -> Scratch {
        let [depth, _, cols] = self.of.size;
        let [_, high, wide] = self.windows;
        let slice = self.of.size[1] * cols;
        let mut blurred = Scratch::take(self.of.planes * depth * high * 4 * wide);
        blurred
            .par_chunks_mut(4 * wide)
            .with_min_len(threads::least(8 * cols))
            .enumerate()
            .for_each_init(
                || vec![0.0; 4 * cols],
                |lines, (i, out)| {
                    let start = i / high * slice + i % high * cols;
                    self.level.run(Blur {
                        images: self.images.map(|image| &image[start..]),
                        weights: [&self.weights[1], &self.weights[2]],
                        centres: self.centres[i / high / depth],
                        lines,
                        out,
                    });
                },
            );
        blurred
    }

    /// The mean similarity; the gradient's `fields` for all windows go to `slopes`, which is empty
    /// where there are none.
    fn similarity(&self, blurred: &[f32], scale: f32, fields: usize, slopes: &mut [f32]) -> f64 {
        let [deep, high, wide] = self.windows;
        let count = self.of.planes * deep * high;
        let share = f64::from(scale) / (count * wide) as f64;
        let constant = |k: f64| (k * f64::from(self.of.range)).powi(2) as f32;
        let row = |lines: &mut Vec<f32>, i: usize, slopes: &mut [f32]| {
            let (plane, rest) = (i / (deep * high), i % (deep * high));
            let start = (plane * self.of.size[0] * high + rest) * 4 * wide;
            self.level.run(Similarity {
                blurred: &blurred[start..],
                stride: high * 4 * wide,
                weights: &self.weights[0],
                constants: [constant(0.01), constant(0.03)],
                centres: self.centres[plane],
                share: share as f32,
                fields,
                lines,
                slopes,
            })
        };
        let lines = || vec![0.0; 5 * wide];
        let least = threads::least(8 * wide);
        let totals: Vec<f64> = if slopes.is_empty() {
            (0..count)
                .into_par_iter()
                .with_min_len(least)
                .map_init(lines, |lines, i| row(lines, i, &mut []))
                .collect()
        } else {
            slopes
                .par_chunks_mut(fields * wide)
                .with_min_len(least)
                .enumerate()
                .map_init(lines, |lines, (i, slopes)| row(lines, i, slopes))
                .collect()
        };
        totals.iter().sum::<f64>() / (count * wide) as f64
    }

    /// The adjoint of the blur along depth: `out` is `[plane][slice][row of windows][field]..`.
    fn spread_depth(&self, slopes: &[f32], fields: usize, out: &mut [f32]) {
        let [deep, high, wide] = self.windows;
        let depth = self.of.size[0];
        let line = fields * wide;
        out[..self.of.planes * depth * high * line]
            .par_chunks_mut(line)
            .with_min_len(threads::least(8 * line))
            .enumerate()
            .for_each(|(i, out)| {
                let (plane, slice, row) = (i / high / depth, i / high % depth, i % high);
                let (first, weights) = meeting(slice, deep, &self.weights[0]);
                let start = ((plane * deep + first) * high + row) * line;
                self.level.run(Along {
                    source: &slopes[start..],
                    stride: high * line,
                    weights,
                    out,
                });
            });
    }

    /// The adjoint of the blur along rows and columns, and the gradient to image `which`.
    fn spread_slices(&self, slopes: &[f32], fields: usize, which: usize, out: &mut [f32]) {
        let [depth, rows, cols] = self.of.size;
        let [_, high, wide] = self.windows;
        let line = fields * wide;
        let edge = self.of.window[2] - 1;
        let own_first = [which, 1 - which];
        out.par_chunks_mut(cols)
            .with_min_len(threads::least(16 * cols))
            .enumerate()
            .for_each_init(
                || {
                    [
                        vec![0.0; line],
                        vec![0.0; wide + 2 * edge],
                        vec![0.0; 3 * cols],
                    ]
                },
                |buffers, (i, out)| {
                    let (first, weights) = meeting(i % rows, high, &self.weights[1]);
                    self.level.run(Spread {
                        slopes: &slopes[(i / rows * high + first) * line..],
                        weights: [weights, &self.weights[2]],
                        fields: [0, 1, 2 + which],
                        images: own_first.map(|image| &self.images[image][i * cols..][..cols]),
                        centres: own_first.map(|image| self.centres[i / rows / depth][image]),
                        buffers,
                        out,
                    });
                },
            );
    }
}

struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes>(self) -> f64 {
        sums::of_pairs(self.0, self.0, |v, _| v)
    }
}

/// A row of windows of a slice.
struct Blur<'a> {
    images: [&'a [f32]; 2],
    weights: [&'a [f32]; 2],
    centres: [f32; 2],
    lines: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for Blur<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let [rows, columns] = self.weights;
        let (cols, wide) = (self.lines.len() / 4, self.out.len() / 4);
        moments(self.images, cols, rows, self.centres, self.lines);
        for (line, out) in self.lines.chunks(cols).zip(self.out.chunks_mut(wide)) {
            weighted(line, 1, columns, out);
        }
    }
}

/// Blur along one axis.
struct Along<'a> {
    source: &'a [f32],
    stride: usize,
    weights: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Along<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        weighted(self.source, self.stride, self.weights, self.out);
    }
}

/// The factors of the similarity of a window.
struct Factors {
    means: [f32; 2],
    /// A1 and A2.
    a: [f32; 2],
    /// 1 / B1 and 1 / B2.
    b: [f32; 2],
}

impl Factors {
    /// From the window's means less `centres`, and its E and F.
    #[inline(always)]
    fn new([c1, c2]: [f32; 2], centres: [f32; 2], [u, v, e, f]: [f32; 4]) -> Self {
        let (mx, my) = (u + centres[0], v + centres[1]);
        let variances = e - (u * u + v * v);
        let variances = if variances < 0.0 { 0.0 } else { variances };
        Self {
            means: [mx, my],
            a: [2.0 * mx * my + c1, 2.0 * (f - u * v) + c2],
            b: [1.0 / (mx * mx + my * my + c1), 1.0 / (variances + c2)],
        }
    }

    #[inline(always)]
    fn similarity(&self) -> f32 {
        (self.a[0] * self.b[0]) * (self.a[1] * self.b[1])
    }

    /// `share` times e, f, and a along the mean of u and of v.
    #[inline(always)]
    fn slopes(&self, u: f32, v: f32, share: f32) -> [f32; 4] {
        let Self { means, a, b } = self;
        let s = self.similarity() * share;
        let inverse = b[0] * b[1] * share;
        let (e, f) = (-s * b[1], 2.0 * a[0] * inverse);
        let (far, near) = (2.0 * a[1] * inverse, 2.0 * s * b[0]);
        [
            e,
            f,
            (far * means[1] - near * means[0]) - (f * v + 2.0 * e * u),
            (far * means[0] - near * means[1]) - (f * u + 2.0 * e * v),
        ]
    }
}

/// A row of windows: the sum of the similarities, and e, f, a (and that of the second image).
struct Similarity<'a> {
    blurred: &'a [f32],
    stride: usize,
    weights: &'a [f32],
    constants: [f32; 2],
    centres: [f32; 2],
    share: f32,
    fields: usize,
    lines: &'a mut [f32],
    slopes: &'a mut [f32],
}

impl Kernel for Similarity<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Lanes>(self) -> f64 {
        let wide = self.lines.len() / 5;
        let (blurred, similar) = self.lines.split_at_mut(4 * wide);
        weighted(self.blurred, self.stride, self.weights, blurred);
        let (u, rest) = blurred.split_at(wide);
        let (v, rest) = rest.split_at(wide);
        let (squares, products) = rest.split_at(wide);
        let fields = u.iter().zip(v).zip(squares.iter().zip(products));
        for (similar, ((u, v), (e, f))) in similar.iter_mut().zip(fields.clone()) {
            *similar = Factors::new(self.constants, self.centres, [*u, *v, *e, *f]).similarity();
        }
        if self.fields > 0 {
            let (e, rest) = self.slopes.split_at_mut(wide);
            let (f, rest) = rest.split_at_mut(wide);
            let (ax, ay) = rest.split_at_mut(wide);
            let places = e.iter_mut().zip(f).zip(ax);
            let slopes = fields.map(
                #[inline(always)]
                |((u, v), (e, f))| {
                    Factors::new(self.constants, self.centres, [*u, *v, *e, *f])
                        .slopes(*u, *v, self.share)
                },
            );
            if ay.is_empty() {
                for (((e, f), ax), slopes) in places.zip(slopes) {
                    [*e, *f, *ax, _] = slopes;
                }
            } else {
                for ((((e, f), ax), ay), slopes) in places.zip(ay).zip(slopes) {
                    [*e, *f, *ax, *ay] = slopes;
                }
            }
        }
        sums::of_pairs(similar, similar, |s, _| s)
    }
}

/// A row of the gradient.
struct Spread<'a> {
    slopes: &'a [f32],
    weights: [&'a [f32]; 2],
    /// Where e, f and a are.
    fields: [usize; 3],
    images: [&'a [f32]; 2],
    centres: [f32; 2],
    /// All fields of a row of windows, one with zeros at both ends, three of a row of elements.
    buffers: &'a mut [Vec<f32>; 3],
    out: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let [rows, columns] = self.weights;
        let [line, padded, spread] = self.buffers;
        let edge = columns.len() - 1;
        let (wide, cols) = (padded.len() - 2 * edge, self.out.len());
        weighted(self.slopes, line.len(), rows, line);
        for (field, spread) in self.fields.iter().zip(spread.chunks_mut(cols)) {
            padded[edge..][..wide].copy_from_slice(&line[field * wide..][..wide]);
            weighted(padded, 1, columns, spread);
        }
        let (e, rest) = spread.split_at(cols);
        let (f, a) = rest.split_at(cols);
        let [x, y] = self.images;
        for (i, out) in self.out.iter_mut().enumerate() {
            let (u, v) = (x[i] - self.centres[0], y[i] - self.centres[1]);
            *out = a[i] + 2.0 * e[i] * u + f[i] * v;
        }
    }
}
