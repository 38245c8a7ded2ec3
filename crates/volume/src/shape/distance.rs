//! Exact Euclidean distances between the voxels of a label map, mm.
//!
//! Axis by axis: along x from the ends of runs of one value, along y and z as the lower envelope of
//! parabolas (Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", Theory of
//! Computing 8:415, 2012, doi:10.4086/toc.2012.v008a019). An envelope of its own for each run of a
//! value gives every voxel's distance to the nearest voxel of *another* value, whatever the number
//! of values: what lies past the end of a run is further than that end. Distances are between voxel
//! centres; the grid's axes are taken to be perpendicular. Nothing is known of what lies outside the
//! volume, so its border counts as no other value.
//!
//! ```
//! use crossmod_volume::shape::{depth_mm, signed_distance_mm};
//! use crossmod_volume::{Grid, Labels};
//! let grid = Grid::with_spacing([5, 1, 1], [2.0, 1.0, 1.0])?;
//! let labels = Labels::new(grid, vec![0, 3, 3, 3, 7])?;
//! assert_eq!(depth_mm(&labels).data(), [2.0, 2.0, 4.0, 2.0, 2.0]);
//! let signed = signed_distance_mm(&labels, |label| label == 7);
//! assert_eq!(signed.data(), [8.0, 6.0, 4.0, 2.0, -2.0]);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use rayon::prelude::*;

use crate::{Grid, Image, Labels};

/// Columns that are gathered together, so that whole cache lines are used.
pub(super) const COLUMNS: usize = 16;

/// From each voxel to the nearest of another value; infinite where there is no other.
#[must_use]
pub fn depth_mm(labels: &Labels) -> Image {
    let mut depth = squared_mm2(labels.data(), labels.grid());
    depth.par_iter_mut().for_each(|d| *d = d.sqrt());
    image(labels.grid(), depth)
}

/// From each voxel to the nearest whose label `of` says yes to, 0 there itself; infinite where there
/// is none.
#[must_use]
pub fn distance_mm(labels: &Labels, of: impl Fn(u16) -> bool + Sync) -> Image {
    let signed = signed_distance_mm(labels, of);
    signed.map(|d| d.max(0.0))
}

/// As [`distance_mm`] outside the voxels whose label `of` says yes to; inside, minus the distance to
/// the nearest voxel outside.
#[must_use]
pub fn signed_distance_mm(labels: &Labels, of: impl Fn(u16) -> bool + Sync) -> Image {
    let mask: Vec<bool> = labels.data().par_iter().map(|&label| of(label)).collect();
    let mut signed = squared_mm2(&mask, labels.grid());
    signed.par_iter_mut().zip(mask).for_each(|(d, inside)| {
        *d = if inside { -d.sqrt() } else { d.sqrt() };
    });
    image(labels.grid(), signed)
}

fn image(grid: &Grid, data: Vec<f32>) -> Image {
    Image::new(grid.clone(), data).expect("one distance for each voxel")
}

/// The squared distance from each value to the nearest other one.
fn squared_mm2<T: Copy + PartialEq + Sync>(values: &[T], grid: &Grid) -> Vec<f32> {
    let [nx, ny, nz] = grid.shape();
    let spacing_mm = grid.spacing_mm();
    let mut squared = vec![f32::INFINITY; values.len()];
    let rows = squared.par_chunks_mut(nx).zip(values.par_chunks(nx));
    rows.for_each(|(row, values)| along_row(row, values, spacing_mm[0]));
    if ny > 1 {
        let planes = squared.par_chunks_mut(nx * ny).enumerate();
        planes.for_each(|(z, plane)| {
            let rows = plane.chunks_mut(nx).collect();
            across_rows(rows, |y| &values[nx * (y + ny * z)..][..nx], spacing_mm[1]);
        });
    }
    if nz > 1 {
        let mut planes: Vec<Vec<&mut [f32]>> = (0..ny).map(|_| Vec::with_capacity(nz)).collect();
        for (i, row) in squared.chunks_mut(nx).enumerate() {
            planes[i % ny].push(row);
        }
        let planes = planes.into_par_iter().enumerate();
        planes.for_each(|(y, rows)| {
            across_rows(rows, |z| &values[nx * (y + ny * z)..][..nx], spacing_mm[2]);
        });
    }
    squared
}

