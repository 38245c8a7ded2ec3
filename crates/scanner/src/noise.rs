//! Local quantum noise of filtered back-projection, without projecting noise.
//!
//! The noise of parallel-beam filtered back-projection at a point is the sum, over the rays that
//! pass near it, of each ray's logarithm variance 1/N. Where N varies slowly along the detector
//! (the ramp filter puts three quarters of its energy on the central ray) this is
//!
//! var(mu) = pi^2 A / (12 V d^2) * mean over views of exp(p) / N0
//!
//! with p the line integral of the view's ray through the point, N0 the incident photons per ray
//! and view, V the views per half turn, d the distance between rays (mm) and
//! A = 3 ∫ x^2 W(x)^2 dx over [0, 1] the noise power that the filter's window W leaves of the
//! plain ramp's. This is the local form of the classical result for the centre of a disc
//! (Brooks and Di Chiro, Med. Phys. 3:237, 1976, doi:10.1118/1.594240; Kak and Slaney,
//! "Principles of Computerized Tomographic Imaging", 1988, section 5.2).
//!
//! Approximations: a monochromatic parallel beam without bow-tie, scatter or electronic noise; a
//! few view directions stand for all; the smoothing by interpolation and by averaging over a
//! voxel is not included, so the map is the noise of a point sample. It gives the standard
//! deviation only: neighbouring pixels of a real reconstruction are correlated.
//!
//! Slices are x fastest; lengths in mm; results in HU.

use crate::{Error, Result, attenuation};

/// Apodisation of the ramp filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The ramp up to the Nyquist frequency.
    Ramp,
    /// Raised cosine: the ramp times cos^2(pi x / 2).
    Hann,
}

impl Window {
    /// Noise power relative to the plain ramp's: 3 ∫ x^2 W(x)^2 dx over [0, 1].
    #[must_use]
    pub fn noise_power(self) -> f64 {
        match self {
            Self::Ramp => 1.0,
            // 3 ∫ x^2 cos^4(pi x / 2) dx = 3/8 - 45 / (16 pi^2)
            Self::Hann => 0.375 - 45.0 / (16.0 * std::f64::consts::PI.powi(2)),
        }
    }
}

/// What decides the noise of a reconstruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exposure {
    /// Photons that enter each ray of each view.
    pub photons_per_ray: f64,
    /// Views per half turn.
    pub views_per_half_turn: usize,
    /// Distance between neighbouring rays, mm.
    pub ray_spacing_mm: f64,
    /// Apodisation of the ramp filter.
    pub window: Window,
}

impl Exposure {
    /// Standard deviation (HU) where the mean over the views of exp(line integral) is
    /// `mean_attenuation_factor`.
    #[must_use]
    pub fn sd_hu(&self, mean_attenuation_factor: f64) -> f64 {
        let view_sum = self.views_per_half_turn as f64 * self.ray_spacing_mm.powi(2);
        let variance = std::f64::consts::PI.powi(2) * self.window.noise_power() / (12.0 * view_sum)
            * mean_attenuation_factor
            / self.photons_per_ray;
        1000.0 * variance.sqrt() / f64::from(attenuation::WATER_MM)
    }
}

/// Noise map (standard deviation, HU) of a slice of `shape` (x, y) pixels given in HU, seen from
/// `directions` evenly spaced views.
///
/// # Errors
/// [`Error::Setting`] where the slice does not have its shape's number of pixels, or a setting is
/// not positive.
pub fn sd_map(
    slice_hu: &[f32],
    shape: [usize; 2],
    spacing_mm: [f64; 2],
    exposure: &Exposure,
    directions: usize,
) -> Result<Vec<f32>> {
    check(slice_hu.len(), shape, spacing_mm, exposure, directions)?;
    let attenuation: Vec<f32> = slice_hu
        .iter()
        .map(|&hu| attenuation::from_hu(hu))
        .collect();
    let mut factor = vec![0.0f64; slice_hu.len()];
    for view in 0..directions {
        let angle = std::f64::consts::PI * (view as f64 + 0.5) / directions as f64;
        let beam = Beam::new(shape, spacing_mm, angle);
        let line_integrals = beam.project(&attenuation);
        beam.back_project(&line_integrals, &mut factor);
    }
    let scale = 1.0 / directions as f64;
    Ok(factor
        .iter()
        .map(|&sum| exposure.sd_hu(sum * scale) as f32)
        .collect())
}

