//! The detector: from counts to line integrals where few photons arrive.
//!
//! The logarithm of a small count lies above the logarithm of its expectation (by 1 / 2N, more
//! with electronic noise), and has no value at 0. Behind shoulders, hips and metal that makes
//! streaks and a shift of the mean. Scanners therefore smooth weak signals before the logarithm
//! (Hsieh, "Adaptive streak artifact reduction in computed tomography resulting from excessive
//! x-ray photon noise", Med. Phys. 25:2139, 1998, doi:10.1118/1.598410). Here a count N becomes
//!
//! N + exp(−m / s) (m − N),
//!
//! with m the mean of seven neighbouring channels and s a number of quanta: strong signals pass as
//! they are, weak ones become their mean.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Channels to either side that a weak signal is averaged with.
const REACH: usize = 3;

/// Multiples of the scale above which exp(−m / s) changes nothing.
const STRONG: f32 = 8.0;

/// Electronics of the detector, and what is done about weak signals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detector {
    /// Standard deviation of the electronic noise, in photons of the beam.
    pub electronic_noise: f64,
    /// Quanta below which signals are smoothed, the s above; 0 leaves all as they are.
    pub weak_signal: f64,
    /// Smallest signal the logarithm sees, quanta.
    pub smallest_signal: f64,
}

impl Default for Detector {
    /// The electronic noise of XCIST's detectors, 3500 to 5000 electrons at 15 to 17 electrons per
    /// keV, in photons of 65 to 70 keV (doi:10.1088/1361-6560/ac9174).
    fn default() -> Self {
        Self {
            electronic_noise: 4.0,
            weak_signal: 50.0,
            smallest_signal: 0.5,
        }
    }
}

impl Detector {
    /// Refuses values that no detector can have.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key, its bounds and what was found.
    pub fn check(&self) -> Result<()> {
        for (key, found, low) in [
            ("electronic_noise", self.electronic_noise, 0.0),
            ("weak_signal", self.weak_signal, 0.0),
            ("smallest_signal", self.smallest_signal, 1e-6),
        ] {
            if !(low..=1e6).contains(&found) {
                return Err(Error::Setting(format!(
                    "expected {key} from {low} to 1e6, found {found}"
                )));
            }
        }
        Ok(())
    }
}

/// Smooths the weak signals of a view, `[channel][row]`; `scratch` is memory to use.
pub(crate) fn smooth_weak(counts: &mut [f32], rows: usize, scale: f32, scratch: &mut Vec<f32>) {
    let least = counts.iter().fold(f32::INFINITY, |least, &c| least.min(c));
    let weak = STRONG * scale;
    if least > weak || scale <= 0.0 {
        return;
    }
    scratch.clear();
    scratch.extend_from_slice(counts);
    let channels = counts.len() / rows;
    let before = &scratch[..];
    let mut mean = vec![0.0; rows];
    for (channel, counts) in counts.chunks_exact_mut(rows).enumerate() {
        if counts.iter().all(|&c| c > weak) {
            continue;
        }
        let window = channel.saturating_sub(REACH)..channels.min(channel + REACH + 1);
        let share = 1.0 / window.len() as f32;
        mean.fill(0.0);
        for other in window {
            for (mean, count) in mean.iter_mut().zip(&before[other * rows..]) {
                *mean += share * count;
            }
        }
        for (count, &mean) in counts.iter_mut().zip(&mean) {
            let weight = (-mean.max(0.0) / scale).exp();
            *count += weight * (mean - *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photons::quanta::View;

    #[test]
    fn strong_signals_pass_and_weak_ones_become_their_mean() {
        let rows = 2;
        let mut counts: Vec<f32> = (0..40).map(|i| 1000.0 + i as f32).collect();
        let strong = counts.clone();
        let mut scratch = Vec::new();
        smooth_weak(&mut counts, rows, 20.0, &mut scratch);
        assert_eq!(counts, strong);
        // Row 1 alternates between 2 and 0 photons, row 0 stays strong.
        for channel in 0..20 {
            counts[channel * rows + 1] = if channel % 2 == 0 { 2.0 } else { 0.0 };
        }
        smooth_weak(&mut counts, rows, 1e6, &mut scratch);
        for channel in 4..16 {
            let found = counts[channel * rows + 1];
            assert!((found - 1.0).abs() < 0.2, "{channel}: {found}");
        }
        let mut off = counts.clone();
        smooth_weak(&mut off, rows, 0.0, &mut scratch);
        assert_eq!(off, counts);
    }

    /// Behind the same attenuation in all channels, with electronic noise of 4 quanta: the bias of
    /// the logarithm is several times smaller.
    #[test]
    fn starved_rays_keep_their_mean() {
        let bias = |expected: f32, scale: f32| {
            let mut counts = vec![expected; 200_000];
            let draw = View {
                seed: 1,
                view: expected as u64,
                electronic: 4.0,
            };
            draw.count(&mut counts, &[]);
            smooth_weak(&mut counts, 4, scale, &mut Vec::new());
            let logs = counts.iter().map(|c| f64::from(expected / c.max(0.5)).ln());
            logs.sum::<f64>() / counts.len() as f64
        };
        for expected in [5.0, 10.0, 30.0] {
            let (without, with) = (bias(expected, 0.0), bias(expected, 50.0));
            assert!(with < 0.7 * without, "{expected}: {with} of {without}");
        }
        assert!(bias(5.0, 50.0) < 0.08 && bias(10.0, 50.0) < 0.03);
    }

    #[test]
    fn impossible_detectors_are_refused() {
        let detector: Detector = toml::from_str("weak_signal = -1.0").expect("a number");
        assert!(detector.check().is_err());
        assert!(Detector::default().check().is_ok());
    }
}
