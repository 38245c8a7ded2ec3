//! Noise of a CT scan: a plain stand-in for scanning the patient, which step `scan` does.
//!
//! Normal noise, correlated across each slice by a Gaussian of a drawn width (full, at half its height) and
//! independent between slices. Its standard deviation is drawn by dose: that at 200 mAs times √(200 / mAs),
//! as photons have it. A measured scan's noise has less power at low frequencies than this (Kijewski and
//! Judy, Physics in Medicine and Biology 32:565, 1987, doi:10.1088/0031-9155/32/5/003).
//!
//! `map = "uniform"` gives every voxel that standard deviation. `map = "local"` takes it for that in the
//! middle of 300 mm of water, and varies it as the photons left behind each part of the body do (see
//! `crossmod_scanner::noise`): more between shoulders and behind bone, less near the skin.
//!
//! Draws the standard deviation, the width and a seed; slices across the body have streams of their own.
//! The paper that this stands in for, "Learning CT segmentation from label masks only" (Tsanda et al.,
//! 2024), projects and reconstructs its images and states no dose: all values are chosen, 12 HU being
//! usual for an abdomen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "noise"
//! p = 1.0
//! mas = [50.0, 300.0]
//! sd_hu = 12.0                # at 200 mAs
//! kernel_mm = [0.8, 2.0]
//! map = "uniform"             # or "local"
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_scanner::attenuation::WATER_MM;
use crossmod_scanner::noise::{Exposure, Window, sd_map};
use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::axial::Axial;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::texture::seed;
use crate::{Result, Scene};

/// The dose that standard deviations are stated at, mAs.
const REFERENCE_MAS: f32 = 200.0;

/// The body whose middle has the stated noise where it varies, mm of water.
const REFERENCE_MM: f64 = 300.0;

/// Views that stand for all of a turn.
const DIRECTIONS: usize = 12;

/// Between these the local noise by the stated is kept.
const LOCAL: [f32; 2] = [0.05, 8.0];

/// When and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Probability of noise.
    pub p: f32,
    /// Range of the dose.
    pub mas: [f32; 2],
    /// Standard deviation at 200 mAs.
    pub sd_hu: f32,
    /// Range of the width of the Gaussian that correlates neighbours.
    pub kernel_mm: [f32; 2],
    /// Where there is how much.
    pub map: Map,
}

/// Where there is how much noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Map {
    /// Everywhere the same.
    #[default]
    Uniform,
    /// As photons are left.
    Local,
}

impl Default for Noise {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 1.0,
            mas: [50.0, 300.0],
            sd_hu: 12.0,
            kernel_mm: [0.8, 2.0],
            map: Map::Uniform,
        }
    }
}

/// A scan's noise, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseDraw {
    noise: Option<Given>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    mas: f32,
    sd_hu: f32,
    kernel_mm: f32,
    map: Map,
    seed: u64,
}

impl Random for Noise {
    type Draw = NoiseDraw;

    fn load(&mut self) -> Result<()> {
        probability("noise.p", self.p)?;
        range("noise.mas", self.mas, 1e-3..=1e6)?;
        range("noise.sd_hu", [self.sd_hu; 2], 0.0..=1e5)?;
        range("noise.kernel_mm", self.kernel_mm, 0.0..=100.0)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<NoiseDraw> {
        let given = rng.chance(self.p);
        let mas = rng.uniform(self.mas[0], self.mas[1]);
        let noise = Given {
            mas,
            sd_hu: self.sd_hu * (REFERENCE_MAS / mas).sqrt(),
            kernel_mm: rng.uniform(self.kernel_mm[0], self.kernel_mm[1]),
            map: self.map,
            seed: seed(rng),
        };
        Ok(NoiseDraw {
            noise: given.then_some(noise),
        })
    }
}

impl Apply for NoiseDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        let Some(noise) = &self.noise else {
            return Ok(());
        };
        let grid = image.grid().clone();
        let axial = Axial::of(&grid);
        let (across, _) = axial.shape(&grid);
        let kernel = axial
            .spacing_mm(&grid)
            .map(|mm| kernel(noise.kernel_mm, mm));
        let mut field = vec![0.0f32; grid.len()];
        field
            .par_chunks_mut(across[0] * across[1])
            .enumerate()
            .for_each(|(s, slice)| correlated(slice, across, &kernel, noise.seed, s as u64));
        if noise.map == Map::Local {
            let data = image.data();
            let area = across[0] * across[1];
            let spacing = axial.spacing_mm(&grid);
            let gathered = gathered(&grid, axial, data);
            let chunks = field.par_chunks_mut(area).zip(gathered.par_chunks(area));
            chunks.try_for_each(|(field, slice)| vary(field, slice, across, spacing))?;
        }
        let [nx, ny, _] = grid.shape();
        let planes = image.data_mut().par_chunks_mut(nx * ny).enumerate();
        planes.for_each(|(z, plane)| {
            for (y, row) in plane.chunks_exact_mut(nx).enumerate() {
                let (start, step) = axial.row(grid.shape(), y, z);
                let noises = field[start..].iter().step_by(step);
                row.iter_mut()
                    .zip(noises)
                    .for_each(|(v, n)| *v += noise.sd_hu * n);
            }
        });
        Ok(())
    }
}

