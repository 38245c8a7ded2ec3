//! How long a training lasts.

use serde::{Deserialize, Serialize};

/// The end of a training, and with it how far it is at any step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// Optimiser steps. Runs of equal seed and steps are equal, interrupted or not.
    Steps(u64),
    /// Minutes of training on this machine, interruptions not counted; the schedule follows the
    /// clock, so two runs differ.
    Minutes(f64),
}

impl Budget {
    /// Share of the training done after `steps` steps and `seconds` of training, at most 1.
    #[must_use]
    pub fn progress(&self, steps: u64, seconds: f64) -> f64 {
        let share = match *self {
            Self::Steps(total) => steps as f64 / total.max(1) as f64,
            Self::Minutes(total) => seconds / (60.0 * total).max(f64::MIN_POSITIVE),
        };
        share.min(1.0)
    }

    /// So large a share of it, at least one step.
    #[must_use]
    pub fn part(self, share: f64) -> Self {
        match self {
            Self::Steps(total) => Self::Steps(((total as f64 * share).round() as u64).max(1)),
            Self::Minutes(total) => Self::Minutes(total * share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reaches_one_and_stays() {
        assert_eq!(Budget::Steps(200).progress(50, 1e9), 0.25);
        assert_eq!(Budget::Minutes(2.0).progress(7, 30.0), 0.25);
        assert_eq!(Budget::Minutes(2.0).progress(7, 300.0), 1.0);
        assert_eq!(Budget::Steps(0).progress(0, 0.0), 0.0);
        assert_eq!(Budget::Steps(0).progress(1, 0.0), 1.0);
    }

    #[test]
    fn parts() {
        assert_eq!(Budget::Steps(10).part(0.25), Budget::Steps(3));
        assert_eq!(Budget::Steps(10).part(0.01), Budget::Steps(1));
        assert_eq!(Budget::Minutes(4.0).part(0.25), Budget::Minutes(1.0));
    }
}
