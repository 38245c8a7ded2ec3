//! Distributions of intensities as quantiles, and giving values another distribution.
//!
//! A distribution is its quantiles at even probabilities, linear between them. Histogram matching
//! maps a value v to Q(F(v)), with F the distribution function of the values at hand and Q the
//! quantile function asked for (Gonzalez and Woods, "Digital Image Processing", 4th ed. 2018,
//! section 3.3), so that their order stays and the tissue's histogram comes out.
//!
//! F is taken from a histogram of 65536 even bins between the least and the greatest value, linear
//! within a bin. Values of which many are equal, such as pictures of 8 bits, are to be told apart
//! before (textures are): equal values stay equal.

use crossmod_volume::rng::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::prior::QUANTILES;
use crate::{Error, Result};

/// Bins of the histogram that values are ranked by.
const BINS: usize = 1 << 16;

/// Values that one thread counts or maps at a time.
const CHUNK: usize = 1 << 16;

/// Probability that a normal distribution's quantiles leave out at either end.
const TAIL: f64 = 1.0 / 512.0;

/// A distribution: its quantiles at even probabilities from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct Quantiles(Vec<f32>);

impl TryFrom<Vec<f32>> for Quantiles {
    type Error = Error;

    fn try_from(values: Vec<f32>) -> Result<Self> {
        let rising = values.is_sorted() && values.iter().all(|v| v.is_finite());
        if values.len() >= 2 && rising {
            return Ok(Self(values));
        }
        Err(Error::Recipe(format!(
            "expected at least two quantiles that rise, found {} that do not",
            values.len()
        )))
    }
}

impl From<Quantiles> for Vec<f32> {
    fn from(quantiles: Quantiles) -> Self {
        quantiles.0
    }
}

impl Quantiles {
    /// Of values, at `count` (at least 2) even probabilities; `None` where none is finite.
    #[must_use]
    pub fn of(mut values: Vec<f32>, count: usize) -> Option<Self> {
        values.retain(|v| v.is_finite());
        values.par_sort_unstable_by(f32::total_cmp);
        let last = values.len().checked_sub(1)?;
        let count = count.max(2);
        let quantile = |i: usize| {
            let rank = i as f64 / (count - 1) as f64 * last as f64;
            let (low, high) = (
                values[rank as usize],
                values[(rank.ceil() as usize).min(last)],
            );
            low + (high - low) * rank.fract() as f32
        };
        Some(Self((0..count).map(quantile).collect()))
    }

    /// Of a normal distribution without its outermost 1/512 at either end.
    #[must_use]
    pub fn normal(mean: f32, sd: f32) -> Self {
        Self::of_mixture(&[(1.0, mean, sd)])
    }

    /// Of a mixture of normal distributions, each a weight, a mean and a standard deviation.
    #[must_use]
    pub fn of_mixture(parts: &[(f32, f32, f32)]) -> Self {
        if let [(_, mean, sd)] = parts {
            let at = |i: usize| i as f64 / (QUANTILES - 1) as f64;
            let value = |i| mean + sd * normal_quantile(at(i).clamp(TAIL, 1.0 - TAIL)) as f32;
            return Self((0..QUANTILES).map(value).collect());
        }
        let sum: f32 = parts.iter().map(|p| p.0).sum();
        let mut values = Vec::new();
        for &(weight, mean, sd) in parts {
            let count = (weight / sum * 16_384.0) as usize;
            values.extend((0..count).map(|i| {
                let p = (i as f64 + 0.5) / count as f64;
                mean + sd * normal_quantile(p.clamp(TAIL, 1.0 - TAIL)) as f32
            }));
        }
        Self::of(values, QUANTILES).unwrap_or_else(|| Self(vec![0.0; 2]))
    }

    /// The quantile of a probability; beyond 0 and 1 the ends.
    #[must_use]
    pub fn at(&self, probability: f32) -> f32 {
        let last = self.0.len() - 1;
        let place = probability.clamp(0.0, 1.0) * last as f32;
        let low = (place as usize).min(last - 1);
        let share = place - low as f32;
        self.0[low] + (self.0[low + 1] - self.0[low]) * share
    }