/// The weights of a Gaussian of a full width at half its height, from one end to the other; the sum of their
/// squares is 1, so that it keeps the variance of white noise.
fn kernel(width_mm: f32, spacing_mm: f64) -> Vec<f32> {
    let sigma = f64::from(width_mm) / (8.0 * 2f64.ln()).sqrt() / spacing_mm;
    let reach = (3.0 * sigma).floor().min(1000.0) as i32;
    let weight = |k: i32| (-0.5 * (f64::from(k) / sigma).powi(2)).exp();
    let weights: Vec<f64> = match reach {
        0 => vec![1.0],
        _ => (-reach..=reach).map(weight).collect(),
    };
    let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
    weights.iter().map(|w| (w / norm) as f32).collect()
}

/// Fills a slice with correlated noise of standard deviation 1. White noise reaches beyond the slice by
/// the kernel, so that its border is like its middle.
fn correlated(out: &mut [f32], [na, nb]: [usize; 2], kernel: &[Vec<f32>; 2], seed: u64, s: u64) {
    let [ka, kb] = kernel;
    let wide = na + ka.len() - 1;
    let mut rng = Rng::new(seed, s, 0);
    let mut white = vec![0.0f32; wide];
    // The last rows, summed along the first axis, of which each row of the slice is a sum.
    let mut rows = vec![vec![0.0f32; na]; kb.len()];
    for line in 0..nb + kb.len() - 1 {
        rng.fill_normal(&mut white);
        let at = line % kb.len();
        let row = &mut rows[at];
        row.fill(0.0);
        for (k, &w) in ka.iter().enumerate() {
            row.iter_mut()
                .zip(&white[k..])
                .for_each(|(v, n)| *v += w * n);
        }
        if let Some(b) = (line + 1).checked_sub(kb.len()) {
            let out = &mut out[b * na..][..na];
            out.fill(0.0);
            for (k, &w) in kb.iter().enumerate() {
                let row = &rows[(b + k) % kb.len()];
                out.iter_mut().zip(row).for_each(|(v, n)| *v += w * n);
            }
        }
    }
}

/// An array's samples by slices across the body.
fn gathered(grid: &Grid, axial: Axial, data: &[f32]) -> Vec<f32> {
    let [nx, ny, _] = grid.shape();
    let mut out = vec![0.0; data.len()];
    for (line, row) in data.chunks_exact(nx).enumerate() {
        let (start, step) = axial.row(grid.shape(), line % ny, line / ny);
        for (v, out) in row.iter().zip(out[start..].iter_mut().step_by(step)) {
            *out = *v;
        }
    }
    out
}

