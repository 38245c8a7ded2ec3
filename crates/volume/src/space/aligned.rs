//! Resampling between grids whose axes run parallel: axis by axis, fast, in bounded memory.
//!
//! Reorienting first ([`super::orient`]) brings most pairs of grids here; others need
//! [`super::resample_image`]. Beyond its field of view a volume holds its edge. An axis whose voxels
//! are much longer than the others' is taken apart, as nnU-Net does (Isensee et al. 2021,
//! doi:10.1038/s41592-020-01008-z): cubic within slices, nearest across them, since a spline over
//! thick slices would ring. Nothing is smoothed, so going to a much larger spacing can alias.
//!
//! ```
//! use crossmod_volume::space::{aligned_interpolation, resample_aligned, Interpolation};
//! use crossmod_volume::{Grid, Image};
//! let thick = Grid::with_spacing([4, 4, 2], [1.0, 1.0, 5.0])?;
//! let thin = Grid::with_spacing([8, 8, 2], [0.5, 0.5, 5.0])?;
//! let by = aligned_interpolation(&thick, &thin, Interpolation::Cubic);
//! assert_eq!(by, [Interpolation::Cubic, Interpolation::Cubic, Interpolation::Nearest]);
//! let image = Image::new(thick, vec![3.0; 32])?;
//! assert_eq!(resample_aligned(image, &thin, by)?.data(), [3.0; 128]);
//! # Ok::<(), crossmod_volume::Error>(())
//! ```

use std::borrow::Cow;

use rayon::prelude::*;

use super::resample::{Interpolation, STEPS_PER_VOXEL, TIE};
use super::taps::Taps;
use crate::{Error, Grid, Image, Labels, Result};

/// Above this ratio of the longest to the shortest voxel edge an axis is taken apart; nnU-Net's.
pub const ANISOTROPY: f64 = 3.0;

/// Largest place error, in voxels, at which two grids' axes still count as parallel.
const TOLERANCE: f64 = 1e-3;

/// How to go along each axis from one grid to another: `within` (nnU-Net: cubic for images,
/// linear for labels and probabilities), but nearest along the one axis, if there is one, whose
/// voxels are more than [`ANISOTROPY`] times as long as the shortest edge, on the source grid or
/// else on the target's. Where two axes are equally long, none is taken apart.
#[must_use]
pub fn aligned_interpolation(
    source: &Grid,
    target: &Grid,
    within: Interpolation,
) -> [Interpolation; 3] {
    let anisotropic = [source, target]
        .map(Grid::spacing_mm)
        .into_iter()
        .find(|s| {
            let longest = s.iter().copied().fold(0.0, f64::max);
            longest / s.iter().copied().fold(f64::INFINITY, f64::min) > ANISOTROPY
        });
    let mut by = [within; 3];
    if let Some(spacing) = anisotropic {
        let longest = spacing.iter().copied().fold(0.0, f64::max);
        let long = |axis: &usize| spacing[*axis] > longest * (1.0 - 1e-6);
        let axes: Vec<usize> = (0..3).filter(long).collect();
        if let [axis] = axes[..] {
            by[axis] = Interpolation::Nearest;
        }
    }
    by
}

/// The image on a grid with parallel axes, each axis interpolated its own way. Without a cubic axis the
/// rows of the result are mixed straight from up to four of the source; with one, axes that shrink
/// most go first, so at most the source or the result and one in between are held.
/// An image that is lent is copied where there is a cubic axis.
/// Cubic overshoots are clipped to the image's own range, as `skimage.transform.resize` does.
/// Samples must be finite: one that is not spoils its neighbours, and with cubic its whole line.
///
/// # Errors
/// [`Error::Geometry`] where the axes are not parallel; reorient or use
/// [`resample_image`](super::resample_image).
pub fn resample_aligned<'a>(
    image: impl Into<Cow<'a, Image>>,
    target: &Grid,
    interpolation: [Interpolation; 3],
) -> Result<Image> {
    let image = image.into();
    let taps = taps_between(image.grid(), target, interpolation)?;
    if !interpolation.contains(&Interpolation::Cubic) {
        return Image::new(target.clone(), mixed(&image, &taps, target));
    }
    let (grid, mut data) = image.into_owned().into_parts();
    let mut shape = grid.shape();
    let (low, high) = range(&data);
    let mut axes = [0, 1, 2];
    let growth = |&axis: &usize| taps[axis].len() as f64 / shape[axis] as f64;
    axes.sort_by(|a, b| growth(a).total_cmp(&growth(b)));
    for axis in axes {
        data = taps[axis].apply(data, shape, axis);
        shape[axis] = taps[axis].len();
    }
    if low <= high {
        data.par_chunks_mut(1 << 16)
            .for_each(|part| part.iter_mut().for_each(|v| *v = v.clamp(low, high)));
    }
    Image::new(target.clone(), data)
}

