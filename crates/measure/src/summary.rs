//! Mean, spread and middle of a metric over cases.

use serde::Serialize;

use crate::Bootstrap;

/// A metric of one label over the cases where it is defined; `None` where there are too few.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Summary {
    /// Mean over cases.
    pub mean: Option<f64>,
    /// Standard deviation over cases, with n − 1; at least two cases.
    pub sd: Option<f64>,
    /// Median over cases; the mean of the middle two where their number is even.
    pub median: Option<f64>,
    /// Number of cases where the metric is defined.
    pub n: usize,
    /// The metric of all cases' voxels taken together.
    pub pooled: Option<f64>,
    /// Interval of the mean, where one was asked for and there are cases enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<[f64; 2]>,
}

impl Summary {
    pub(crate) fn of(
        values: impl IntoIterator<Item = Option<f64>>,
        pooled: Option<f64>,
        bootstrap: Option<&Bootstrap>,
    ) -> Self {
        let mut values: Vec<f64> = values.into_iter().flatten().collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let mean = mean(values.iter().copied());
        let sd = mean.filter(|_| n > 1).map(|mean| {
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt()
        });
        let median = (n > 0).then(|| 0.5 * (values[(n - 1) / 2] + values[n / 2]));
        Self {
            mean,
            sd,
            median,
            n,
            pooled,
            ci: bootstrap.and_then(|bootstrap| bootstrap.interval(&values)),
        }
    }
}

/// The mean; `None` of nothing.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values
        .into_iter()
        .fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn textbook_numbers() {
        let values = [4.0, 2.0, 5.0, 4.0, 9.0, 7.0, 5.0, 4.0];
        let s = Summary::of(values.map(Some).into_iter().chain([None]), None, None);
        assert_eq!((s.mean, s.median, s.n), (Some(5.0), Some(4.5), 8));
        assert!((s.sd.expect("eight values") - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(
            Summary::of([Some(3.0), Some(1.0), Some(2.0)], None, None).median,
            Some(2.0)
        );
    }

    #[test]
    fn too_few_cases_leave_numbers_undefined() {
        assert_eq!(Summary::of([None], None, None), Summary::default());
        let one = Summary::of([Some(0.5)], Some(0.25), None);
        assert_eq!((one.mean, one.sd, one.median), (Some(0.5), None, Some(0.5)));
        assert_eq!((one.n, one.pooled), (1, Some(0.25)));
    }
}
