//! Noise whose power falls with frequency.
//!
//! Waves of all directions with independent normal amplitudes and power 1/f^β in three dimensions, which
//! is 1/f^(β−1) in a slice: natural pictures have about 1/f² (Field, J. Optical Society of America A
//! 4:2379, 1987, doi:10.1364/JOSAA.4.002379), β = 3. Below the frequency of a longest wave the power is
//! level: power = (f² + f₀²)^(−β/2).
//!
//! Made by an inverse Fourier transform of a volume of at least the size asked for (sides of small prime
//! factors). Volumes of more than 2²⁴ voxels are made on a coarser grid and grown linearly.

use std::sync::Arc;

use crossmod_volume::rng::Rng;
use crossmod_volume::space::{Interpolation, grid_with_shape, resample_image};
use crossmod_volume::{Grid, Image};
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex32;

use crate::{Error, Result};

/// Most voxels that are transformed.
const MOST: usize = 1 << 24;

/// Slices that are put together at a time: so many complex numbers are a cache line.
const BLOCK: usize = 8;

/// The texture.
pub(super) fn on(
    shape: [usize; 3],
    spacing: [f32; 3],
    seed: u64,
    beta: f32,
    longest_mm: f32,
) -> Result<Vec<f32>> {
    let mut coarse = 1.0f32;
    let sides = |coarse: f32| shape.map(|n| ((n as f32 / coarse).ceil() as usize).max(1));
    while sides(coarse).iter().product::<usize>() > MOST {
        coarse *= 1.25;
    }
    let small = sides(coarse);
    let step = [0, 1, 2].map(|a| spacing[a] * shape[a] as f32 / small[a] as f32);
    let values = waves(small, step, seed, beta, longest_mm)?;
    if small == shape {
        return Ok(values);
    }
    let grid = Grid::with_spacing(small, step.map(f64::from))?;
    let target = grid_with_shape(&grid, shape)?;
    let image = Image::new(grid, values)?;
    Ok(resample_image(&image, &target, Interpolation::Linear, 0.0)
        .into_parts()
        .1)
}

fn waves(
    shape: [usize; 3],
    spacing: [f32; 3],
    seed: u64,
    beta: f32,
    longest_mm: f32,
) -> Result<Vec<f32>> {
    let full @ [nx, ny, nz] = shape.map(smooth);
    let half = nx / 2 + 1;
    let mut planner = RealFftPlanner::<f32>::new();
    let along_x = planner.plan_fft_inverse(nx);
    let mut complex = FftPlanner::<f32>::new();
    let along_y = complex.plan_fft_inverse(ny);
    let along_z = complex.plan_fft_inverse(nz);

    let mut amplitudes = vec![Complex32::default(); half * ny * nz];
    amplitudes
        .par_chunks_mut(half * nz)
        .enumerate()
        .for_each(|(ky, plane)| {
            draw(plane, ky, full, spacing, seed, beta, longest_mm);
            along_z.process(plane);
        });

    let mut out = vec![0.0; shape.iter().product()];
    let area = shape[0] * shape[1];
    let blocks = out.par_chunks_mut(BLOCK * area).enumerate();
    blocks.try_for_each(|(block, slices)| {
        let first = block * BLOCK;
        let depth = slices.len() / area;
        let mut lines = vec![Complex32::default(); depth * half * ny];
        for (ky, plane) in amplitudes.chunks_exact(half * nz).enumerate() {
            for (kx, line) in plane.chunks_exact(nz).enumerate() {
                for (dz, v) in line[first..first + depth].iter().enumerate() {
                    lines[(dz * half + kx) * ny + ky] = *v;
                }
            }
        }
        along_y.process(&mut lines);
        let slices = slices.chunks_exact_mut(area);
        slices
            .zip(lines.chunks_exact(half * ny))
            .try_for_each(|(slice, lines)| rows(slice, lines, shape, ny, &along_x))
    })?;
    Ok(out)
}

/// Draws the amplitudes of the waves of one frequency along y; `[kx][kz]`.
fn draw(
    plane: &mut [Complex32],
    ky: usize,
    full: [usize; 3],
    spacing: [f32; 3],
    seed: u64,
    beta: f32,
    longest_mm: f32,
) {
    // Frequencies along an axis, 1/mm, squared: those of the upper half are negative ones.
    let square = |k: usize, a: usize| {
        let k = k.min(full[a] - k) as f32;
        (k / (full[a] as f32 * spacing[a])).powi(2)
    };
    let level = longest_mm.recip().powi(2) + square(ky, 1);
    let along_z: Vec<f32> = (0..full[2]).map(|kz| square(kz, 2)).collect();
    let mut rng = Rng::new(seed, ky as u64, 0);
    let mut normals = vec![0.0; 2 * full[2]];
    for (kx, line) in plane.chunks_exact_mut(full[2]).enumerate() {
        // Of the waves without component along x, and of the fastest, only half is there: see `rows`.
        let alone = kx == 0 || 2 * kx == full[0];
        let most = if alone { std::f32::consts::SQRT_2 } else { 1.0 };
        let level = level + square(kx, 0);
        rng.fill_normal(&mut normals);
        let normals = normals.as_chunks::<2>().0;
        for ((v, &along_z), [re, im]) in line.iter_mut().zip(&along_z).zip(normals) {
            let amplitude = most * (-0.25 * beta * (level + along_z).ln()).exp();
            *v = Complex32::new(amplitude * re, amplitude * im);
        }
    }
    if let ([first, ..], 0) = (plane, ky) {
        *first = Complex32::default();
    }
}

