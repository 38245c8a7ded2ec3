//! The boxes that classes lie in.

use crossmod_volume::Labels;
use rayon::prelude::*;

use crate::overlap::Sets;

/// A box of voxels, both ends within.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) low: [usize; 3],
    pub(super) high: [usize; 3],
}

impl Bounds {
    const NOTHING: Self = Self {
        low: [usize::MAX; 3],
        high: [0; 3],
    };

    pub(super) fn size(self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.high[axis] + 1 - self.low[axis])
    }

    fn take_in(&mut self, low: [usize; 3], high: [usize; 3]) {
        for axis in 0..3 {
            self.low[axis] = self.low[axis].min(low[axis]);
            self.high[axis] = self.high[axis].max(high[axis]);
        }
    }
}

/// The box of each class in either of two maps of one shape; `None` where it is in neither. Voxels
/// that the second map leaves to be ignored count as the class too: a box may be too large.
pub(super) fn bounds(maps: [&Labels; 2], sets: &Sets, classes: usize) -> Vec<Option<Bounds>> {
    let [nx, ny, nz] = maps[0].grid().shape();
    let empty = || vec![Bounds::NOTHING; classes];
    let slice = |mut bounds: Vec<Bounds>, z: usize| {
        for map in maps {
            for (y, row) in map.slice_z(z).chunks_exact(nx).enumerate() {
                let mut start = 0;
                for run in row.chunk_by(|a, b| a == b) {
                    let end = start + run.len() - 1;
                    for class in sets.of(run[0]) {
                        bounds[*class].take_in([start, y, z], [end, y, z]);
                    }
                    start = end + 1;
                }
            }
        }
        bounds
    };
    debug_assert_eq!(maps[1].grid().shape(), [nx, ny, nz]);
    let found = (0..nz).into_par_iter().fold(empty, slice);
    let found = found.reduce(empty, |mut a, b| {
        a.iter_mut()
            .zip(b)
            .for_each(|(a, b)| a.take_in(b.low, b.high));
        a
    });
    let some = |bounds: Bounds| (bounds.low[0] != usize::MAX).then_some(bounds);
    found.into_iter().map(some).collect()
}
