//! A tube current that follows the patient's attenuation.
//!
//! Where every view's current is in proportion to the square root of exp(p), p its largest line
//! integral, the noise at a given charge is least (Gies, Kalender, Wolf and Suess, "Dose reduction
//! in CT by anatomically adapted tube current modulation", Med. Phys. 26:2235, 1999,
//! doi:10.1118/1.598779). The current of view v is
//!
//! I(v) ∝ exp(strength · p(v)),
//!
//! limited below and above and scaled so that its mean is the one the tube is set to. It follows
//! both the angle and z; p is read in a few views of each turn, as on a scout.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::within;
use crate::geometry::Scan;
use crate::{Error, Result};

/// How strongly, and between which bounds, the current follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modulation {
    /// The factor of p: 0 is a constant current, 0.5 the least noise, 1 constant counts.
    pub strength: f64,
    /// Lowest current over the mean.
    pub lowest: f64,
    /// Highest current over the mean.
    pub highest: f64,
    /// Views of a turn whose attenuation is read.
    pub scouts_per_turn: usize,
}

impl Default for Modulation {
    fn default() -> Self {
        Self {
            strength: 0.5,
            lowest: 0.2,
            highest: 3.0,
            scouts_per_turn: 24,
        }
    }
}

impl Modulation {
    /// Refuses values that no tube can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.modulation.strength", self.strength, 0.0, 2.0)?;
        within("physics.modulation.lowest", self.lowest, 0.01, 1.0)?;
        within("physics.modulation.highest", self.highest, 1.0, 100.0)?;
        let scouts = self.scouts_per_turn as f64;
        within("physics.modulation.scouts_per_turn", scouts, 4.0, 720.0)
    }

    /// The views whose attenuation is read: of every few views the first.
    pub(crate) fn scouts(&self, scan: &Scan) -> impl Iterator<Item = Range<usize>> {
        let step = (scan.scanner().views_per_turn / self.scouts_per_turn).max(1);
        (0..scan.views()).step_by(step).map(|view| view..view + 1)
    }

    /// The current of each view over the mean, from the largest line integral of each scout.
    pub(crate) fn currents(&self, scan: &Scan, largest: &[f32]) -> Result<Vec<f32>> {
        let Some(&last) = largest.last() else {
            return Err(Error::Setting(
                "expected a scan of at least one view".into(),
            ));
        };
        let step = (scan.scanner().views_per_turn / self.scouts_per_turn).max(1);
        let at = |i: usize| f64::from(*largest.get(i).unwrap_or(&last));
        let wanted: Vec<f64> = (0..scan.views())
            .map(|view| {
                let (i, part) = (view / step, (view % step) as f64 / step as f64);
                self.strength * (at(i) + part * (at(i + 1) - at(i)))
            })
            .collect();
        let most = wanted.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        // Limits change the mean and the mean the limits: a few rounds settle both.
        let mut scale = 1.0;
        let current = |wanted: f64, scale: f64| {
            ((wanted - most).exp() * scale).clamp(self.lowest, self.highest)
        };
        for _ in 0..50 {
            let mean = wanted.iter().map(|&w| current(w, scale)).sum::<f64>() / wanted.len() as f64;
            scale /= mean;
        }
        let currents = wanted.iter().map(|&w| current(w, scale) as f32);
        Ok(currents.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Helix, Scanner};
    use crossmod_volume::Grid;

    #[test]
    fn the_mean_stays_and_thick_views_get_more() {
        let grid = Grid::with_spacing([50, 50, 60], [2.0; 3]).expect("a grid");
        let scan = Scan::plan(&Scanner::default(), &Helix::default(), &grid).expect("a scan");
        let modulation = Modulation::default();
        let views: Vec<usize> = modulation.scouts(&scan).map(|r| r.start).collect();
        // An ellipse: 8 across, 4 along.
        let largest: Vec<f32> = views
            .iter()
            .map(|&v| 6.0 + 2.0 * (2.0 * scan.angle_rad(v as f64)).cos() as f32)
            .collect();
        let currents = modulation.currents(&scan, &largest).expect("currents");
        let mean = currents.iter().sum::<f32>() / currents.len() as f32;
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
        let (i, j) = (views[24], views[24 + 6]);
        let expected = (0.5f32 * (largest[24] - largest[30])).exp();
        assert!((currents[i] / currents[j] / expected - 1.0).abs() < 0.02);
        assert!(currents.iter().all(|c| (0.2..=3.0).contains(c)));
        assert!(modulation.currents(&scan, &[]).is_err());
    }
}
