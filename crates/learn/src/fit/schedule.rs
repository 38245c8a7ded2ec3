//! Learning rate over a training: constant, then linear towards zero; or polynomial.

use serde::{Deserialize, Serialize};

use super::Decay;

/// CycleGAN's schedule by SynSeg-Net's rule: after every epoch past the constant ones the rate
/// falls by `1 / decay_epochs` of its start, so epochs 1 to `constant_epochs + 1` run at the full
/// rate and the last at `1 / decay_epochs` of it.
///
/// Under a budget of steps or minutes an epoch is 1 / (constant + decay) of that budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Epochs at the full rate; 100 in CycleGAN (arXiv:1703.10593, §7.1).
    pub constant_epochs: u32,
    /// Epochs of linear decay; 100 in CycleGAN.
    pub decay_epochs: u32,
}

impl Default for Schedule {
    /// 100 + 100 (arXiv:1703.10593, §7.1).
    fn default() -> Self {
        Self {
            constant_epochs: 100,
            decay_epochs: 100,
        }
    }
}

impl Schedule {
    /// Epochs of a whole training.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        (self.constant_epochs + self.decay_epochs).max(1)
    }
}

impl Decay for Schedule {
    fn epoch_at(&self, progress: f64) -> u32 {
        epoch_of(self.epochs(), progress)
    }

    fn factor(&self, epoch: u32) -> f32 {
        let decays = epoch
            .saturating_sub(self.constant_epochs + 1)
            .min(self.decay_epochs);
        if decays == 0 {
            1.0
        } else {
            1.0 - decays as f32 / self.decay_epochs as f32
        }
    }
}

/// nnU-Net's: in epoch e, from 1, of n the factor is (1 - (e - 1) / n) to some power (Isensee et al.,
/// doi:10.1038/s41592-020-01008-z). Under a budget of steps or minutes an epoch is 1 / n of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Poly {
    /// Epochs of a whole training.
    pub epochs: u32,
    /// The power.
    pub exponent: f32,
}

impl Default for Poly {
    /// nnU-Net's.
    fn default() -> Self {
        Self {
            epochs: 1000,
            exponent: 0.9,
        }
    }
}

impl Decay for Poly {
    fn epoch_at(&self, progress: f64) -> u32 {
        epoch_of(self.epochs.max(1), progress)
    }

    fn factor(&self, epoch: u32) -> f32 {
        let passed = epoch.saturating_sub(1) as f32 / self.epochs.max(1) as f32;
        (1.0 - passed.min(1.0)).powf(self.exponent)
    }
}

fn epoch_of(epochs: u32, progress: f64) -> u32 {
    // A step's progress is k/n in floating point: 0.25 × 200 must not fall short of 50.
    let passed = (progress.clamp(0.0, 1.0) * f64::from(epochs) + 1e-9) as u32;
    passed.min(epochs - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_at_the_published_epochs() {
        let schedule = Schedule::default();
        let rate = |epoch| 2e-4 * schedule.factor(epoch);
        assert_eq!(rate(1), 2e-4);
        assert_eq!(rate(101), 2e-4);
        assert!((rate(102) - 1.98e-4).abs() < 1e-9);
        assert!((rate(200) - 2e-6).abs() < 1e-9);
    }

    #[test]
    fn progress_spans_the_epochs() {
        let schedule = Schedule::default();
        assert_eq!(schedule.epoch_at(0.0), 1);
        assert_eq!(schedule.epoch_at(0.25), 51);
        assert_eq!(schedule.epoch_at(0.999), 200);
        assert_eq!(schedule.epoch_at(1.0), 200);
    }

    #[test]
    fn nnunets_rates() {
        let poly = Poly::default();
        assert_eq!(poly.factor(poly.epoch_at(0.0)), 1.0);
        assert!((poly.factor(poly.epoch_at(0.5)) - 0.5f32.powf(0.9)).abs() < 1e-6);
        assert!((poly.factor(poly.epoch_at(1.0)) - 0.001f32.powf(0.9)).abs() < 1e-6);
    }

    #[test]
    fn no_decay_stays_constant() {
        let schedule = Schedule {
            constant_epochs: 5,
            decay_epochs: 0,
        };
        assert_eq!(schedule.factor(5), 1.0);
        assert_eq!(schedule.factor(9), 1.0);
    }
}