    /// The quantiles.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Gives values this distribution, in their order. Values that are not finite count as 0.
    pub fn impose(&self, values: &mut [f32]) {
        let Some(ranks) = Ranks::of(values) else {
            let middle = self.at(0.5);
            values.fill(middle);
            return;
        };
        values.par_chunks_mut(CHUNK).for_each(|chunk| {
            chunk
                .iter_mut()
                .for_each(|v| *v = self.at(ranks.of_value(*v)))
        });
    }
}

/// The distribution function of values.
struct Ranks {
    low: f32,
    bins_per_unit: f32,
    /// The share of values before each bin, and 1 at the end.
    before: Vec<f32>,
}

impl Ranks {
    /// `None` where the values do not differ.
    fn of(values: &mut [f32]) -> Option<Self> {
        let bounds = |chunk: &mut [f32]| {
            let mut bounds = (f32::INFINITY, f32::NEG_INFINITY);
            for v in chunk {
                if !v.is_finite() {
                    *v = 0.0;
                }
                bounds = (bounds.0.min(*v), bounds.1.max(*v));
            }
            bounds
        };
        let wider = |a: (f32, f32), b: (f32, f32)| (a.0.min(b.0), a.1.max(b.1));
        let (low, high) = values
            .par_chunks_mut(CHUNK)
            .map(bounds)
            .reduce_with(wider)?;
        let bins_per_unit = BINS as f32 / (high - low);
        if !bins_per_unit.is_finite() || bins_per_unit <= 0.0 {
            return None;
        }
        let bin = |v: f32| (((v - low) * bins_per_unit) as usize).min(BINS - 1);
        let counts = values
            .par_chunks(CHUNK)
            .with_min_len(8)
            .fold(
                || vec![0u32; BINS],
                |mut counts, chunk| {
                    for &v in chunk {
                        let count = &mut counts[bin(v)];
                        *count = count.wrapping_add(1);
                    }
                    counts
                },
            )
            .reduce_with(|mut a, b| {
                a.iter_mut()
                    .zip(b)
                    .for_each(|(a, b)| *a = a.wrapping_add(b));
                a
            })?;
        let all = values.len() as f64;
        let mut sum = 0u64;
        let mut before = Vec::with_capacity(BINS + 1);
        before.push(0.0);
        for count in counts {
            sum += u64::from(count);
            before.push((sum as f64 / all) as f32);
        }
        Some(Self {
            low,
            bins_per_unit,
            before,
        })
    }

    fn of_value(&self, value: f32) -> f32 {
        let place = (value - self.low) * self.bins_per_unit;
        let bin = (place as usize).min(BINS - 1);
        let (low, high) = (self.before[bin], self.before[bin + 1]);
        low + (high - low) * (place - bin as f32).min(1.0)
    }
}

/// Adds to each value a uniform number of at most half a step, so that values of a picture of so
/// many steps become all different. One stream per slice of `slice` values.
pub(crate) fn dither(values: &mut [f32], slice: usize, step: f32, seed: u64) {
    let slices = values.par_chunks_mut(slice.max(1)).enumerate();
    slices.for_each(|(z, chunk)| {
        let mut rng = Rng::new(seed, z as u64, 0);
        chunk
            .iter_mut()
            .for_each(|v| *v += step * (rng.unit() - 0.5));
    });
}