fn check(
    pixels: usize,
    shape: [usize; 2],
    spacing_mm: [f64; 2],
    exposure: &Exposure,
    directions: usize,
) -> Result<()> {
    if pixels == 0 || shape[0].checked_mul(shape[1]) != Some(pixels) {
        return Err(Error::Setting(format!(
            "expected a slice of {} x {} pixels, found {pixels}",
            shape[0], shape[1]
        )));
    }
    let lengths = [
        spacing_mm[0],
        spacing_mm[1],
        exposure.ray_spacing_mm,
        exposure.photons_per_ray,
    ];
    let positive = lengths.iter().all(|v| v.is_finite() && *v > 0.0);
    if !positive || exposure.views_per_half_turn == 0 || directions == 0 {
        return Err(Error::Setting(format!(
            "expected positive spacings, photons, views and directions, found pixels of \
             {spacing_mm:?} mm, {directions} directions and {exposure:?}"
        )));
    }
    Ok(())
}

/// Parallel rays across a slice from one direction: ray `t = x cos + y sin`, about its centre.
struct Beam {
    shape: [usize; 2],
    pixel_area_mm2: f64,
    step: [f64; 2],
    first: f64,
    rays: usize,
    ray_spacing_mm: f64,
}

impl Beam {
    fn new(shape: [usize; 2], spacing_mm: [f64; 2], angle: f64) -> Self {
        // As wide as a pixel's longer side: each pixel's shadow then falls on two or three rays,
        // and no ray slips between pixels.
        let ray_spacing_mm = spacing_mm[0].max(spacing_mm[1]);
        let step = [
            spacing_mm[0] * angle.cos() / ray_spacing_mm,
            spacing_mm[1] * angle.sin() / ray_spacing_mm,
        ];
        let reach: f64 = (0..2)
            .map(|axis| step[axis].abs() * (shape[axis] - 1) as f64)
            .sum();
        let rays = reach.ceil() as usize + 3;
        let middle: f64 = (0..2)
            .map(|axis| step[axis] * (shape[axis] - 1) as f64 / 2.0)
            .sum();
        let first = (rays - 1) as f64 / 2.0 - middle;
        Self {
            shape,
            pixel_area_mm2: spacing_mm[0] * spacing_mm[1],
            step,
            first,
            rays,
            ray_spacing_mm,
        }
    }

    /// For each pixel in storage order, the ray before it and the fraction towards the next.
    fn feet(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        (0..self.shape[1]).flat_map(move |y| {
            (0..self.shape[0]).map(move |x| {
                let t = self.first + self.step[0] * x as f64 + self.step[1] * y as f64;
                (t as usize, t.fract())
            })
        })
    }

    /// Line integrals: each pixel's attenuation times area, shared by the two rays about it.
    fn project(&self, attenuation: &[f32]) -> Vec<f64> {
        let mut rays = vec![0.0; self.rays];
        for ((ray, fraction), &mu) in self.feet().zip(attenuation) {
            let mass = f64::from(mu) * self.pixel_area_mm2 / self.ray_spacing_mm;
            rays[ray] += (1.0 - fraction) * mass;
            rays[ray + 1] += fraction * mass;
        }
        rays
    }

