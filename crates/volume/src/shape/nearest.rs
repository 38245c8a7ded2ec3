//! Exact distances from some points of a lattice to the nearest of others, mm.
//!
//! What comparing two surfaces needs, without a map of distances: along z steps are counted, along
//! y the lower envelope of parabolas is taken (see [`super::distance`]), and along x each point that
//! asks looks around in its row for no further than what it has found. Two bytes are held for each
//! place of the lattice, and one slice of squared distances for each thread. Steps along the axes are
//! perpendicular.
//!
//! ```
//! use crossmod_volume::Grid;
//! use crossmod_volume::shape::{Points, nearest_mm};
//! let lattice = Grid::with_spacing([5, 4, 3], [1.0, 1.0, 2.5])?;
//! let mut from = Points::none(&lattice)?;
//! from.slices[0] = vec![[0, 0], [3, 0]];
//! let mut to = Points::none(&lattice)?;
//! to.slices[2] = vec![[3, 0]];
//! assert_eq!(nearest_mm(&from, &to)[0], [34.0_f32.sqrt(), 5.0]);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use rayon::prelude::*;

use super::distance::{COLUMNS, Envelope};
use crate::{Error, Grid, Result};

/// Steps to nowhere.
const FAR: u16 = u16::MAX;

/// Points of a lattice.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    lattice: Grid,
    /// For each z, the (x, y) of its points.
    pub slices: Vec<Vec<[u32; 2]>>,
}