/// The ranges of equal values, in order.
fn runs<T: PartialEq>(values: &[T]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    values.chunk_by(|a, b| a == b).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        range
    })
}

fn along_row<T: PartialEq>(row: &mut [f32], values: &[T], step_mm: f64) {
    let n = row.len();
    for run in runs(values) {
        for i in run.clone() {
            let before = if run.start > 0 {
                i + 1 - run.start
            } else {
                usize::MAX
            };
            let after = if run.end < n { run.end - i } else { usize::MAX };
            let steps = before.min(after);
            if steps < usize::MAX {
                row[i] = (steps as f64 * step_mm).powi(2) as f32;
            }
        }
    }
}

/// The pass along the axis that steps from row to row.
fn across_rows<'a, T: Copy + PartialEq + 'a>(
    mut rows: Vec<&mut [f32]>,
    values: impl Fn(usize) -> &'a [T],
    step_mm: f64,
) {
    let (n, width) = (rows.len(), rows[0].len());
    let mut heights = vec![0.0f32; n * COLUMNS];
    let mut column = Vec::with_capacity(n);
    let mut envelope = Envelope::default();
    for start in (0..width).step_by(COLUMNS) {
        let block = start..width.min(start + COLUMNS);
        for (j, row) in rows.iter().enumerate() {
            for (c, &height) in row[block.clone()].iter().enumerate() {
                heights[c * n + j] = height;
            }
        }
        for (x, heights) in block.clone().zip(heights.chunks_mut(n)) {
            column.clear();
            column.extend((0..n).map(|j| values(j)[x]));
            for run in runs(&column) {
                envelope.lower(heights, run, step_mm);
            }
        }
        for (j, row) in rows.iter_mut().enumerate() {
            for (c, height) in row[block.clone()].iter_mut().enumerate() {
                *height = heights[c * n + j];
            }
        }
    }
}

/// The lower envelope of parabolas of equal width: which is lowest from where on.
#[derive(Default)]
pub(super) struct Envelope {
    parabolas: Vec<Parabola>,
}

#[derive(Clone, Copy)]
struct Parabola {
    from_mm: f64,
    at_mm: f64,
    height_mm2: f64,
}

impl Envelope {
    /// Lowers the heights of a run to the envelope of the parabolas on them and, at height 0, just
    /// outside its ends.
    pub(super) fn lower(&mut self, heights: &mut [f32], run: std::ops::Range<usize>, step_mm: f64) {
        self.parabolas.clear();
        // In steps from one place before the run.
        let place = |steps: usize| steps as f64 * step_mm;
        if run.start > 0 {
            self.push(0.0, 0.0);
        }
        for (i, &height) in heights[run.clone()].iter().enumerate() {
            if height.is_finite() {
                self.push(place(i + 1), f64::from(height));
            }
        }
        if run.end < heights.len() {
            self.push(place(run.len() + 1), 0.0);
        }
        let mut lowest = 0;
        for (i, height) in heights[run].iter_mut().enumerate() {
            let at = place(i + 1);
            while self
                .parabolas
                .get(lowest + 1)
                .is_some_and(|p| p.from_mm <= at)
            {
                lowest += 1;
            }
            if let Some(p) = self.parabolas.get(lowest) {
                *height = ((at - p.at_mm).powi(2) + p.height_mm2) as f32;
            }
        }
    }