    /// Adds exp(line integral), interpolated at each pixel, to `factor`.
    fn back_project(&self, line_integrals: &[f64], factor: &mut [f64]) {
        for ((ray, fraction), sum) in self.feet().zip(factor) {
            let line = (1.0 - fraction) * line_integrals[ray] + fraction * line_integrals[ray + 1];
            *sum += line.exp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photons;

    const SIZE: usize = 129;

    fn exposure(photons: f64) -> Exposure {
        Exposure {
            photons_per_ray: photons,
            views_per_half_turn: 90,
            ray_spacing_mm: 3.0,
            window: Window::Ramp,
        }
    }

    fn disc(radius_mm: f64, spacing_mm: f64) -> Vec<f32> {
        let centre = (SIZE / 2) as f64;
        let pixel = |i: usize| {
            let (x, y) = ((i % SIZE) as f64 - centre, (i / SIZE) as f64 - centre);
            if x.hypot(y) * spacing_mm < radius_mm {
                0.0
            } else {
                -1000.0
            }
        };
        (0..SIZE * SIZE).map(pixel).collect()
    }

    fn map(slice: &[f32], spacing_mm: f64, photons: f64) -> Vec<f32> {
        sd_map(slice, [SIZE; 2], [spacing_mm; 2], &exposure(photons), 16).expect("a valid scan")
    }

    const CENTRE: usize = SIZE * (SIZE / 2) + SIZE / 2;

    #[test]
    fn the_centre_of_a_disc_follows_the_exponential_of_its_diameter() {
        for radius in [50.0, 100.0, 150.0] {
            let sd = f64::from(map(&disc(radius, 3.0), 3.0, 2e5)[CENTRE]);
            let line = 2.0 * radius * f64::from(attenuation::WATER_MM);
            let expected = exposure(2e5).sd_hu(line.exp());
            assert!(
                (sd / expected - 1.0).abs() < 0.05,
                "{radius}: {sd} against {expected}"
            );
        }
    }

    #[test]
    fn noise_is_higher_in_the_middle_and_falls_with_the_root_of_photons() {
        let slice = disc(150.0, 3.0);
        let (low, high) = (map(&slice, 3.0, 1e5), map(&slice, 3.0, 4e5));
        assert!((low[CENTRE] / high[CENTRE] - 2.0).abs() < 1e-3);
        assert!(low[CENTRE] > 1.5 * low[CENTRE + 45]);
    }

    #[test]
    fn bone_raises_the_noise_beside_it() {
        let mut slice = disc(100.0, 3.0);
        let before = map(&slice, 3.0, 2e5)[CENTRE];
        for y in 60..68 {
            for x in 70..78 {
                slice[y * SIZE + x] = 800.0;
            }
        }
        assert!(map(&slice, 3.0, 2e5)[CENTRE] > 1.05 * before);
    }

    #[test]
    fn window_power_is_its_integral() {
        let n = 20_000;
        let sum: f64 = (0..n)
            .map(|i| (f64::from(i) + 0.5) / f64::from(n))
            .map(|x| 3.0 * x * x * (0.5 * std::f64::consts::PI * x).cos().powi(4))
            .sum();
        assert!((sum / f64::from(n) - Window::Hann.noise_power()).abs() < 1e-6);
    }

    /// Reconstructs the centre of a water disc many times from Poisson counts with the
    /// band-limited ramp (taps 1/4, -1/(pi n)^2 for odd n, over d^2) and compares the spread.
    #[test]
    fn the_law_matches_repeated_noisy_reconstructions() {
        let (radius, incident) = (100.0f64, 1e5);
        let setting = exposure(incident);
        let d = setting.ray_spacing_mm;
        let tap = |n: i64| match n {
            0 => 0.25,
            n if n % 2 == 0 => 0.0,
            n => -1.0 / (std::f64::consts::PI * n as f64).powi(2),
        };
        let reconstruct = |seed: u64| {
            let views = setting.views_per_half_turn as u64;
            let mut sum = 0.0;
            for view in 0..views {
                for n in -35i64..=35 {
                    let chord = 2.0 * (radius * radius - (n as f64 * d).powi(2)).max(0.0).sqrt();
                    let line = chord * f64::from(attenuation::WATER_MM);
                    let ray = (n + 35) as u32;
                    if tap(n) != 0.0 {
                        sum += tap(n) / d * photons::measure(incident, line, seed, view, ray);
                    }
                }
            }
            std::f64::consts::PI / views as f64 * sum
        };
        let repeats = 300;
        let values: Vec<f64> = (0..repeats).map(reconstruct).collect();
        let mean = values.iter().sum::<f64>() / repeats as f64;
        let variance =
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (repeats - 1) as f64;
        let water = f64::from(attenuation::WATER_MM);
        assert!((mean / water - 1.0).abs() < 0.01, "mean {mean}");
        let expected = setting.sd_hu((2.0 * radius * water).exp());
        let found = 1000.0 * variance.sqrt() / water;
        // A sample sd of 300 has a relative standard error of 4 %.
        assert!(
            (found / expected - 1.0).abs() < 0.12,
            "{found} against {expected}"
        );
    }

    #[test]
    fn impossible_settings_are_refused() {
        let slice = disc(50.0, 3.0);
        let good = exposure(1e5);
        assert!(sd_map(&slice, [SIZE, 2], [3.0; 2], &good, 8).is_err());
        assert!(sd_map(&slice, [SIZE; 2], [0.0, 3.0], &good, 8).is_err());
        assert!(sd_map(&slice, [SIZE; 2], [3.0; 2], &good, 0).is_err());
        assert!(sd_map(&slice, [SIZE; 2], [3.0; 2], &exposure(-1.0), 8).is_err());
    }
}
