//! From probabilities on a net's grid to labels on the image's, without ever holding the
//! probabilities on the image's grid.
//!
//! The image's grid is walked in slabs of slices. For each slab every class in turn is
//! interpolated and compared with the best so far, so memory is one slab and does not grow with
//! the number of classes; resampling each class's volume first takes classes × voxels.
//! Each slab is cut into bricks: one in which a single class can win is labelled at once, others
//! are interpolated for the classes that can. Which can is bounded from the net's grid, since an
//! interpolated probability is a weighted mean: no class exceeds its greatest value around; the
//! winner is at least every class's least value around; and where k classes have the greatest
//! value of some voxel around, the mean of those k, so also the winner, is at least a k-th of the
//! least such greatest value. The result is as if every class had been interpolated everywhere.

use std::ops::Range;

use rayon::prelude::*;

use super::aligned::{refuse_cubic, taps_between};
use super::resample::Interpolation;
use super::taps::Taps;
use crate::{Error, Grid, Image, Labels};
use brick::Brick;

mod brick;
mod regions;
mod slices;

pub use regions::regions_onto;
pub use slices::AlignedSlices;

/// Most voxels of a slab, unless one slice has more. A slab takes some 10 bytes a voxel.
const SLAB: usize = 1 << 22;

/// What to tell besides the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certainty {
    /// Nothing.
    #[default]
    None,
    /// The winning class's probability.
    Winner,
    /// The entropy of the probabilities, in nats: 0 where one class is certain.
    Entropy,
}

/// Labels, and how certain they are where that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The class with the greatest probability; of those that tie, the lowest.
    pub labels: Labels,
    /// What [`Certainty`] asked for.
    pub certainty: Option<Image>,
}

/// The labels on `target` of `classes` probability volumes on `source`, whose axes are parallel.
///
/// `read(class, slices, out)` fills `out` with the class's probabilities in those slices (z) of
/// `source`, x fastest; they must be finite. Slices are asked for from the first to the last: for
/// one range the classes in order, once or twice; then the next range, which may overlap it but
/// begins no earlier, so that the slices below its start may be forgotten.
///
/// # Errors
/// [`Error::Geometry`] where the axes are not parallel, an axis is to be cubic, or there are no
/// classes or more than 65,536; and what `read` returns.
pub fn argmax_onto<E: From<Error>>(
    source: &Grid,
    target: &Grid,
    interpolation: [Interpolation; 3],
    classes: usize,
    certainty: Certainty,
    mut read: impl FnMut(usize, Range<usize>, &mut [f32]) -> Result<(), E>,
) -> Result<Decision, E> {
    refuse_cubic(interpolation, "probabilities")?;
    if classes == 0 || classes > usize::from(u16::MAX) + 1 {
        return Err(
            Error::geometry(format!("expected 1 to 65536 classes, found {classes}")).into(),
        );
    }
    let taps = taps_between(source, target, interpolation)?;
    let [nx, ny, _] = source.shape();
    let [tx, ty, _] = target.shape();

    let mut labels = vec![0u16; target.len()];
    let wanted = certainty != Certainty::None;
    let mut told = vec![0f32; if wanted { target.len() } else { 0 }];
    let (mut slab, mut top, mut winner) = (Vec::new(), Vec::new(), Vec::new());
    for zs in slabs(&taps[2], tx * ty) {
        let needed = taps[2].span(zs.clone());
        let place = Place {
            shape: [nx, ny],
            first_slice: needed.start,
        };
        let mut bricks = Brick::cut(&taps, [0..tx, 0..ty, zs.clone()]);
        let voxels = nx * ny * needed.len();
        slab.resize(voxels, 0.0);
        top.clear();
        top.resize(voxels, f32::NEG_INFINITY);
        winner.clear();
        winner.resize(voxels, 0);
        for class in 0..classes {
            read(class, needed.clone(), &mut slab)?;
            bricks
                .par_iter_mut()
                .for_each(|brick| brick.bound(place, &slab));
            top.par_chunks_mut(nx * ny)
                .zip(winner.par_chunks_mut(nx * ny))
                .zip(slab.par_chunks(nx * ny))
                .for_each(|((top, winner), slice)| keep_better(slice, class as u16, top, winner));
        }
        bricks
            .par_iter_mut()
            .for_each(|brick| brick.start(place, &top, &winner, certainty));
        for class in 0..classes {
            if bricks.iter().any(|brick| brick.waits_for(class)) {
                read(class, needed.clone(), &mut slab)?;
                bricks
                    .par_iter_mut()
                    .filter(|brick| brick.waits_for(class))
                    .for_each(|brick| brick.compare(class as u16, &taps, place, &slab, certainty));
            }
        }
        for brick in &bricks {
            brick.copy_labels([tx, ty], &mut labels);
            if wanted {
                brick.copy_certainty([tx, ty], certainty, &mut told);
            }
        }
    }
    Ok(Decision {
        labels: Labels::new(target.clone(), labels)?,
        certainty: if wanted {
            Some(Image::new(target.clone(), told)?)
        } else {
            None
        },
    })
}

