//! Receive sensitivity of an array of coils: bright near them, dark in the middle.
//!
//! Another form than [`bias`](super::bias), nearer to what surrounds a patient: loops on a ring about the
//! field of view, each seeing a point at a distance d with (1 + d^2 / R^2)^(-3/2), the field of a loop of
//! radius R on its axis (Biot and Savart) taken for all directions, combined as the root of the sum of
//! squares (Roemer et al., Magnetic Resonance in Medicine 16:192, 1990, doi:10.1002/mrm.1910160203). The
//! field is divided by its geometric mean and taken to a power, the strength: 0 is a perfect correction,
//! 1 none. Intensities are proportions: 0 stays 0. Transmit fields are not modelled.
//!
//! The ring lies about the axis of storage that is nearest to the body's; distances are by half the field
//! of view's width. Draws whether, the number of coils, and of each its place, size and gain. The ranges
//! are chosen.
//!
//! ```
//! # let recipe = crossmod_synth::SynthRecipe::parse(r#"
//! [[steps]]
//! step = "receive"
//! p = 0.5
//! coils = [4, 12]
//! distance = [1.2, 1.8]    # of coils from the middle, by half the width
//! radius = [0.6, 1.2]      # of coils, by half the width
//! gain = [0.7, 1.3]
//! strength = [0.0, 1.0]
//! # "#, &[])?;
//! # Ok::<(), crossmod_synth::Error>(())
//! ```

use crossmod_volume::Grid;
use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::axial::Axial;
use super::{Apply, Random};
use crate::error::{counts, probability, range};
use crate::{Result, Scene};

/// When, and by which coils.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receive {
    /// Probability of a field.
    pub p: f32,
    /// Range of the number of coils.
    pub coils: [usize; 2],
    /// Range of their distance from the middle, by half the width.
    pub distance: [f32; 2],
    /// Range of their radius, by half the width.
    pub radius: [f32; 2],
    /// Range of their gain.
    pub gain: [f32; 2],
    /// Range of the power that the field is taken to.
    pub strength: [f32; 2],
}

impl Default for Receive {
    /// Chosen.
    fn default() -> Self {
        Self {
            p: 0.5,
            coils: [4, 12],
            distance: [1.2, 1.8],
            radius: [0.6, 1.2],
            gain: [0.7, 1.3],
            strength: [0.0, 1.0],
        }
    }
}

/// The coils, if any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiveDraw {
    coils: Vec<Coil>,
    strength: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Coil {
    /// From the middle of the volume along the axes of storage.
    at_mm: [f32; 3],
    radius_mm: f32,
    gain: f32,
}

impl Random for Receive {
    type Draw = ReceiveDraw;

    fn load(&mut self) -> Result<()> {
        probability("receive.p", self.p)?;
        counts("receive.coils", self.coils, 1..=256)?;
        range("receive.distance", self.distance, 0.0..=100.0)?;
        range("receive.radius", self.radius, 0.01..=100.0)?;
        range("receive.gain", self.gain, 0.001..=1000.0)?;
        range("receive.strength", self.strength, 0.0..=4.0)
    }

    fn draw(&self, scene: &Scene, rng: &mut Rng) -> Result<ReceiveDraw> {
        let given = rng.chance(self.p);
        let number = self.coils[0] + rng.below(self.coils[1] - self.coils[0] + 1);
        let grid = scene.grid();
        let half_mm = half_widths_mm(grid);
        let body = Axial::of(grid).along;
        let (a, b) = ((body + 1) % 3, (body + 2) % 3);
        let start = rng.unit();
        let coils = (0..number).map(|i| {
            let turn = start + (i as f32 + rng.uniform(-0.25, 0.25)) / number as f32;
            let (sin, cos) = (std::f32::consts::TAU * turn).sin_cos();
            let distance = rng.uniform(self.distance[0], self.distance[1]);
            let mut at_mm = [0.0; 3];
            at_mm[a] = half_mm[a] * distance * cos;
            at_mm[b] = half_mm[b] * distance * sin;
            at_mm[body] = half_mm[body] * rng.uniform(-0.5, 0.5);
            Coil {
                at_mm,
                radius_mm: 0.5
                    * (half_mm[a] + half_mm[b])
                    * rng.uniform(self.radius[0], self.radius[1]),
                gain: rng.uniform(self.gain[0], self.gain[1]),
            }
        });
        let coils: Vec<Coil> = coils.collect();
        let strength = rng.uniform(self.strength[0], self.strength[1]);
        Ok(ReceiveDraw {
            coils: if given { coils } else { Vec::new() },
            strength,
        })
    }
}

fn half_widths_mm(grid: &Grid) -> [f32; 3] {
    let (shape, spacing) = (grid.shape(), grid.spacing_mm());
    [0, 1, 2].map(|axis| (0.5 * shape[axis] as f64 * spacing[axis]) as f32)
}

