//! Where the body lies in a painted CT image, and rows of voxels in the world.
//!
//! Cross-sections are in the world's x (to the right) and y (to the front), mm; along z things go on.

use crossmod_volume::Grid;
use glam::{DVec2, DVec3};
use rayon::prelude::*;

use crate::Scene;

/// Below it is air: halfway between fat and air, nearly.
pub(super) const AIR_HU: f32 = -400.0;

/// The share of the body that may lie outside its box on each side: noise, tubes, sheets.
const STRAY: f64 = 0.002;

/// Steps of the box, over the volume's extent.
const BINS: usize = 1024;

/// The box of what is not air, world (x, y), mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Body {
    pub(super) low: DVec2,
    pub(super) high: DVec2,
}

impl Body {
    /// Of the painted image; `None` where all of it is air.
    pub(super) fn of(scene: &Scene) -> Option<Self> {
        let image = scene.image.as_ref()?;
        let grid = image.grid();
        let nx = grid.shape()[0];
        let (low, high) = extent(grid);
        let width = (high - low).max(DVec2::splat(f64::MIN_POSITIVE));
        let count = |mut bins: Vec<[u64; 2]>, (row, values): (usize, &[f32])| {
            let (start, step) = row_in_world(grid, row);
            for (x, _) in values.iter().enumerate().filter(|(_, v)| **v > AIR_HU) {
                let share = ((start + step * x as f64).truncate() - low) / width;
                for axis in 0..2 {
                    bins[((share[axis] * BINS as f64) as usize).min(BINS - 1)][axis] += 1;
                }
            }
            bins
        };
        let none = || vec![[0u64; 2]; BINS];
        let rows = image.data().par_chunks(nx).enumerate();
        let bins = rows.fold(none, count).reduce(none, |mut a, b| {
            let pairs = a.iter_mut().zip(b);
            pairs.for_each(|(a, b)| (a[0], a[1]) = (a[0] + b[0], a[1] + b[1]));
            a
        });
        let all: u64 = bins.iter().map(|bin| bin[0]).sum();
        let stray = (STRAY * all as f64) as u64;
        let end = |axis: usize, mut bins: Box<dyn Iterator<Item = (usize, &[u64; 2])> + '_>| {
            let mut passed = 0;
            let found = bins.find(|(_, bin)| {
                passed += bin[axis];
                passed > stray
            });
            found.map(|(i, _)| i as f64)
        };
        let first = |axis| end(axis, Box::new(bins.iter().enumerate()));
        let last = |axis| end(axis, Box::new(bins.iter().enumerate().rev()));
        let scale = width / BINS as f64;
        Some(Self {
            low: low + scale * DVec2::new(first(0)?, first(1)?),
            high: low + scale * DVec2::new(last(0)? + 1.0, last(1)? + 1.0),
        })
    }

    pub(super) fn middle(&self) -> DVec2 {
        0.5 * (self.low + self.high)
    }
}

/// The box of the voxels' centres, world (x, y), mm.
pub(super) fn extent(grid: &Grid) -> (DVec2, DVec2) {
    let corner = |i: usize| {
        let shape = grid.shape();
        let voxel = [0, 1, 2].map(|axis| ((i >> axis & 1) * (shape[axis] - 1)) as f64);
        DVec3::from_array(grid.world(voxel)).truncate()
    };
    let corners = (1..8).map(corner);
    corners.fold((corner(0), corner(0)), |(low, high), at| {
        (low.min(at), high.max(at))
    })
}

/// World place of the first voxel of a row along x, and the step to the next, mm.
pub(super) fn row_in_world(grid: &Grid, row: usize) -> (DVec3, DVec3) {
    let ny = grid.shape()[1];
    let start = grid.world([0.0, (row % ny) as f64, (row / ny) as f64]);
    let step = grid.world_from_voxel().x_axis.truncate();
    (DVec3::from_array(start), step)
}

/// Paints air: what `of` says of a world place, mm, where it says something.
pub(super) fn paint_air(scene: &mut Scene, of: impl Fn(DVec3) -> Option<f32> + Sync) {
    let Some(image) = &mut scene.image else {
        return;
    };
    let grid = image.grid().clone();
    let rows = image.data_mut().par_chunks_mut(grid.shape()[0]).enumerate();
    rows.for_each(|(row, values)| {
        let (start, step) = row_in_world(&grid, row);
        for (x, v) in values.iter_mut().enumerate().filter(|(_, v)| **v <= AIR_HU) {
            if let Some(hu) = of(start + step * x as f64) {
                *v = hu;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;
    use glam::DMat4;

    #[test]
    fn the_box_of_a_body_in_a_turned_grid() {
        let mut scene = trial::scene([50, 40, 6], [2.0, 2.0, 5.0], |_| 0);
        let body = |[x, y, _]: [usize; 3]| (10..31).contains(&x) && (5..20).contains(&y);
        let image = trial::image(&scene, |v| if body(v) { 40.0 } else { -1000.0 });
        // As scanners store it: x to the left, y to the back.
        let affine = DMat4::from_cols_array_2d(&[
            [-2.0, 0.0, 0.0, 0.0],
            [0.0, -2.0, 0.0, 0.0],
            [0.0, 0.0, 5.0, 0.0],
            [100.0, 50.0, 0.0, 1.0],
        ]);
        let grid = Grid::new([50, 40, 6], affine).expect("a grid");
        scene.image =
            Some(crossmod_volume::Image::new(grid, image.into_parts().1).expect("an image"));
        let found = Body::of(&scene).expect("a body");
        let expected = [40.0, 80.0, 12.0, 40.0];
        let found = [found.low.x, found.high.x, found.low.y, found.high.y];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 0.2, "{found} {expected}");
        }
        scene.image = Some(trial::image(&scene, |_| -1000.0));
        assert!(Body::of(&scene).is_none());
    }
}
