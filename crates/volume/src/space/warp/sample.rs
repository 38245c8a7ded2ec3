//! The value of a block at one point, given as the voxel below it and the share of the way to the
//! next along each axis.
//!
//! Almost all points have all their neighbours inside, which is one test and then straight
//! arithmetic; the others look at each neighbour by itself.

use super::Block;

/// Where a cube of `side` voxels from `first` on begins in storage, if all of it is inside.
fn cube<T>(block: &Block<'_, T>, first: [i32; 3], side: usize) -> Option<usize> {
    let shape = block.frame.shape;
    // Below 0 becomes far above any shape.
    let at = first.map(|v| v as u32 as usize);
    (0..3)
        .all(|axis| at[axis] + side <= shape[axis])
        .then(|| at[0] + shape[0] * (at[1] + shape[1] * at[2]))
}

/// A voxel, or `outside`.
fn voxel<T: Copy>(block: &Block<'_, T>, at: [i32; 3], outside: T) -> T {
    cube(block, at, 1).map_or(outside, |i| block.data[i])
}

pub(super) fn nearest<T: Copy>(
    block: &Block<'_, T>,
    low: [i32; 3],
    share: [f32; 3],
    outside: T,
) -> T {
    let near = [0, 1, 2].map(|axis| low[axis] + i32::from(share[axis] >= 0.5));
    voxel(block, near, outside)
}

pub(super) fn linear(
    block: &Block<'_, f32>,
    low: [i32; 3],
    [tx, ty, tz]: [f32; 3],
    outside: f32,
) -> f32 {
    let [nx, ny, _] = block.frame.shape;
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let mixed = |pairs: [[f32; 2]; 4]| {
        let [a, b, c, d] = pairs.map(|[p, q]| mix(p, q, tx));
        mix(mix(a, b, ty), mix(c, d, ty), tz)
    };
    if let Some(start) = cube(block, low, 2) {
        let pair = |i: usize| {
            let row = &block.data[i..i + 2];
            [row[0], row[1]]
        };
        let above = start + nx * ny;
        return mixed([pair(start), pair(start + nx), pair(above), pair(above + nx)]);
    }
    mixed([[0, 0], [1, 0], [0, 1], [1, 1]].map(|[dy, dz]| {
        let [x, y, z] = low;
        [0, 1].map(|dx| voxel(block, [x + dx, y + dy, z + dz], outside))
    }))
}

/// Keys' weights of the samples at −1, 0, 1 and 2 for a point at `t`.
fn keys(t: f32) -> [f32; 4] {
    [
        ((1.0 - 0.5 * t) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((2.0 - 1.5 * t) * t + 0.5) * t,
        0.5 * (t - 1.0) * t * t,
    ]
}

pub(super) fn cubic(block: &Block<'_, f32>, low: [i32; 3], share: [f32; 3], outside: f32) -> f32 {
    let first = low.map(|v| v - 1);
    let [nx, ny, _] = block.frame.shape;
    let [wx, wy, wz] = share.map(keys);
    // Four sums side by side, one for each voxel along x.
    let mut sums = [0.0; 4];
    let mut add = |row: &[f32; 4], weight: f32| {
        for (sum, v) in sums.iter_mut().zip(row) {
            *sum += weight * v;
        }
    };
    if let Some(start) = cube(block, first, 4) {
        for (dz, wz) in wz.into_iter().enumerate() {
            for (dy, wy) in wy.into_iter().enumerate() {
                let i = start + nx * (dy + ny * dz);
                if let Some(row) = block.data[i..].first_chunk() {
                    add(row, wy * wz);
                }
            }
        }
    } else {
        for (dz, wz) in (0..).zip(wz) {
            for (dy, wy) in (0..).zip(wy) {
                let [x, y, z] = first;
                let row = [0, 1, 2, 3].map(|dx| voxel(block, [x + dx, y + dy, z + dz], outside));
                add(&row, wy * wz);
            }
        }
    }
    (sums[0] * wx[0] + sums[1] * wx[1]) + (sums[2] * wx[2] + sums[3] * wx[3])
}
