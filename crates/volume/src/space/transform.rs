//! Moving a volume by an affine map and a dense field of displacements, as registration gives them.
//!
//! A point p of the target, RAS mm, takes its value from the point A (p + d(p)) of the source: the
//! direction in which ITK keeps its transforms (whose vectors are LPS: turn the signs of x and y).
//! The field d has a vector in mm at each voxel of a grid of its own; between voxels it is linear,
//! and beyond the grid nothing is displaced.
//!
//! ```
//! use crossmod_volume::space::{Interpolation, Transform};
//! use crossmod_volume::{Grid, Image};
//! use glam::{DMat4, DVec3};
//! let grid = Grid::with_spacing([4, 1, 1], [2.0; 3])?;
//! let image = Image::new(grid.clone(), vec![1.0, 2.0, 3.0, 4.0])?;
//! let right = Transform::affine(DMat4::from_translation(DVec3::new(2.0, 0.0, 0.0)))?;
//! let moved = right.image(&image, &grid, Interpolation::Linear, 0.0);
//! assert_eq!(moved.data(), [2.0, 3.0, 4.0, 0.0]);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use glam::{DMat4, DVec3};

use super::resample::{Interpolation, image_at, linear_labels_at, nearest_labels_at, value_at};
use crate::{Error, Grid, Image, Labels, Result};

/// An affine map of the world, after displacements of its points.
#[derive(Debug, Clone)]
pub struct Transform {
    affine: DMat4,
    field: Option<[Image; 3]>,
}

impl Transform {
    /// The map p → A p of RAS mm.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the matrix is not that of a finite affine map.
    pub fn affine(matrix: DMat4) -> Result<Self> {
        let bottom = matrix.row(3).to_array();
        if !matrix.is_finite() || bottom != [0.0, 0.0, 0.0, 1.0] {
            return Err(Error::geometry(format!(
                "expected a finite matrix with a last row of 0, 0, 0, 1, found {bottom:?} there"
            )));
        }
        Ok(Self {
            affine: matrix,
            field: None,
        })
    }

    /// Displaces points, before they are mapped, by vectors whose parts along R, A and S, mm, stand
    /// in three images.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the three do not lie on one grid, or a displacement is not finite.
    pub fn displaced(self, field: [Image; 3]) -> Result<Self> {
        let [x, y, z] = &field;
        if x.grid() != y.grid() || x.grid() != z.grid() {
            return Err(Error::geometry(
                "expected the three parts of a displacement field on one grid, found several"
                    .into(),
            ));
        }
        if field
            .iter()
            .any(|part| part.data().iter().any(|v| !v.is_finite()))
        {
            return Err(Error::geometry(
                "expected finite displacements, found some that are not".into(),
            ));
        }
        Ok(Self {
            field: Some(field),
            ..self
        })
    }

    /// Where, RAS mm, a point takes its value from.
    #[must_use]
    pub fn point(&self, at: [f64; 3]) -> [f64; 3] {
        self.maps()(DVec3::from_array(at)).to_array()
    }

    /// The image on a grid of the target's world; `outside` where that takes from beyond the image.
    #[must_use]
    pub fn image(
        &self,
        image: &Image,
        target: &Grid,
        interpolation: Interpolation,
        outside: f32,
    ) -> Image {
        let place = self.place(image.grid(), target);
        image_at(image, target, place, interpolation, outside)
    }

    /// The label map, each voxel taking the nearest one's label; 0 outside.
    #[must_use]
    pub fn labels_nearest(&self, labels: &Labels, target: &Grid) -> Labels {
        nearest_labels_at(labels, target, self.place(labels.grid(), target))
    }

    /// The label map, each voxel taking the label with the largest share of it; see
    /// [`resample_labels_linear`](super::resample_labels_linear).
    #[must_use]
    pub fn labels_linear(&self, labels: &Labels, target: &Grid) -> Labels {
        linear_labels_at(labels, target, self.place(labels.grid(), target))
    }

    fn place(&self, source: &Grid, target: &Grid) -> impl Fn(DVec3) -> DVec3 + Sync {
        let world = target.world_from_voxel();
        let back = source.voxel_from_world();
        let maps = self.maps();
        move |voxel| back.transform_point3(maps(world.transform_point3(voxel)))
    }

    fn maps(&self) -> impl Fn(DVec3) -> DVec3 + Sync {
        let field = self.field.as_ref();
        let field = field.map(|parts| (parts, parts[0].grid().voxel_from_world()));
        move |p| {
            let displaced = field.and_then(|(parts, back)| {
                let voxel = back.transform_point3(p);
                let [x, y, z] = parts.each_ref().map(|part| value_at(part, voxel));
                Some(p + DVec3::new(x?.into(), y?.into(), z?.into()))
            });
            self.affine.transform_point3(displaced.unwrap_or(p))
        }
    }
}

#[cfg(test)]
mod tests;
