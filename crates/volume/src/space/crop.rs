//! Cutting a box out of a volume, or padding it to one, and putting it back.
//!
//! A [`Frame`] is a box of voxels that may reach beyond the volume on any side. The voxels of the
//! cut lie where they lay: its grid's affine is moved by the frame's start. nnU-Net cuts to what is
//! not 0 in any channel before all else (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).
//!
//! ```
//! use crossmod_volume::space::{Cut, Frame};
//! use crossmod_volume::{Grid, Image};
//! let grid = Grid::with_spacing([4, 1, 1], [2.0; 3])?;
//! let image = Image::new(grid.clone(), vec![0.0, 5.0, 6.0, 0.0])?;
//! let frame = Frame::of_nonzero(&[&image]).expect("something is not 0");
//! let cut = Cut::new(&grid, frame)?;
//! let small = cut.image(&image, 0.0);
//! assert_eq!(small.data(), [5.0, 6.0]);
//! assert_eq!(small.grid().world([0.0; 3]), [2.0, 0.0, 0.0]);
//! assert_eq!(cut.undo_image(&small, 0.0), image);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use glam::{DMat4, DVec3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Grid, Image, Labels, Result};

/// A box of voxels of a grid, not necessarily inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// First voxel (x, y, z); below 0 where the frame begins before the grid.
    pub start: [i64; 3],
    /// Number of voxels along (x, y, z).
    pub shape: [usize; 3],
}

impl Frame {
    /// The whole grid.
    #[must_use]
    pub fn whole(grid: &Grid) -> Self {
        Self {
            start: [0; 3],
            shape: grid.shape(),
        }
    }

    /// The smallest frame that holds every voxel whose index in storage `inside` says yes to.
    #[must_use]
    pub fn around(grid: &Grid, inside: impl Fn(usize) -> bool + Sync) -> Option<Self> {
        let [nx, ny, nz] = grid.shape();
        let slices = (0..nz).into_par_iter().filter_map(|z| {
            let mut found: Option<[[usize; 3]; 2]> = None;
            for y in 0..ny {
                let start = nx * (y + ny * z);
                let Some(first) = (0..nx).find(|x| inside(start + x)) else {
                    continue;
                };
                let last = (first..nx).rfind(|x| inside(start + x)).unwrap_or(first);
                let row = [[first, y, z], [last, y, z]];
                found = Some(found.map_or(row, |both| joined(both, row)));
            }
            found
        });
        let [low, high] = slices.reduce_with(joined)?;
        Some(Self {
            start: low.map(|v| v as i64),
            shape: [0, 1, 2].map(|axis| high[axis] - low[axis] + 1),
        })
    }

    /// The smallest frame outside which every channel is 0; `None` where all is 0 or the channels'
    /// grids differ in shape. NaN counts as 0.
    #[must_use]
    pub fn of_nonzero(channels: &[&Image]) -> Option<Self> {
        let grid = channels.first()?.grid();
        if channels.iter().any(|c| c.grid().shape() != grid.shape()) {
            return None;
        }
        let data: Vec<&[f32]> = channels.iter().map(|c| c.data()).collect();
        Self::around(grid, |i| data.iter().any(|c| c[i] != 0.0 && !c[i].is_nan()))
    }

    /// The smallest frame that holds every label but 0.
    #[must_use]
    pub fn of_foreground(labels: &Labels) -> Option<Self> {
        let data = labels.data();
        Self::around(labels.grid(), |i| data[i] != 0)
    }

    /// This frame with `margin` voxels more on both sides of each axis.
    #[must_use]
    pub fn grown(self, margin: [usize; 3]) -> Self {
        Self {
            start: [0, 1, 2].map(|a| self.start[a].saturating_sub_unsigned(margin[a] as u64)),
            shape: [0, 1, 2].map(|a| self.shape[a].saturating_add(margin[a].saturating_mul(2))),
        }
    }

    /// This frame, grown on both sides alike along the axes shorter than `shape`; of an odd number
    /// of voxels, the one more goes behind.
    #[must_use]
    pub fn at_least(self, shape: [usize; 3]) -> Self {
        let more = [0, 1, 2].map(|a| shape[a].saturating_sub(self.shape[a]));
        Self {
            start: [0, 1, 2].map(|a| self.start[a].saturating_sub_unsigned((more[a] / 2) as u64)),
            shape: [0, 1, 2].map(|a| self.shape[a] + more[a]),
        }
    }

    /// What of this frame lies in the grid, if anything does.
    #[must_use]
    pub fn within(self, grid: &Grid) -> Option<Self> {
        let overlap = [0, 1, 2].map(|a| overlap(self.start[a], self.shape[a], grid.shape()[a]));
        overlap.iter().all(|&(_, n)| n > 0).then(|| Self {
            start: [0, 1, 2].map(|a| self.start[a].max(0)),
            shape: overlap.map(|(_, n)| n),
        })
    }

    /// Where the frame lies in the world.
    ///
    /// # Errors
    /// [`Error::Geometry`] where an axis is empty or the number of voxels overflows.
    pub fn grid(&self, of: &Grid) -> Result<Grid> {
        let start = DVec3::from_array(self.start.map(|v| v as f64));
        Grid::new(
            self.shape,
            of.world_from_voxel() * DMat4::from_translation(start),
        )
    }
}

