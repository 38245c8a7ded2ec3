//! Reconstruction kernels: windows on the ramp.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Window W on the ramp, of the frequency x over Nyquist's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kernel {
    /// 1: the sharpest and noisiest.
    Ramp,
    /// sin(π x / 2) / (π x / 2) (Shepp and Logan, IEEE Trans. Nucl. Sci. 21:21, 1974).
    SheppLogan,
    /// cos(π x / 2).
    Cosine,
    /// 0.54 + 0.46 cos(π x).
    Hamming,
    /// 0.5 + 0.5 cos(π x): like a soft-tissue kernel.
    #[default]
    Hann,
    /// The modulation transfer that the reconstruction is to have within a slice: points of
    /// frequency (per mm, ascending) and value, joined by straight lines, 0 beyond the last. What
    /// back-projection loses between the rays, sinc²(f Δt), is made good; the focal spot and the
    /// detector elements blur besides.
    Mtf(Vec<[f64; 2]>),
}

/// Least steps of an integral over frequencies.
const STEPS: usize = 4096;

impl Kernel {
    /// Refuses a curve that is no modulation transfer.
    ///
    /// # Errors
    /// [`Error::Setting`] where frequencies do not ascend or values are not within 0 to 2.
    pub fn check(&self) -> Result<()> {
        let Self::Mtf(points) = self else {
            return Ok(());
        };
        let ascends = points.windows(2).all(|w| w[0][0] < w[1][0]);
        let sound = points
            .iter()
            .all(|[f, v]| (0.0..1e3).contains(f) && (0.0..=2.0).contains(v));
        if points.len() >= 2 && ascends && sound {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "expected an MTF of two or more points [frequency per mm, value from 0 to 2] of \
             ascending frequency, found {points:?}"
        )))
    }

    /// The window at `x`, the frequency over Nyquist's, with rays `ray_spacing_mm` apart.
    #[must_use]
    pub fn window(&self, x: f64, ray_spacing_mm: f64) -> f64 {
        if x >= 1.0 {
            return if *self == Self::Ramp && x == 1.0 {
                1.0
            } else {
                0.0
            };
        }
        match self {
            Self::Ramp => 1.0,
            Self::SheppLogan => sinc(x / 2.0),
            Self::Cosine => (PI * x / 2.0).cos(),
            Self::Hamming => 0.54 + 0.46 * (PI * x).cos(),
            Self::Hann => 0.5 + 0.5 * (PI * x).cos(),
            Self::Mtf(points) => {
                let frequency = x / (2.0 * ray_spacing_mm);
                along(points, frequency) / sinc(x / 2.0).powi(2)
            }
        }
    }

    /// Noise power relative to the plain ramp's, 3 ∫ x² W(x)² dx over \[0, 1\].
    #[must_use]
    pub fn noise_power(&self, ray_spacing_mm: f64) -> f64 {
        let n = STEPS as f64;
        let middle = (0..STEPS).map(|i| (i as f64 + 0.5) / n);
        let sum: f64 = middle
            .map(|x| 3.0 * (x * self.window(x, ray_spacing_mm)).powi(2))
            .sum();
        sum / n
    }

    /// Weights at the distances 0 to `count` − 1 in rays, times the spacing, and a smoothing of
    /// three values to follow.
    pub(super) fn taps(&self, ray_spacing_mm: f64, count: usize) -> (Vec<f64>, Option<[f32; 3]>) {
        let d = ray_spacing_mm;
        let ramp = |n: usize| match n {
            0 => 0.25 / d,
            n if n % 2 == 0 => 0.0,
            n => -1.0 / ((PI * n as f64).powi(2) * d),
        };
        let ramps = || (0..count).map(ramp).collect();
        match self {
            Self::Ramp => (ramps(), None),
            // cos(π x) is half the value one ray to the left and half the one to the right.
            Self::Hann => (ramps(), Some([0.25, 0.5, 0.25])),
            Self::Hamming => (ramps(), Some([0.23, 0.54, 0.23])),
            Self::SheppLogan => {
                let tap = |n: usize| {
                    let square = 4.0 * (n as f64).powi(2) - 1.0;
                    -2.0 / (PI * PI * square * d)
                };
                ((0..count).map(tap).collect(), None)
            }
            Self::Cosine => {
                // cos(π x / 2): half the ramp half a ray to either side.
                let between = |u: f64| 0.5 * sinc(u) - 0.25 * sinc(u / 2.0).powi(2);
                let tap = |n: usize| {
                    let n = n as f64;
                    0.5 * (between(n - 0.5) + between(n + 0.5)) / d
                };
                ((0..count).map(tap).collect(), None)
            }
            Self::Mtf(_) => {
                // Several steps in the shortest of the waves.
                let steps = STEPS.max(4 * count);
                let ramp: Vec<(f64, f64)> = (0..steps)
                    .map(|i| (i as f64 + 0.5) / steps as f64)
                    .map(|x| (x, x * self.window(x, d)))
                    .collect();
                let tap = |n: usize| {
                    let wave = |(x, value): &(f64, f64)| value * (PI * x * n as f64).cos();
                    ramp.iter().map(wave).sum::<f64>() / (2.0 * d * steps as f64)
                };
                ((0..count).map(tap).collect(), None)
            }
        }
    }

    /// The weights with the smoothing in them.
    #[cfg(test)]
    pub(super) fn impulse(&self, ray_spacing_mm: f64, count: usize) -> Vec<f64> {
        let (taps, smoothing) = self.taps(ray_spacing_mm, count + 1);
        let Some([side, own, _]) = smoothing.map(|s| s.map(f64::from)) else {
            return taps;
        };
        (0..count)
            .map(|n| own * taps[n] + side * (taps[n.abs_diff(1)] + taps[n + 1]))
            .collect()
    }
}