/// One slice from its lines `[kx][y]`, cut to its shape.
fn rows(
    slice: &mut [f32],
    lines: &[Complex32],
    shape: [usize; 3],
    ny: usize,
    along_x: &Arc<dyn ComplexToReal<f32>>,
) -> Result<()> {
    let mut waves = along_x.make_input_vec();
    let mut row = along_x.make_output_vec();
    let mut scratch = along_x.make_scratch_vec();
    let last = waves.len() - 1;
    for (y, out) in slice.chunks_exact_mut(shape[0]).enumerate() {
        for (v, line) in waves.iter_mut().zip(lines.chunks_exact(ny)) {
            *v = line[y];
        }
        // A real row has none of these. To leave them out is to take the mean of each wave and its
        // mirror image's conjugate, which are independent here: half the power, made up for before.
        waves[0].im = 0.0;
        if row.len() % 2 == 0 {
            waves[last].im = 0.0;
        }
        along_x
            .process_with_scratch(&mut waves, &mut row, &mut scratch)
            .map_err(|e| Error::Config(e.to_string()))?;
        out.copy_from_slice(&row[..shape[0]]);
    }
    Ok(())
}

/// The least number from `n` on without prime factors beyond 5.
fn smooth(n: usize) -> usize {
    let is_smooth = |n: &usize| {
        let rest = [2, 3, 5].iter().fold(*n, |mut rest, p| {
            while rest % p == 0 {
                rest /= p;
            }
            rest
        });
        rest == 1
    };
    (n.max(1)..).find(is_smooth).unwrap_or(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_smooth() {
        for (n, side) in [
            (1, 1),
            (7, 8),
            (160, 160),
            (101, 108),
            (122, 125),
            (251, 256),
        ] {
            assert_eq!(smooth(n), side);
        }
    }

    /// The power of the waves along each axis, from the definition of the transform.
    #[test]
    fn power_falls_as_asked_along_each_axis() {
        let n = 48usize;
        let (beta, longest) = (3.0, 1e4);
        for axis in 0..3 {
            let stride = n.pow(axis);
            let mut power = [0.0f64; 2];
            let waves = [2usize, 8];
            for seed in 0..24 {
                let values = on([n; 3], [1.0; 3], seed, beta, longest).expect("a texture");
                // The mean over the other two axes leaves the waves along this one alone.
                let mut line = vec![0.0f64; n];
                for (i, &v) in values.iter().enumerate() {
                    line[i / stride % n] += f64::from(v) / (n * n) as f64;
                }
                for (power, k) in power.iter_mut().zip(waves) {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (x, v) in line.iter().enumerate() {
                        let phase = std::f64::consts::TAU * (k * x) as f64 / n as f64;
                        re += v * phase.cos();
                        im += v * phase.sin();
                    }
                    *power += re * re + im * im;
                }
            }
            let fall = (power[0] / power[1]).ln() / 4f64.ln();
            // Each power is the mean of 24 exponential numbers: its logarithm is good to 0.2.
            assert!((fall - 3.0).abs() < 0.6, "axis {axis}: {fall}");
        }
    }

    #[test]
    fn slices_do_not_favour_an_axis() {
        // Differences to the neighbour along each axis are alike: isotropic, and no side is left out.
        let n = 45;
        let mut sums = [0.0f64; 3];
        for seed in 0..8 {
            let values = on([n; 3], [1.0; 3], seed, 2.5, 40.0).expect("a texture");
            for (axis, sum) in sums.iter_mut().enumerate() {
                let step = n.pow(axis as u32);
                let pairs = values.iter().zip(&values[step..]).enumerate();
                *sum += pairs
                    .filter(|(i, _)| i / step % n < n - 1)
                    .map(|(_, (a, b))| f64::from((a - b).powi(2)))
                    .sum::<f64>();
            }
        }
        for sum in sums {
            assert!((sum / sums[0] - 1.0).abs() < 0.1, "{sums:?}");
        }
    }

    #[test]
    fn a_great_volume_is_made_on_a_coarser_grid() {
        let values = on([600, 600, 60], [0.5, 0.5, 1.0], 3, 3.0, 100.0).expect("a texture");
        assert_eq!(values.len(), 600 * 600 * 60);
        assert!(values.iter().all(|v| v.is_finite()));
    }
}
