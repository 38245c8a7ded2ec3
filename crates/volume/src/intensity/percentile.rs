//! Percentiles of samples.
//!
//! Linear between order statistics: percentile p of n values lies at rank `p / 100 * (n - 1)`
//! (Hyndman and Fan 1996, definition 7, doi:10.1080/00031305.1996.10473566), NumPy's default.

/// The percentiles (0 to 100, in any order) of the finite values; NaN for each where there are
/// none. A percentile beyond 0 or 100 counts as 0 or 100.
#[must_use]
pub fn percentiles(values: &[f32], percents: &[f64]) -> Vec<f32> {
    let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let Some(last) = finite.len().checked_sub(1) else {
        return vec![f32::NAN; percents.len()];
    };
    let rank = |percent: f64| percent.clamp(0.0, 100.0) / 100.0 * last as f64;

    let mut needed: Vec<usize> = percents
        .iter()
        .flat_map(|&p| [rank(p).floor() as usize, rank(p).ceil() as usize])
        .collect();
    needed.sort_unstable();
    needed.dedup();
    // Each selection puts one rank in its place and all above it after, which is all that the
    // next one needs: linear time instead of a sort.
    let mut start = 0;
    for rank in needed {
        finite[start..].select_nth_unstable_by(rank - start, f32::total_cmp);
        start = rank + 1;
    }
    percents
        .iter()
        .map(|&percent| {
            let rank = rank(percent);
            let low = f64::from(finite[rank.floor() as usize]);
            let high = f64::from(finite[rank.ceil() as usize]);
            (low + (high - low) * rank.fract()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// `numpy.percentile([15, 20, 35, 40, 50], [40, 5, 0, 100, 50])`.
    #[test]
    fn as_numpy() {
        let found = percentiles(
            &[50.0, 15.0, 40.0, 20.0, 35.0],
            &[40.0, 5.0, 0.0, 100.0, 50.0],
        );
        assert_eq!(found, [29.0, 16.0, 15.0, 50.0, 35.0]);
    }

    #[test]
    fn agrees_with_sorting() {
        let mut rng = Rng::new(5, 0, 0);
        let values: Vec<f32> = (0..1001).map(|_| rng.normal()).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        let percents = [99.0, 0.1, 1.0, 50.0, 0.0, 100.0, 50.0];
        let expected = percents.map(|p| sorted[(p * 10.0_f64).round() as usize]);
        for (found, expected) in percentiles(&values, &percents).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn only_finite_values_count() {
        let values = [f32::NAN, 1.0, f32::INFINITY, 3.0, f32::NEG_INFINITY];
        assert_eq!(percentiles(&values, &[0.0, 50.0, 150.0]), [1.0, 2.0, 3.0]);
        assert!(percentiles(&[f32::NAN], &[50.0])[0].is_nan());
        assert!(percentiles(&[], &[]).is_empty());
    }
}
