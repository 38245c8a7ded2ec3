//! Where voxels lie in the patient.
//!
//! A [`Grid`] is a shape and the affine `world_from_voxel`. Voxel indices are `(x, y, z)` with x
//! fastest in memory; voxel *centres* have integer indices; world coordinates are RAS millimetres
//! (x to the patient's right-to-left axis growing towards Right, y towards Anterior, z towards
//! Superior), as in NIfTI-1.

use glam::{DMat3, DMat4, DVec3};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Shape of a sampled volume and its place in the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Grid {
    shape: [usize; 3],
    world_from_voxel: DMat4,
}

/// A grid as it stands in a file.
#[derive(Deserialize)]
struct Unchecked {
    shape: [usize; 3],
    world_from_voxel: DMat4,
}

impl TryFrom<Unchecked> for Grid {
    type Error = Error;

    fn try_from(raw: Unchecked) -> Result<Self> {
        Self::new(raw.shape, raw.world_from_voxel)
    }
}

impl Grid {
    /// A grid from its shape (x, y, z) and affine (voxel index to RAS mm).
    ///
    /// # Errors
    /// [`Error::Geometry`] where an axis is empty, the number of voxels overflows, or the affine
    /// is singular or not finite.
    pub fn new(shape: [usize; 3], world_from_voxel: DMat4) -> Result<Self> {
        let voxels = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        if shape.contains(&0) || voxels.is_none() {
            return Err(Error::geometry(format!(
                "expected three axes of at least one voxel, found {shape:?}"
            )));
        }
        let linear = DMat3::from_mat4(world_from_voxel);
        let determinant = linear.determinant();
        if !world_from_voxel.is_finite() || !determinant.is_finite() || determinant.abs() < 1e-12 {
            return Err(Error::geometry(
                "expected an invertible, finite voxel-to-world affine, found a singular one".into(),
            ));
        }
        Ok(Self {
            shape,
            world_from_voxel,
        })
    }

    /// An axis-aligned RAS grid with its first voxel centre at the world's origin.
    ///
    /// # Errors
    /// As [`Grid::new`]; spacings must be positive.
    pub fn with_spacing(shape: [usize; 3], spacing_mm: [f64; 3]) -> Result<Self> {
        Self::new(shape, DMat4::from_scale(DVec3::from_array(spacing_mm)))
    }

    /// Number of voxels along (x, y, z).
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of voxels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Always false: a grid has at least one voxel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Voxel index (x, y, z) to RAS mm.
    #[must_use]
    pub fn world_from_voxel(&self) -> DMat4 {
        self.world_from_voxel
    }

    /// RAS mm to (fractional) voxel index.
    #[must_use]
    pub fn voxel_from_world(&self) -> DMat4 {
        self.world_from_voxel.inverse()
    }

    /// Distance between voxel centres along (x, y, z), mm.
    #[must_use]
    pub fn spacing_mm(&self) -> [f64; 3] {
        let m = DMat3::from_mat4(self.world_from_voxel);
        [m.x_axis.length(), m.y_axis.length(), m.z_axis.length()]
    }

    /// Volume of one voxel, mm³.
    #[must_use]
    pub fn voxel_volume_mm3(&self) -> f64 {
        DMat3::from_mat4(self.world_from_voxel).determinant().abs()
    }

    /// World position (RAS mm) of a fractional voxel index.
    #[must_use]
    pub fn world(&self, voxel: [f64; 3]) -> [f64; 3] {
        self.world_from_voxel
            .transform_point3(DVec3::from_array(voxel))
            .to_array()
    }

    /// Offset of voxel (x, y, z) in storage.
    ///
    /// # Panics
    /// In debug builds where the index lies outside the grid.
    #[must_use]
    pub fn index(&self, [x, y, z]: [usize; 3]) -> usize {
        debug_assert!(x < self.shape[0] && y < self.shape[1] && z < self.shape[2]);
        x + self.shape[0] * (y + self.shape[1] * z)
    }

    /// Whether two grids hold the same voxels: equal shape, and every corner within
    /// `tolerance_mm` of the other's.
    #[must_use]
    pub fn matches(&self, other: &Self, tolerance_mm: f64) -> bool {
        self.shape == other.shape
            && (0..8).all(|corner| {
                let voxel = [0, 1, 2].map(|axis| {
                    if corner >> axis & 1 == 1 {
                        (self.shape[axis] - 1) as f64
                    } else {
                        0.0
                    }
                });
                let (a, b) = (self.world(voxel), other.world(voxel));
                DVec3::from_array(a).distance(DVec3::from_array(b)) <= tolerance_mm
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_and_volume_follow_the_affine() {
        let turned = DMat4::from_cols_array_2d(&[
            [0.0, 2.0, 0.0, 0.0],
            [-3.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 5.0, 0.0],
            [10.0, 20.0, 30.0, 1.0],
        ]);
        let grid = Grid::new([4, 5, 6], turned).expect("a regular affine");
        assert_eq!(grid.spacing_mm(), [2.0, 3.0, 5.0]);
        assert!((grid.voxel_volume_mm3() - 30.0).abs() < 1e-9);
        assert_eq!(grid.world([1.0, 1.0, 1.0]), [7.0, 22.0, 35.0]);
    }

    #[test]
    fn empty_and_singular_grids_are_refused() {
        assert!(Grid::with_spacing([0, 1, 1], [1.0; 3]).is_err());
        assert!(Grid::with_spacing([1, 1, 1], [1.0, 0.0, 1.0]).is_err());
        assert!(Grid::with_spacing([usize::MAX, 2, 1], [1.0; 3]).is_err());
    }

    #[test]
    fn a_grid_from_a_file_is_checked() {
        let grid = Grid::with_spacing([4, 5, 6], [1.0, 2.0, 3.0]).expect("a grid");
        let text = serde_json::to_string(&grid).expect("written");
        assert_eq!(serde_json::from_str::<Grid>(&text).expect("read"), grid);
        assert!(serde_json::from_str::<Grid>(&text.replace("[4,5,6]", "[4,0,6]")).is_err());
    }

    #[test]
    fn grids_match_within_a_tolerance() {
        let a = Grid::with_spacing([10, 10, 10], [1.0; 3]).expect("a grid");
        let b = Grid::with_spacing([10, 10, 10], [1.001, 1.0, 1.0]).expect("a grid");
        assert!(a.matches(&b, 0.01));
        assert!(!a.matches(&b, 0.001));
    }
}
