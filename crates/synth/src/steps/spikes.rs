//! Spikes in k-space: herringbone patterns over an MR image.
//!
//! One bad sample of k-space is one wave over the image. As TorchIO's `RandomSpike` (Pérez-García et al.,
//! Computer Methods and Programs in Biomedicine 208:106236, 2021, doi:10.1016/j.cmpb.2021.106236), whose
//! values are the defaults: the sample lies anywhere, and its size is a multiple of k-space's greatest,
//! which for images above 0 is the sum of all intensities; the wave's amplitude is then that multiple of
//! the image's mean. Here each wave also has a phase, and may be in one slice alone, as where slices are
//! scanned one by one. The result is the magnitude of the real sum.
//!
//! Draws whether, and of each spike its wave, amplitude, phase and slice.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "spikes"
//! p = 0.05
//! count = [1, 1]
//! intensity = [1.0, 3.0]   # by the greatest sample of k-space
//! one_slice = 0.0          # probability that a spike is in one slice alone
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use std::f32::consts::TAU;

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::level::mean;
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// When, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spikes {
    /// Probability of any.
    pub p: f32,
    /// Range of their number.
    pub count: [usize; 2],
    /// Range of their size by the greatest sample of k-space.
    pub intensity: [f32; 2],
    /// Probability that a spike is in one slice alone.
    pub one_slice: f32,
}

impl Default for Spikes {
    /// TorchIO's values. How often is chosen.
    fn default() -> Self {
        Self {
            p: 0.05,
            count: [1, 1],
            intensity: [1.0, 3.0],
            one_slice: 0.0,
        }
    }
}

/// The spikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpikesDraw {
    spikes: Vec<Spike>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spike {
    /// Periods over the volume along (x, y, z).
    wave: [i32; 3],
    intensity: f32,
    /// Radians, at the first voxel.
    phase: f32,
    /// The only slice (z) that it is in.
    slice: Option<usize>,
}

impl Random for Spikes {
    type Draw = SpikesDraw;

    fn load(&mut self) -> Result<()> {
        probability("spikes.p", self.p)?;
        counts("spikes.count", self.count, 0..=1000)?;
        range("spikes.intensity", self.intensity, 0.0..=1000.0)?;
        probability("spikes.one_slice", self.one_slice)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<SpikesDraw> {
        let given = rng.chance(self.p);
        let count = self.count[0] + rng.below(self.count[1] - self.count[0] + 1);
        let shape = scene.grid().shape();
        let mut spike = || {
            let wave = shape.map(|n| rng.below(n) as i32 - (n / 2) as i32);
            let alone = rng.chance(self.one_slice);
            let slice = rng.below(shape[2]);
            Spike {
                wave,
                intensity: rng.uniform(self.intensity[0], self.intensity[1]),
                phase: rng.uniform(0.0, TAU),
                slice: alone.then_some(slice),
            }
        };
        let spikes: Vec<Spike> = (0..count).map(|_| spike()).collect();
        Ok(SpikesDraw {
            spikes: if given { spikes } else { Vec::new() },
        })
    }
}

impl Apply for SpikesDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let mean = mean(scene, |_| true).unwrap_or(0.0);
        let image = scene.painted()?;
        if self.spikes.is_empty() {
            return Ok(());
        }
        let shape @ [nx, ny, _] = image.grid().shape();
        // Of each spike cosines and sines along x, which turn into any row's by its phase.
        let along_x: Vec<(Vec<f32>, Vec<f32>)> = self
            .spikes
            .iter()
            .map(|spike| {
                let angle = |x: usize| turns(spike.wave[0], x, nx);
                let angles = (0..nx).map(angle);
                angles.map(|a| (a.cos(), a.sin())).unzip()
            })
            .collect();
        let rows = image.data_mut().par_chunks_mut(nx).enumerate();
        rows.for_each(|(row, values)| {
            let (y, z) = (row % ny, row / ny);
            for (spike, (cosines, sines)) in self.spikes.iter().zip(&along_x) {
                if spike.slice.is_some_and(|slice| slice != z) {
                    continue;
                }
                let phase = turns(spike.wave[1], y, shape[1]) + turns(spike.wave[2], z, shape[2]);
                let (sin, cos) = (phase + spike.phase).sin_cos();
                let (cos, sin) = (spike.intensity * mean * cos, spike.intensity * mean * sin);
                let waves = cosines.iter().zip(sines);
                values
                    .iter_mut()
                    .zip(waves)
                    .for_each(|(v, (c, s))| *v += cos * c - sin * s);
            }
            values.iter_mut().for_each(|v| *v = v.abs());
        });
        Ok(())
    }
}

/// The angle of a wave of so many periods over `n` voxels, at one.
fn turns(periods: i32, at: usize, n: usize) -> f32 {
    // Whole turns are taken off in integers, where they are exact.
    let part = (i64::from(periods) * at as i64).rem_euclid(n as i64);
    TAU * part as f32 / n as f32
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    #[test]
    fn a_spike_is_one_wave_of_the_intensity_asked_for() {
        let shape = [12, 10, 9];
        let mut scene = trial::scene(shape, [1.0; 3], |_| 1);
        scene.image = Some(trial::image(&scene, |_| 50.0));
        let step = Spikes {
            p: 1.0,
            intensity: [0.5; 2],
            ..Spikes::default()
        };
        for seed in 0..6 {
            let (draw, after) = trial::done(&step, &scene, seed);
            let spike = draw.spikes[0];
            let image = after.image.expect("an image");
            for (v, &found) in trial::voxels(shape).zip(image.data()) {
                let turns: f64 = (0..3)
                    .map(|k| f64::from(spike.wave[k]) * v[k] as f64 / shape[k] as f64)
                    .sum();
                let angle = std::f64::consts::TAU * turns + f64::from(spike.phase);
                let expected = 50.0 + 25.0 * angle.cos();
                assert!(
                    (f64::from(found) - expected).abs() < 1e-3,
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_spike_in_one_slice_leaves_the_others() {
        let mut scene = trial::scene([8, 8, 20], [1.0; 3], |_| 1);
        scene.image = Some(trial::image(&scene, |[x, y, _]| (x + y) as f32));
        let step = Spikes {
            p: 1.0,
            count: [1, 1],
            one_slice: 1.0,
            ..Spikes::default()
        };
        let (draw, after) = trial::done(&step, &scene, 3);
        let image = after.image.expect("an image");
        let before = scene.image.expect("an image");
        let changed = (0..20).filter(|&z| image.slice_z(z) != before.slice_z(z));
        let changed: Vec<usize> = changed.collect();
        assert_eq!(Some(changed), draw.spikes[0].slice.map(|z| vec![z]));
    }
}
