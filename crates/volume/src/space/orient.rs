//! Which way the axes of a volume point, and turning them.
//!
//! An orientation is three letters: the direction in which x, y and z grow, out of R/L (right,
//! left), A/P (anterior, posterior) and S/I (superior, inferior). `RAS` is NIfTI's world. Turning
//! swaps and reverses axes; no sample changes and no voxel moves in the world.

use std::{fmt, str::FromStr};

use glam::{DMat3, DMat4, DVec3, DVec4};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Grid, Image, Labels, Result};

/// The directions in which a volume's x, y and z grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Orientation([Direction; 3]);

/// One way along one world axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Direction {
    /// 0 right–left, 1 anterior–posterior, 2 superior–inferior.
    world_axis: usize,
    /// Towards R, A or S.
    positive: bool,
}

const LETTERS: [[char; 2]; 3] = [['L', 'R'], ['P', 'A'], ['I', 'S']];

/// Voxels along each side of the blocks that are turned at a time: 16 `f32` are a cache line.
const TILE: usize = 16;

const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

impl Orientation {
    /// x to the right, y to the front, z up: NIfTI's world.
    pub const RAS: Self = Self::along_world([true; 3]);

    /// x to the left, y to the back, z up: DICOM's patient.
    pub const LPS: Self = Self::along_world([false, false, true]);

    const fn along_world(positive: [bool; 3]) -> Self {
        Self([
            Direction {
                world_axis: 0,
                positive: positive[0],
            },
            Direction {
                world_axis: 1,
                positive: positive[1],
            },
            Direction {
                world_axis: 2,
                positive: positive[2],
            },
        ])
    }

    /// The orientation closest to a grid's axes: of the 48 there are, the one whose directions
    /// have the largest sum of cosines with them.
    #[must_use]
    pub fn of(grid: &Grid) -> Self {
        let m = DMat3::from_mat4(grid.world_from_voxel());
        let axes = [m.x_axis, m.y_axis, m.z_axis].map(|axis| axis.normalize().to_array());
        let fit = |order: [usize; 3]| (0..3).map(|i| axes[i][order[i]].abs()).sum::<f64>();
        // An oblique grid may fit two orders equally but for rounding: the first one is taken.
        let mut best = ORDERS[0];
        for order in ORDERS {
            if fit(order) > fit(best) + 1e-9 {
                best = order;
            }
        }
        Self([0, 1, 2].map(|i| Direction {
            world_axis: best[i],
            positive: axes[i][best[i]] >= 0.0,
        }))
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|d| write!(f, "{}", LETTERS[d.world_axis][usize::from(d.positive)]))
    }
}

impl FromStr for Orientation {
    type Err = Error;

    /// Three letters, of either case.
    fn from_str(text: &str) -> Result<Self> {
        let direction = |letter: char| {
            LETTERS.iter().enumerate().find_map(|(world_axis, ends)| {
                let end = ends.iter().position(|e| e.eq_ignore_ascii_case(&letter))?;
                Some(Direction {
                    world_axis,
                    positive: end == 1,
                })
            })
        };
        let found: Option<Vec<Direction>> = text.chars().map(direction).collect();
        if let Some(&[x, y, z]) = found.as_deref()
            && (0..3).all(|axis| [x, y, z].iter().any(|d| d.world_axis == axis))
        {
            return Ok(Self([x, y, z]));
        }
        Err(Error::geometry(format!(
            "expected an orientation of three letters, one each of R/L, A/P and S/I, such as RAS, \
             found {text:?}"
        )))
    }
}

impl TryFrom<String> for Orientation {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Orientation> for String {
    fn from(orientation: Orientation) -> Self {
        orientation.to_string()
    }
}

/// The grid with its axes turned: the same voxels at the same places, counted otherwise.
#[must_use]
pub fn reoriented_grid(grid: &Grid, orientation: Orientation) -> Grid {
    Turn::new(grid, orientation).grid(grid)
}

/// The image with its axes turned; no sample is changed.
#[must_use]
pub fn reorient_image(image: &Image, orientation: Orientation) -> Image {
    let turn = Turn::new(image.grid(), orientation);
    let data = turn.samples(image.grid(), image.data());
    Image::new(turn.grid(image.grid()), data).expect("as many samples as before")
}

/// The label map with its axes turned; no value is changed.
#[must_use]
pub fn reorient_labels(labels: &Labels, orientation: Orientation) -> Labels {
    let turn = Turn::new(labels.grid(), orientation);
    let data = turn.samples(labels.grid(), labels.data());
    Labels::new(turn.grid(labels.grid()), data).expect("as many values as before")
}

/// For each new axis: the old axis it is, and whether it runs the other way.
struct Turn([(usize, bool); 3]);

impl Turn {
    fn new(grid: &Grid, to: Orientation) -> Self {
        let from = Orientation::of(grid);
        Self(to.0.map(|new| {
            let old = from
                .0
                .iter()
                .position(|d| d.world_axis == new.world_axis)
                .unwrap_or(0);
            (old, from.0[old].positive != new.positive)
        }))
    }

    fn grid(&self, grid: &Grid) -> Grid {
        let shape = grid.shape();
        let mut start = DVec3::ZERO;
        let mut columns = [DVec4::ZERO; 3];
        for (column, (old, reversed)) in columns.iter_mut().zip(self.0) {
            column[old] = if reversed { -1.0 } else { 1.0 };
            if reversed {
                start[old] = (shape[old] - 1) as f64;
            }
        }
        let [x, y, z] = columns;
        let old_from_new = DMat4::from_cols(x, y, z, start.extend(1.0));
        Grid::new(
            self.0.map(|(old, _)| shape[old]),
            grid.world_from_voxel() * old_from_new,
        )
        .expect("turned axes are as independent as before")
    }

    fn samples<T: Copy + Default + Send + Sync>(&self, grid: &Grid, data: &[T]) -> Vec<T> {
        let shape = grid.shape();
        let strides = [1, shape[0], shape[0] * shape[1]];
        let [nx, ny, _] = self.0.map(|(old, _)| shape[old]);
        let offset = |axis: usize, i: usize| {
            let (old, reversed) = self.0[axis];
            strides[old] * if reversed { shape[old] - 1 - i } else { i }
        };
        let mut out = vec![T::default(); data.len()];
        // In tiles, so that a cache line of the source is used up whichever axis it runs along.
        out.par_chunks_mut(nx * ny * TILE)
            .enumerate()
            .for_each(|(block, slices)| {
                let tiles = |n: usize| (0..n).step_by(TILE).map(move |i| i..n.min(i + TILE));
                for (ys, xs) in tiles(ny).flat_map(|ys| tiles(nx).map(move |xs| (ys.clone(), xs))) {
                    for (z, slice) in slices.chunks_mut(nx * ny).enumerate() {
                        for y in ys.clone() {
                            let start = offset(2, block * TILE + z) + offset(1, y);
                            for x in xs.clone() {
                                slice[x + nx * y] = data[start + offset(0, x)];
                            }
                        }
                    }
                }
            });
        out
    }
}

#[cfg(test)]
mod tests;