/// The samples of a target each of which is made of at most two of the source along each axis.
fn mixed(image: &Image, taps: &[Taps; 3], target: &Grid) -> Vec<f32> {
    let [nx, ny, _] = image.grid().shape();
    let [tx, ty, _] = target.shape();
    let source = |y: usize, z: usize| &image.data()[nx * (y + ny * z)..][..nx];
    let along_x = !taps[0].is_identity();
    // Of one sample alone the next has no weight; a row has one more, 0, for it.
    let firsts: Vec<usize> = taps[0].each(0..tx).map(|(first, _)| first).collect();
    let shares = taps[0].each(0..tx).map(|(_, weights)| match *weights {
        [a, b] => [a, b],
        _ => [1.0, 0.0],
    });
    let shares: Vec<[f32; 2]> = shares.collect();
    let slice = |mix: &mut Vec<f32>, (z, slice): (usize, &mut [f32])| {
        let (first_z, weights_z) = taps[2].at(z);
        for (y, row) in slice.chunks_mut(tx).enumerate() {
            let (first_y, weights_y) = taps[1].at(y);
            let mut near: [(&[f32], f32); 4] = [(&[], 0.0); 4];
            let mut rows = 0;
            for (dz, &wz) in weights_z.iter().enumerate() {
                for (dy, &wy) in weights_y.iter().enumerate() {
                    if wz * wy != 0.0 {
                        near[rows] = (source(first_y + dy, first_z + dz), wz * wy);
                        rows += 1;
                    }
                }
            }
            if along_x {
                add_up(&near[..rows], mix);
                for ((value, &first), [a, b]) in row.iter_mut().zip(&firsts).zip(&shares) {
                    *value = a * mix[first] + b * mix[first + 1];
                }
            } else {
                add_up(&near[..rows], row);
            }
        }
    };
    let mut out = vec![0.0; target.len()];
    out.par_chunks_mut(tx * ty)
        .enumerate()
        .for_each_init(|| vec![0.0; nx + 1], slice);
    out
}

/// The weighted sum of up to four rows, at the beginning of `out`.
fn add_up(rows: &[(&[f32], f32)], out: &mut [f32]) {
    match *rows {
        [(p, 1.0)] => out[..p.len()].copy_from_slice(p),
        [(p, a), (q, b)] => {
            for ((o, p), q) in out.iter_mut().zip(p).zip(q) {
                *o = a * p + b * q;
            }
        }
        [(p, a), (q, b), (r, c), (s, d)] => {
            let rows = p.iter().zip(q).zip(r).zip(s);
            for (o, (((p, q), r), s)) in out.iter_mut().zip(rows) {
                *o = (a * p + b * q) + (c * r + d * s);
            }
        }
        _ => {
            out.fill(0.0);
            for (row, weight) in rows {
                for (o, v) in out.iter_mut().zip(*row) {
                    *o += weight * v;
                }
            }
        }
    }
}

