//! Photons: what the tube sends, and what the detector counts.
//!
//! Here, one ray at a time: Beer–Lambert attenuation, Poisson counting and the logarithm back to a
//! line integral. Line integrals are dimensionless (attenuation in mm^-1 times mm); counts are
//! photons per detector element and view. Each ray owns a random stream keyed by (seed, view,
//! ray), so a scan does not depend on the order in which its rays are computed. The modules below
//! do the same for whole views, with electronic noise and the correction of weak signals.

mod detector;
mod dose;
pub(crate) mod quanta;
mod tube;
pub(crate) mod turn;

use crossmod_volume::rng::Rng;
use rand_distr::{Distribution, Poisson};

pub use detector::Detector;
pub(crate) use detector::smooth_weak;
pub use dose::LowerDose;
pub use tube::{Bowtie, Tube};

/// Smallest count the logarithm sees. A ray without photons would measure infinite attenuation;
/// half a photon keeps it finite, at the price of a bias where counts are below about ten
/// (the expectation of -ln N lies 1/(2N) above -ln of the expectation).
pub const COUNT_FLOOR: f64 = 0.5;

/// Photons expected behind a line integral when `incident` photons enter.
#[must_use]
pub fn transmitted(incident: f64, line_integral: f64) -> f64 {
    incident * (-line_integral).exp()
}

/// A Poisson count of the given expectation; 0 where that is not a positive, finite number.
pub fn count(expected: f64, rng: &mut Rng) -> f64 {
    Poisson::new(expected).map_or(0.0, |poisson| poisson.sample(rng))
}

/// The line integral that a count measures, with counts below [`COUNT_FLOOR`] raised to it.
#[must_use]
pub fn measured_line_integral(count: f64, incident: f64) -> f64 {
    (incident / count.max(COUNT_FLOOR)).ln()
}

/// One noisy measurement of a line integral: attenuate, count, take the logarithm. The draw is
/// that of (`seed`, `view`, `ray`) alone.
#[must_use]
pub fn measure(incident: f64, line_integral: f64, seed: u64, view: u64, ray: u32) -> f64 {
    let mut rng = Rng::new(seed, view, ray);
    measured_line_integral(
        count(transmitted(incident, line_integral), &mut rng),
        incident,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (
            mean,
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0),
        )
    }

    /// The mean and the variance of a Poisson variable both equal its expectation; bounds are
    /// five standard errors (the variance's is about lambda sqrt(2/n + 1/(n lambda))).
    #[test]
    fn counts_have_poisson_moments() {
        let n = 20_000;
        for (step, expected) in [(0, 0.7), (1, 9.0), (2, 250.0), (3, 40_000.0)] {
            let mut rng = Rng::new(11, 0, step);
            let draws: Vec<f64> = (0..n).map(|_| count(expected, &mut rng)).collect();
            let (mean, variance) = mean_and_variance(&draws);
            let n = f64::from(n);
            assert!(
                (mean - expected).abs() < 5.0 * (expected / n).sqrt(),
                "{expected}: {mean}"
            );
            let error = expected * (2.0 / n + 1.0 / (n * expected)).sqrt();
            assert!(
                (variance - expected).abs() < 5.0 * error,
                "{expected}: {variance}"
            );
            assert!(draws.iter().all(|d| d.fract() == 0.0 && *d >= 0.0));
        }
    }

    #[test]
    fn a_hopeless_ray_counts_nothing_and_stays_finite() {
        let mut rng = Rng::new(1, 0, 0);
        assert_eq!(count(0.0, &mut rng), 0.0);
        assert_eq!(count(f64::NAN, &mut rng), 0.0);
        assert!((measured_line_integral(0.0, 1e5) - (2e5f64).ln()).abs() < 1e-12);
    }

    /// Error propagation: the variance of -ln N is 1/N to first order, its bias 1/(2N).
    #[test]
    fn the_logarithm_has_variance_one_over_counts() {
        let (incident, line) = (1e5, 6.0);
        let draws: Vec<f64> = (0..20_000)
            .map(|ray| measure(incident, line, 5, 0, ray))
            .collect();
        let (mean, variance) = mean_and_variance(&draws);
        let photons = transmitted(incident, line);
        assert!(
            (variance * photons - 1.0).abs() < 0.05,
            "{}",
            variance * photons
        );
        assert!((mean - line - 0.5 / photons).abs() < 5.0 * (variance / 20_000.0).sqrt());
    }

    #[test]
    fn a_ray_is_the_same_whenever_it_is_drawn() {
        assert_eq!(measure(1e4, 3.0, 1, 2, 3), measure(1e4, 3.0, 1, 2, 3));
        assert_ne!(measure(1e4, 3.0, 1, 2, 3), measure(1e4, 3.0, 1, 2, 4));
    }
}
