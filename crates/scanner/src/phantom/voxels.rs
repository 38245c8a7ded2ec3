//! A phantom as an image.

use crossmod_volume::{Grid, Image};
use glam::{DMat3, DVec3};
use rayon::prelude::*;

use super::Phantom;

/// HU of the phantom, each voxel the mean of `samples`³ evenly spaced places in it.
pub(super) fn voxels(phantom: &Phantom, grid: &Grid, samples: usize) -> Image {
    let [nx, ny, _] = grid.shape();
    let linear = DMat3::from_mat4(grid.world_from_voxel());
    let radius = half_diagonal(linear);
    let offset = |n: usize| (n as f64 + 0.5) / samples as f64 - 0.5;
    let places: Vec<DVec3> = (0..samples.pow(3))
        .map(|i| {
            let [x, y, z] = [i % samples, i / samples % samples, i / samples / samples];
            linear * DVec3::new(offset(x), offset(y), offset(z))
        })
        .collect();
    let mut data = vec![0.0f32; grid.len()];
    data.par_chunks_mut(nx).enumerate().for_each(|(row, out)| {
        for (x, out) in out.iter_mut().enumerate() {
            let centre = grid.world([x as f64, (row % ny) as f64, (row / ny) as f64]);
            let mut value = 0.0;
            for object in phantom.objects() {
                let share = match object.covers(centre, radius) {
                    Some(inside) => f64::from(u8::from(inside)),
                    None => {
                        let inside = places.iter().filter(|&&place| {
                            object.contains((DVec3::from_array(centre) + place).to_array())
                        });
                        inside.count() as f64 / places.len() as f64
                    }
                };
                value += share * object.value();
            }
            *out = (1000.0 * (value - 1.0)) as f32;
        }
    });
    Image::new(grid.clone(), data).expect("a sample for each voxel")
}

/// From a voxel's centre to its farthest corner, mm.
fn half_diagonal(linear: DMat3) -> f64 {
    [
        [1.0, 1.0, 1.0],
        [1.0, 1.0, -1.0],
        [1.0, -1.0, 1.0],
        [-1.0, 1.0, 1.0],
    ]
    .map(|corner| (linear * DVec3::from_array(corner)).length() / 2.0)
    .into_iter()
    .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::Object;

    #[test]
    fn a_ball_has_its_volume_and_its_values() {
        let grid = Grid::with_spacing([40, 30, 20], [1.0, 1.5, 2.0]).expect("a grid");
        let ball = Object::ball([19.3, 21.2, 18.7], 14.0, 1.5);
        let image = Phantom::new().with(ball).voxels(&grid, 6);
        let sum: f64 = image
            .data()
            .iter()
            .map(|&hu| f64::from(hu) / 1000.0 + 1.0)
            .sum();
        let volume = sum * grid.voxel_volume_mm3() / 1.5;
        let exact = 4.0 / 3.0 * std::f64::consts::PI * 14.0f64.powi(3);
        assert!(
            (volume / exact - 1.0).abs() < 2e-3,
            "{volume} against {exact}"
        );
        assert_eq!(image.data()[0], -1000.0);
        assert_eq!(image.data()[grid.index([19, 14, 9])], 500.0);
    }
}
