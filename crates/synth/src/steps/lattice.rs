//! Normal numbers on a small grid, grown linearly to an image's: smooth fields.
//!
//! Both grids cover the same extent: between the outermost points' centres the field is linear, beyond
//! them it holds.

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

/// Independent normal numbers on a small grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lattice {
    /// Points along (x, y, z).
    shape: [usize; 3],
    /// Standard deviation.
    sd: f32,
    /// The numbers are those of this stream.
    seed: u64,
}

impl Lattice {
    /// A small grid of `scale` times an image's sides, rounded up.
    pub(super) fn draw(image: [usize; 3], scale: f32, sd: f32, rng: &mut Rng) -> Self {
        let shape = image.map(|n| ((n as f32 * scale).ceil() as usize).max(1));
        Self {
            shape,
            sd,
            seed: seed(rng),
        }
    }

    /// A small grid of points so many millimetres apart, over an image of voxels of some size.
    pub(super) fn spaced(image: [usize; 3], spacing_mm: [f64; 3], mm: f32, rng: &mut Rng) -> Self {
        let points = |axis: usize| image[axis] as f64 * spacing_mm[axis] / f64::from(mm);
        Self {
            shape: [0, 1, 2].map(|axis| (points(axis).ceil() as usize).max(1)),
            sd: 1.0,
            seed: seed(rng),
        }
    }

    /// Points along (x, y, z).
    pub(super) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The numbers at its points, x fastest: one of several independent fields.
    pub(super) fn numbers(&self, field: u32) -> Vec<f32> {
        let mut numbers = vec![0.0; self.shape.iter().product()];
        Rng::new(self.seed, 0, field).fill_normal(&mut numbers);
        numbers.iter_mut().for_each(|v| *v *= self.sd);
        numbers
    }

    /// How its points are grown to an image's shape.
    pub(super) fn growth(&self, image: [usize; 3]) -> Growth {
        Growth {
            along: [0, 1, 2].map(|a| Between::new(self.shape[a], image[a], 0, image[a])),
            points: self.shape,
        }
    }
}

/// A seed for a stream of its own.
pub(super) fn seed(rng: &mut Rng) -> u64 {
    u64::from(rng.bits()) << 32 | u64::from(rng.bits())
}

/// What can be mixed: numbers and vectors.
pub(super) trait Mix: Copy + Default {
    /// `share` of the way from `self` to `other`.
    fn mix(self, other: Self, share: f32) -> Self;
}

impl Mix for f32 {
    #[inline(always)]
    fn mix(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }
}

impl Mix for [f32; 4] {
    #[inline(always)]
    fn mix(self, other: Self, share: f32) -> Self {
        // Not map, which may stay a call.
        let ([a, b, c, d], [e, f, g, h]) = (self, other);
        [
            a.mix(e, share),
            b.mix(f, share),
            c.mix(g, share),
            d.mix(h, share),
        ]
    }
}

/// Where some voxels of an axis lie between coarser points over the same extent.
#[derive(Debug, Clone)]
pub(super) struct Between {
    /// The points below and above each, and the share of the way between them.
    each: Vec<(usize, usize, f32)>,
}

impl Between {
    /// `count` voxels from `first` on, of an axis of `voxels`, between `points` points.
    pub(super) fn new(points: usize, voxels: usize, first: usize, count: usize) -> Self {
        Self::shifted(points, 0..points, voxels, first as i64, count)
    }

    /// The same where only some of the points are there, counted from the first of them; voxels may
    /// lie beyond the axis.
    pub(super) fn shifted(
        points: usize,
        there: std::ops::Range<usize>,
        voxels: usize,
        first: i64,
        count: usize,
    ) -> Self {
        let per_voxel = points as f64 / voxels as f64;
        let last = there.len().saturating_sub(1);
        let each = (0..count).map(|i| {
            let exact = ((first + i as i64) as f64 + 0.5) * per_voxel - 0.5;
            let held = (exact - there.start as f64).clamp(0.0, last as f64);
            let low = held as usize;
            (low, (low + 1).min(last), (held - low as f64) as f32)
        });
        Self {
            each: each.collect(),
        }
    }

    fn len(&self) -> usize {
        self.each.len()
    }
}

/// From coarse points to voxels, slice by slice.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    /// Coarse points along (x, y, z).
    pub(super) points: [usize; 3],
    /// Voxels between them.
    pub(super) along: [Between; 3],
}

impl Growth {
    /// Slice `z` of the voxels, x fastest.
    pub(super) fn slice<T: Mix>(&self, coarse: &[T], z: usize, out: &mut [T]) {
        let [px, py, _] = self.points;
        let [along_x, along_y, along_z] = &self.along;
        let nx = along_x.len();
        let (below, above, share) = along_z.each[z];
        let plane = |at: usize| &coarse[at * px * py..(at + 1) * px * py];
        let mixed = |(a, b): (&T, &T)| a.mix(*b, share);
        let plane: Vec<T> = plane(below).iter().zip(plane(above)).map(mixed).collect();
        let mut wide = vec![T::default(); nx * py];
        for (row, points) in wide.chunks_exact_mut(nx).zip(plane.chunks_exact(px)) {
            for (v, &(below, above, share)) in row.iter_mut().zip(&along_x.each) {
                *v = points[below].mix(points[above], share);
            }
        }
        for (row, &(below, above, share)) in out.chunks_exact_mut(nx).zip(&along_y.each) {
            let wide = |at: usize| &wide[at * nx..(at + 1) * nx];
            for ((v, a), b) in row.iter_mut().zip(wide(below)).zip(wide(above)) {
                *v = a.mix(*b, share);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossmod_volume::space::{Interpolation, grid_with_shape, resample_image};
    use crossmod_volume::{Grid, Image};

    #[test]
    fn a_lattice_grows_as_an_image_is_resampled() {
        let shape = [23, 17, 11];
        let lattice = Lattice::draw(shape, 0.2, 1.5, &mut Rng::new(1, 2, 3));
        assert_eq!(lattice.shape(), [5, 4, 3]);
        let numbers = lattice.numbers(0);
        assert_ne!(numbers, lattice.numbers(1));
        let growth = lattice.growth(shape);
        let mut found = vec![0.0; shape.iter().product()];
        for (z, slice) in found.chunks_mut(shape[0] * shape[1]).enumerate() {
            growth.slice(&numbers, z, slice);
        }
        let small = Grid::with_spacing(lattice.shape(), [1.0; 3]).expect("a grid");
        let target = grid_with_shape(&small, shape).expect("a grid");
        let image = Image::new(small, numbers).expect("an image");
        let expected = resample_image(&image, &target, Interpolation::Linear, 0.0);
        for (a, b) in found.iter().zip(expected.data()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn part_of_the_points_serves_the_voxels_among_them() {
        let whole = Between::new(10, 40, 16, 8);
        let part = Between::shifted(10, 3..8, 40, 16, 8);
        for (a, b) in whole.each.iter().zip(&part.each) {
            assert_eq!((a.0, a.1), (b.0 + 3, b.1 + 3));
            assert!((a.2 - b.2).abs() < 1e-6);
        }
    }
}
