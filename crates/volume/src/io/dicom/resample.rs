//! Slices that are shifted or unevenly spaced, onto the voxels of an upright grid.

use rayon::prelude::*;

use super::stack::Shift;
use crate::Grid;

/// How a value between pixels comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io) enum Between {
    Linear,
    Nearest,
}

/// Values on the grid; outside the slices the lowest of them. Between two slices values follow the
/// normal.
pub(super) fn onto(
    grid: &Grid,
    slices: &[Vec<f32>],
    columns: usize,
    shifts: &[Shift],
    between: Between,
) -> Vec<f32> {
    let [nx, ny, _] = grid.shape();
    let lowest = slices
        .iter()
        .flatten()
        .copied()
        .fold(f32::INFINITY, f32::min);
    let mut values = vec![lowest; grid.len()];
    values
        .par_chunks_mut(nx * ny)
        .enumerate()
        .for_each(|(z, plane)| {
            let (below, weight) = neighbours(shifts, z as f64);
            let weight = match between {
                Between::Linear => weight,
                Between::Nearest => weight.round(),
            };
            let above = (below + 1).min(slices.len() - 1);
            for y in 0..ny {
                let row = &mut plane[y * nx..][..nx];
                for (x, value) in row.iter_mut().enumerate() {
                    let at = |i: usize| {
                        let (x, y) = (x as f64 - shifts[i].x, y as f64 - shifts[i].y);
                        sample(&slices[i], columns, x, y, between)
                    };
                    let found = if weight == 0.0 {
                        at(below)
                    } else if weight == 1.0 {
                        at(above)
                    } else {
                        at(below)
                            .zip(at(above))
                            .map(|(a, b)| a + (b - a) * weight as f32)
                    };
                    if let Some(found) = found {
                        *value = found;
                    }
                }
            }
        });
    values
}

/// The slice at or before `z` and how far on to the next, 0 to 1.
fn neighbours(shifts: &[Shift], z: f64) -> (usize, f64) {
    // Rounding of positions is no distance.
    let near = 1e-4;
    let below = shifts
        .partition_point(|s| s.z <= z + near)
        .saturating_sub(1);
    let Some(next) = shifts.get(below + 1) else {
        return (below, 0.0);
    };
    let weight = (z - shifts[below].z) / (next.z - shifts[below].z);
    if weight < near {
        (below, 0.0)
    } else {
        (below, weight.min(1.0))
    }
}

/// The value at a place within a slice; `None` outside of it.
fn sample(slice: &[f32], columns: usize, x: f64, y: f64, between: Between) -> Option<f32> {
    let rows = slice.len() / columns;
    let place = |v: f64, n: usize| {
        let v = if between == Between::Nearest {
            v.round()
        } else {
            v
        };
        // Rounding of positions is no distance.
        let v = if (v - v.round()).abs() < 1e-4 {
            v.round()
        } else {
            v
        };
        (v >= 0.0 && v <= (n - 1) as f64).then(|| (v as usize, v.fract() as f32))
    };
    let ((x, fx), (y, fy)) = (place(x, columns)?, place(y, rows)?);
    let line = |y: usize| {
        let a = slice[y * columns + x];
        if fx == 0.0 {
            a
        } else {
            a + (slice[y * columns + x + 1] - a) * fx
        }
    };
    let a = line(y);
    Some(if fy == 0.0 {
        a
    } else {
        a + (line(y + 1) - a) * fy
    })
}
