//! Weighted sums along one axis of a volume.
//!
//! Resizing and blurring are three passes, one per axis, in each of which every sample of the
//! result is a weighted sum of a few neighbouring samples of the source. Along y and z whole rows
//! are added up; along x a block of rows is turned on its side first, so that there too the inner
//! loop runs over neighbours in memory.

use std::ops::Range;

use rayon::prelude::*;

use super::resample::Interpolation;
use super::spline;

/// Rows that are turned on their side together.
const LANES: usize = 16;

/// For each sample of the result: the first sample of the source and the weights from it on, as
/// many for each.
#[derive(Debug, Clone)]
pub(crate) struct Taps {
    inputs: usize,
    width: usize,
    first: Vec<usize>,
    weights: Vec<f32>,
    /// The sums are over spline coefficients instead of samples.
    prefilter: bool,
}

impl Taps {
    /// Interpolation of `n` samples at the given positions; beyond the ends the first and last
    /// sample are held.
    pub(crate) fn interpolating(
        n: usize,
        positions: impl Iterator<Item = f64>,
        interpolation: Interpolation,
    ) -> Self {
        let width = n.min(match interpolation {
            Interpolation::Nearest => 1,
            Interpolation::Linear => 2,
            Interpolation::Cubic => 4,
        });
        let last = (n - 1) as f64;
        let mut taps = Self {
            inputs: n,
            width,
            first: Vec::new(),
            weights: Vec::new(),
            prefilter: interpolation == Interpolation::Cubic && n > 1,
        };
        for position in positions {
            let held = position.clamp(0.0, last);
            let (first, weights) = match interpolation {
                Interpolation::Nearest => ((held + 0.5) as usize, [1.0, 0.0, 0.0, 0.0]),
                Interpolation::Linear => {
                    let first = (held as usize).min(n - width);
                    let share = held - first as f64;
                    (first, [1.0 - share, share, 0.0, 0.0])
                }
                Interpolation::Cubic => spline::taps(position, n),
            };
            taps.first.push(first);
            taps.weights
                .extend(weights[..width].iter().map(|&w| w as f32));
        }
        taps
    }

    /// The cubic spline through samples of which `n` coefficients are already known.
    pub(crate) fn of_coefficients(n: usize, positions: impl Iterator<Item = f64>) -> Self {
        Self {
            prefilter: false,
            ..Self::interpolating(n, positions, Interpolation::Cubic)
        }
    }

    /// Every sample's weighted sum with its neighbours on both sides; `kernel` holds the sample's
    /// own weight in its middle. Beyond the ends the first and last sample are held.
    pub(crate) fn convolving(n: usize, kernel: &[f64]) -> Self {
        let radius = kernel.len() / 2;
        let width = kernel.len().min(n);
        let mut weights = vec![0.0; width * n];
        let mut first = Vec::with_capacity(n);
        for (i, row) in weights.chunks_mut(width).enumerate() {
            let start = i.saturating_sub(radius).min(n - width);
            for (k, &w) in kernel.iter().enumerate() {
                let from = (i + k).saturating_sub(radius).min(n - 1);
                row[from - start] += w;
            }
            first.push(start);
        }
        Self {
            inputs: n,
            width,
            first,
            weights: weights.into_iter().map(|w| w as f32).collect(),
            prefilter: false,
        }
    }

    /// Number of samples of the source.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of samples of the result.
    pub(crate) fn len(&self) -> usize {
        self.first.len()
    }

    /// The first sample that `i` is made of, and the weights from it on.
    pub(crate) fn at(&self, i: usize) -> (usize, &[f32]) {
        (
            self.first[i],
            &self.weights[i * self.width..(i + 1) * self.width],
        )
    }

    /// [`Taps::at`] for each sample of a range.
    pub(crate) fn each(&self, of: Range<usize>) -> impl Iterator<Item = (usize, &[f32])> {
        let weights = &self.weights[of.start * self.width..of.end * self.width];
        let first = self.first[of].iter().copied();
        first.zip(weights.chunks_exact(self.width))
    }

    /// All samples of the source that these of the result are made of.
    pub(crate) fn span(&self, of: Range<usize>) -> Range<usize> {
        let first = &self.first[of];
        let low = first.iter().copied().min().unwrap_or(0);
        let high = first.iter().copied().max().unwrap_or(0);
        low..high + self.width
    }

    /// Whether the result is the source.
    pub(super) fn is_identity(&self) -> bool {
        // A spline's weights are those of coefficients, and no coefficient is a sample.
        !self.prefilter
            && self.len() == self.inputs
            && (0..self.inputs).all(|i| {
                let (first, weights) = self.at(i);
                let own = |k: usize| if first + k == i { 1.0 } else { 0.0 };
                weights.iter().enumerate().all(|(k, &w)| w == own(k))
            })
    }

    /// The samples of a volume of the given shape, with `axis` (0 x, 1 y, 2 z) replaced by sums.
    /// One more volume is held while it works.
    pub(crate) fn apply(&self, mut data: Vec<f32>, shape: [usize; 3], axis: usize) -> Vec<f32> {
        if self.is_identity() {
            return data;
        }
        let [nx, ny, _] = shape;
        let mut to = shape;
        to[axis] = self.len();
        let mut out = vec![0.0; to.iter().product()];
        match axis {
            0 => out
                .par_chunks_mut(LANES * self.len())
                .zip(data.par_chunks(LANES * nx))
                .for_each_init(Default::default, |scratch, (out, rows)| {
                    self.rows(rows, nx, out, scratch);
                }),
            1 => out
                .par_chunks_mut(nx * self.len())
                .zip(data.par_chunks_mut(nx * ny))
                .for_each(|(out, slice)| {
                    if self.prefilter {
                        spline::prefilter(slice, nx);
                    }
                    for (i, row) in out.chunks_mut(nx).enumerate() {
                        self.sum(i, slice, row);
                    }
                }),
            _ => {
                let lanes = nx * ny;
                if self.prefilter {
                    spline::prefilter(&mut data, lanes);
                }
                out.par_chunks_mut(lanes)
                    .enumerate()
                    .for_each(|(i, slice)| self.sum(i, &data, slice));
            }
        }
        out
    }

