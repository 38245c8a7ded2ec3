//! How sure a mean over cases is: intervals by resampling the cases.
//!
//! Cases are drawn with replacement, as many as there are, and the mean taken; of many such means the
//! interval is made, by their percentiles or, corrected for bias and acceleration, as BCa (Efron 1987,
//! doi:10.1080/01621459.1987.10478410). Nothing is told of fewer than three cases: their means are
//! too few.
//!
//! Randomness: case `i` of resample `r` is a draw of the stream (seed, `bootstrap`, r).

use crossmod_volume::rng::{Rng, case_id};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::normal;

/// Fewest cases an interval is told of.
const FEWEST: usize = 3;

/// How an interval is made of the means of resamples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// The middle part of them.
    #[default]
    Percentile,
    /// That part moved as the bias and the skewness of the cases ask for.
    Bca,
}

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: u32,
    /// How often the interval is meant to hold the mean: 0.95.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
    /// By which rule.
    pub interval: Interval,
}

impl Default for Bootstrap {
    /// 2000 resamples, 95 %, seed 1, percentiles (Efron and Tibshirani 1993,
    /// doi:10.1201/9780429246593, advise 1000 and more).
    fn default() -> Self {
        Self {
            resamples: 2000,
            level: 0.95,
            seed: 1,
            interval: Interval::Percentile,
        }
    }
}

impl Bootstrap {
    /// The interval of the mean of `values`; `None` of fewer than three, or where none is finite.
    #[must_use]
    pub fn interval(&self, values: &[f64]) -> Option<[f64; 2]> {
        if values.len() < FEWEST || self.resamples == 0 {
            return None;
        }
        let mut means: Vec<f64> = (0..self.resamples)
            .into_par_iter()
            .map(|r| {
                let mut rng = Rng::new(self.seed, case_id("bootstrap"), r);
                let draws = (0..values.len()).map(|_| values[rng.below(values.len())]);
                draws.sum::<f64>() / values.len() as f64
            })
            .collect();
        means.sort_by(f64::total_cmp);
        self.of_means(values, &means)
    }

    /// The interval, of the means of resamples in order.
    fn of_means(&self, values: &[f64], means: &[f64]) -> Option<[f64; 2]> {
        let tail = (1.0 - self.level) / 2.0;
        let shares = match self.interval {
            Interval::Percentile => [tail, 1.0 - tail],
            Interval::Bca => corrected([tail, 1.0 - tail], values, means),
        };
        let ends = shares.map(|share| percentile(means, share));
        ends.iter().all(|end| end.is_finite()).then_some(ends)
    }
}

/// The shares whose percentiles make the interval, moved by bias and acceleration.
fn corrected(shares: [f64; 2], values: &[f64], means: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    // Resamples that give the mean itself count half to either side.
    let below = means.iter().filter(|m| **m < mean).count() as f64;
    let at = means.iter().filter(|m| **m == mean).count() as f64;
    let bias = normal::quantile((below + 0.5 * at) / means.len() as f64);
    // What leaving a case out does to the mean, in proportion.
    let without = |power: i32| values.iter().map(|v| (v - mean).powi(power)).sum::<f64>();
    let spread = without(2).powf(1.5);
    let acceleration = if spread > 0.0 {
        without(3) / (6.0 * spread)
    } else {
        0.0
    };
    shares.map(|share| {
        let z = bias + normal::quantile(share);
        normal::below(bias + z / (1.0 - acceleration * z))
    })
}

/// The percentile of sorted values, between two of them in proportion.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, above) = (place.floor() as usize, place - place.floor());
    let high = sorted[(low + 1).min(sorted.len() - 1)];
    sorted[low] + above * (high - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goldens;

    /// The intervals that SciPy makes of the same means; `testdata/statistics.py`.
    #[test]
    fn intervals_of_given_means_are_those_of_scipy() {
        let golden = goldens::read("statistics.json");
        let numbers = |v: &serde_json::Value| -> Vec<f64> {
            let list = v.as_array().expect("a list");
            list.iter().map(|v| v.as_f64().expect("a number")).collect()
        };
        let bootstrap = &golden["bootstrap"];
        let values = numbers(&bootstrap["values"]);
        let mut means = numbers(&bootstrap["means"]);
        means.sort_by(f64::total_cmp);
        for (interval, key) in [(Interval::Percentile, "percentile"), (Interval::Bca, "bca")] {
            let level = 0.9;
            let of = Bootstrap {
                interval,
                level,
                ..Bootstrap::default()
            };
            let found = of.of_means(&values, &means).expect("finite");
            for (a, b) in found.into_iter().zip(numbers(&bootstrap[key])) {
                assert!((a - b).abs() < 1e-9, "{key} {found:?}");
            }
        }
    }

    /// An interval holds the mean of what cases are drawn from about as often as it says.
    #[test]
    fn intervals_hold_the_mean_as_often_as_they_say() {
        for interval in [Interval::Percentile, Interval::Bca] {
            let of = Bootstrap {
                resamples: 400,
                level: 0.9,
                seed: 3,
                interval,
            };
            let trials = 400;
            let holds = (0..trials).filter(|&trial| {
                let mut rng = Rng::new(8, trial, 0);
                let values: Vec<f64> = (0..40).map(|_| f64::from(rng.normal())).collect();
                let [low, high] = of.interval(&values).expect("forty cases");
                low <= 0.0 && 0.0 <= high
            });
            let share = holds.count() as f64 / trials as f64;
            assert!((share - 0.9).abs() < 0.05, "{interval:?} {share}");
        }
    }

    #[test]
    fn few_or_undefined_cases_have_no_interval() {
        let of = Bootstrap::default();
        assert_eq!(of.interval(&[0.5, 0.7]), None);
        assert_eq!(of.interval(&[0.5, 0.7, f64::INFINITY]), None);
        assert_eq!(of.interval(&[0.5; 4]), Some([0.5; 2]));
        let bca = Bootstrap {
            interval: Interval::Bca,
            ..of
        };
        assert_eq!(bca.interval(&[0.5; 4]), Some([0.5; 2]));
        let values = [0.1, 0.9, 0.4, 0.7];
        assert_eq!(of.interval(&values), of.interval(&values));
    }
}
