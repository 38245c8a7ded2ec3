//! Cells: how much further the second nearest of random points is than the nearest.
//!
//! One point in each cube of a lattice, F2 − F1 (Worley, SIGGRAPH 1996, doi:10.1145/237170.237267): 0 on
//! the walls between cells, largest in their middles, as trabecular bone and lobules have it. Points are
//! looked for in the 27 cubes about a voxel.

use rayon::prelude::*;

use super::hash;

/// A point's place along x, and the square of its distance from a row.
type Point = [f32; 2];

/// The texture.
pub(super) fn on(shape: [usize; 3], spacing: [f32; 3], seed: u64, cell_mm: f32) -> Vec<f32> {
    let [nx, ny, _] = shape;
    let step = spacing.map(|s| s / cell_mm.max(1e-3));
    let mut out = vec![0.0; shape.iter().product()];
    out.par_chunks_mut(nx * ny)
        .enumerate()
        .for_each(|(z, slice)| {
            let mut points = Vec::new();
            let mut nearest = vec![[0.0; 2]; nx];
            for (y, row) in slice.chunks_exact_mut(nx).enumerate() {
                let at = [y as f32 * step[1], z as f32 * step[2]];
                let last = ((nx - 1) as f32 * step[0]) as i32;
                about(at, last, seed, &mut points);
                squares(&mut nearest, step[0], &points);
                for (out, [first, second]) in row.iter_mut().zip(&nearest) {
                    *out = second.sqrt() - first.sqrt();
                }
            }
        });
    out
}

/// The points of the cubes about a row at (v, w) cubes along y and z, from the cube before it to the one
/// behind its last, `last`.
fn about([v, w]: [f32; 2], last: i32, seed: u64, points: &mut Vec<[Point; 9]>) {
    let (j, k) = (v as i32, w as i32);
    points.clear();
    points.extend((-1..=last + 1).map(|i| {
        let mut found = [[0.0; 2]; 9];
        let cubes = (-1..=1).flat_map(|dk| (-1..=1).map(move |dj| [i, j + dj, k + dk]));
        for (found, cube) in found.iter_mut().zip(cubes) {
            let [px, py, pz] = point(cube, seed);
            *found = [px, (py - v).powi(2) + (pz - w).powi(2)];
        }
        found
    }));
}

/// The squares of each voxel's distances to the nearest and the second nearest point.
fn squares(row: &mut [[f32; 2]], step: f32, points: &[[Point; 9]]) {
    let mut start = 0;
    while start < row.len() {
        let cube = (start as f32 * step) as usize;
        let end = (start + 1..row.len())
            .find(|&x| (x as f32 * step) as usize != cube)
            .unwrap_or(row.len());
        let voxels = &mut row[start..end];
        voxels.fill([f32::INFINITY; 2]);
        // Cube i's points are at i + 1: those of its two neighbours lie around.
        for &[px, across] in points[cube..cube + 3].as_flattened() {
            let from = start as f32 * step - px;
            for (x, [first, second]) in voxels.iter_mut().enumerate() {
                let along = from + x as f32 * step;
                let square = along * along + across;
                *second = second.min(first.max(square));
                *first = first.min(square);
            }
        }
        start = end;
    }
}

/// The point in a cube.
fn point(cube: [i32; 3], seed: u64) -> [f32; 3] {
    let word = hash(seed, cube);
    let other = hash(seed.rotate_left(17) ^ 0x9e37_79b9, cube);
    let unit = |bits: u32| (bits & 0xffff) as f32 / 65536.0;
    let at = [unit(word), unit(word >> 16), unit(other)];
    [0, 1, 2].map(|a| cube[a] as f32 + at[a])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_all_points_about() {
        let (shape, spacing) = ([19, 11, 7], [1.5f32, 1.5, 4.0]);
        let cell = 9.0;
        let values = on(shape, spacing, 42, cell);
        for (i, v) in values.iter().enumerate() {
            let at = [
                i % shape[0],
                i / shape[0] % shape[1],
                i / (shape[0] * shape[1]),
            ];
            let at = [0, 1, 2].map(|a| at[a] as f32 * spacing[a] / cell);
            let mut near: Vec<f32> = Vec::new();
            for n in 0..27 {
                let cube = [n % 3, n / 3 % 3, n / 9].map(|d| d - 1);
                let cube = [0, 1, 2].map(|a| at[a].floor() as i32 + cube[a]);
                let p = point(cube, 42);
                near.push((0..3).map(|a| (p[a] - at[a]).powi(2)).sum::<f32>().sqrt());
            }
            near.sort_by(f32::total_cmp);
            assert!((v - (near[1] - near[0])).abs() < 1e-4, "{at:?}");
        }
    }
}
