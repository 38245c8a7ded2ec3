//! Errors of the detector elements' gain: rings about the axis.

use crossmod_volume::rng::Rng;
use serde::{Deserialize, Serialize};

use super::within;
use crate::Result;

/// The `step` of the gains' stream.
const STREAM: u32 = 0x9A15_0001;

/// Gains that the calibration has missed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rings {
    /// Standard deviation of an element's gain about 1, the same in every view.
    pub gain_sd: f64,
}

impl Default for Rings {
    /// 0.2 %.
    fn default() -> Self {
        Self { gain_sd: 2e-3 }
    }
}

impl Rings {
    /// Refuses values that no detector can have.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.rings.gain_sd", self.gain_sd, 0.0, 0.1)
    }

    /// The gain of each of `elements`, drawn from `seed`.
    pub(crate) fn gains(&self, elements: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed, 0, STREAM);
        let sd = self.gain_sd as f32;
        (0..elements)
            .map(|_| (1.0 + sd * rng.normal()).max(0.1))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_spread_as_asked_and_repeat() {
        let gains = Rings { gain_sd: 0.01 }.gains(20_000, 5);
        let variance = gains.iter().map(|g| (g - 1.0).powi(2)).sum::<f32>() / 20_000.0;
        assert!((variance.sqrt() / 0.01 - 1.0).abs() < 0.03);
        assert_eq!(gains, Rings { gain_sd: 0.01 }.gains(20_000, 5));
        assert_ne!(gains, Rings { gain_sd: 0.01 }.gains(20_000, 6));
        assert!(Rings { gain_sd: f64::NAN }.check().is_err());
    }
}
