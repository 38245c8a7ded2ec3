//! Sampling a volume on another grid, through the two affines.
//!
//! A voxel is a box around its centre. Points in the outer half of the edge voxels take the edge's
//! value (by spline: that of the spline through an edge held for ever); points beyond lie outside.
//! Nothing is smoothed, so going to a much larger spacing can alias: blur first.

use glam::{DMat3, DMat4, DVec3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{spline, taps};
use crate::{Error, Grid, Image, Labels, Result};

/// Positions are rounded to this fraction of a voxel (2⁻²⁴): far finer than `f32` intensities
/// resolve, far coarser than the noise of the affines, so that points meant to lie on a voxel
/// centre or halfway between two do, on every machine.
pub(super) const STEPS_PER_VOXEL: f64 = 16_777_216.0;

/// Shares of labels closer than this tie: more than the rounding of positions makes of a share.
pub(super) const TIE: f64 = 1e-6;

/// Most voxels of a grid from [`grid_with_spacing`]: 32 GiB of `f32`.
const MOST_VOXELS: u64 = 1 << 33;

/// How a value between voxel centres is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest voxel's; of two as near, the one of higher index.
    Nearest,
    /// Weighted by distance along each axis, from the 8 voxels around.
    #[default]
    Linear,
    /// By the cubic B-spline through the voxels, which holds its ends; see [`super::aligned`] for
    /// when it clips what it overshoots.
    Cubic,
}

/// The image on another grid; `outside` where that reaches beyond the image. Between grids with
/// parallel axes [`resample_aligned`](super::resample_aligned) is much faster.
#[must_use]
pub fn resample_image(
    image: &Image,
    target: &Grid,
    interpolation: Interpolation,
    outside: f32,
) -> Image {
    image_at(
        image,
        target,
        between(image.grid(), target),
        interpolation,
        outside,
    )
}

/// The label map on another grid, each voxel taking the nearest one's label; 0 outside.
#[must_use]
pub fn resample_labels_nearest(labels: &Labels, target: &Grid) -> Labels {
    nearest_labels_at(labels, target, between(labels.grid(), target))
}

/// The label map on another grid, each voxel taking the label that has the largest share of it
/// when every label's indicator is interpolated linearly; the lowest of those that tie; 0 outside.
/// Borders come out smoother than by [`resample_labels_nearest`].
#[must_use]
pub fn resample_labels_linear(labels: &Labels, target: &Grid) -> Labels {
    linear_labels_at(labels, target, between(labels.grid(), target))
}

/// Where, in voxels of `source`, a voxel of `target` lies.
fn between(source: &Grid, target: &Grid) -> impl Fn(DVec3) -> DVec3 + Sync {
    let source_from_target = source.voxel_from_world() * target.world_from_voxel();
    move |voxel| source_from_target.transform_point3(voxel)
}

/// The image at the places of its voxels that each voxel of the target is taken from.
pub(super) fn image_at(
    image: &Image,
    target: &Grid,
    place: impl Fn(DVec3) -> DVec3 + Sync,
    interpolation: Interpolation,
    outside: f32,
) -> Image {
    let (grid, data) = (image.grid(), image.data());
    let data = match interpolation {
        Interpolation::Nearest => sample(grid, target, outside, place, |p| data[nearest(grid, p)]),
        Interpolation::Linear => sample(grid, target, outside, place, |p| linear(grid, data, p)),
        Interpolation::Cubic => {
            let coefficients = taps::coefficients(data.to_vec(), grid.shape());
            sample(grid, target, outside, place, |p| {
                cubic(grid, &coefficients, p)
            })
        }
    };
    Image::new(target.clone(), data).expect("a sample for each voxel of the target")
}

/// As [`resample_labels_nearest`], from any places.
pub(super) fn nearest_labels_at(
    labels: &Labels,
    target: &Grid,
    place: impl Fn(DVec3) -> DVec3 + Sync,
) -> Labels {
    let (grid, data) = (labels.grid(), labels.data());
    let data = sample(grid, target, 0, place, |p| data[nearest(grid, p)]);
    Labels::new(target.clone(), data).expect("a value for each voxel of the target")
}