impl Apply for ReceiveDraw {
    fn apply(&self, scene: &mut Scene) -> Result<()> {
        let image = scene.painted()?;
        if self.coils.is_empty() {
            return Ok(());
        }
        let grid = image.grid().clone();
        let [nx, ny, _] = grid.shape();
        let spacing = grid.spacing_mm().map(|mm| mm as f32);
        let middle = grid.shape().map(|n| 0.5 * (n as f32 - 1.0));
        let mm = |axis: usize, at: usize| (at as f32 - middle[axis]) * spacing[axis];
        let mean = self.mean_log(&grid);
        let rows = image.data_mut().par_chunks_mut(nx).enumerate();
        rows.for_each_init(
            || vec![0.0f32; nx],
            |squares, (row, values)| {
                let at = [mm(0, 0), mm(1, row % ny), mm(2, row / ny)];
                self.squares(at, spacing[0], squares);
                for (v, square) in values.iter_mut().zip(squares.iter()) {
                    *v *= (self.strength * (0.5 * square.ln() - mean)).exp();
                }
            },
        );
        Ok(())
    }
}

impl ReceiveDraw {
    /// The sum of the coils' squares on a row of voxels along x, from a place on, mm.
    fn squares(&self, start: [f32; 3], step: f32, squares: &mut [f32]) {
        squares.fill(0.0);
        for coil in &self.coils {
            let [x, y, z] = [0, 1, 2].map(|axis| start[axis] - coil.at_mm[axis]);
            let scale = 1.0 / (coil.radius_mm * coil.radius_mm);
            let (base, gain) = (1.0 + (y * y + z * z) * scale, coil.gain * coil.gain);
            for (i, square) in squares.iter_mut().enumerate() {
                let x = x + step * i as f32;
                let q = base + x * x * scale;
                *square += gain / (q * q * q);
            }
        }
    }

    /// The mean of the field's logarithm, over nine points along each axis.
    fn mean_log(&self, grid: &Grid) -> f32 {
        let half = half_widths_mm(grid);
        let step = |axis: usize| half[axis] / 4.5;
        let at = |axis: usize, i: usize| (i as f32 - 4.0) * step(axis);
        let mut squares = [0.0; 9];
        let mut sum = 0.0;
        for (y, z) in (0..9).flat_map(|z| (0..9).map(move |y| (y, z))) {
            self.squares([at(0, 0), at(1, y), at(2, z)], step(0), &mut squares);
            sum += squares.iter().map(|square| 0.5 * square.ln()).sum::<f32>();
        }
        sum / 729.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial;
    use super::*;

    fn flat(shape: [usize; 3]) -> Scene {
        let mut scene = trial::scene(shape, [2.0, 2.0, 3.0], |_| 1);
        scene.image = Some(trial::image(&scene, |_| 100.0));
        scene
    }

    #[test]
    fn one_coil_falls_off_as_a_loop_on_its_axis() {
        let scene = flat([40, 40, 10]);
        let step = Receive {
            p: 1.0,
            coils: [1, 1],
            strength: [1.0; 2],
            ..Receive::default()
        };
        let (draw, after) = trial::done(&step, &scene, 3);
        let (coil, image) = (draw.coils[0], after.image.expect("an image"));
        let field = |[x, y, z]: [usize; 3]| {
            let mm = [
                (x as f64 - 19.5) * 2.0,
                (y as f64 - 19.5) * 2.0,
                (z as f64 - 4.5) * 3.0,
            ];
            let d = (0..3).map(|k| (mm[k] - f64::from(coil.at_mm[k])).powi(2));
            (1.0 + d.sum::<f64>() / f64::from(coil.radius_mm).powi(2)).powf(-1.5)
        };
        let first = f64::from(image.data()[0]) / field([0; 3]);
        for (v, &found) in trial::voxels([40, 40, 10]).zip(image.data()) {
            let ratio = f64::from(found) / field(v) / first;
            assert!((ratio - 1.0).abs() < 1e-3, "{v:?} {ratio}");
        }
    }

    #[test]
    fn a_ring_is_brighter_at_the_edge_and_keeps_the_level() {
        let scene = flat([60, 60, 20]);
        let step = Receive {
            p: 1.0,
            coils: [8, 8],
            strength: [1.0; 2],
            ..Receive::default()
        };
        for seed in 0..4 {
            let (_, after) = trial::done(&step, &scene, seed);
            let image = after.image.expect("an image");
            let at = |v| image.data()[image.grid().index(v)];
            let edges = at([2, 30, 10]) + at([57, 30, 10]) + at([30, 2, 10]) + at([30, 57, 10]);
            assert!(0.25 * edges > 1.2 * at([30, 30, 10]), "{edges}");
            let logs = image.data().iter().map(|v| f64::from(*v / 100.0).ln());
            let mean = logs.sum::<f64>() / image.data().len() as f64;
            assert!(mean.abs() < 0.02, "{mean}");
        }
    }
}