fn joined(a: [[usize; 3]; 2], b: [[usize; 3]; 2]) -> [[usize; 3]; 2] {
    [
        [0, 1, 2].map(|axis| a[0][axis].min(b[0][axis])),
        [0, 1, 2].map(|axis| a[1][axis].max(b[1][axis])),
    ]
}

/// A frame of a grid: cuts volumes out of it and puts them back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Cut {
    from: Grid,
    frame: Frame,
    #[serde(skip_serializing)]
    to: Grid,
}

/// A cut as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    from: Grid,
    frame: Frame,
}

impl TryFrom<Unchecked> for Cut {
    type Error = Error;

    fn try_from(raw: Unchecked) -> Result<Self> {
        Self::new(&raw.from, raw.frame)
    }
}

impl Cut {
    /// The cut of a grid to a frame.
    ///
    /// # Errors
    /// [`Error::Geometry`] where the frame has an empty axis or more voxels than can be counted.
    pub fn new(from: &Grid, frame: Frame) -> Result<Self> {
        Ok(Self {
            from: from.clone(),
            frame,
            to: frame.grid(from)?,
        })
    }

    /// The grid that is cut.
    #[must_use]
    pub fn from(&self) -> &Grid {
        &self.from
    }

    /// The frame's own grid.
    #[must_use]
    pub fn to(&self) -> &Grid {
        &self.to
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// What of the image lies in the frame; `outside` where there is no image.
    ///
    /// # Panics
    /// Where the image's shape is not that of the grid this cut was made for.
    #[must_use]
    pub fn image(&self, image: &Image, outside: f32) -> Image {
        let data = self.cut(image.grid(), image.data(), outside);
        Image::new(self.to.clone(), data).expect("a sample for each voxel")
    }

    /// What of the label map lies in the frame; `outside` where there is none.
    ///
    /// # Panics
    /// As [`Cut::image`].
    #[must_use]
    pub fn labels(&self, labels: &Labels, outside: u16) -> Labels {
        let data = self.cut(labels.grid(), labels.data(), outside);
        Labels::new(self.to.clone(), data).expect("a value for each voxel")
    }

    /// An image on the frame's grid, back on the grid it was cut from; `outside` elsewhere.
    ///
    /// # Panics
    /// Where the image's shape is not the frame's.
    #[must_use]
    pub fn undo_image(&self, image: &Image, outside: f32) -> Image {
        let data = self.undo(image.grid(), image.data(), outside);
        Image::new(self.from.clone(), data).expect("a sample for each voxel")
    }

    /// A label map on the frame's grid, back on the grid it was cut from; `outside` elsewhere.
    ///
    /// # Panics
    /// As [`Cut::undo_image`].
    #[must_use]
    pub fn undo_labels(&self, labels: &Labels, outside: u16) -> Labels {
        let data = self.undo(labels.grid(), labels.data(), outside);
        Labels::new(self.from.clone(), data).expect("a value for each voxel")
    }

    fn cut<T: Copy + Send + Sync>(&self, grid: &Grid, data: &[T], outside: T) -> Vec<T> {
        assert_eq!(grid.shape(), self.from.shape(), "the grid this cut is of");
        framed(
            data,
            grid.shape(),
            self.frame.start,
            self.frame.shape,
            outside,
        )
    }

    fn undo<T: Copy + Send + Sync>(&self, grid: &Grid, data: &[T], outside: T) -> Vec<T> {
        assert_eq!(grid.shape(), self.frame.shape, "the frame of this cut");
        let start = self.frame.start.map(i64::saturating_neg);
        framed(data, grid.shape(), start, self.from.shape(), outside)
    }
}

/// Where a range of `n` from `start` overlaps 0..`len`: its first place counted from `start`, and
/// its length.
fn overlap(start: i64, n: usize, len: usize) -> (usize, usize) {
    let start = i128::from(start);
    let low = start.max(0);
    let high = (start + n as i128).min(len as i128);
    let length = (high - low).max(0) as usize;
    (
        if length > 0 {
            (low - start) as usize
        } else {
            0
        },
        length,
    )
}

fn framed<T: Copy + Send + Sync>(
    data: &[T],
    from: [usize; 3],
    start: [i64; 3],
    shape: [usize; 3],
    outside: T,
) -> Vec<T> {
    let mut out = vec![outside; shape.iter().product()];
    let [(dx, lx), (dy, ly), (dz, lz)] = [0, 1, 2].map(|a| overlap(start[a], shape[a], from[a]));
    let [sx, sy, sz] = start.map(|s| s.max(0) as usize);
    if lx == 0 || ly == 0 {
        return out;
    }
    out.par_chunks_mut(shape[0] * shape[1])
        .skip(dz)
        .take(lz)
        .enumerate()
        .for_each(|(z, slice)| {
            for y in 0..ly {
                let source = sx + from[0] * (sy + y + from[1] * (sz + z));
                let to = dx + shape[0] * (dy + y);
                slice[to..to + lx].copy_from_slice(&data[source..source + lx]);
            }
        });
    out
}

#[cfg(test)]
mod tests;
