//! The best two groups of numbers, by their histogram.
//!
//! The cut with the least sum of squares about the two means, sought over all cuts between bins: the
//! optimum of 2-means in one dimension, which iterations may miss. Bins are as wide as a 4096th of the
//! range: of a CT without air, one HU at most.

use rayon::prelude::*;

/// Bins between the least number and the greatest.
const BINS: usize = 4096;

/// Parts of the range in which numbers are added, as whole numbers: so that sums do not depend on their
/// order.
const FINE: f64 = (1 << 30) as f64;

/// How many numbers fall into each bin, and the sum of their shares of the range.
pub(super) struct Histogram {
    low: f32,
    width: f64,
    bins: Vec<(u64, i64)>,
}

/// Two groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TwoMeans {
    /// Their means.
    pub(super) centres: [f32; 2],
    /// Half-way between them: numbers from it on are of the upper group.
    pub(super) threshold: f32,
}

impl Histogram {
    /// Of what `taken` makes of the finite numbers, by their place.
    pub(super) fn of(numbers: &[f32], taken: impl Fn(usize, f32) -> Option<f32> + Sync) -> Self {
        let each = || {
            let numbers = numbers.par_iter().enumerate().with_min_len(1 << 14);
            numbers.filter_map(|(i, &v)| taken(i, v).filter(|v| v.is_finite()))
        };
        let ends = || (f32::INFINITY, f32::NEG_INFINITY);
        let wider = |a: (f32, f32), b: (f32, f32)| (a.0.min(b.0), a.1.max(b.1));
        let (low, high) = each().map(|v| (v, v)).reduce(ends, wider);
        let width = (f64::from(high) - f64::from(low)).max(f64::MIN_POSITIVE);
        let none = || vec![(0, 0); BINS];
        let bins = each().fold(none, |mut bins, v| {
            let share = (f64::from(v) - f64::from(low)) / width;
            let bin: &mut (u64, i64) = &mut bins[((share * BINS as f64) as usize).min(BINS - 1)];
            bin.0 += 1;
            bin.1 += (share * FINE).round() as i64;
            bins
        });
        let bins = bins.reduce(none, |mut a, b| {
            for (a, b) in a.iter_mut().zip(b) {
                *a = (a.0 + b.0, a.1 + b.1);
            }
            a
        });
        Self { low, width, bins }
    }

    /// The two groups; `None` where all numbers are alike or there are none.
    pub(super) fn two_means(&self) -> Option<TwoMeans> {
        let add = |sum: (f64, f64), bin: &(u64, i64)| (sum.0 + bin.0 as f64, sum.1 + bin.1 as f64);
        let (count, total) = self.bins.iter().fold((0.0, 0.0), add);
        let mut below = (0.0, 0.0);
        let mut best: Option<(f64, [f64; 2])> = None;
        for bin in &self.bins {
            below = add(below, bin);
            let above = (count - below.0, total - below.1);
            if bin.0 == 0 || above.0 <= 0.0 {
                continue;
            }
            let means = [below.1 / below.0, above.1 / above.0];
            // What all cuts share left out, the sum of squares falls by this.
            let gain = below.0 * above.0 * (means[1] - means[0]).powi(2);
            if best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, means));
            }
        }
        let (_, means) = best?;
        let centres = means.map(|mean| (f64::from(self.low) + mean / FINE * self.width) as f32);
        Some(TwoMeans {
            centres,
            threshold: 0.5 * (centres[0] + centres[1]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        values: Vec<f32>,
        centres: [f32; 2],
    }

    /// `testdata/two_means.py` made these with scikit-learn's KMeans.
    #[test]
    fn means_are_scikit_learns() {
        let text = include_str!("../../../testdata/two_means.json");
        let cases: Vec<Case> = serde_json::from_str(text).expect("goldens");
        assert!(cases.len() >= 4);
        for case in cases {
            let two = Histogram::of(&case.values, |_, v| Some(v))
                .two_means()
                .expect("two groups");
            for (found, expected) in two.centres.iter().zip(case.centres) {
                assert!(
                    (found - expected).abs() < 0.01,
                    "{two:?} for {:?}",
                    case.centres
                );
            }
        }
    }

    #[test]
    fn no_other_cut_is_better() {
        let mut rng = crossmod_volume::rng::Rng::new(5, 0, 0);
        for _ in 0..20 {
            let gap = rng.uniform(0.0, 3.0);
            let mut values: Vec<f32> = (0..300)
                .map(|_| rng.normal() + if rng.chance(0.2) { gap } else { 0.0 })
                .collect();
            values.sort_by(f32::total_cmp);
            let squares = |part: &[f32]| {
                let mean = part.iter().map(|&v| f64::from(v)).sum::<f64>() / part.len() as f64;
                part.iter()
                    .map(|&v| (f64::from(v) - mean).powi(2))
                    .sum::<f64>()
            };
            let cost = |at: usize| squares(&values[..at]) + squares(&values[at..]);
            let least = (1..300).map(cost).fold(f64::INFINITY, f64::min);
            let two = Histogram::of(&values, |_, v| Some(v))
                .two_means()
                .expect("two groups");
            let found = cost(values.partition_point(|&v| v < two.threshold));
            assert!(found <= least * 1.0001, "{found} {least}");
        }
        assert_eq!(Histogram::of(&[2.0; 9], |_, v| Some(v)).two_means(), None);
        assert_eq!(Histogram::of(&[], |_, v| Some(v)).two_means(), None);
        let far = Histogram::of(&[-3e38, 3e38, 2.9e38], |_, v| Some(v)).two_means();
        assert!(far.is_some_and(|two| two.threshold.is_finite()));
    }
}
