//! Light scattered in the patient.
//!
//! The model of Ohnesorge et al. ("Efficient object scatter correction algorithm for third and
//! fourth generation CT scanners", Eur. Radiol. 9:563, 1999, doi:10.1007/s003300050710): in
//! proportion to I · p, what a ray loses in the patient, spread over the fan by a wide kernel and
//! the same in all rows. Its strength is set so that behind the middle of 35 cm of water scatter is
//! 15 % of the direct light with a collimation of 40 mm (the level that XCIST is calibrated to,
//! doi:10.1088/1361-6560/ac9174), in proportion to the collimation. Scanners subtract an estimate;
//! what they miss is left as shading.

use serde::{Deserialize, Serialize};

use super::within;
use crate::Result;
use crate::attenuation::WATER_MM;
use crate::geometry::Scanner;

/// Scatter over direct light behind [`REFERENCE_MM`] of water at [`REFERENCE_COLLIMATION_MM`].
const REFERENCE_RATIO: f64 = 0.15;
const REFERENCE_MM: f64 = 350.0;
const REFERENCE_COLLIMATION_MM: f64 = 40.0;

/// Standard deviation of the kernel at isocentre, mm: as wide as a body's shadow.
const SPREAD_MM: f64 = 150.0;

/// Distance at isocentre of the nodes at which the smooth field is computed, mm.
const NODE_MM: f64 = 10.0;

/// How much is scattered, and how much of it the scanner subtracts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scatter {
    /// Times the level of the reference.
    pub scale: f64,
    /// Share that the correction subtracts; 1 leaves the additional noise only.
    pub corrected: f64,
}

impl Default for Scatter {
    fn default() -> Self {
        Self {
            scale: 1.0,
            corrected: 0.8,
        }
    }
}

impl Scatter {
    /// Refuses values that no scan can have.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.scatter.scale", self.scale, 0.0, 20.0)?;
        within("physics.scatter.corrected", self.corrected, 0.0, 1.5)
    }
}

/// The scatter of views on one scanner.
#[derive(Debug)]
pub(crate) struct ScatterField {
    /// Signal of each channel in air.
    air: Vec<f32>,
    rows: usize,
    /// Channels to a node.
    block: usize,
    /// From nodes to nodes, row by row.
    kernel: Vec<f32>,
}

impl ScatterField {
    pub(crate) fn new(scatter: &Scatter, scanner: &Scanner, air: Vec<f32>) -> Self {
        let block = ((NODE_MM / scanner.ray_spacing_mm()) as usize).max(1);
        let nodes = air.len().div_ceil(block);
        let sigma = SPREAD_MM / (block as f64 * scanner.ray_spacing_mm());
        let kernel = (0..nodes * nodes)
            .map(|i| {
                let distance = (i / nodes) as f64 - (i % nodes) as f64;
                (-0.5 * (distance / sigma).powi(2)).exp() as f32
            })
            .collect();
        let mut field = Self {
            air,
            rows: 1,
            block,
            kernel,
        };
        // The reference, seen by one row.
        let radius = REFERENCE_MM / 2.0;
        let mut signal: Vec<f32> = (0..field.air.len())
            .map(|channel| {
                let angle = scanner.channel_angle(channel as f64);
                let t = scanner.source_to_isocentre_mm * angle.sin();
                let chord = 2.0 * (radius * radius - t * t).max(0.0).sqrt();
                field.air[channel] * (-f64::from(WATER_MM) * chord).exp() as f32
            })
            .collect();
        let middle = (scanner.central_channel as usize).min(signal.len() - 1);
        let direct = signal[middle];
        let mut scattered = Vec::new();
        field.estimate(&signal, 1.0, &mut scattered);
        signal.clear();
        let ratio =
            REFERENCE_RATIO * scatter.scale * scanner.collimation_mm() / REFERENCE_COLLIMATION_MM;
        let gain = ratio as f32 * direct / scattered[middle];
        field.kernel.iter_mut().for_each(|k| *k *= gain);
        field.rows = scanner.rows;
        field
    }

    /// The scattered signal of each channel for the direct `signal`, `[channel][row]`, of a view
    /// whose tube current is `current` times the one in air.
    pub(crate) fn estimate(&self, signal: &[f32], current: f32, out: &mut Vec<f32>) {
        let nodes = self.air.len().div_ceil(self.block);
        let mut lost = vec![0.0f32; nodes];
        for (channel, (rows, air)) in signal.chunks_exact(self.rows).zip(&self.air).enumerate() {
            // As long as a channel sees the same in its rows, the mean of logarithms is not needed.
            let mean = rows.iter().sum::<f32>() / self.rows as f32;
            let open = air * current;
            if mean > 0.0 && mean < open {
                lost[channel / self.block] += mean * (open / mean).ln() / self.block as f32;
            }
        }
        let spread: Vec<f32> = self
            .kernel
            .chunks_exact(nodes)
            .map(|row| row.iter().zip(&lost).map(|(k, lost)| k * lost).sum())
            .collect();
        out.clear();
        out.extend((0..self.air.len()).map(|channel| {
            let place = (channel as f32 + 0.5) / self.block as f32 - 0.5;
            let place = place.clamp(0.0, (nodes - 1) as f32);
            let i = (place as usize).min(nodes.saturating_sub(2));
            let next = spread[(i + 1).min(nodes - 1)];
            spread[i] + (place - i as f32) * (next - spread[i])
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn water(diameter: f64, scanner: &Scanner, rows: usize) -> Vec<f32> {
        let mut signal = Vec::new();
        for channel in 0..scanner.channels {
            let t = 570.0 * scanner.channel_angle(channel as f64).sin();
            let chord = 2.0 * (diameter * diameter / 4.0 - t * t).max(0.0).sqrt();
            let light = 1e5 * (-0.0193 * chord).exp();
            signal.extend(std::iter::repeat_n(light as f32, rows));
        }
        signal
    }

    #[test]
    fn the_reference_is_met_and_scatter_grows_with_the_patient() {
        let scanner = Scanner::preset("clinical").expect("a preset");
        let field = ScatterField::new(&Scatter::default(), &scanner, vec![1e5; 672]);
        let mut out = Vec::new();
        let mut ratio = |diameter: f64, current: f32| {
            let signal: Vec<f32> = water(diameter, &scanner, 64);
            let signal: Vec<f32> = signal.iter().map(|s| s * current).collect();
            field.estimate(&signal, current, &mut out);
            out[336] / signal[336 * 64]
        };
        assert!((ratio(350.0, 1.0) - 0.15).abs() < 2e-3);
        assert!((ratio(350.0, 0.5) - 0.15).abs() < 2e-3);
        assert!(ratio(250.0, 1.0) < 0.08 && ratio(400.0, 1.0) > 0.2);
    }

    #[test]
    fn air_scatters_nothing_and_the_field_is_smooth() {
        let scanner = Scanner::preset("clinical").expect("a preset");
        let field = ScatterField::new(&Scatter::default(), &scanner, vec![1e5; 672]);
        let mut out = Vec::new();
        field.estimate(&vec![1e5; 672 * 64], 1.0, &mut out);
        assert!(out.iter().all(|s| *s == 0.0));
        field.estimate(&water(300.0, &scanner, 64), 1.0, &mut out);
        let steps = out.windows(2).map(|w| (w[1] - w[0]).abs());
        let most = out.iter().fold(0f32, |a, &b| a.max(b));
        assert!(steps.fold(0.0, f32::max) < 0.02 * most);
    }
}
