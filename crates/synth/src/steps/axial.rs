//! The slices across the body: which axis of an array runs from feet to head.

use crossmod_volume::Grid;

/// A grid's axes: `along` the body, and two across it, the faster one in storage first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axial {
    pub(super) along: usize,
    pub(super) across: [usize; 2],
}

impl Axial {
    /// By the directions in which a grid's axes point.
    pub(super) fn of(grid: &Grid) -> Self {
        let m = grid.world_from_voxel();
        let spacing = grid.spacing_mm();
        let upright = |axis: usize| (m.col(axis).z / spacing[axis]).abs();
        // Of axes that are as upright, the last: where a file says nothing, slices follow along z.
        let along = (0..3).fold(0, |best, axis| {
            if upright(axis) >= upright(best) - 1e-6 {
                axis
            } else {
                best
            }
        });
        let across = match along {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        };
        Self { along, across }
    }

    /// Numbers of voxels across, and of slices.
    pub(super) fn shape(&self, grid: &Grid) -> ([usize; 2], usize) {
        let shape = grid.shape();
        (self.across.map(|a| shape[a]), shape[self.along])
    }

    /// Spacing across, mm.
    pub(super) fn spacing_mm(&self, grid: &Grid) -> [f64; 2] {
        let spacing = grid.spacing_mm();
        self.across.map(|a| spacing[a])
    }

    /// Place in an array of slices, `[slice][second][first]`, of the first voxel of a row along x, and
    /// how far its voxels are from each other there.
    pub(super) fn row(&self, shape: [usize; 3], y: usize, z: usize) -> (usize, usize) {
        let at = [0, y, z];
        let [a, b] = self.across;
        let stride = |axis: usize| match axis {
            axis if axis == a => 1,
            axis if axis == b => shape[a],
            _ => shape[a] * shape[b],
        };
        (at[1] * stride(1) + at[2] * stride(2), stride(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glam::{DMat4, DVec4};

    #[test]
    fn the_upright_axis_is_found() {
        let plain = Grid::with_spacing([4, 5, 6], [1.0, 1.0, 5.0]).expect("a grid");
        assert_eq!(Axial::of(&plain).along, 2);
        // KiTS: x runs down, y back, z left.
        let kits = DMat4::from_cols(
            DVec4::new(0.0, 0.0, -3.0, 0.0),
            DVec4::new(0.0, -0.9, 0.0, 0.0),
            DVec4::new(-0.9, 0.0, 0.0, 0.0),
            DVec4::W,
        );
        let kits = Grid::new([4, 5, 6], kits).expect("a grid");
        let axial = Axial::of(&kits);
        assert_eq!((axial.along, axial.across), (0, [1, 2]));
        assert_eq!(axial.shape(&kits), ([5, 6], 4));
        // Voxel (3, 2, 1): slice 3, second 1, first 2.
        let (start, step) = axial.row([4, 5, 6], 2, 1);
        assert_eq!(start + 3 * step, 3 * 30 + 5 + 2);
        let (start, step) = Axial::of(&plain).row([4, 5, 6], 2, 1);
        assert_eq!((start, step), (20 + 8, 1));
    }
}