    /// Sums along rows of `nx` samples, as many rows as there are in `rows`.
    fn rows(&self, rows: &[f32], nx: usize, out: &mut [f32], scratch: &mut [Vec<f32>; 2]) {
        let lanes = rows.len() / nx;
        let [turned, sums] = scratch;
        turned.resize(rows.len(), 0.0);
        sums.resize(out.len(), 0.0);
        turn(rows, nx, turned);
        if self.prefilter {
            spline::prefilter(turned, lanes);
        }
        for (i, row) in sums.chunks_mut(lanes).enumerate() {
            self.sum(i, turned, row);
        }
        turn(sums, lanes, out);
    }

    /// Sum `i` over rows as long as `out`.
    fn sum(&self, i: usize, rows: &[f32], out: &mut [f32]) {
        let lanes = out.len();
        let (first, weights) = self.at(i);
        weighted_sum(
            weights,
            &rows[first * lanes..(first + self.width) * lanes],
            out,
        );
    }
}

/// Samples become cubic spline coefficients along all three axes.
pub(crate) fn coefficients(mut data: Vec<f32>, [nx, ny, _]: [usize; 3]) -> Vec<f32> {
    data.par_chunks_mut(LANES * nx)
        .for_each_init(Vec::new, |turned, rows| {
            turned.resize(rows.len(), 0.0);
            turn(rows, nx, turned);
            let lanes = rows.len() / nx;
            spline::prefilter(turned, lanes);
            turn(turned, lanes, rows);
        });
    data.par_chunks_mut(nx * ny)
        .for_each(|slice| spline::prefilter(slice, nx));
    spline::prefilter(&mut data, nx * ny);
    data
}

/// The sum of rows as long as `out`, one per weight.
pub(crate) fn weighted_sum(weights: &[f32], rows: &[f32], out: &mut [f32]) {
    let lanes = out.len();
    let row = |k: usize| &rows[k * lanes..(k + 1) * lanes];
    match *weights {
        [1.0] => out.copy_from_slice(row(0)),
        [a, b] => {
            for ((o, &p), &q) in out.iter_mut().zip(row(0)).zip(row(1)) {
                *o = a * p + b * q;
            }
        }
        _ => {
            out.fill(0.0);
            let mut groups = weights.chunks_exact(4);
            let mut k = 0;
            for group in &mut groups {
                let [a, b, c, d] = [group[0], group[1], group[2], group[3]];
                let rows = row(k)
                    .iter()
                    .zip(row(k + 1))
                    .zip(row(k + 2))
                    .zip(row(k + 3));
                for (o, (((&p, &q), &r), &s)) in out.iter_mut().zip(rows) {
                    *o += (a * p + b * q) + (c * r + d * s);
                }
                k += 4;
            }
            for &w in groups.remainder() {
                for (o, &p) in out.iter_mut().zip(row(k)) {
                    *o += w * p;
                }
                k += 1;
            }
        }
    }
}

/// Rows of `n` become columns.
fn turn(rows: &[f32], n: usize, columns: &mut [f32]) {
    let lanes = rows.len() / n;
    for (i, column) in columns.chunks_mut(lanes).enumerate() {
        for (v, row) in column.iter_mut().zip(rows.chunks_exact(n)) {
            *v = row[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// One sample at a time, from the definition.
    fn slowly(taps: &Taps, data: &[f32], shape: [usize; 3], axis: usize) -> Vec<f32> {
        let strides = [1, shape[0], shape[0] * shape[1]];
        let mut to = shape;
        to[axis] = taps.len();
        let mut out = Vec::new();
        for z in 0..to[2] {
            for y in 0..to[1] {
                for x in 0..to[0] {
                    let mut at = [x, y, z];
                    let (first, weights) = taps.at(at[axis]);
                    at[axis] = first;
                    let start: usize = (0..3).map(|a| at[a] * strides[a]).sum();
                    let near = weights.iter().enumerate();
                    out.push(near.map(|(k, w)| w * data[start + k * strides[axis]]).sum());
                }
            }
        }
        out
    }

    #[test]
    fn every_axis_sums_what_its_taps_say() {
        let shape = [21, 18, 19];
        let mut rng = Rng::new(1, 0, 0);
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
        for axis in 0..3 {
            let n = shape[axis];
            let positions = |count: usize| (0..count).map(move |i| i as f64 * 0.7 - 1.0);
            let all = [
                Taps::interpolating(n, positions(23), Interpolation::Nearest),
                Taps::interpolating(n, positions(31), Interpolation::Linear),
                Taps::convolving(n, &[0.1, 0.2, 0.3, 0.2, 0.1, 0.07, 0.03]),
                Taps::convolving(n, &[0.02; 51]),
            ];
            for taps in all {
                let found = taps.apply(data.clone(), shape, axis);
                let expected = slowly(&taps, &data, shape, axis);
                assert_eq!(found.len(), expected.len());
                for (a, b) in found.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-5, "{axis} {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_kernel_wider_than_the_axis_holds_the_ends() {
        let taps = Taps::convolving(2, &[0.1, 0.2, 0.4, 0.2, 0.1]);
        let found = taps.apply(vec![1.0, 11.0], [2, 1, 1], 0);
        assert!((found[0] - 4.0).abs() < 1e-6 && (found[1] - 8.0).abs() < 1e-6);
    }
}
