//! Filling holes: background that a structure encloses.
//!
//! A hole is a connected set of voxels outside the structure that does not reach the volume's
//! border, voxels touching by their faces; `scipy.ndimage.binary_fill_holes`. An axis of one voxel
//! has no border, so a plane is treated as one.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::runs::{Neighbourhood, connect};
use crate::Labels;

/// What encloses a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The structure in the whole volume.
    #[default]
    Volume,
    /// The structure in each slice of one x alone: also fills tunnels along x.
    SlicesX,
    /// The same for y.
    SlicesY,
    /// The same for z.
    SlicesZ,
}

/// Gives the background (0) in the holes of the voxels whose label `of` says yes to, the label
/// `fill`; other labels in a hole stay. Returns how many voxels that were.
///
/// # Panics
/// Where a row has 2³² voxels, or what is not the structure as many unbroken rows.
pub fn fill_holes(
    labels: &mut Labels,
    of: impl Fn(u16) -> bool + Sync,
    fill: u16,
    extent: Extent,
) -> usize {
    let shape = labels.grid().shape();
    let strides = [1, shape[0], shape[0] * shape[1]];
    let data = labels.data();
    let across = match extent {
        Extent::Volume => None,
        Extent::SlicesX => Some((0, [1, 2])),
        Extent::SlicesY => Some((1, [0, 2])),
        Extent::SlicesZ => Some((2, [0, 1])),
    };
    let filled: Vec<usize> = match across {
        None => holes(data, 0, shape, strides, &of),
        Some((across, [a, b])) => (0..shape[across])
            .into_par_iter()
            .flat_map_iter(|slice| {
                let plane = [shape[a], shape[b], 1];
                let steps = [strides[a], strides[b], 0];
                holes(data, slice * strides[across], plane, steps, &of)
            })
            .collect(),
    };
    for &i in &filled {
        labels.data_mut()[i] = fill;
    }
    filled.len()
}

/// The places in `data` of the background in the holes of a volume that begins at `start`.
fn holes(
    data: &[u16],
    start: usize,
    shape: [usize; 3],
    strides: [usize; 3],
    of: &(impl Fn(u16) -> bool + Sync),
) -> Vec<usize> {
    let [nx, ny, nz] = shape;
    let place = |x: usize, row: usize| {
        start + x * strides[0] + row % ny * strides[1] + row / ny * strides[2]
    };
    let outside = connect(shape, Neighbourhood::Faces, |x, row| {
        !of(data[place(x, row)])
    });
    let mut reaches_border = vec![false; outside.sets];
    for run in &outside.runs {
        let at_end = |i: usize, n: usize| n > 1 && (i == 0 || i == n - 1);
        reaches_border[run.set as usize] |= at_end(run.row % ny, ny)
            || at_end(run.row / ny, nz)
            || at_end(run.start as usize, nx)
            || at_end(run.end as usize - 1, nx);
    }
    let enclosed = outside
        .runs
        .iter()
        .filter(|run| !reaches_border[run.set as usize]);
    enclosed
        .flat_map(|run| (run.start..run.end).map(|x| place(x as usize, run.row)))
        .filter(|&i| data[i] == 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, rng::Rng};
    use proptest::prelude::*;

    fn labels(shape: [usize; 3], data: Vec<u16>) -> Labels {
        let grid = Grid::with_spacing(shape, [1.0; 3]).expect("a grid");
        Labels::new(grid, data).expect("labels")
    }

    /// A flood from the border; what it does not reach is enclosed.
    fn by_flood(labels: &Labels, fill: u16) -> Vec<u16> {
        let shape = labels.grid().shape();
        let of = |l: u16| l == 1;
        let at = |i: usize| {
            [
                i % shape[0],
                i / shape[0] % shape[1],
                i / (shape[0] * shape[1]),
            ]
        };
        let data = labels.data();
        let border =
            |i: usize| (0..3).any(|a| shape[a] > 1 && (at(i)[a] == 0 || at(i)[a] == shape[a] - 1));
        let mut open: Vec<usize> = (0..data.len())
            .filter(|&i| border(i) && !of(data[i]))
            .collect();
        let mut reached = vec![false; data.len()];
        open.iter().for_each(|&i| reached[i] = true);
        while let Some(i) = open.pop() {
            for (axis, step) in (0..3).flat_map(|a| [(a, -1i64), (a, 1)]) {
                let mut to = at(i).map(|v| v as i64);
                to[axis] += step;
                if (0..shape[axis] as i64).contains(&to[axis]) {
                    let j = labels.grid().index(to.map(|v| v as usize));
                    if !reached[j] && !of(data[j]) {
                        reached[j] = true;
                        open.push(j);
                    }
                }
            }
        }
        let fills = |i: usize| !reached[i] && data[i] == 0;
        (0..data.len())
            .map(|i| if fills(i) { fill } else { data[i] })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn as_a_flood(
            seed in any::<u64>(),
            shape in prop::array::uniform3(1usize..10),
            density in 0.3f32..0.9,
        ) {
            let mut rng = Rng::new(seed, 0, 0);
            let data = (0..shape.iter().product()).map(|_| {
                if rng.chance(density) { 1 } else { [0, 0, 2][rng.below(3)] }
            });
            let before = labels(shape, data.collect());
            let mut found = before.clone();
            let count = fill_holes(&mut found, |l| l == 1, 1, Extent::Volume);
            prop_assert_eq!(found.data(), by_flood(&before, 1));
            let changed = found.data().iter().zip(before.data()).filter(|(a, b)| a != b).count();
            prop_assert_eq!(changed, count);

            let slices = [Extent::SlicesX, Extent::SlicesY, Extent::SlicesZ];
            for (axis, extent) in slices.into_iter().enumerate() {
                let mut found = before.clone();
                fill_holes(&mut found, |l| l == 1, 1, extent);
                for slice in 0..shape[axis] {
                    let places: Vec<usize> = (0..before.data().len())
                        .filter(|i| [
                            i % shape[0], i / shape[0] % shape[1], i / (shape[0] * shape[1])
                        ][axis] == slice)
                        .collect();
                    let mut flat = shape;
                    flat[axis] = 1;
                    let of = |all: &[u16]| places.iter().map(|&i| all[i]).collect::<Vec<u16>>();
                    let expected = by_flood(&labels(flat, of(before.data())), 1);
                    prop_assert_eq!(of(found.data()), expected);
                }
            }
        }
    }

    #[test]
    fn a_tunnel_is_a_hole_of_slices_only_and_other_labels_stay() {
        let ring = [1, 1, 1, 1, 0, 1, 1, 1, 1];
        let mut data = ring.repeat(3);
        data[13] = 7;
        let tunnel = labels([3, 3, 3], data);
        let mut filled = tunnel.clone();
        assert_eq!(fill_holes(&mut filled, |l| l == 1, 1, Extent::Volume), 0);
        assert_eq!(filled, tunnel);
        assert_eq!(fill_holes(&mut filled, |l| l == 1, 1, Extent::SlicesZ), 2);
        assert_eq!(
            (filled.data()[4], filled.data()[13], filled.data()[22]),
            (1, 7, 1)
        );
    }
}
