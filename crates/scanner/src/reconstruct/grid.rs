//! The columns of voxels that a grid asks for.

use crossmod_volume::space::{self, Interpolation};
use crossmod_volume::{Grid, Image};
use glam::{DMat4, DVec4};

use crate::backproject::Pixels;
use crate::geometry::Scan;
use crate::{Error, Result};

/// Parts of a voxel by which columns may lean over their whole length.
const LEAN: f64 = 0.05;

/// Millimetres by which a grid may reach past the planned ends: rounding of affines.
const PAST_MM: f64 = 1e-3;

/// A grid seen from the scanner: columns of voxels along the axis, upwards.
#[derive(Debug, Clone)]
pub(super) struct Lattice {
    grid: Grid,
    /// The voxel axes a, b and z of columns.
    axes: [usize; 3],
    /// Voxels along the columns run against the axis.
    downwards: bool,
    /// Columns over their whole length.
    pub(super) pixels: Pixels,
}

impl Lattice {
    pub(super) fn new(scan: &Scan, target: &Grid) -> Result<Self> {
        let grid = match upright_axis(target) {
            Some(_) => target.clone(),
            None => around(target)?,
        };
        // The grid around an oblique one is upright.
        let column = upright_axis(&grid).unwrap_or(2);
        let axes = match column {
            0 => [1, 2, 0],
            1 => [0, 2, 1],
            _ => [0, 1, 2],
        };
        let shape = grid.shape();
        let matrix = grid.world_from_voxel();
        let downwards = matrix.col(column).z < 0.0;
        let mut first = [0.0; 3];
        if downwards {
            first[column] = (shape[column] - 1) as f64;
        }
        let origin = grid.world(first);
        let step = matrix.col(column).z.abs();
        let [low, high] = scan.z_range_mm();
        let top = origin[2] + step * (shape[column] - 1) as f64;
        // The grid around an oblique one may reach past what the oblique one does: it is cut.
        if origin[2] < low - PAST_MM || top > high + PAST_MM {
            return Err(Error::Setting(format!(
                "expected a grid within the scanned {low:.2} to {high:.2} mm, found one from \
                 {:.2} to {top:.2}; plan the scan over this grid",
                origin[2]
            )));
        }
        let [x, y] = scan.isocentre_mm();
        let along = |axis: usize| [matrix.col(axis).x, matrix.col(axis).y];
        Ok(Self {
            pixels: Pixels {
                origin_mm: [origin[0] - x, origin[1] - y],
                along_a_mm: along(axes[0]),
                along_b_mm: along(axes[1]),
                first_z_mm: origin[2],
                z_step_mm: step,
                depth: shape[column],
            },
            grid,
            axes,
            downwards,
        })
    }

    /// Pixels along a and b.
    pub(super) fn shape(&self) -> [usize; 2] {
        let shape = self.grid.shape();
        [shape[self.axes[0]], shape[self.axes[1]]]
    }

    /// Voxels in all.
    pub(super) fn len(&self) -> usize {
        self.grid.len()
    }

    /// Distances in storage from one voxel to the next along a, b and upwards, and the first one's
    /// place.
    pub(super) fn strides(&self) -> ([usize; 3], usize, bool) {
        let shape = self.grid.shape();
        let all = [1, shape[0], shape[0] * shape[1]];
        let strides = self.axes.map(|axis| all[axis]);
        let first = if self.downwards {
            strides[2] * (shape[self.axes[2]] - 1)
        } else {
            0
        };
        (strides, first, self.downwards)
    }

    /// The image on the grid that was asked for.
    pub(super) fn image(self, data: Vec<f32>, target: &Grid) -> crossmod_volume::Result<Image> {
        let image = Image::new(self.grid, data)?;
        if image.grid() == target {
            return Ok(image);
        }
        Ok(space::resample_image(
            &image,
            target,
            Interpolation::Linear,
            -1000.0,
        ))
    }
}

/// The voxel axis along the world's z, where the other two are at right angles to it.
fn upright_axis(grid: &Grid) -> Option<usize> {
    let (matrix, shape) = (grid.world_from_voxel(), grid.shape());
    let finest = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    (0..3).find(|&axis| {
        let length = |axis: usize| (shape[axis] - 1).max(1) as f64;
        (0..3).all(|other| {
            let column = matrix.col(other);
            let lean = if other == axis {
                column.x.hypot(column.y)
            } else {
                column.z.abs()
            };
            lean * length(other) <= LEAN * finest
        })
    })
}

/// The upright grid of an oblique one's smallest spacing whose voxel centres span the same box.
fn around(grid: &Grid) -> Result<Grid> {
    let (low, high) = crate::geometry::bounds(grid);
    let finest = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    let steps = [0, 1, 2].map(|axis| ((high[axis] - low[axis]) / finest).ceil().max(1.0));
    // As many steps as it takes at this spacing or finer, so that both ends are met.
    let spacing = [0, 1, 2].map(|axis| ((high[axis] - low[axis]) / steps[axis]).max(1e-3));
    let matrix = DMat4::from_cols(
        DVec4::X * spacing[0],
        DVec4::Y * spacing[1],
        DVec4::Z * spacing[2],
        DVec4::new(low[0], low[1], low[2], 1.0),
    );
    if steps.iter().product::<f64>() > (1u64 << 33) as f64 {
        return Err(Error::Setting(format!(
            "expected a grid with an axis along the scanner's, found an oblique one that an upright \
             grid of {steps:?} voxels would hold; turn it first"
        )));
    }
    Ok(Grid::new(steps.map(|n| n as usize + 1), matrix)?)
}