/// Noise times what a slice's own attenuation makes of it.
fn vary(noise: &mut [f32], slice: &[f32], shape: [usize; 2], spacing_mm: [f64; 2]) -> Result<()> {
    // Photons, views and rays cancel out against the reference's.
    let exposure = Exposure {
        photons_per_ray: 1e5,
        views_per_half_turn: 500,
        ray_spacing_mm: 1.0,
        window: Window::Hann,
    };
    let reference = exposure.sd_hu((REFERENCE_MM * f64::from(WATER_MM)).exp()) as f32;
    let map = sd_map(slice, shape, spacing_mm, &exposure, DIRECTIONS)?;
    for (noise, sd) in noise.iter_mut().zip(map) {
        *noise *= (sd / reference).clamp(LOCAL[0], LOCAL[1]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn painted(shape: [usize; 3], spacing: f64, hu: impl Fn([usize; 3]) -> f32) -> Scene {
        let mut scene = trial::scene(shape, [spacing; 3], |_| 1);
        scene.image = Some(trial::image(&scene, hu));
        scene
    }

    fn sd(values: impl Iterator<Item = f32>) -> f64 {
        let values: Vec<f64> = values.map(f64::from).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
    }

    #[test]
    fn noise_has_the_drawn_spread_and_width_to_the_border() {
        let scene = painted([64, 60, 40], 0.7, |_| 40.0);
        let step = Noise {
            mas: [50.0; 2],
            kernel_mm: [2.0; 2],
            ..Noise::default()
        };
        let (_, made) = trial::done(&step, &scene, 2);
        let image = made.image.expect("painted");
        let data = image.data();
        // A quarter of the dose: twice the noise.
        assert!((sd(data.iter().copied()) / 24.0 - 1.0).abs() < 0.03);
        let border = sd(data.iter().copied().step_by(64));
        assert!((border / 24.0 - 1.0).abs() < 0.1, "{border}");
        // A Gaussian of 2 mm correlates neighbours at d by exp(-d² ln 2 · 2 / 2²).
        let related = |step: usize| {
            let pairs = data
                .iter()
                .zip(&data[step..])
                .map(|(a, b)| f64::from((a - 40.0) * (b - 40.0)));
            pairs.sum::<f64>() / data.len() as f64 / 24f64.powi(2)
        };
        for (step, mm) in [(1, 0.7), (2, 1.4), (64, 0.7), (3, 2.1)] {
            let expected = (-(mm * mm) * 2f64.ln() * 2.0 / 4.0).exp();
            assert!(
                (related(step) - expected).abs() < 0.04,
                "{step}: {}",
                related(step)
            );
        }
        assert!(related(64 * 60).abs() < 0.02, "{}", related(64 * 60));
    }

    #[test]
    fn local_noise_is_least_at_the_skin_and_as_stated_in_the_middle() {
        let radius = |[x, y, _]: [usize; 3]| (x as f32 - 40.0).hypot(y as f32 - 40.0) * 4.0;
        let water = |v: [usize; 3]| if radius(v) < 150.0 { 0.0 } else { -1000.0 };
        let scene = painted([81, 81, 24], 4.0, water);
        let step = Noise {
            mas: [200.0; 2],
            kernel_mm: [0.0; 2],
            map: Map::Local,
            ..Noise::default()
        };
        let (_, made) = trial::done(&step, &scene, 2);
        let image = made.image.expect("painted");
        let of = |from: f32, to: f32| {
            let voxels = trial::voxels([81, 81, 24]).zip(image.data());
            sd(voxels
                .filter(|(v, _)| (from..to).contains(&radius(*v)))
                .map(|(_, v)| *v))
        };
        assert!(
            (of(0.0, 30.0) / 12.0 - 1.0).abs() < 0.08,
            "{}",
            of(0.0, 30.0)
        );
        assert!(of(120.0, 148.0) < 0.7 * of(0.0, 30.0));
    }

    #[test]
    fn no_noise_is_no_change_and_doses_are_in_range() {
        let scene = painted([8, 8, 8], 1.0, |_| 7.0);
        let none = Noise {
            p: 0.0,
            ..Noise::default()
        };
        assert_eq!(trial::done(&none, &scene, 1).1, scene);
        for seed in 0..200 {
            let draw = Noise::default()
                .draw(&scene, &mut Rng::new(seed, 0, 0))
                .expect("a draw");
            let noise = draw.noise.expect("always");
            assert!((50.0..300.0).contains(&noise.mas), "{noise:?}");
            assert!((noise.sd_hu - 12.0 * (200.0 / noise.mas).sqrt()).abs() < 1e-3);
        }
    }
}