/// As [`resample_labels_linear`], from any places.
pub(super) fn linear_labels_at(
    labels: &Labels,
    target: &Grid,
    place: impl Fn(DVec3) -> DVec3 + Sync,
) -> Labels {
    let (grid, data) = (labels.grid(), labels.data());
    let data = sample(grid, target, 0, place, |p| largest_share(grid, data, p));
    Labels::new(target.clone(), data).expect("a value for each voxel of the target")
}

/// The grid of another spacing over the same field of view: the outer corner of the first voxel
/// stays, and each axis has the number of voxels that fits best, at least one.
///
/// # Errors
/// [`Error::Geometry`] where a spacing is not above 0, or so small that the grid would have more
/// than 2³³ voxels.
pub fn grid_with_spacing(grid: &Grid, spacing_mm: [f64; 3]) -> Result<Grid> {
    if !spacing_mm.iter().all(|&s| s.is_finite() && s > 0.0) {
        return Err(Error::geometry(format!(
            "expected spacings above 0 mm, found {spacing_mm:?}"
        )));
    }
    let old = grid.spacing_mm();
    let ratio = [0, 1, 2].map(|axis| spacing_mm[axis] / old[axis]);
    let voxels = [0, 1, 2].map(|axis| (grid.shape()[axis] as f64 / ratio[axis]).round().max(1.0));
    if voxels.iter().product::<f64>() > MOST_VOXELS as f64 {
        return Err(Error::geometry(format!(
            "expected a grid of at most {MOST_VOXELS} voxels, found {voxels:?} at {spacing_mm:?} \
             mm; choose a larger spacing"
        )));
    }
    Grid::new(voxels.map(|n| n as usize), scaled(grid, ratio))
}

/// The grid of another shape over the same field of view: the outer corners stay.
///
/// # Errors
/// [`Error::Geometry`] where an axis is empty or the number of voxels overflows.
pub fn grid_with_shape(grid: &Grid, shape: [usize; 3]) -> Result<Grid> {
    let ratio = [0, 1, 2].map(|axis| grid.shape()[axis] as f64 / shape[axis] as f64);
    if shape.contains(&0) {
        return Err(Error::geometry(format!(
            "expected three axes of at least one voxel, found {shape:?}"
        )));
    }
    Grid::new(shape, scaled(grid, ratio))
}

/// The affine of a grid whose voxels are `ratio` times as long, from the same outer corner on.
fn scaled(grid: &Grid, ratio: [f64; 3]) -> DMat4 {
    let affine = grid.world_from_voxel();
    let linear = DMat3::from_mat4(affine) * DMat3::from_diagonal(DVec3::from_array(ratio));
    let corner = affine.transform_point3(DVec3::splat(-0.5));
    let first = corner + linear * DVec3::splat(0.5);
    let mut moved = DMat4::from_mat3(linear);
    moved.w_axis = first.extend(1.0);
    moved
}

/// Calls `at` with the place, in voxels of `source`, that each voxel of `target` is taken from, where
/// that lies in the source.
fn sample<T: Copy + Send + Sync>(
    source: &Grid,
    target: &Grid,
    outside: T,
    place: impl Fn(DVec3) -> DVec3 + Sync,
    at: impl Fn([f64; 3]) -> T + Sync,
) -> Vec<T> {
    let last = DVec3::from_array(source.shape().map(|n| (n - 1) as f64));
    let [nx, ny, _] = target.shape();
    let mut out = vec![outside; target.len()];
    out.par_chunks_mut(nx * ny)
        .enumerate()
        .for_each(|(z, slice)| {
            for (y, row) in slice.chunks_mut(nx).enumerate() {
                for (x, value) in row.iter_mut().enumerate() {
                    let exact = place(DVec3::new(x as f64, y as f64, z as f64));
                    let p = (exact * STEPS_PER_VOXEL).round() / STEPS_PER_VOXEL;
                    if within(p, last) {
                        *value = at(p.to_array());
                    }
                }
            }
        });
    out
}

/// Whether a point lies in the box of voxels the last of which is at `last`.
fn within(p: DVec3, last: DVec3) -> bool {
    (p.cmpge(DVec3::splat(-0.5)) & p.cmple(last + 0.5)).all()
}