/// The label map on a grid with parallel axes. Where an axis is linear, each voxel takes the label
/// with the largest share when every label's indicator is interpolated; of those that tie, the
/// lowest. No indicator is ever made.
///
/// # Errors
/// [`Error::Geometry`] where the axes are not parallel, or an axis is to be cubic.
pub fn resample_labels_aligned(
    labels: &Labels,
    target: &Grid,
    interpolation: [Interpolation; 3],
) -> Result<Labels> {
    refuse_cubic(interpolation, "labels")?;
    let taps = taps_between(labels.grid(), target, interpolation)?;
    let [nx, ny, _] = labels.grid().shape();
    let [tx, ty, _] = target.shape();
    let mut out = vec![0; target.len()];
    out.par_chunks_mut(tx * ty)
        .enumerate()
        .for_each(|(z, slice)| {
            let (first_z, weights_z) = taps[2].at(z);
            for (y, row) in slice.chunks_mut(tx).enumerate() {
                let (first_y, weights_y) = taps[1].at(y);
                // The up to four rows around, and their weights; a weight of 0 leaves one out.
                let mut near: [(&[u16], f64); 4] = [(&[], 0.0); 4];
                let mut rows = 0;
                for (dz, &wz) in weights_z.iter().enumerate() {
                    for (dy, &wy) in weights_y.iter().enumerate() {
                        let weight = f64::from(wz) * f64::from(wy);
                        if weight > 0.0 {
                            let start = nx * (first_y + dy + ny * (first_z + dz));
                            near[rows] = (&labels.data()[start..start + nx], weight);
                            rows += 1;
                        }
                    }
                }
                // Within a structure all rows are the same, and any of them will do.
                if near[1..rows].iter().all(|&(row, _)| row == near[0].0) {
                    rows = 1;
                    near[0].1 = 1.0;
                }
                let near = &near[..rows];
                for (value, (first_x, weights_x)) in row.iter_mut().zip(taps[0].each(0..tx)) {
                    *value = vote(near, first_x, weights_x);
                }
            }
        });
    Labels::new(target.clone(), out)
}

/// The label with the largest weight among those of `rows` from `first` on.
fn vote(rows: &[(&[u16], f64)], first: usize, weights: &[f32]) -> u16 {
    let mut label = [0; 8];
    let mut weight = [0.0; 8];
    let mut n = 0;
    let mut mixed = false;
    for &(row, w) in rows {
        for (&l, &wx) in row[first..].iter().zip(weights) {
            if wx > 0.0 {
                mixed |= n > 0 && l != label[0];
                (label[n], weight[n]) = (l, w * f64::from(wx));
                n += 1;
            }
        }
    }
    if !mixed {
        return label[0];
    }
    let mut best = (u16::MAX, f64::NEG_INFINITY);
    for &candidate in &label[..n] {
        let of = (0..n).filter(|&i| label[i] == candidate);
        let total: f64 = of.map(|i| weight[i]).sum();
        if total > best.1 + TIE || (total > best.1 - TIE && candidate < best.0) {
            best = (candidate, total);
        }
    }
    best.0
}

/// Shares and probabilities must not overshoot.
pub(super) fn refuse_cubic(interpolation: [Interpolation; 3], what: &str) -> Result<()> {
    if interpolation.contains(&Interpolation::Cubic) {
        return Err(Error::geometry(format!(
            "expected nearest or linear interpolation for {what}, found cubic"
        )));
    }
    Ok(())
}

/// The sums that take the source's axes to the target's.
pub(super) fn taps_between(
    source: &Grid,
    target: &Grid,
    interpolation: [Interpolation; 3],
) -> Result<[Taps; 3]> {
    let m = source.voxel_from_world() * target.world_from_voxel();
    let columns = m.to_cols_array_2d();
    for (to, column) in columns.iter().take(3).enumerate() {
        for (from, &slope) in column.iter().take(3).enumerate() {
            if from != to && slope.abs() * (target.shape()[to] - 1) as f64 > TOLERANCE {
                return Err(Error::geometry(format!(
                    "expected grids whose axes run parallel, found axis {to} of the target \
                     running along axis {from} of the source too; reorient first, or resample \
                     through the affines"
                )));
            }
        }
    }
    Ok([0, 1, 2].map(|axis| {
        let (slope, start) = (columns[axis][axis], columns[3][axis]);
        let positions = (0..target.shape()[axis]).map(|i| {
            let exact = start + slope * i as f64;
            (exact * STEPS_PER_VOXEL).round() / STEPS_PER_VOXEL
        });
        Taps::interpolating(source.shape()[axis], positions, interpolation[axis])
    }))
}

/// The least and the greatest finite sample.
fn range(data: &[f32]) -> (f32, f32) {
    let part = |part: &[f32]| {
        let finite = part.iter().filter(|v| v.is_finite());
        finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        })
    };
    data.par_chunks(1 << 16)
        .map(part)
        .reduce(|| part(&[]), |a, b| (a.0.min(b.0), a.1.max(b.1)))
}

#[cfg(test)]
mod tests;
