//! How a volume lies in the scanner.
//!
//! The scanner's axes are the world's. A volume whose voxel axes are turned against them is laid
//! down along the axes that they are nearest to, about its centre, as a patient is put straight
//! before a scan: nothing is resampled before the rays are, and the image comes back on the
//! volume's own grid.

use crossmod_volume::{Grid, Image};
use glam::{DMat3, DMat4, DVec3};

use crate::Result;
use crate::project::{Body, Strides};

/// The ways to assign voxel axes to world axes.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// A volume's place on the table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The volume's grid put straight.
    pub(crate) grid: Grid,
    /// The volume's own.
    own: Grid,
    /// The voxel axis along each world axis, and whether it runs against it.
    axes: [usize; 3],
    against: [bool; 3],
}

impl Table {
    pub(crate) fn new(own: &Grid) -> Result<Self> {
        let matrix = DMat3::from_mat4(own.world_from_voxel());
        let spacing = own.spacing_mm();
        // Of each voxel axis along each world axis, −1 to 1.
        let along = |voxel: usize, world: usize| matrix.col(voxel)[world] / spacing[voxel];
        let fit = |order: &[usize; 3]| -> f64 {
            (0..3).map(|world| along(order[world], world).abs()).sum()
        };
        let best = ORDERS.into_iter().max_by(|a, b| fit(a).total_cmp(&fit(b)));
        let axes = best.unwrap_or([0, 1, 2]);
        let against = [0, 1, 2].map(|world| along(axes[world], world) < 0.0);
        let mut columns = [DVec3::ZERO; 3];
        for world in 0..3 {
            let voxel = axes[world];
            let sign = if against[world] { -1.0 } else { 1.0 };
            columns[voxel][world] = sign * spacing[voxel];
        }
        let middle = own.shape().map(|n| (n - 1) as f64 / 2.0);
        let [x, y, z] = columns;
        let linear = DMat3::from_cols(x, y, z);
        let origin = DVec3::from_array(own.world(middle)) - linear * DVec3::from_array(middle);
        let affine = DMat4::from_translation(origin) * DMat4::from_mat3(linear);
        Ok(Self {
            grid: Grid::new(own.shape(), affine)?,
            own: own.clone(),
            axes,
            against,
        })
    }

    /// The samples of the volume's grid as a body.
    pub(crate) fn body(&self, samples: &[f32], value: impl Fn(f32) -> f32 + Sync) -> Result<Body> {
        let shape = self.own.shape();
        let steps = Strides::of(shape).step;
        let spacing = self.own.spacing_mm();
        let mut first = [0; 3];
        let mut step = [0; 3];
        let along = self.axes.into_iter().zip(self.against);
        for (step, (voxel, against)) in step.iter_mut().zip(along) {
            *step = steps[voxel];
            if against {
                *step = -steps[voxel];
                first[voxel] = shape[voxel] - 1;
            }
        }
        let strides = Strides {
            first: self.own.index(first),
            step,
        };
        let first_mm = self.grid.world(first.map(|i| i as f64));
        Body::new(
            samples,
            strides,
            self.axes.map(|voxel| shape[voxel]),
            self.axes.map(|voxel| spacing[voxel]),
            first_mm,
            value,
        )
    }

    /// An image of the straight grid on the volume's own.
    pub(crate) fn restore(&self, image: Image) -> Result<Image> {
        let (_, data) = image.into_parts();
        Ok(Image::new(self.own.clone(), data)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_grid_stays_where_it_is() {
        // LPS, as most CT is stored.
        let affine = DMat4::from_cols_array_2d(&[
            [-0.8, 0.0, 0.0, 0.0],
            [0.0, -0.7, 0.0, 0.0],
            [0.0, 0.0, 1.5, 0.0],
            [120.0, 95.0, -400.0, 1.0],
        ]);
        let grid = Grid::new([300, 280, 50], affine).expect("a grid");
        let table = Table::new(&grid).expect("a table");
        assert!(table.grid.matches(&grid, 1e-6));
        assert_eq!(table.against, [true, true, false]);
    }

    /// Each sample is its own world z: a body has it at that height, whatever the order of axes.
    #[test]
    fn samples_land_at_their_world_places() {
        let affine = DMat4::from_cols_array_2d(&[
            [0.0, 0.0, -2.0, 0.0],
            [3.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [5.0, 6.0, 40.0, 1.0],
        ]);
        let grid = Grid::new([9, 4, 6], affine).expect("a grid");
        let table = Table::new(&grid).expect("a table");
        assert_eq!(table.axes, [1, 2, 0]);
        let mut samples = vec![0.0; grid.len()];
        for z in 0..6 {
            for y in 0..4 {
                for x in 0..9 {
                    let world = grid.world([x as f64, y as f64, z as f64]);
                    samples[grid.index([x, y, z])] = world[2] as f32;
                }
            }
        }
        let body = table.body(&samples, |v| v).expect("a body");
        assert_eq!(body.spacing_mm, [3.0, 1.0, 2.0]);
        assert_eq!(body.first_mm, [5.0 - 3.0, 6.0 - 1.0, 24.0]);
        let column = (1 + body.columns[0]) * body.slices;
        let heights: Vec<f32> = (0..9).map(|k| 24.0 + 2.0 * k as f32).collect();
        assert_eq!(&body.data[column..column + 9], &heights);
    }

    #[test]
    fn a_turned_grid_is_put_straight_about_its_centre() {
        let turn = DMat4::from_rotation_z(0.2) * DMat4::from_scale(DVec3::new(1.0, 1.0, 2.0));
        let grid = Grid::new([31, 31, 11], turn).expect("a grid");
        let table = Table::new(&grid).expect("a table");
        let (a, b) = (
            grid.world([15.0, 15.0, 5.0]),
            table.grid.world([15.0, 15.0, 5.0]),
        );
        assert!((0..3).all(|i| (a[i] - b[i]).abs() < 1e-9));
        assert_eq!(table.grid.spacing_mm(), [1.0, 1.0, 2.0]);
        let image = Image::new(table.grid.clone(), vec![0.0; grid.len()]).expect("an image");
        assert_eq!(table.restore(image).expect("restored").grid(), &grid);
    }
}