impl Points {
    /// An empty set of points of a lattice.
    ///
    /// # Errors
    /// [`Error::Geometry`] where an axis has 65535 places or more.
    pub fn none(lattice: &Grid) -> Result<Self> {
        let shape = lattice.shape();
        if shape.iter().any(|&n| n >= usize::from(FAR)) {
            return Err(Error::geometry(format!(
                "expected axes of fewer than {FAR} voxels, found {shape:?}; crop the volume"
            )));
        }
        Ok(Self {
            lattice: lattice.clone(),
            slices: vec![Vec::new(); shape[2]],
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(Vec::is_empty)
    }
}

/// For each point of `from`, slice by slice, how far the nearest of `to` is, mm; infinite where there
/// is none.
///
/// # Panics
/// Where the two are of different lattices, or a point is none of its lattice.
#[must_use]
pub fn nearest_mm(from: &Points, to: &Points) -> Vec<Vec<f32>> {
    assert_eq!(from.lattice, to.lattice, "points of one lattice");
    if to.is_empty() {
        let lengths = from.slices.iter().map(Vec::len);
        return lengths.map(|n| vec![f32::INFINITY; n]).collect();
    }
    let shape @ [nx, ny, nz] = to.lattice.shape();
    let [mm_x, mm_y, mm_z] = to.lattice.spacing_mm();
    let steps = steps_along_z(to, shape);
    let squared_z: Vec<f32> = (0..nz).map(|n| (n as f64 * mm_z).powi(2) as f32).collect();
    let squared_x: Vec<f32> = (0..nx).map(|n| (n as f64 * mm_x).powi(2) as f32).collect();
    let slice = |plane: &mut Plane, z: usize| {
        if from.slices[z].is_empty() {
            return Vec::new();
        }
        plane.fill(|y| &steps[nx * (z + nz * y)..][..nx], &squared_z, mm_y);
        let find = |&[x, y]: &[u32; 2]| {
            let (x, y) = (x as usize, y as usize);
            nearest_in_row(&plane.squared[nx * y..][..nx], x, &squared_x).sqrt()
        };
        from.slices[z].iter().map(find).collect()
    };
    (0..nz)
        .into_par_iter()
        .map_init(|| Plane::new(nx, ny), slice)
        .collect()
}

/// Steps along z to the nearest point, [`FAR`] where its line has none; x fastest, then z, then y.
fn steps_along_z(to: &Points, [nx, ny, nz]: [usize; 3]) -> Vec<u16> {
    let mut steps = vec![FAR; nx * ny * nz];
    for (z, slice) in to.slices.iter().enumerate() {
        for &[x, y] in slice {
            steps[x as usize + nx * (z + nz * y as usize)] = 0;
        }
    }
    let further = |row: &mut [u16], near: &[u16]| {
        for (steps, near) in row.iter_mut().zip(near) {
            *steps = (*steps).min(near.saturating_add(1));
        }
    };
    steps.par_chunks_mut(nx * nz).for_each(|plane| {
        for z in 1..nz {
            let (before, row) = plane.split_at_mut(nx * z);
            further(&mut row[..nx], &before[nx * (z - 1)..]);
        }
        for z in (1..nz).rev() {
            let (row, after) = plane.split_at_mut(nx * z);
            further(&mut row[nx * (z - 1)..], &after[..nx]);
        }
    });
    steps
}

/// One slice: for each place the squared distance to the nearest point of the same x.
struct Plane {
    shape: [usize; 2],
    squared: Vec<f32>,
    heights: Vec<f32>,
    envelope: Envelope,
}

impl Plane {
    fn new(nx: usize, ny: usize) -> Self {
        Self {
            shape: [nx, ny],
            squared: vec![0.0; nx * ny],
            heights: vec![0.0; ny * COLUMNS],
            envelope: Envelope::default(),
        }
    }

    fn fill<'a>(&mut self, steps: impl Fn(usize) -> &'a [u16], squared_z: &[f32], mm_y: f64) {
        let [nx, ny] = self.shape;
        for start in (0..nx).step_by(COLUMNS) {
            let block = start..nx.min(start + COLUMNS);
            for y in 0..ny {
                for (c, &n) in steps(y)[block.clone()].iter().enumerate() {
                    let squared = squared_z.get(usize::from(n));
                    self.heights[c * ny + y] = squared.copied().unwrap_or(f32::INFINITY);
                }
            }
            for heights in self.heights.chunks_mut(ny).take(block.len()) {
                self.envelope.lower(heights, 0..ny, mm_y);
            }
            for y in 0..ny {
                let row = &mut self.squared[nx * y..][block.clone()];
                for (c, squared) in row.iter_mut().enumerate() {
                    *squared = self.heights[c * ny + y];
                }
            }
        }
    }
}

/// The least over a row of the squared distance that stands there and that along x.
fn nearest_in_row(row: &[f32], x: usize, squared_x: &[f32]) -> f32 {
    let mut least = row[x];
    let mut look = |across: f32, along: f32| {
        if along < least {
            least = least.min(across + along);
            true
        } else {
            false
        }
    };
    let (before, after) = (row[..x].iter().rev(), row[x + 1..].iter());
    let along = || squared_x[1..].iter();
    before
        .zip(along())
        .all(|(&across, &along)| look(across, along));
    after
        .zip(along())
        .all(|(&across, &along)| look(across, along));
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn as_each_point_against_each(
            seed in any::<u64>(),
            shape in [1usize..40, 1usize..9, 1usize..9],
            spacing in prop::array::uniform3(0.3f64..4.0),
            share in 0.0f32..0.2,
        ) {
            let mut rng = Rng::new(seed, 0, 0);
            let lattice = Grid::with_spacing(shape, spacing).expect("a grid");
            let mut some = || {
                let mut points = Points::none(&lattice).expect("a small lattice");
                for slice in &mut points.slices {
                    for y in 0..shape[1] as u32 {
                        slice.extend((0..shape[0] as u32).filter(|_| rng.chance(share)).map(|x| [x, y]));
                    }
                }
                points
            };
            let (from, to) = (some(), some());
            let places = |points: &Points| -> Vec<[f64; 3]> {
                let slices = points.slices.iter().enumerate();
                slices.flat_map(|(z, slice)| slice.iter().map(move |&[x, y]| {
                    [f64::from(x) * spacing[0], f64::from(y) * spacing[1], z as f64 * spacing[2]]
                })).collect()
            };
            let others = places(&to);
            let found = nearest_mm(&from, &to);
            for (place, found) in places(&from).into_iter().zip(found.into_iter().flatten()) {
                let squared = |other: &[f64; 3]| (0..3).map(|a| (place[a] - other[a]).powi(2)).sum::<f64>();
                let least = others.iter().map(squared).fold(f64::INFINITY, f64::min).sqrt();
                let found = f64::from(found);
                prop_assert!(found == least || (found - least).abs() < 1e-5 * least, "{found} {least}");
            }
        }
    }

    #[test]
    fn a_lattice_that_steps_cannot_count_is_refused() {
        let long = Grid::with_spacing([65_535, 1, 1], [1.0; 3]).expect("a grid");
        assert!(Points::none(&long).is_err());
    }
}
