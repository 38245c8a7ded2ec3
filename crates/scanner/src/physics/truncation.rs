//! A detector narrower than the patient.
//!
//! Rays farther from the axis than a radius are not measured. As scanners do, each side is
//! continued from its last measured channel by a quarter of a cosine down to 0, so that the ramp
//! filter does not see an edge; what stays is the bright rim of a truncated image.

use serde::{Deserialize, Serialize};

use super::within;
use crate::Result;
use crate::geometry::Scanner;

/// How wide the measured field is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Truncation {
    /// Of the measured circle about the axis, mm.
    pub radius_mm: f64,
    /// Over which the continuation falls to 0, mm; 0 stops at the edge.
    pub taper_mm: f64,
}

impl Default for Truncation {
    fn default() -> Self {
        Self {
            radius_mm: 180.0,
            taper_mm: 40.0,
        }
    }
}

impl Truncation {
    /// Refuses values that no detector can have.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        within("physics.truncation.radius_mm", self.radius_mm, 10.0, 1e4)?;
        within("physics.truncation.taper_mm", self.taper_mm, 0.0, 1e4)
    }

    /// For each channel the measured one it continues and the weight it continues it with.
    pub(crate) fn weights(&self, scanner: &Scanner) -> Vec<(usize, f32)> {
        let distance = |channel: usize| {
            scanner.source_to_isocentre_mm * scanner.channel_angle(channel as f64).sin()
        };
        let inside = |channel: &usize| distance(*channel).abs() <= self.radius_mm;
        let middle = scanner.central_channel as usize;
        let first = (0..scanner.channels).find(inside).unwrap_or(middle);
        let last = (0..scanner.channels).rfind(inside).unwrap_or(middle);
        (0..scanner.channels)
            .map(|channel| {
                let edge = channel.clamp(first, last);
                let beyond = (distance(channel) - distance(edge)).abs();
                let share = if edge == channel {
                    1.0
                } else if beyond < self.taper_mm {
                    (std::f64::consts::FRAC_PI_2 * beyond / self.taper_mm)
                        .cos()
                        .powi(2)
                } else {
                    0.0
                };
                (edge, share as f32)
            })
            .collect()
    }
}

/// Continues a view of line integrals, `[channel][row]`, from its measured channels.
pub(crate) fn continue_view(view: &mut [f32], weights: &[(usize, f32)]) {
    let rows = view.len() / weights.len();
    for (channel, &(edge, share)) in weights.iter().enumerate() {
        if edge != channel {
            for row in 0..rows {
                view[channel * rows + row] = share * view[edge * rows + row];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_channels_stay_and_others_fall_to_nothing() {
        let scanner = Scanner::default();
        let truncation = Truncation::default();
        let weights = truncation.weights(&scanner);
        let mut view: Vec<f32> = (0..1024).map(|i| 1.0 + (i % 2) as f32).collect();
        continue_view(&mut view, &weights);
        for channel in 0..512 {
            let t = 570.0 * scanner.channel_angle(channel as f64).sin();
            let found = view[channel * 2];
            if t.abs() <= 180.0 {
                assert_eq!(found, 1.0);
            } else if t.abs() > 221.0 {
                assert_eq!(found, 0.0);
            } else {
                assert!(found < 1.0);
            }
            assert_eq!(view[channel * 2 + 1], 2.0 * found);
        }
    }
}