/// Where the slices that a slab needs lie in the source.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Of the source, along x and y.
    shape: [usize; 2],
    first_slice: usize,
}

impl Place {
    /// The values, of those in the slices, from `xs.start` to `xs.end` of the source at (y, z).
    fn row<'a, T>(&self, data: &'a [T], xs: &Range<usize>, y: usize, z: usize) -> &'a [T] {
        let start = self.shape[0] * (y + self.shape[1] * (z - self.first_slice));
        &data[start + xs.start..start + xs.end]
    }

    /// Interpolates the target's row at (y, z), places `xs`, which need `source_xs` of the source;
    /// `sum` is as long as those.
    fn interpolate(
        &self,
        data: &[f32],
        [along_x, along_y, along_z]: &[Taps; 3],
        [y, z]: [usize; 2],
        (xs, source_xs): (&Range<usize>, &Range<usize>),
        sum: &mut [f32],
        row: &mut [f32],
    ) {
        let (first_z, weights_z) = along_z.at(z);
        let (first_y, weights_y) = along_y.at(y);
        sum.fill(0.0);
        for (dz, &wz) in weights_z.iter().enumerate() {
            for (dy, &wy) in weights_y.iter().enumerate() {
                let weight = wz * wy;
                let near = self.row(data, source_xs, first_y + dy, first_z + dz);
                for (s, &v) in sum.iter_mut().zip(near) {
                    *s += weight * v;
                }
            }
        }
        for (value, (first, weights)) in row.iter_mut().zip(along_x.each(xs.clone())) {
            *value = match (weights, &sum[first - source_xs.start..]) {
                ([a, b], [p, q, ..]) => a * p + b * q,
                (_, near) => near[0],
            };
        }
    }
}

/// Keeps the values of a class, and the class, where they are above the greatest so far.
fn keep_better(values: &[f32], class: u16, top: &mut [f32], winner: &mut [u16]) {
    for ((&v, top), winner) in values.iter().zip(top).zip(winner) {
        // Without a branch, which would often be guessed wrong.
        let better = v > *top;
        *top = if better { v } else { *top };
        *winner = if better { class } else { *winner };
    }
}

/// Ranges of slices of the target, in the order in which the source's slices come.
fn slabs(along_z: &Taps, slice: usize) -> Vec<Range<usize>> {
    let step = (SLAB / slice).max(1);
    let starts = (0..along_z.len()).step_by(step);
    let mut slabs: Vec<Range<usize>> = starts
        .map(|start| start..along_z.len().min(start + step))
        .collect();
    slabs.sort_by_key(|zs| along_z.span(zs.clone()).start);
    slabs
}

#[cfg(test)]
mod tests;
