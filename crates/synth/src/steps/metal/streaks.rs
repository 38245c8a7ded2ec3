//! What metal does to the rays of a slice, reconstructed.
//!
//! Parallel rays at even angles over half a turn; path lengths by spreading the metal of each
//! quarter of a pixel over the two nearest rays; band-limited ramp with a Hann window, back-projection with linear interpolation (Kak
//! and Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3). A slice wider than
//! [`MOST`] pixels is worked on at a coarser step, between whose points the streaks are linear.

use crossmod_scanner::attenuation::WATER_MM;
use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

/// Points of a slice along a side.
const MOST: usize = 256;

/// A ray's line integral is measured up to here: beyond, nothing gets through.
const DARKEST: f32 = 9.0;

/// The rays, but for the metal in their way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Beam {
    /// Share of its line integral that a ray of 1 through metal lacks.
    pub(super) hardening: f32,
    /// In each ray, before the body.
    pub(super) photons: f32,
    /// The line integral of the body without metal.
    pub(super) body: f32,
    /// Of the noise.
    pub(super) seed: u64,
}

/// Adds the streaks of metal to a slice `[row][column]` in HU.
pub(super) fn streaks(
    plane: &mut [f32],
    shape: [usize; 2],
    spacing_mm: [f64; 2],
    metal: &[(usize, f32)],
    attenuation_mm: f32,
    beam: &Beam,
    slice: u64,
) {
    let rays = Rays::of(shape, spacing_mm);
    let mut sums = rays.project(metal);
    let mut rng = Rng::new(beam.seed, slice, 0);
    for sum in sums.iter_mut().filter(|sum| **sum > 0.0) {
        *sum = beam.error(*sum * attenuation_mm, &mut rng);
    }
    let coarse = rays.reconstruct(&sums);
    rays.add(&coarse, plane, 1000.0 / WATER_MM);
}

impl Beam {
    /// What is measured of a ray through metal of a line integral, less what it is.
    ///
    /// A beam of many energies loses its soft part first: p becomes p / (1 + h p), the form that has the
    /// right slope at 0 and bends as such curves do. Counts are Poisson, so that the logarithm has the
    /// standard deviation e^(p / 2) / sqrt(N); what the body's own noise would be is taken off.
    fn error(&self, metal: f32, rng: &mut Rng) -> f32 {
        let hard = metal / (1.0 + self.hardening * metal);
        let seen = (self.body + hard).min(DARKEST.max(self.body));
        let variance = (seen.exp() - self.body.exp()) / self.photons;
        seen - self.body - metal + variance.max(0.0).sqrt() * rng.normal()
    }
}

struct Rays {
    shape: [usize; 2],
    spacing_mm: [f64; 2],
    /// Pixels for each point that is reconstructed.
    step: usize,
    views: usize,
    count: usize,
    apart_mm: f64,
}

impl Rays {
    fn of(shape: [usize; 2], spacing_mm: [f64; 2]) -> Self {
        let longest = shape[0].max(shape[1]);
        let step = longest.div_ceil(MOST);
        let apart_mm = step as f64 * spacing_mm[0].max(spacing_mm[1]);
        let across = [0, 1].map(|k| shape[k] as f64 * spacing_mm[k]);
        // Two more on each side, for interpolation.
        let count = (across[0].hypot(across[1]) / apart_mm).ceil() as usize + 4;
        // As many views as rays have half a turn's arc at the edge of the slice to resolve.
        let views = (std::f64::consts::FRAC_PI_2 * count as f64).ceil() as usize;
        Self {
            shape,
            spacing_mm,
            step,
            views,
            count,
            apart_mm,
        }
    }

    /// Of each view, how far the ray through a point moves for a step down and one to the right, in rays.
    fn directions(&self) -> impl Iterator<Item = [f64; 2]> {
        (0..self.views).map(|view| {
            let angle = std::f64::consts::PI * view as f64 / self.views as f64;
            [
                angle.sin() * self.spacing_mm[0] / self.apart_mm,
                angle.cos() * self.spacing_mm[1] / self.apart_mm,
            ]
        })
    }