/// The standard normal quantile of a probability within (0, 1).
///
/// Algorithm AS 241, PPND7, good to 7 digits (Wichura, Applied Statistics 37:477, 1988,
/// doi:10.2307/2347330); the branch for probabilities below 1e-11 is left out.
fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        let above =
            ((59.109_374_720 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9;
        let below = ((67.187_563_600 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0;
        return q * above / below;
    }
    let r = (-p.min(1.0 - p).ln()).sqrt() - 1.6;
    let above =
        ((0.170_238_211_03 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r + 1.423_437_277_7;
    let below = (0.120_211_329_75 * r + 0.737_001_642_50) * r + 1.0;
    (above / below).copysign(q)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The greatest distance between the distribution function of values and that of quantiles
    /// (Kolmogorov–Smirnov).
    pub(crate) fn ks(values: &[f32], reference: &Quantiles) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let n = sorted.len() as f64;
        // At each quantile and half-way between them: F of the values against the probability.
        let steps = 4 * (reference.0.len() - 1);
        let far = |i: usize| {
            let p = i as f64 / steps as f64;
            let q = reference.at(p as f32);
            // Equal quantiles are a step of the distribution function: any probability fits there.
            let least = sorted.partition_point(|&v| v < q) as f64 / n;
            let most = sorted.partition_point(|&v| v <= q) as f64 / n;
            (least - p).max(p - most).max(0.0)
        };
        (0..=steps).map(far).fold(0.0, f64::max)
    }

    #[test]
    fn normal_quantiles_are_scipys() {
        // scipy.stats.norm.ppf, SciPy 1.17.1.
        for (p, q) in [
            (0.5, 0.0),
            (0.1, -1.281_551_566),
            (0.95, 1.644_853_627),
            (0.999, 3.090_232_306),
            (0.002, -2.878_161_739),
        ] {
            assert!(
                (normal_quantile(p) - q).abs() < 1e-6,
                "{p}: {}",
                normal_quantile(p)
            );
        }
        let normal = Quantiles::normal(40.0, 10.0);
        let n = 100_000;
        let values: Vec<f64> = (0..n)
            .map(|i| f64::from(normal.at(i as f32 / n as f32)))
            .collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!((mean - 40.0).abs() < 0.05, "{mean}");
        assert!(
            (square.sqrt() / 10.0 - 1.0).abs() < 0.015,
            "{}",
            square.sqrt()
        );
    }

    #[test]
    fn matched_values_follow_the_reference_and_keep_their_order() {
        let mut rng = Rng::new(3, 1, 4);
        let source: Vec<f32> = (0..200_000)
            .map(|_| rng.normal() + rng.unit().powi(3))
            .collect();
        let two = Quantiles::of_mixture(&[(0.4, -100.0, 15.0), (0.6, 50.0, 20.0)]);
        for reference in [Quantiles::normal(50.0, 20.0), two] {
            let mut values = source.clone();
            reference.impose(&mut values);
            assert!(
                ks(&values, &reference) < 0.002,
                "{}",
                ks(&values, &reference)
            );
            for (a, b) in source.windows(2).zip(values.windows(2)) {
                assert!((a[0] - a[1]) * (b[0] - b[1]) >= 0.0, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_sample_of_another_image_is_matched() {
        // The reference is a sample, known by 1025 quantiles; the distance is to the sample itself.
        let mut rng = Rng::new(9, 2, 6);
        let sample: Vec<f32> = (0..100_000)
            .map(|_| match rng.chance(0.3) {
                true => -100.0 + 20.0 * rng.normal(),
                false => 45.0 + 12.0 * rng.normal(),
            })
            .collect();
        let reference = Quantiles::of(sample.clone(), 1025).expect("finite");
        let mut values: Vec<f32> = (0..150_000).map(|_| rng.unit()).collect();
        reference.impose(&mut values);
        let exact = Quantiles::of(sample, 100_000).expect("finite");
        assert!(ks(&values, &exact) < 0.002, "{}", ks(&values, &exact));
    }

    #[test]
    fn a_mixture_has_its_parts_shares() {
        let mixture = Quantiles::of_mixture(&[(1.0, -100.0, 5.0), (3.0, 40.0, 5.0)]);
        assert!(mixture.at(0.2) < -80.0 && mixture.at(0.3) > 20.0);
    }

    #[test]
    fn flat_and_broken_values_end_well() {
        let reference = Quantiles::normal(0.0, 1.0);
        let mut flat = vec![7.0; 10];
        reference.impose(&mut flat);
        assert!(flat.iter().all(|v| v.abs() < 1e-6), "{flat:?}");
        let mut broken = vec![f32::NAN, 1.0, f32::INFINITY, -1.0];
        reference.impose(&mut broken);
        assert!(broken.iter().all(|v| v.is_finite()));
        reference.impose(&mut []);
        assert!(Quantiles::of(vec![f32::NAN], 65).is_none());
        assert!(Quantiles::try_from(vec![1.0, 0.0]).is_err());
        assert!(Quantiles::try_from(vec![1.0]).is_err());
    }

    #[test]
    fn dithered_steps_are_all_different() {
        let mut values: Vec<f32> = (0..4096).map(|i| (i / 1024) as f32).collect();
        dither(&mut values, 1024, 1.0, 5);
        let reference = Quantiles::normal(0.0, 1.0);
        reference.impose(&mut values);
        assert!(ks(&values, &reference) < 0.002 + 8.0 / 4096.0);
    }
}
