//! The record of how a patch is bent: a matrix and displacements on a lattice.

use glam::{DMat3, DQuat, DVec3};
use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use crate::{Error, Result};

/// How a patch is bent: serialisable, to be drawn once and applied to images and labels alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deformation {
    /// Takes offsets from the patch's centre to offsets from its place in the volume, voxels.
    pub matrix: DMat3,
    /// Added to those.
    pub displacement: Option<Displacement>,
}

impl Default for Deformation {
    fn default() -> Self {
        Self {
            matrix: DMat3::IDENTITY,
            displacement: None,
        }
    }
}

impl Deformation {
    /// Turns about x, y and z (radians, in this order), sheared and made larger by `scale`, all in
    /// millimetres, so that voxels that are no cubes are treated rightly. `shear` is how far x moves
    /// with y, x with z, and y with z.
    #[must_use]
    pub fn new(
        rotation_rad: [f64; 3],
        scale: [f64; 3],
        shear: [f64; 3],
        spacing_mm: [f64; 3],
    ) -> Self {
        let turn = |axis, angle| DMat3::from_quat(DQuat::from_axis_angle(axis, angle));
        let [about_x, about_y, about_z] = rotation_rad;
        let rotation = turn(DVec3::Z, about_z) * turn(DVec3::Y, about_y) * turn(DVec3::X, about_x);
        let [xy, xz, yz] = shear;
        let sheared = DMat3::from_cols(DVec3::X, DVec3::new(xy, 1.0, 0.0), DVec3::new(xz, yz, 1.0));
        let diagonal = |values: [f64; 3]| DMat3::from_diagonal(DVec3::from_array(values));
        let matrix = diagonal(spacing_mm.map(f64::recip))
            * rotation
            * sheared
            * diagonal(scale.map(f64::recip))
            * diagonal(spacing_mm);
        Self {
            matrix,
            displacement: None,
        }
    }

    /// The same, bent too.
    #[must_use]
    pub fn bent(self, displacement: Displacement) -> Self {
        Self {
            displacement: Some(displacement),
            ..self
        }
    }
}

/// Displacements on a lattice that spans a patch from its first to its last voxel centres.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Displacement {
    pub(super) shape: [usize; 3],
    vectors: Vec<[f32; 3]>,
}

/// Displacements as they stand in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    shape: [usize; 3],
    vectors: Vec<[f32; 3]>,
}

impl TryFrom<Unchecked> for Displacement {
    type Error = Error;

    fn try_from(raw: Unchecked) -> Result<Self> {
        Self::new(raw.shape, raw.vectors)
    }
}

impl Displacement {
    /// Displacements, in voxels of the volume, at the points of a lattice of the given shape
    /// (x, y, z; x fastest).
    ///
    /// # Errors
    /// [`Error::Geometry`] where the lattice is empty or there are more or fewer displacements than
    /// points.
    pub fn new(shape: [usize; 3], vectors: Vec<[f32; 3]>) -> Result<Self> {
        let points = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        if shape.contains(&0) || points != Some(vectors.len()) {
            return Err(Error::geometry(format!(
                "expected a displacement for each point of a lattice of {shape:?}, found {}",
                vectors.len()
            )));
        }
        Ok(Self { shape, vectors })
    }

    /// Normal displacements of the given standard deviation along each axis, independent at each
    /// point of the lattice.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the lattice is empty.
    pub fn draw(rng: &mut Rng, shape: [usize; 3], sd_vox: [f32; 3]) -> Result<Self> {
        let points = shape.iter().product();
        let vectors = (0..points).map(|_| sd_vox.map(|sd| sd * rng.normal()));
        Self::new(shape, vectors.collect())
    }

    /// One component, at each point of the lattice.
    pub(super) fn along(&self, axis: usize) -> Vec<f32> {
        self.vectors.iter().map(|v| v[axis]).collect()
    }
}
