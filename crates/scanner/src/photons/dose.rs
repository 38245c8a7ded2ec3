//! A lower dose for measured line integrals.
//!
//! Of line integrals p measured with N₀ photons per ray, those of a scan with the share a of the
//! charge differ by the noise that is missing (after Yu et al., "Development and validation of a
//! practical lower-dose-simulation tool", J. Comput. Assist. Tomogr. 36:477, 2012,
//! doi:10.1097/RCT.0b013e318258e891): the variance 1/N + σ²/N² of the logarithm, N = N₀ exp(−p)
//! and σ the electronic noise, grows to 1/aN + σ²/a²N², hence
//!
//! p_a = p + x √( (1−a)/a · e^p/N₀ · (1 + (1+a)/a · σ² e^p/N₀) ),   x standard normal.
//!
//! Limits: normal noise, so not below some ten photons per ray.

use crossmod_volume::rng::Rng;

use crate::{Error, Result};

/// The `step` of the streams.
const STREAM: u32 = 0xD05E_0001;

/// The scan whose dose is lowered.
#[derive(Debug, Clone, PartialEq)]
pub struct LowerDose<'a> {
    /// Charge of the new scan over that of the given one, above 0 and at most 1.
    pub share: f64,
    /// Photons that entered an element of each channel in a view.
    pub incident: &'a [f32],
    /// Standard deviation of the electronic noise, quanta.
    pub electronic_noise: f64,
    /// Seed of the noise.
    pub seed: u64,
}

impl LowerDose<'_> {
    /// Adds the missing noise to the line integrals of a view, `[channel][row]`. The draw is that
    /// of the seed and the view's number alone.
    ///
    /// # Errors
    /// [`Error::Setting`] where the share is none, or the view is not a whole number of rows of
    /// each channel.
    pub fn apply(&self, line_integrals: &mut [f32], view: u64) -> Result<()> {
        let channels = self.incident.len();
        let share_fits = self.share > 0.0 && self.share <= 1.0;
        if !share_fits || channels == 0 || !line_integrals.len().is_multiple_of(channels) {
            return Err(Error::Setting(format!(
                "expected a share of the dose above 0 and at most 1 and the same rows for each of \
                 {channels} channels, found {} and {} samples",
                self.share,
                line_integrals.len()
            )));
        }
        let rows = line_integrals.len() / channels;
        if rows == 0 {
            return Ok(());
        }
        let lost = (1.0 - self.share) / self.share;
        let electronic = (1.0 + self.share) / self.share * self.electronic_noise.powi(2);
        let mut rng = Rng::new(self.seed, view, STREAM);
        for (values, incident) in line_integrals.chunks_exact_mut(rows).zip(self.incident) {
            for value in values {
                let inverse = f64::from(*value).exp() / f64::from(*incident);
                let variance = lost * inverse * (1.0 + electronic * inverse);
                *value += variance.sqrt() as f32 * rng.normal();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photons::quanta::{View, logarithm, transmit};

    fn spread(values: &[f32]) -> f64 {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        values
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / n
    }

    /// A scan at a quarter of the dose made by insertion has the spread of one made by counting.
    #[test]
    fn insertion_equals_counting_fewer_photons() {
        let scan = |incident: f32, view: u64| {
            let mut values = vec![5.0; 100_000];
            transmit(&mut values, &[incident; 1000], 100);
            let draw = View {
                seed: 9,
                view,
                electronic: 4.0,
            };
            draw.count(&mut values, &[]);
            logarithm(&mut values, &[incident; 1000], 100, 0.5);
            values
        };
        let mut inserted = scan(1e5, 0);
        let lower = LowerDose {
            share: 0.25,
            incident: &[1e5; 1000],
            electronic_noise: 4.0,
            seed: 2,
        };
        lower.apply(&mut inserted, 0).expect("a share");
        let (inserted, counted) = (spread(&inserted), spread(&scan(2.5e4, 1)));
        assert!(
            (inserted / counted - 1.0).abs() < 0.04,
            "{inserted} {counted}"
        );
    }

    #[test]
    fn the_same_dose_changes_nothing_and_more_is_refused() {
        let mut lower = LowerDose {
            share: 1.0,
            incident: &[1e4; 2],
            electronic_noise: 4.0,
            seed: 2,
        };
        let mut values = [1.0, 2.0, 3.0, 4.0];
        lower.apply(&mut values, 0).expect("a share");
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
        assert!(lower.apply(&mut values[1..], 0).is_err());
        lower.share = 1.2;
        assert!(lower.apply(&mut values, 0).is_err());
    }
}
