//! A patient who breathes: the body moves along z while the gantry turns.
//!
//! The lift at time t is A cos^2n(π t / T + φ) (Lujan et al., "A method for incorporating organ
//! motion due to breathing into 3D dose calculations", Med. Phys. 26:715, 1999,
//! doi:10.1118/1.598577), with the phase φ drawn from the seed. The whole body moves as one;
//! nothing is stretched.

use std::f64::consts::PI;

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::within;
use crate::Result;
use crate::geometry::Scan;

/// The `step` of the phase's stream.
const STREAM: u32 = 0xB4EA_0001;

/// How the patient breathes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breathing {
    /// From breathing out to breathing in, mm.
    pub amplitude_mm: f64,
    /// Of a breath, seconds.
    pub period_s: f64,
    /// Half the power of the cosine: more stay longer where they have breathed out.
    pub exponent: i32,
    /// Of a turn of the gantry, seconds.
    pub turn_s: f64,
}

impl Default for Breathing {
    /// A quiet breath of 4 s and 10 mm, n = 3 (Lujan et al.), and half a second per turn.
    fn default() -> Self {
        Self {
            amplitude_mm: 10.0,
            period_s: 4.0,
            exponent: 3,
            turn_s: 0.5,
        }
    }
}

impl Breathing {
    /// Refuses values that no patient can have.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within(
            "physics.breathing.amplitude_mm",
            self.amplitude_mm,
            0.0,
            100.0,
        )?;
        within("physics.breathing.period_s", self.period_s, 0.1, 1000.0)?;
        within(
            "physics.breathing.exponent",
            f64::from(self.exponent),
            1.0,
            10.0,
        )?;
        within("physics.breathing.turn_s", self.turn_s, 0.05, 100.0)
    }

    /// The body's lift (mm) in each view of `scan`, and the phase drawn from `seed`, radians.
    pub(crate) fn lifts(&self, scan: &Scan, seed: u64) -> (Vec<f32>, f64) {
        let phase = PI * f64::from(Rng::new(seed, 0, STREAM).unit());
        let view_s = self.turn_s / scan.scanner().views_per_turn as f64;
        let lifts = (0..scan.views())
            .map(|view| {
                let cos = (PI * view as f64 * view_s / self.period_s + phase).cos();
                (self.amplitude_mm * cos.powi(2 * self.exponent)) as f32
            })
            .collect();
        (lifts, phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Helix, Scanner};
    use crossmod_volume::Grid;

    #[test]
    fn a_breath_rises_by_its_amplitude_and_repeats() {
        let grid = Grid::with_spacing([50, 50, 400], [2.0; 3]).expect("a grid");
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid).expect("a scan");
        let breathing = Breathing {
            period_s: 2.0,
            ..Breathing::default()
        };
        let (lifts, phase) = breathing.lifts(&scan, 3);
        assert!((0.0..PI).contains(&phase));
        let most = lifts.iter().fold(0f32, |a, &b| a.max(b));
        let least = lifts.iter().fold(100f32, |a, &b| a.min(b));
        assert!((most - 10.0).abs() < 0.01 && least < 0.01);
        // Two seconds are four turns.
        for view in 0..lifts.len() - 4 * 720 {
            assert!((lifts[view] - lifts[view + 4 * 720]).abs() < 1e-3);
        }
        assert_ne!(breathing.lifts(&scan, 4).1, phase);
    }
}