/// sin(π x) / (π x).
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The value of straight lines between points at `x`; the first one's before it, 0 after the last.
fn along(points: &[[f64; 2]], x: f64) -> f64 {
    let after = points.partition_point(|p| p[0] <= x);
    match (after.checked_sub(1).map(|i| points[i]), points.get(after)) {
        (_, None) => 0.0,
        (None, Some(first)) => first[1],
        (Some([x0, y0]), Some([x1, y1])) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> [Kernel; 6] {
        [
            Kernel::Ramp,
            Kernel::SheppLogan,
            Kernel::Cosine,
            Kernel::Hamming,
            Kernel::Hann,
            Kernel::Mtf(vec![[0.0, 1.0], [0.2, 0.9], [0.5, 0.1], [0.6, 0.0]]),
        ]
    }

    /// Taps to look at: many, but for an integral each.
    fn long(kernel: &Kernel) -> usize {
        match kernel {
            Kernel::Mtf(_) => 1000,
            _ => 20_000,
        }
    }

    /// The taps' cosine series is |f| W(f): formulas and smoothing against the definition.
    #[test]
    fn the_spectrum_of_the_taps_is_ramp_times_window() {
        let d = 0.8;
        for kernel in kernels() {
            let impulse = kernel.impulse(d, long(&kernel));
            for x in [0.05, 0.2, 0.5, 0.77, 0.93] {
                let tail: f64 = (1..impulse.len())
                    .map(|n| 2.0 * impulse[n] * (PI * x * n as f64).cos())
                    .sum();
                let expected = x / (2.0 * d) * kernel.window(x, d);
                assert!(
                    (impulse[0] + tail - expected).abs() < 1e-3,
                    "{kernel:?} at {x}: {} against {expected}",
                    impulse[0] + tail
                );
            }
        }
    }

    /// A constant has no edges: its filtered middle tends to 0 as 1 / length.
    #[test]
    fn a_constant_is_filtered_away() {
        for kernel in kernels() {
            let length = long(&kernel);
            let impulse = kernel.impulse(0.8, length);
            let sum = impulse[0] + 2.0 * impulse[1..].iter().sum::<f64>();
            // What is left is the tail, 2 d sum over odd n > length of 1 / (pi n d)^2.
            let tail = 1.0 / (PI * PI * 0.8 * length as f64);
            assert!(
                (sum / tail - 1.0).abs() < 0.05,
                "{kernel:?}: {sum} against {tail}"
            );
        }
    }

    #[test]
    fn noise_powers_are_as_tabulated() {
        for (kernel, power) in kernels().iter().zip([1.0, 0.608, 0.196, 0.1115, 0.090]) {
            let found = kernel.noise_power(1.0);
            assert!((found - power).abs() < 6e-4, "{kernel:?}: {found}");
        }
    }

    #[test]
    fn curves_that_are_no_mtf_are_refused() {
        assert!(kernels().iter().all(|k| k.check().is_ok()));
        for points in [
            vec![[0.0, 1.0]],
            vec![[0.2, 1.0], [0.1, 0.5]],
            vec![[0.0, 1.0], [0.1, f64::NAN]],
        ] {
            assert!(Kernel::Mtf(points).check().is_err());
        }
    }

    #[test]
    fn kernels_are_named_in_files() {
        #[derive(Serialize, Deserialize)]
        struct File {
            kernel: Kernel,
        }
        for kernel in kernels() {
            let file = toml::to_string(&File {
                kernel: kernel.clone(),
            });
            let file: File = toml::from_str(&file.expect("written")).expect("read");
            assert_eq!(file.kernel, kernel);
        }
        let named: File = toml::from_str("kernel = \"shepp-logan\"").expect("read");
        assert_eq!(named.kernel, Kernel::SheppLogan);
    }
}
