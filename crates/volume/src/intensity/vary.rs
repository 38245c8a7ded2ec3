//! Changing intensities as training on varied images does: brightness, contrast, gamma, noise.
//!
//! The arithmetic is that of nnU-Net v2's augmentation (Isensee et al. 2021,
//! doi:10.1038/s41592-020-01008-z, its package batchgenerators): it works on images of any range,
//! such as normalised ones. What is drawn is the caller's; sums are in `f64` and in one order, so
//! that the result does not depend on threads. Values must be finite: one that is not spoils the
//! mean, and so all of them.
//!
//! ```
//! use crossmod_volume::intensity::vary;
//! let mut values = [0.0, 1.0, 2.0, 5.0];
//! vary::contrast(&mut values, 2.0);
//! assert_eq!(values, [0.0, 0.0, 2.0, 5.0]);
//! ```

use crate::rng::Rng;

/// No smaller range or standard deviation is divided by; nnU-Net's.
const LEAST: f64 = 1e-7;

/// Sums that run side by side, so that they need not wait for one another.
const LANES: usize = 8;

/// Multiplies by `factor`.
pub fn brightness(values: &mut [f32], factor: f32) {
    values.iter_mut().for_each(|v| *v *= factor);
}

/// Moves values away from their mean, `factor` times as far, or towards it, without leaving the
/// range they had.
pub fn contrast(values: &mut [f32], factor: f32) {
    let Some([low, high]) = range(values) else {
        return;
    };
    let mean = mean(values, |v| v) as f32;
    for v in values {
        *v = ((*v - mean) * factor + mean).max(low).min(high);
    }
}

/// Raises values, their range taken as 0 to 1, to a power, and gives them the mean and standard
/// deviation back that they had. `inverted` turns them upside down meanwhile, so that the power
/// works most on the bright ones.
pub fn gamma(values: &mut [f32], exponent: f32, inverted: bool) {
    let Some([low, high]) = range(values) else {
        return;
    };
    let before = moments(values);
    let width = (f64::from(high) - f64::from(low)).max(LEAST) as f32;
    let (from, sign) = if inverted { (high, -1.0) } else { (low, 1.0) };
    for v in &mut *values {
        let share = sign * (*v - from) / width;
        *v = sign * share.max(0.0).powf(exponent) * width + from;
    }
    let after = moments(values);
    let scale = before.1 / after.1.max(LEAST);
    for v in values {
        *v = ((f64::from(*v) - after.0) * scale + before.0) as f32;
    }
}

/// Adds normal noise, independent from value to value.
pub fn noise(values: &mut [f32], sd: f32, rng: &mut Rng) {
    values.iter_mut().for_each(|v| *v += sd * rng.normal());
}

/// The least and the greatest value; `None` where there are none.
fn range(values: &[f32]) -> Option<[f32; 2]> {
    let mut least = [f32::INFINITY; LANES];
    let mut most = [f32::NEG_INFINITY; LANES];
    for some in values.chunks(LANES) {
        for ((low, high), &v) in least.iter_mut().zip(&mut most).zip(some) {
            *low = low.min(v);
            *high = high.max(v);
        }
    }
    let low = least.into_iter().fold(f32::INFINITY, f32::min);
    let high = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    (low <= high).then_some([low, high])
}

fn mean(values: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    for some in values.chunks(LANES) {
        for (sum, &v) in sums.iter_mut().zip(some) {
            *sum += of(f64::from(v));
        }
    }
    sums.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Mean and standard deviation.
fn moments(values: &[f32]) -> (f64, f64) {
    let middle = mean(values, |v| v);
    let variance = mean(values, |v| (v - middle) * (v - middle));
    (middle, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Vec<f32> {
        (0..101).map(|i| i as f32 / 50.0 - 1.5).collect()
    }

    fn moments_plainly(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let square = |&v: &f32| (f64::from(v) - mean).powi(2);
        (mean, (values.iter().map(square).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn contrast_widens_about_the_mean_and_stays_in_the_range() {
        let mut values = ramp();
        contrast(&mut values, 0.5);
        for (after, before) in values.iter().zip(ramp()) {
            assert!((after - (before * 0.5 - 0.25)).abs() < 1e-6, "{after}");
        }
        let mut values = ramp();
        contrast(&mut values, 1.25);
        assert_eq!((values[0], values[100]), (-1.5, 0.5));
        assert!((values[50] + 0.5).abs() < 1e-6 && (values[60] + 0.25).abs() < 1e-6);
        contrast(&mut [], 2.0);
    }

    #[test]
    fn gamma_bends_and_keeps_mean_and_deviation() {
        let (mean, sd) = moments_plainly(&ramp());
        for (exponent, inverted) in [(0.7, false), (1.5, false), (1.5, true), (0.7, true)] {
            let mut values = ramp();
            gamma(&mut values, exponent, inverted);
            let found = moments_plainly(&values);
            assert!((found.0 - mean).abs() < 1e-6 && (found.1 - sd).abs() < 1e-6);
            assert!(values.is_sorted());
            // Up to what restores the moments, the curve is the power's.
            let share = |i: usize| {
                let share = (values[i] - values[0]) / (values[100] - values[0]);
                f64::from(share)
            };
            let x: f64 = if inverted { 0.75 } else { 0.25 };
            let bent = x.powf(f64::from(exponent));
            let expected = if inverted { 1.0 - bent } else { bent };
            assert!((share(25) - expected).abs() < 1e-5, "{exponent} {inverted}");
        }
    }

    #[test]
    fn what_is_flat_stays() {
        let mut values = [3.0; 9];
        gamma(&mut values, 1.5, false);
        gamma(&mut values, 0.7, true);
        contrast(&mut values, 1.2);
        assert_eq!(values, [3.0; 9]);
    }

    #[test]
    fn noise_has_its_deviation_and_repeats() {
        let mut values = vec![1.0; 20_000];
        noise(&mut values, 0.1, &mut Rng::new(1, 2, 3));
        let (mean, sd) = moments_plainly(&values);
        assert!((mean - 1.0).abs() < 0.003 && (sd - 0.1).abs() < 0.003);
        let mut again = vec![1.0; 20_000];
        noise(&mut again, 0.1, &mut Rng::new(1, 2, 3));
        assert_eq!(values, again);
        brightness(&mut again, 2.0);
        assert_eq!(again[7], 2.0 * values[7]);
    }
}