/// An image's value at a point, in voxels, by linear interpolation; `None` outside of it.
pub(super) fn value_at(image: &Image, p: DVec3) -> Option<f32> {
    let grid = image.grid();
    let last = DVec3::from_array(grid.shape().map(|n| (n - 1) as f64));
    within(p, last).then(|| linear(grid, image.data(), p.to_array()))
}

/// The point, or the one closest to it between voxel centres.
fn held(grid: &Grid, p: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|axis| p[axis].clamp(0.0, (grid.shape()[axis] - 1) as f64))
}

fn nearest(grid: &Grid, p: [f64; 3]) -> usize {
    // Held at or below the last centre, half more stays in its voxel.
    grid.index(held(grid, p).map(|v| (v + 0.5) as usize))
}

/// Offsets of the voxels below and above along each axis, and the share of the upper.
fn neighbours(grid: &Grid, p: [f64; 3]) -> ([[usize; 2]; 3], [f64; 3]) {
    let [nx, ny, _] = grid.shape();
    let strides = [1, nx, nx * ny];
    let p = held(grid, p);
    let low = p.map(|v| v as usize);
    let share = [0, 1, 2].map(|axis| p[axis] - low[axis] as f64);
    let offsets = [0, 1, 2].map(|axis| {
        // A share of 0 needs no upper neighbour, and at the last voxel there is none.
        let high = low[axis] + usize::from(share[axis] > 0.0);
        [low[axis] * strides[axis], high * strides[axis]]
    });
    (offsets, share)
}

fn linear(grid: &Grid, data: &[f32], p: [f64; 3]) -> f32 {
    let ([ox, oy, oz], [sx, sy, sz]) = neighbours(grid, p);
    // A share of 0 leaves the upper neighbour out even where it is NaN or infinite.
    let mix = |a: f64, b: f64, share: f64| if share > 0.0 { a + (b - a) * share } else { a };
    let along_x = |start: usize| {
        mix(
            f64::from(data[start + ox[0]]),
            f64::from(data[start + ox[1]]),
            sx,
        )
    };
    let along_y = |start: usize| mix(along_x(start + oy[0]), along_x(start + oy[1]), sy);
    mix(along_y(oz[0]), along_y(oz[1]), sz) as f32
}

fn cubic(grid: &Grid, coefficients: &[f32], p: [f64; 3]) -> f32 {
    let shape = grid.shape();
    let [x, y, z] = [0, 1, 2].map(|axis| spline::taps(p[axis], shape[axis]));
    let mut sum = 0.0;
    for (dz, wz) in z.1.iter().enumerate().take(shape[2]) {
        for (dy, wy) in y.1.iter().enumerate().take(shape[1]) {
            let start = grid.index([x.0, y.0 + dy, z.0 + dz]);
            let near = coefficients[start..].iter().zip(&x.1[..shape[0].min(4)]);
            sum += wz * wy * near.map(|(&c, wx)| f64::from(c) * wx).sum::<f64>();
        }
    }
    sum as f32
}

fn largest_share(grid: &Grid, data: &[u16], p: [f64; 3]) -> u16 {
    let (offsets, share) = neighbours(grid, p);
    let corner = |i: usize| [i & 1, i >> 1 & 1, i >> 2 & 1];
    let label = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| {
        let [x, y, z] = corner(i);
        data[offsets[0][x] + offsets[1][y] + offsets[2][z]]
    });
    if label.iter().all(|&l| l == label[0]) {
        return label[0];
    }
    let weight = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| {
        let sides = corner(i);
        (0..3)
            .map(|a| {
                if sides[a] == 1 {
                    share[a]
                } else {
                    1.0 - share[a]
                }
            })
            .product::<f64>()
    });
    let mut best = (label[0], f64::NEG_INFINITY);
    for candidate in label {
        let total = (0..8)
            .filter(|&i| label[i] == candidate)
            .map(|i| weight[i])
            .sum::<f64>();
        if total > best.1 + TIE || (total > best.1 - TIE && candidate < best.0) {
            best = (candidate, total);
        }
    }
    best.0
}

#[cfg(test)]
mod tests;
