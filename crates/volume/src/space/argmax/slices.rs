//! Some slices of a volume on another grid, from the slices that they need.
//!
//! For volumes that are made while they are read: what [`resample_aligned`] gives, a few slices at a
//! time and weighted, so that several volumes can be added up.
//!
//! [`resample_aligned`]: crate::space::resample_aligned

use std::ops::Range;

use rayon::prelude::*;

use super::Place;
use crate::space::aligned::{refuse_cubic, taps_between};
use crate::space::resample::Interpolation;
use crate::space::taps::Taps;
use crate::{Grid, Result};

/// The way from a grid to another whose axes are parallel, slices (z) at a time.
#[derive(Debug, Clone)]
pub struct AlignedSlices {
    taps: [Taps; 3],
    /// Of the source, along x and y.
    shape: [usize; 2],
}

impl AlignedSlices {
    /// The way from `source` to `target`.
    ///
    /// # Errors
    /// [`crate::Error::Geometry`] where the axes are not parallel, or one is to be cubic.
    pub fn between(
        source: &Grid,
        target: &Grid,
        interpolation: [Interpolation; 3],
    ) -> Result<Self> {
        refuse_cubic(interpolation, "single slices")?;
        let [nx, ny, _] = source.shape();
        Ok(Self {
            taps: taps_between(source, target, interpolation)?,
            shape: [nx, ny],
        })
    }

    /// The slices of the source that `slices` of the target are made of.
    ///
    /// # Panics
    /// Where there are none, or they are not of the target.
    #[must_use]
    pub fn needed(&self, slices: Range<usize>) -> Range<usize> {
        self.taps[2].span(slices)
    }

    /// Voxels of a slice of the source.
    #[must_use]
    pub fn area(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Adds `weight` times `slices` of the target to `out`, given those
    /// [`needed`](Self::needed) of the source.
    ///
    /// # Panics
    /// Where `source` or `out` does not have as many values.
    pub fn add(&self, slices: Range<usize>, source: &[f32], weight: f32, out: &mut [f32]) {
        let needed = self.needed(slices.clone());
        let [tx, ty] = [self.taps[0].len(), self.taps[1].len()];
        assert_eq!(
            source.len(),
            self.area() * needed.len(),
            "slices {needed:?}"
        );
        assert_eq!(out.len(), tx * ty * slices.len(), "slices {slices:?}");
        let place = Place {
            shape: self.shape,
            first_slice: needed.start,
        };
        let (xs, source_xs) = (0..tx, self.taps[0].span(0..tx));
        out.par_chunks_mut(tx * ty).zip(slices).for_each_init(
            || (vec![0.0; source_xs.len()], vec![0.0; tx]),
            |(sum, row), (slice, z)| {
                for (y, out) in slice.chunks_mut(tx).enumerate() {
                    place.interpolate(source, &self.taps, [y, z], (&xs, &source_xs), sum, row);
                    for (out, value) in out.iter_mut().zip(&*row) {
                        *out += weight * value;
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::rng::Rng;
    use crate::space::{grid_with_shape, resample_aligned};

    #[test]
    fn slices_are_those_of_the_whole_volume_resampled() {
        let source = Grid::with_spacing([9, 8, 7], [1.5, 1.5, 4.0]).expect("a grid");
        let mut rng = Rng::new(8, 0, 0);
        let values: Vec<f32> = (0..source.len()).map(|_| rng.uniform(0.0, 1.0)).collect();
        let image = Image::new(source.clone(), values).expect("an image");
        let nearest_z = [
            Interpolation::Linear,
            Interpolation::Linear,
            Interpolation::Nearest,
        ];
        for (shape, by) in [
            ([13, 15, 20], [Interpolation::Linear; 3]),
            ([5, 4, 3], nearest_z),
            ([9, 8, 7], [Interpolation::Nearest; 3]),
        ] {
            let target = grid_with_shape(&source, shape).expect("a grid");
            let whole = resample_aligned(image.clone(), &target, by).expect("parallel axes");
            let way = AlignedSlices::between(&source, &target, by).expect("parallel axes");
            let area = shape[0] * shape[1];
            for start in (0..shape[2]).step_by(2) {
                let slices = start..shape[2].min(start + 2);
                let needed = way.needed(slices.clone());
                let near = &image.data()[needed.start * way.area()..needed.end * way.area()];
                let mut out = vec![1.0; area * slices.len()];
                way.add(slices.clone(), near, 0.25, &mut out);
                let expected = &whole.data()[slices.start * area..slices.end * area];
                for (found, expected) in out.iter().zip(expected) {
                    assert!((found - (1.0 + 0.25 * expected)).abs() < 1e-6, "{slices:?}");
                }
            }
        }
        let cubic = [Interpolation::Cubic; 3];
        assert!(AlignedSlices::between(&source, &source, cubic).is_err());
    }
}
