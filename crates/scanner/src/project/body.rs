//! The volume that rays cross, laid out for the projector.
//!
//! Attenuation (mm^-1) as `[y][x][z]`, z fastest, in the scanner's axes, with a border of air one
//! voxel wide around each slice: linear interpolation then falls to nothing at the sides without
//! a test in the inner loop. In z there is no border: past the ends rays see the end slices, as if
//! the patient went on.

use rayon::prelude::*;

use crate::{Error, Result};

/// Readable elements after the last voxel, so that vectors may run past a column's end.
pub(super) const SLACK: usize = 64;

/// Voxels along x and z that are copied together, so that both orders stay in the cache.
const TILE: usize = 16;

/// Attenuation on an axis-aligned grid in the scanner's coordinates.
#[derive(Debug, Clone)]
pub struct Body {
    pub(crate) data: Vec<f32>,
    /// Columns along x and y, the border included.
    pub(crate) columns: [usize; 2],
    /// Samples along z.
    pub(crate) slices: usize,
    pub(crate) spacing_mm: [f64; 3],
    /// Position of the border's first column and of the first slice.
    pub(crate) first_mm: [f64; 3],
    /// For each x the y that hold more than air, then for each y the x: first and last, or an
    /// empty range (first > last).
    pub(super) content: [Vec<[u32; 2]>; 2],
}

/// How samples lie in memory: where the first one is and how far the next along x, y and z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    /// Offset of voxel (0, 0, 0) of the scanner's axes.
    pub first: usize,
    /// Steps along x, y and z; negative where an axis runs against the scanner's.
    pub step: [isize; 3],
}

impl Strides {
    /// x fastest, as in an image.
    #[must_use]
    pub fn of(shape: [usize; 3]) -> Self {
        Self {
            first: 0,
            step: [1, shape[0] as isize, (shape[0] * shape[1]) as isize],
        }
    }

    fn end_points(&self, shape: [usize; 3]) -> Option<[isize; 2]> {
        let mut ends = [isize::try_from(self.first).ok()?; 2];
        for (voxels, step) in shape.into_iter().zip(self.step) {
            let last = isize::try_from(voxels.checked_sub(1)?).ok()?;
            let reach = last.checked_mul(step)?;
            ends[usize::from(reach > 0)] = ends[usize::from(reach > 0)].checked_add(reach)?;
        }
        Some(ends)
    }
}

impl Body {
    /// A body of `shape` (x, y, z) voxels of `spacing_mm`, the centre of the first at `first_mm`,
    /// each the `attenuation` (mm^-1) of a sample of `samples`.
    ///
    /// # Errors
    /// [`Error::Setting`] where an axis is empty, a spacing not positive, or `strides` leave the
    /// samples.
    pub fn new(
        samples: &[f32],
        strides: Strides,
        shape: [usize; 3],
        spacing_mm: [f64; 3],
        first_mm: [f64; 3],
        attenuation: impl Fn(f32) -> f32 + Sync,
    ) -> Result<Self> {
        let inside = strides
            .end_points(shape)
            .is_some_and(|[low, high]| low >= 0 && (high as usize) < samples.len());
        let positive = spacing_mm.iter().all(|s| s.is_finite() && *s > 0.0);
        let columns = [shape[0].saturating_add(2), shape[1].saturating_add(2)];
        // The inner loops count in 32 bits.
        let len = columns[0]
            .saturating_mul(columns[1])
            .saturating_mul(shape[2].max(2));
        let fits = len <= i32::MAX as usize - SLACK;
        if !inside || !positive || !fits || first_mm.iter().any(|p| !p.is_finite()) {
            return Err(Error::Setting(format!(
                "expected a volume of {shape:?} voxels of positive size and fewer than 2^31 of \
                 them, found {} samples, spacings {spacing_mm:?} mm and a first voxel at {first_mm:?} mm",
                samples.len()
            )));
        }
        let [nx, ny, nz] = shape;
        // Interpolation needs two slices.
        let slices = nz.max(2);
        let mut data = vec![0.0f32; columns[0] * columns[1] * slices + SLACK];
        data[columns[0] * slices..]
            .par_chunks_exact_mut(columns[0] * slices)
            .take(ny)
            .enumerate()
            .for_each(|(y, row)| {
                copy_row(&mut row[slices..], slices, [nx, nz], |x, z| {
                    let offset = x as isize * strides.step[0]
                        + y as isize * strides.step[1]
                        + z as isize * strides.step[2];
                    attenuation(samples[strides.first.wrapping_add_signed(offset)])
                });
            });
        let content = content(&data, columns, slices);
        Ok(Self {
            data,
            columns,
            slices,
            spacing_mm,
            first_mm: [
                first_mm[0] - spacing_mm[0],
                first_mm[1] - spacing_mm[1],
                first_mm[2],
            ],
            content,
        })
    }