    /// The ray through a pixel.
    fn ray(&self, direction: [f64; 2], at: [f64; 2]) -> f64 {
        let off = [0, 1].map(|k| at[k] - 0.5 * (self.shape[k] as f64 - 1.0));
        direction[0] * off[0] + direction[1] * off[1] + 0.5 * (self.count as f64 - 1.0)
    }

    /// Path lengths through metal, mm, `[view][ray]`.
    fn project(&self, metal: &[(usize, f32)]) -> Vec<f32> {
        let mut sums = vec![0.0; self.views * self.count];
        let area = 0.25 * self.spacing_mm[0] * self.spacing_mm[1] / self.apart_mm;
        let views = sums.chunks_mut(self.count).zip(self.directions());
        for (sums, direction) in views {
            let quarters = [(-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)]
                .map(|(down, right)| direction[0] * down + direction[1] * right);
            for &(at, share) in metal {
                let pixel = [at / self.shape[1], at % self.shape[1]].map(|v| v as f64);
                let middle = self.ray(direction, pixel);
                let length = f64::from(share) * area;
                for ray in quarters.map(|off| middle + off) {
                    let (low, part) = (ray as usize, ray.fract());
                    sums[low] += (length * (1.0 - part)) as f32;
                    sums[low + 1] += (length * part) as f32;
                }
            }
        }
        sums
    }

    /// The filtered back-projection of line integrals on the coarse points, mm^-1.
    fn reconstruct(&self, sums: &[f32]) -> Vec<f32> {
        let points = self.points();
        let mut image = vec![0.0; points[0] * points[1]];
        let scale = (std::f64::consts::PI / self.views as f64) as f32;
        let kernel = self.kernel();
        let mut filtered = vec![0.0f32; self.count];
        for (sums, direction) in sums.chunks(self.count).zip(self.directions()) {
            filtered.fill(0.0);
            for (i, &sum) in sums.iter().enumerate().filter(|(_, sum)| **sum != 0.0) {
                let taps = &kernel[self.count - 1 - i..][..self.count];
                filtered
                    .iter_mut()
                    .zip(taps)
                    .for_each(|(f, tap)| *f += sum * tap);
            }
            for (row, image) in image.chunks_mut(points[1]).enumerate() {
                let start = self.ray(direction, [row, 0].map(|k| self.place(k)));
                let step = (direction[1] * self.step as f64) as f32;
                let start = start as f32;
                for (column, v) in image.iter_mut().enumerate() {
                    let ray = start + step * column as f32;
                    let (low, part) = (ray as usize, ray.fract());
                    *v += scale * (filtered[low] + part * (filtered[low + 1] - filtered[low]));
                }
            }
        }
        image
    }

    /// Taps of the ramp under a Hann window, from the last ray's distance on the left to that on the
    /// right; mm^-1 for a line integral.
    fn kernel(&self) -> Vec<f32> {
        let ramp = |n: i64| match n {
            0 => 0.25,
            n if n % 2 == 0 => 0.0,
            n => -1.0 / (std::f64::consts::PI * n as f64).powi(2),
        };
        let windowed = |n: i64| 0.25 * ramp(n - 1) + 0.5 * ramp(n) + 0.25 * ramp(n + 1);
        let reach = self.count as i64 - 1;
        (-reach..=reach)
            .map(|n| (windowed(n) / self.apart_mm) as f32)
            .collect()
    }

    fn points(&self) -> [usize; 2] {
        self.shape.map(|n| n.div_ceil(self.step))
    }

    /// The pixel that a coarse point lies on.
    fn place(&self, point: usize) -> f64 {
        (point * self.step) as f64 + 0.5 * (self.step as f64 - 1.0)
    }