    fn push(&mut self, at_mm: f64, height_mm2: f64) {
        let mut from_mm = f64::NEG_INFINITY;
        while let Some(last) = self.parabolas.last() {
            let rise = height_mm2 + at_mm * at_mm - last.height_mm2 - last.at_mm * last.at_mm;
            from_mm = rise / (2.0 * (at_mm - last.at_mm));
            if from_mm > last.from_mm {
                break;
            }
            self.parabolas.pop();
            from_mm = f64::NEG_INFINITY;
        }
        self.parabolas.push(Parabola {
            from_mm,
            at_mm,
            height_mm2,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    /// Every voxel against every other.
    fn by_force(labels: &Labels) -> Vec<f64> {
        let [nx, ny, _] = labels.grid().shape();
        let spacing = labels.grid().spacing_mm();
        let at = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)];
        let data = labels.data();
        let squared = |i: usize, j: usize| {
            let (a, b) = (at(i), at(j));
            (0..3)
                .map(|k| ((a[k] as f64 - b[k] as f64) * spacing[k]).powi(2))
                .sum::<f64>()
        };
        (0..data.len())
            .map(|i| {
                let others = (0..data.len()).filter(|&j| data[j] != data[i]);
                let nearest = others.map(|j| squared(i, j)).fold(f64::INFINITY, f64::min);
                nearest.sqrt()
            })
            .collect()
    }

    fn same(found: f64, expected: f64) -> bool {
        found == expected || (found - expected).abs() < 1e-5 * expected
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn as_by_force(
            seed in any::<u64>(),
            shape in prop::array::uniform3(1usize..9),
            spacing in prop::array::uniform3(0.3f64..4.0),
            rare in 0.0f32..0.6,
        ) {
            let mut rng = Rng::new(seed, 0, 0);
            let grid = Grid::with_spacing(shape, spacing).expect("a grid");
            let data = (0..grid.len())
                .map(|_| if rng.chance(rare) { 1 + rng.below(3) as u16 } else { 0 })
                .collect();
            let labels = Labels::new(grid.clone(), data).expect("labels");
            let depth = depth_mm(&labels);
            for (i, (&found, expected)) in depth.data().iter().zip(by_force(&labels)).enumerate() {
                prop_assert!(same(f64::from(found), expected), "{i}: {found} not {expected}");
            }

            let of = |label| label >= 2;
            let mask = labels.data().iter().map(|&l| u16::from(of(l))).collect();
            let expected = by_force(&Labels::new(grid, mask).expect("labels"));
            let (plain, signed) = (distance_mm(&labels, of), signed_distance_mm(&labels, of));
            for (i, expected) in expected.into_iter().enumerate() {
                let inside = of(labels.data()[i]);
                let (plain, signed) = (f64::from(plain.data()[i]), f64::from(signed.data()[i]));
                let unsigned = if inside { -signed } else { signed };
                prop_assert!(same(unsigned, expected), "{i}: {signed} not {expected}");
                let outside = if inside { 0.0 } else { expected };
                prop_assert!(same(plain, outside), "{i}: {plain} not {outside}");
            }
        }
    }

    #[test]
    fn a_point_gives_euclidean_distance_wider_than_a_block_of_columns() {
        let grid = Grid::with_spacing([53, 29, 31], [0.7, 1.1, 2.5]).expect("a grid");
        let mut labels = Labels::new(grid.clone(), vec![0; grid.len()]).expect("labels");
        labels.data_mut()[grid.index([50, 3, 17])] = 9;
        let found = distance_mm(&labels, |label| label == 9);
        let point = grid.world([50.0, 3.0, 17.0]);
        for (i, &d) in found.data().iter().enumerate() {
            let voxel = [i % 53, i / 53 % 29, i / (53 * 29)].map(|v| v as f64);
            let at = grid.world(voxel);
            let expected = (0..3).map(|k| (at[k] - point[k]).powi(2)).sum::<f64>();
            assert!(same(f64::from(d), expected.sqrt()), "{voxel:?} {d}");
        }
    }

    #[test]
    fn one_value_alone_is_infinitely_deep() {
        let grid = Grid::with_spacing([3, 4, 5], [1.0; 3]).expect("a grid");
        let labels = Labels::new(grid, vec![4; 60]).expect("labels");
        assert!(depth_mm(&labels).data().iter().all(|d| *d == f32::INFINITY));
        let none = distance_mm(&labels, |label| label == 5);
        assert!(none.data().iter().all(|d| *d == f32::INFINITY));
        let all = distance_mm(&labels, |label| label == 4);
        assert!(all.data().iter().all(|d| *d == 0.0));
    }
}
