//! Noise of MR magnitude images.
//!
//! Both channels of the receiver have normal noise of equal standard deviation, and the image is their
//! magnitude: Rician, a Rayleigh floor where there is no signal (Gudbjartsson and Patz, Magnetic
//! Resonance in Medicine 34:910, 1995, doi:10.1002/mrm.1910340618). The standard deviation is a share of
//! the mean intensity over labelled voxels. Draws whether, the share and a seed. The range is chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "rician"
//! p = 0.5
//! sd = [0.0, 0.1]     # by the mean intensity of labelled voxels
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::f32::consts::TAU;

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::level::level;
use super::{Apply, Random};
use crate::error::{probability, range};
use crate::{Result, Scene};

/// When, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rician {
    /// Probability of noise.
    pub p: f32,
    /// Range of its standard deviation by the mean intensity of labelled voxels.
    pub sd: [f32; 2],
}

impl Default for Rician {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.5,
            sd: [0.0, 0.1],
        }
    }
}

/// The noise, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RicianDraw {
    noise: Option<Noise>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noise {
    sd: f32,
    seed: u64,
}

impl Random for Rician {
    type Draw = RicianDraw;

    fn load(&mut self) -> Result<()> {
        probability("rician.p", self.p)?;
        range("rician.sd", self.sd, 0.0..=100.0)
    }

    fn draw(&self, _: &Scene, rng: &mut Rng) -> Result<RicianDraw> {
        let given = rng.chance(self.p);
        let noise = Noise {
            sd: rng.uniform(self.sd[0], self.sd[1]),
            seed: u64::from(rng.bits()) << 32 | u64::from(rng.bits()),
        };
        Ok(RicianDraw {
            noise: given.then_some(noise),
        })
    }
}

impl Apply for RicianDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let level = level(scene).abs();
        let image = scene.painted()?;
        let Some(noise) = &self.noise else {
            return Ok(());
        };
        let variance = (noise.sd * level).powi(2);
        let [nx, ny, _] = image.grid().shape();
        let slices = image.data_mut().par_chunks_mut(nx * ny).enumerate();
        slices.for_each(|(z, slice)| {
            let mut rng = Rng::new(noise.seed, z as u64, 0);
            for v in slice {
                // Both channels' noise in polar form: its square is exponential, its angle even.
                let square = -2.0 * variance * (1.0 - rng.unit()).ln();
                let along = (TAU * rng.unit()).cos();
                *v = (*v * *v + 2.0 * *v * square.sqrt() * along + square)
                    .max(0.0)
                    .sqrt();
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn moments_with_and_without_signal() {
        // Half of the volume is signal of 100, which is labelled; half is empty.
        let label = |[x, _, _]: [usize; 3]| u16::from(x >= 32);
        let mut scene = trial::scene([64, 64, 16], [1.0; 3], label);
        scene.image = Some(trial::image(&scene, |v| 100.0 * f32::from(label(v))));
        let step = Rician {
            p: 1.0,
            sd: [0.05; 2],
        };
        let (_, after) = trial::done(&step, &scene, 1);
        let image = after.image.expect("an image");
        let moments = |value: u16| {
            let of = image.data().iter().zip(scene.labels.data());
            let of: Vec<f64> = of
                .filter(|(_, label)| **label == value)
                .map(|(v, _)| f64::from(*v))
                .collect();
            let mean = of.iter().sum::<f64>() / of.len() as f64;
            let variance = of.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            (mean, (variance / of.len() as f64).sqrt())
        };
        let half_pi = std::f64::consts::FRAC_PI_2;
        let (mean, sd) = moments(0);
        assert!((mean - 5.0 * half_pi.sqrt()).abs() < 0.06, "{mean}");
        assert!((sd - 5.0 * (2.0 - half_pi).sqrt()).abs() < 0.06, "{sd}");
        let (mean, sd) = moments(1);
        // The mean rises by half the variance over the signal.
        assert!((mean - 100.125).abs() < 0.1, "{mean}");
        assert!((sd - 5.0).abs() < 0.1, "{sd}");
    }
}
