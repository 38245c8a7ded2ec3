//! How an MR scan runs through a volume: slice by slice, of each line by line.
//!
//! Along the line (the read direction) all samples are taken at once; from line to line time goes by,
//! so what changes during a scan shows along the phase direction. Work is done on a copy of the image
//! that is `[slice][read][phase]`, phase fastest.

use crossmod_volume::Image;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// An axis of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Axis {
    X,
    Y,
    Z,
}

const AXES: [Axis; 3] = [Axis::X, Axis::Y, Axis::Z];

/// Which axes are the slices' and the phase's; the third is read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encoding {
    slice: Axis,
    phase: Axis,
}

/// The image as it is scanned.
pub(super) struct Scanned {
    /// Voxels along (slice, read, phase).
    pub(super) shape: [usize; 3],
    /// Between them, mm.
    pub(super) spacing_mm: [f64; 3],
    /// `[slice][read][phase]`.
    pub(super) data: Vec<f32>,
    order: [usize; 3],
}

impl Encoding {
    /// Any of the six, each as likely.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let order = rng.permutation(3);
        Self::of(order[0], order[1])
    }

    /// Slices along one axis (0 to 2) and the phase along another.
    pub(super) fn of(slice: usize, phase: usize) -> Self {
        Self {
            slice: AXES[slice],
            phase: AXES[phase],
        }
    }

    /// The places of (slice, read, phase) in (x, y, z).
    fn order(self) -> [usize; 3] {
        let slice = self.slice as usize;
        // A record may have been written by hand: the axes must differ.
        let phase = match self.phase as usize {
            phase if phase == slice => (slice + 1) % 3,
            phase => phase,
        };
        [slice, 3 - slice - phase, phase]
    }

    /// A copy of an image in the order that it is scanned in.
    pub(super) fn scan(self, image: &Image) -> Scanned {
        let order = self.order();
        let shape = order.map(|axis| image.grid().shape()[axis]);
        let steps = strides(image, order);
        let from = image.data();
        let mut data = vec![0.0; from.len()];
        let planes = data.par_chunks_mut(shape[1] * shape[2]).enumerate();
        planes.for_each(|(slice, plane)| {
            for (read, line) in plane.chunks_mut(shape[2]).enumerate() {
                let start = slice * steps[0] + read * steps[1];
                let along = from[start..].iter().step_by(steps[2]);
                line.iter_mut().zip(along).for_each(|(to, v)| *to = *v);
            }
        });
        Scanned {
            shape,
            spacing_mm: order.map(|axis| image.grid().spacing_mm()[axis]),
            data,
            order,
        }
    }
}

fn strides(image: &Image, order: [usize; 3]) -> [usize; 3] {
    let [nx, ny, _] = image.grid().shape();
    order.map(|axis| [1, nx, nx * ny][axis])
}

impl Scanned {
    /// Puts the samples back into the image that they are of.
    pub(super) fn put(&self, image: &mut Image) {
        let [nx, ny, _] = image.grid().shape();
        // Steps in the scanned copy for each of (x, y, z).
        let own = [self.shape[1] * self.shape[2], self.shape[2], 1];
        let mut steps = [0; 3];
        for (place, axis) in self.order.into_iter().enumerate() {
            steps[axis] = own[place];
        }
        let rows = image.data_mut().par_chunks_mut(nx).enumerate();
        rows.for_each(|(row, to)| {
            let start = (row % ny) * steps[1] + (row / ny) * steps[2];
            let along = self.data[start..].iter().step_by(steps[0]);
            to.iter_mut().zip(along).for_each(|(to, v)| *to = *v);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn what_is_scanned_comes_back() {
        let scene = trial::scene([5, 4, 3], [1.0, 2.0, 3.0], |_| 0);
        let image = trial::image(&scene, |[x, y, z]| (x + 10 * y + 100 * z) as f32);
        for slice in AXES {
            for phase in AXES {
                let scanned = Encoding { slice, phase }.scan(&image);
                let mut found = trial::image(&scene, |_| -1.0);
                scanned.put(&mut found);
                assert_eq!(found, image, "{slice:?} {phase:?}");
            }
        }
        let encoding = Encoding {
            slice: Axis::Z,
            phase: Axis::X,
        };
        let scanned = encoding.scan(&image);
        assert_eq!(
            (scanned.shape, scanned.spacing_mm),
            ([3, 4, 5], [3.0, 2.0, 1.0])
        );
        let encoding = Encoding {
            slice: Axis::X,
            phase: Axis::Z,
        };
        let scanned = encoding.scan(&image);
        assert_eq!(scanned.data[..4], [0.0, 100.0, 200.0, 10.0]);
    }
}