    /// Adds what lies on coarse points to every pixel, linear between them and even beyond.
    fn add(&self, coarse: &[f32], plane: &mut [f32], scale: f32) {
        let points = self.points();
        let between = |axis: usize, pixel: usize| {
            let at = (pixel as f64 - self.place(0)) / self.step as f64;
            let at = at.clamp(0.0, points[axis] as f64 - 1.0);
            let low = at as usize;
            (low, (low + 1).min(points[axis] - 1), at.fract() as f32)
        };
        let columns: Vec<_> = (0..self.shape[1]).map(|c| between(1, c)).collect();
        for (row, plane) in plane.chunks_mut(self.shape[1]).enumerate() {
            let (top, bottom, down) = between(0, row);
            let [top, bottom] = [top, bottom].map(|r| &coarse[r * points[1]..][..points[1]]);
            for (v, &(left, right, part)) in plane.iter_mut().zip(&columns) {
                let upper = top[left] + part * (top[right] - top[left]);
                let lower = bottom[left] + part * (bottom[right] - bottom[left]);
                *v += scale * (upper + down * (lower - upper));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disc(shape: [usize; 2], spacing: [f64; 2], radius: f64) -> Vec<(usize, f32)> {
        let middle = [0.62 * shape[0] as f64, 0.45 * shape[1] as f64];
        let inside = |at: usize| {
            let row = (at / shape[1]) as f64 - middle[0];
            let column = (at % shape[1]) as f64 - middle[1];
            (row * spacing[0]).hypot(column * spacing[1]) <= radius
        };
        let all = (0..shape[0] * shape[1]).filter(|&at| inside(at));
        all.map(|at| (at, 1.0)).collect()
    }

    #[test]
    fn path_lengths_are_chords_and_add_up_to_the_area() {
        let rays = Rays::of([90, 100], [1.0, 1.0]);
        let metal = disc([90, 100], [1.0, 1.0], 14.0);
        let sums = rays.project(&metal);
        for view in sums.chunks(rays.count) {
            let area = view.iter().sum::<f32>() * rays.apart_mm as f32;
            assert!((area / metal.len() as f32 - 1.0).abs() < 1e-4);
            let longest = view.iter().fold(0.0f32, |a, &b| a.max(b));
            assert!((longest - 28.0).abs() < 2.0, "{longest}");
        }
    }

    /// Line integrals of a disc give the disc back, on fine points and on coarse ones.
    #[test]
    fn a_disc_is_reconstructed_at_its_value() {
        for (shape, spacing, radius) in [
            ([120, 110], [1.0, 1.0], 20.0),
            ([100, 120], [1.2, 0.9], 22.0),
            ([300, 320], [0.5, 0.5], 25.0),
        ] {
            let metal = disc(shape, spacing, radius);
            let rays = Rays::of(shape, spacing);
            let mut sums = rays.project(&metal);
            sums.iter_mut().for_each(|sum| *sum *= 0.05);
            let mut plane = vec![0.0; shape[0] * shape[1]];
            rays.add(&rays.reconstruct(&sums), &mut plane, 1.0);
            let well = |plane: &[f32], inner: f64, outer: f64, expected: f32| {
                let (inner, outer) = (disc(shape, spacing, inner), disc(shape, spacing, outer));
                let of = outer.iter().filter(|at| !inner.contains(at));
                let values: Vec<f32> = of.map(|&(at, _)| plane[at]).collect();
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                assert!((mean - expected).abs() < 0.02 * 0.05, "{shape:?} {mean}");
            };
            well(&plane, 0.0, radius - 3.0, 0.05);
            well(&plane, radius + 3.0, radius + 12.0, 0.0);
        }
    }

    #[test]
    fn rays_lack_what_hardening_takes_and_noise_has_its_variance() {
        let beam = Beam {
            hardening: 0.1,
            photons: 1e9,
            body: 1.0,
            seed: 0,
        };
        let mut rng = Rng::new(1, 0, 0);
        // 2 / 1.2 - 2, but for hardly any noise.
        assert!((beam.error(2.0, &mut rng) + 1.0 / 3.0).abs() < 1e-3);
        assert!((beam.error(100.0, &mut rng) - (8.0 - 100.0)).abs() < 0.1);
        let noisy = Beam {
            photons: 1e4,
            hardening: 0.0,
            ..beam
        };
        let errors: Vec<f32> = (0..20_000).map(|_| noisy.error(3.0, &mut rng)).collect();
        let square = errors.iter().map(|v| v * v).sum::<f32>() / 20_000.0;
        let expected = (4f32.exp() - 1f32.exp()) / 1e4;
        assert!(
            (square / expected - 1.0).abs() < 0.05,
            "{square} {expected}"
        );
    }
}
