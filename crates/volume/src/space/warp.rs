//! Cutting a turned, stretched and bent patch out of a volume, as training on augmented images
//! needs it.
//!
//! A [`Deformation`] is the record of what was drawn: a matrix and, where it bends, displacements on
//! a coarse lattice, between which a cubic B-spline runs (its ends held). A [`Warp`] is one at a
//! place: each voxel of the patch is taken from where it then lies in the volume. Positions are
//! `f32` voxels. Only the box [`Warp::frame`] of the volume need be read.
//!
//! ```
//! use crossmod_volume::space::{Block, Deformation, Frame, Interpolation, Patch, Warp};
//! let data: Vec<f32> = (0..60).map(|v| v as f32).collect();
//! let block = Block::new(&data, Frame { start: [0; 3], shape: [5, 4, 3] })?;
//! let patch = Patch { centre: [2.0, 1.0, 1.0], shape: [3, 1, 1] };
//! let quarter = Deformation::new([0.0, 0.0, std::f64::consts::FRAC_PI_2], [1.0; 3], [0.0; 3], [1.0; 3]);
//! let mut turned = [0.0; 3];
//! Warp::new(&quarter, patch).image(&block, Interpolation::Linear, 0.0, &mut turned);
//! assert_eq!(turned, [22.0, 27.0, 32.0]);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use glam::{DMat3, DVec3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::crop::Frame;
use super::resample::Interpolation;
use super::taps::{Taps, coefficients, weighted_sum};
use crate::{Error, Result};
pub use deformation::{Deformation, Displacement};
use sample::{cubic, linear, nearest};

mod deformation;
mod sample;

/// A box of voxels to be filled, about a place in a volume.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    /// What the patch's centre, between its voxels where their number is even, lies on: voxels of
    /// the volume (x, y, z).
    pub centre: [f64; 3],
    /// Number of voxels along (x, y, z).
    pub shape: [usize; 3],
}

/// What was read of a volume, x fastest.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a, T> {
    data: &'a [T],
    frame: Frame,
}

impl<'a, T> Block<'a, T> {
    /// The samples of a box of a volume.
    ///
    /// # Errors
    /// [`Error::Geometry`] where there are more or fewer samples than voxels, or an axis has 2²⁴
    /// voxels, which `f32` positions could not tell apart.
    pub fn new(data: &'a [T], frame: Frame) -> Result<Self> {
        let voxels = frame
            .shape
            .iter()
            .try_fold(1usize, |n, &s| n.checked_mul(s));
        if voxels != Some(data.len()) || frame.shape.iter().any(|&n| n >= 1 << 24) {
            return Err(Error::geometry(format!(
                "expected a sample for each voxel of {:?}, found {}",
                frame.shape,
                data.len()
            )));
        }
        Ok(Self { data, frame })
    }
}

/// A deformation at a place: where each voxel of a patch lies in the volume.
#[derive(Debug, Clone)]
pub struct Warp {
    patch: Patch,
    matrix: DMat3,
    bend: Option<Bend>,
}

/// Displacements with x and z already as fine as the patch: along y, spline coefficients.
#[derive(Debug, Clone)]
struct Bend {
    along_y: Taps,
    /// For each component, slices of rows of the patch's length, one for each point along y.
    components: [Vec<f32>; 3],
    /// No displacement is longer along (x, y, z).
    greatest: [f64; 3],
}

impl Bend {
    fn new(displacement: &Displacement, shape: [usize; 3]) -> Self {
        let points = displacement.shape;
        let taps = [0, 1, 2].map(|axis| {
            let (n, last) = (points[axis], (points[axis] - 1) as f64);
            let voxels = shape[axis];
            let positions = (0..voxels).map(|i| match voxels {
                1 => last / 2.0,
                _ => i as f64 / (voxels - 1) as f64 * last,
            });
            Taps::of_coefficients(n, positions)
        });
        let mut greatest = [0.0; 3];
        let components = [0, 1, 2].map(|component| {
            let lattice = coefficients(displacement.along(component), points);
            // A B-spline stays within its coefficients.
            let sizes = lattice.iter().map(|c| f64::from(c.abs()));
            greatest[component] = sizes.fold(0.0, f64::max);
            let [_, py, pz] = points;
            let wide = taps[0].apply(lattice, points, 0);
            taps[2].apply(wide, [shape[0], py, pz], 2)
        });
        let [_, along_y, _] = taps;
        Self {
            along_y,
            components,
            greatest,
        }
    }

    /// One component of the displacements of the patch's row (y, z).
    fn line(&self, component: usize, y: usize, z: usize, out: &mut [f32]) {
        let slice = out.len() * self.along_y.inputs();
        let rows = &self.components[component][z * slice..(z + 1) * slice];
        let (first, weights) = self.along_y.at(y);
        weighted_sum(weights, &rows[first * out.len()..], out);
    }
}

impl Warp {
    /// A deformation of a patch.
    #[must_use]
    pub fn new(deformation: &Deformation, patch: Patch) -> Self {
        let bend = deformation.displacement.as_ref();
        let bend = bend.filter(|_| !patch.shape.contains(&0));
        Self {
            patch,
            matrix: deformation.matrix,
            bend: bend.map(|displacement| Bend::new(displacement, patch.shape)),
        }
    }

