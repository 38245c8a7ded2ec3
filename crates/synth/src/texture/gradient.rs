//! Gradient noise in octaves.
//!
//! Perlin's noise (SIGGRAPH 1985, doi:10.1145/325165.325247) with the quintic weight and the twelve
//! gradients of his later paper (SIGGRAPH 2002, doi:10.1145/566654.566636). Each octave has cells half
//! as wide; those of less than two voxels are left out.
//!
//! Along a row the noise of a cell is the blend of two straight lines, one for each side of the cell, so
//! that gradients are looked up once for a cell and not for a voxel.

use rayon::prelude::*;

use super::hash;

/// Most octaves.
const OCTAVES: i32 = 6;

/// One octave's cells along x.
struct Row {
    /// Voxels of each cell.
    cells: Vec<std::ops::Range<usize>>,
    /// Place of each voxel within its cell, and the weight there.
    place: Vec<[f32; 2]>,
}

/// The texture.
pub(super) fn on(
    shape: [usize; 3],
    spacing: [f32; 3],
    seed: u64,
    cell_mm: f32,
    persistence: f32,
) -> Vec<f32> {
    let [nx, ny, _] = shape;
    let finest = 2.0 * spacing[0].max(spacing[1]);
    let octaves: Vec<(f32, f32, u64)> = (0..OCTAVES)
        .map(|o| {
            (
                cell_mm * 0.5f32.powi(o),
                persistence.powi(o),
                seed ^ u64::from(o.unsigned_abs()),
            )
        })
        .filter(|&(cell, _, seed_of)| cell >= finest || seed_of == seed)
        .collect();
    let rows: Vec<Row> = octaves
        .iter()
        .map(|o| Row::new(nx, spacing[0] / o.0))
        .collect();
    let mut out = vec![0.0; shape.iter().product()];
    out.par_chunks_mut(nx * ny)
        .enumerate()
        .for_each(|(z, slice)| {
            for (&(cell, weight, seed), row) in octaves.iter().zip(&rows) {
                let w = z as f32 * spacing[2] / cell;
                for (y, out) in slice.chunks_exact_mut(nx).enumerate() {
                    row.add([y as f32 * spacing[1] / cell, w], weight, seed, out);
                }
            }
        });
    out
}

impl Row {
    fn new(nx: usize, step: f32) -> Self {
        // Half a cell in, so that no row of voxels lies on lattice points, where noise is 0.
        let at = |x: usize| 0.5 + x as f32 * step;
        let place = (0..nx).map(|x| {
            let t = at(x) - at(x).floor();
            [t, fade(t)]
        });
        let mut cells: Vec<std::ops::Range<usize>> = Vec::new();
        let mut before = -1;
        for x in 0..nx {
            let cell = at(x) as i32;
            match cells.last_mut() {
                Some(last) if cell == before => last.end = x + 1,
                _ => {
                    // A step of more than a cell leaves cells without voxels.
                    cells.extend((before + 1..cell).map(|_| x..x));
                    cells.push(x..x + 1);
                }
            }
            before = cell;
        }
        Self {
            cells,
            place: place.collect(),
        }
    }

    /// Adds the noise of one row at (v, w) cells along y and z.
    fn add(&self, at: [f32; 2], weight: f32, seed: u64, out: &mut [f32]) {
        let mut left = line(0, at, seed);
        for (cell, voxels) in (0..).zip(&self.cells) {
            let right = line(cell + 1, at, seed);
            let places = &self.place[voxels.clone()];
            for (out, &[t, s]) in out[voxels.clone()].iter_mut().zip(places) {
                let a = left[0] * t + left[1];
                let b = right[0] * (t - 1.0) + right[1];
                *out += weight * (a + s * (b - a));
            }
            left = right;
        }
    }
}

/// Slope along x and height at lattice plane `i` of what its gradients add at (v, w).
fn line(i: i32, [v, w]: [f32; 2], seed: u64) -> [f32; 2] {
    let (v, w) = (v + 0.5, w + 0.5);
    let (j, k) = (v as i32, w as i32);
    let (v, w) = (v - j as f32, w - k as f32);
    let (sv, sw) = (fade(v), fade(w));
    let mut sum = [0.0; 2];
    for (dj, weight_j) in [(0, 1.0 - sv), (1, sv)] {
        for (dk, weight_k) in [(0, 1.0 - sw), (1, sw)] {
            let [gx, gy, gz] = gradient(hash(seed, [i, j + dj, k + dk]));
            let weight = weight_j * weight_k;
            sum[0] += weight * gx;
            sum[1] += weight * (gy * (v - dj as f32) + gz * (w - dk as f32));
        }
    }
    sum
}

/// One of the twelve directions to the middles of a cube's edges.
fn gradient(hash: u32) -> [f32; 3] {
    let sign = |bit: u32| if hash >> bit & 1 == 0 { 1.0 } else { -1.0 };
    match (hash >> 8) % 3 {
        0 => [0.0, sign(0), sign(1)],
        1 => [sign(0), 0.0, sign(1)],
        _ => [sign(0), sign(1), 0.0],
    }
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (6.0 * t - 15.0) + 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One octave, point by point from the definition: the blend of eight corners' gradients.
    fn direct(at: [f32; 3], seed: u64) -> f32 {
        let low = at.map(f32::floor);
        let t = [0, 1, 2].map(|a| at[a] - low[a]);
        (0..8)
            .map(|corner| {
                let d = [0, 1, 2].map(|a| corner >> a & 1);
                let g = gradient(hash(seed, [0, 1, 2].map(|a| low[a] as i32 + d[a])));
                let dot: f32 = (0..3).map(|a| g[a] * (t[a] - d[a] as f32)).sum();
                let weight = |a: usize| {
                    let s = fade(t[a]);
                    if d[a] == 1 { s } else { 1.0 - s }
                };
                dot * weight(0) * weight(1) * weight(2)
            })
            .sum()
    }

    #[test]
    fn rows_are_the_noise_of_the_definition() {
        // Cells of 3.1 mm at voxels of 1.5 mm: one octave. Slices 5 mm apart jump over cells.
        for (shape, spacing) in [([23, 9, 5], [1.5, 1.2, 5.0]), ([7, 6, 3], [8.0, 8.0, 1.0])] {
            let values = on(shape, spacing, 77, 3.1, 0.5);
            for (i, v) in values.iter().enumerate() {
                let at = [
                    i % shape[0],
                    i / shape[0] % shape[1],
                    i / (shape[0] * shape[1]),
                ];
                let at = [0, 1, 2].map(|a| 0.5 + at[a] as f32 * spacing[a] / 3.1);
                assert!(
                    (v - direct(at, 77)).abs() < 1e-4,
                    "{at:?} {v} {}",
                    direct(at, 77)
                );
            }
        }
    }
}