    /// Distance (mm) from the axis of rotation, at x and y of `isocentre_mm`, to the farthest voxel
    /// that is not air.
    #[must_use]
    pub fn radius_mm(&self, isocentre_mm: [f64; 2]) -> f64 {
        let at = |axis: usize, index: u32| {
            self.first_mm[axis] + self.spacing_mm[axis] * f64::from(index) - isocentre_mm[axis]
        };
        let corner = |x: u32, y: u32| at(0, x).hypot(at(1, y));
        (0u32..)
            .zip(&self.content[0])
            .filter(|(_, [first, last])| first <= last)
            .map(|(x, &[first, last])| corner(x, first).max(corner(x, last)))
            .fold(0.0, f64::max)
    }
}

fn copy_row(
    row: &mut [f32],
    slices: usize,
    [nx, nz]: [usize; 2],
    sample: impl Fn(usize, usize) -> f32,
) {
    for x0 in (0..nx).step_by(TILE) {
        for z0 in (0..nz).step_by(TILE) {
            for x in x0..nx.min(x0 + TILE) {
                for z in z0..nz.min(z0 + TILE) {
                    row[x * slices + z] = sample(x, z);
                }
            }
        }
    }
    if nz == 1 {
        for column in row.chunks_exact_mut(slices).take(nx) {
            column[1] = column[0];
        }
    }
}

/// Ranges of columns with anything but air, by x and by y.
fn content(data: &[f32], [nx, ny]: [usize; 2], slices: usize) -> [Vec<[u32; 2]>; 2] {
    let filled: Vec<Vec<bool>> = data
        .par_chunks_exact(nx * slices)
        .take(ny)
        .map(|row| {
            row.chunks_exact(slices)
                .map(|column| column.iter().any(|&v| v != 0.0))
                .collect()
        })
        .collect();
    let range = |len: usize, is_filled: &dyn Fn(usize) -> bool| {
        let first = (0..len).find(|&i| is_filled(i));
        let last = (0..len).rev().find(|&i| is_filled(i));
        match (first, last) {
            (Some(first), Some(last)) => [first as u32, last as u32],
            _ => [1, 0],
        }
    };
    [
        (0..nx).map(|x| range(ny, &|y| filled[y][x])).collect(),
        (0..ny).map(|y| range(nx, &|x| filled[y][x])).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_keep_their_place_whatever_the_order_in_memory() {
        let shape = [20, 3, 18];
        let value = |x: usize, y: usize, z: usize| (1 + x + 100 * y + 10_000 * z) as f32;
        let mut image = vec![0.0; 20 * 3 * 18];
        for z in 0..18 {
            for y in 0..3 {
                for x in 0..20 {
                    image[x + 20 * (y + 3 * z)] = value(x, y, z);
                }
            }
        }
        let mut mirrored = image.clone();
        mirrored.chunks_exact_mut(20).for_each(<[f32]>::reverse);
        let straight = Body::new(&image, Strides::of(shape), shape, [1.0; 3], [0.0; 3], |v| v)
            .expect("a body");
        let flipped = Strides {
            first: 19,
            step: [-1, 20, 60],
        };
        let back = Body::new(&mirrored, flipped, shape, [1.0; 3], [0.0; 3], |v| v).expect("a body");
        assert_eq!(straight.data, back.data);
        for (x, y, z) in [(0, 0, 0), (19, 2, 17), (16, 1, 5)] {
            let column = (y + 1) * 22 + x + 1;
            assert_eq!(straight.data[column * 18 + z], value(x, y, z));
        }
        assert!(straight.data[..22 * 18].iter().all(|&v| v == 0.0));
        assert_eq!(straight.first_mm, [-1.0, -1.0, 0.0]);
    }

    #[test]
    fn content_and_radius_bound_the_body() {
        let shape = [9, 7, 2];
        let mut image = vec![0.0; 9 * 7 * 2];
        image[63 + 2 + 9 * 3] = 1.0;
        image[4 + 9 * 5] = 1.0;
        let body = Body::new(
            &image,
            Strides::of(shape),
            shape,
            [2.0, 3.0, 1.0],
            [-8.0, -9.0, 0.0],
            |v| v,
        )
        .expect("a body");
        assert_eq!(body.content[0][3], [4, 4]);
        assert_eq!(body.content[0][5], [6, 6]);
        assert_eq!(body.content[0][4], [1, 0]);
        assert_eq!(body.content[1][6], [5, 5]);
        assert_eq!(body.radius_mm([0.0; 2]), 6.0);
    }

    #[test]
    fn impossible_volumes_are_refused() {
        let body = |shape, spacing: f64| {
            Body::new(
                &[0.0; 8],
                Strides::of(shape),
                shape,
                [spacing; 3],
                [0.0; 3],
                |v| v,
            )
        };
        assert!(body([2, 2, 2], 1.0).is_ok());
        assert!(body([2, 2, 3], 1.0).is_err());
        assert!(body([2, 0, 2], 1.0).is_err());
        assert!(body([2, 2, 2], 0.0).is_err());
    }
}