    /// The box of the volume that all the patch's voxels, and the neighbours that they are
    /// interpolated from, lie in. It may reach beyond the volume: see [`Frame::within`].
    #[must_use]
    pub fn frame(&self) -> Frame {
        let half = DVec3::from_array(self.patch.shape.map(|n| n.saturating_sub(1) as f64 / 2.0));
        let rows = self.matrix.transpose();
        let reach = [rows.x_axis, rows.y_axis, rows.z_axis].map(|row| row.abs().dot(half));
        let bent = self.bend.as_ref().map_or([0.0; 3], |bend| bend.greatest);
        // Two more voxels for the cubic kernel.
        let ends = [0, 1, 2].map(|axis| {
            let centre = self.patch.centre[axis];
            let reach = reach[axis] + bent[axis] + 2.0;
            [
                (centre - reach).floor() as i64,
                (centre + reach).ceil() as i64,
            ]
        });
        Frame {
            start: ends.map(|[low, _]| low),
            shape: ends.map(|[low, high]| high.saturating_sub(low).saturating_add(1) as usize),
        }
    }

    /// Fills `out`, x fastest, with the patch of an image; voxels beyond the block count as
    /// `outside`. [`Interpolation::Cubic`] is here the cubic convolution of Keys 1981
    /// (doi:10.1109/TASSP.1981.1163711, a = −1/2), which needs no filtering of the volume first.
    ///
    /// # Panics
    /// Where `out` is not as long as the patch has voxels.
    pub fn image(
        &self,
        block: &Block<'_, f32>,
        interpolation: Interpolation,
        outside: f32,
        out: &mut [f32],
    ) {
        match interpolation {
            Interpolation::Nearest => {
                self.fill(block, out, |low, t| nearest(block, low, t, outside))
            }
            Interpolation::Linear => self.fill(block, out, |low, t| linear(block, low, t, outside)),
            Interpolation::Cubic => self.fill(block, out, |low, t| cubic(block, low, t, outside)),
        }
    }

    /// Fills `out`, x fastest, with the patch of a label map, each voxel taking the nearest one's
    /// label; voxels beyond the block count as `outside`.
    ///
    /// # Panics
    /// Where `out` is not as long as the patch has voxels.
    pub fn labels(&self, block: &Block<'_, u16>, outside: u16, out: &mut [u16]) {
        self.fill(block, out, |low, t| nearest(block, low, t, outside));
    }

    /// Calls `at` with the voxel of the block below each voxel of the patch, and the share of the
    /// way to the next one, along each axis.
    fn fill<T: Copy + Send + Sync>(
        &self,
        block: &Block<'_, T>,
        out: &mut [T],
        at: impl Fn([i32; 3], [f32; 3]) -> T + Sync,
    ) {
        let [nx, ny, nz] = self.patch.shape;
        assert_eq!(
            out.len(),
            nx * ny * nz,
            "a place for each voxel of the patch"
        );
        if out.is_empty() {
            return;
        }
        let middle = DVec3::from_array(self.patch.shape.map(|n| (n - 1) as f64 / 2.0));
        let origin = DVec3::from_array(self.patch.centre)
            - DVec3::from_array(block.frame.start.map(|v| v as f64));
        let step = self.matrix.x_axis.to_array();
        // Counted in floating point beforehand, so that the loops below are arithmetic alone.
        let count: Vec<f64> = (0..nx).map(|x| x as f64).collect();
        out.par_chunks_mut(nx * ny).enumerate().for_each_init(
            || [(); 3].map(|()| Line::new(nx)),
            |lines, (z, slice)| {
                for (y, row) in slice.chunks_mut(nx).enumerate() {
                    let first = DVec3::new(0.0, y as f64, z as f64) - middle;
                    let start = (origin + self.matrix * first).to_array();
                    for (axis, line) in lines.iter_mut().enumerate() {
                        match &self.bend {
                            Some(bend) => bend.line(axis, y, z, &mut line.share),
                            None => line.share.fill(0.0),
                        }
                        for (p, x) in line.share.iter_mut().zip(&count) {
                            *p += (start[axis] + step[axis] * x) as f32;
                        }
                        line.split(block.frame.shape[axis]);
                    }
                    let [lx, ly, lz] = &*lines;
                    let low = lx.low.iter().zip(&ly.low).zip(&lz.low);
                    let share = lx.share.iter().zip(&ly.share).zip(&lz.share);
                    for ((value, ((&x, &y), &z)), ((&tx, &ty), &tz)) in
                        row.iter_mut().zip(low).zip(share)
                    {
                        *value = at([x, y, z], [tx, ty, tz]);
                    }
                }
            },
        );
    }
}

/// Where the voxels of a row of the patch lie along one axis of the block: the voxel below each,
/// and the share of the way to the next.
struct Line {
    low: Vec<i32>,
    share: Vec<f32>,
}

impl Line {
    fn new(n: usize) -> Self {
        Self {
            low: vec![0; n],
            share: vec![0.0; n],
        }
    }

    /// Takes the positions that stand in `share` apart, along an axis of `n` voxels.
    fn split(&mut self, n: usize) {
        // Points far outside are brought near, where all their neighbours still lie outside.
        let (least, most) = (-4.0, n as f32 + 3.0);
        for (low, p) in self.low.iter_mut().zip(&mut self.share) {
            let near = p.max(least).min(most);
            // Towards 0 and then down: `floor` would be a call where there is no SSE 4.1.
            let whole = near as i32;
            *low = whole - i32::from(near < whole as f32);
            *p = near - *low as f32;
        }
    }
}

#[cfg(test)]
mod tests;
