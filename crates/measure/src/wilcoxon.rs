//! Whether two runs differ on the same cases: Wilcoxon's signed-rank test (Wilcoxon 1945,
//! doi:10.2307/3001968), two-sided.
//!
//! Cases without a difference are left out, and equal differences share the mean of their ranks. As
//! `scipy.stats.wilcoxon` does by default, the probability is exact up to 50 cases where no
//! differences are equal or zero, exact over all changes of signs up to 13 cases where some are, and
//! otherwise from the normal distribution, corrected for ties and not for continuity.

use crate::normal;

/// Most cases of an exact test.
const EXACT: usize = 50;
/// Most cases of an exact test where some differences are equal or zero.
const EXACT_WITH_TIES: usize = 13;

/// Outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRank {
    /// The lesser of the sums of ranks of the positive and of the negative differences.
    pub statistic: f64,
    /// How probable differences at least as one-sided are where neither run is better.
    pub p: f64,
}

/// The test of paired differences; `None` where no case differs.
#[must_use]
pub fn signed_rank(differences: &[f64]) -> Option<SignedRank> {
    let mut differing: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    differing.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = differing.len();
    if n == 0 || differing.iter().any(|d| d.is_nan()) {
        return None;
    }
    // Twice the ranks, so that shared ones are whole.
    let mut doubled = Vec::with_capacity(n);
    let mut ties = 0.0;
    for group in differing.chunk_by(|a, b| a.abs() == b.abs()) {
        let (first, k) = (doubled.len(), group.len());
        doubled.extend(std::iter::repeat_n(2 * first + k + 1, k));
        ties += (k as f64).powi(3) - k as f64;
    }
    let signed = differing.iter().zip(&doubled);
    let positive: usize = signed.filter(|(d, _)| **d > 0.0).map(|(_, r)| r).sum();
    let total = n * (n + 1);
    let plain = ties == 0.0 && n == differences.len();
    let most = if plain { EXACT } else { EXACT_WITH_TIES };
    let p = if differences.len() <= most {
        exact(&doubled, positive, total)
    } else {
        let n = n as f64;
        let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
        let z = (positive as f64 / 2.0 - n * (n + 1.0) / 4.0) / variance.sqrt();
        2.0 * normal::above(z.abs())
    };
    Some(SignedRank {
        statistic: positive.min(total - positive) as f64 / 2.0,
        p: p.min(1.0),
    })
}

/// Twice the probability of a sum at least as far from the middle, each rank counting or not with the
/// same probability.
fn exact(ranks: &[usize], sum: usize, total: usize) -> f64 {
    let mut probability = vec![0.0; total + 1];
    probability[0] = 1.0;
    let mut reached = 0;
    for &rank in ranks {
        reached += rank;
        for at in (0..=reached).rev() {
            let before = at.checked_sub(rank).map_or(0.0, |at| probability[at]);
            probability[at] = 0.5 * (probability[at] + before);
        }
    }
    let least = sum.min(total - sum);
    2.0 * probability[..=least].iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goldens;

    /// Small and large, with and without ties and zeros; `testdata/statistics.py`.
    #[test]
    fn as_scipy() {
        let golden = goldens::read("statistics.json");
        let trials = golden["wilcoxon"].as_array().expect("a list");
        assert!(trials.len() > 20);
        for trial in trials {
            let list = trial["differences"].as_array().expect("a list");
            let differences: Vec<f64> =
                list.iter().map(|d| d.as_f64().expect("a number")).collect();
            let found = signed_rank(&differences).expect("some differ");
            let number = |key: &str| trial[key].as_f64().expect("a number");
            assert_eq!(found.statistic, number("statistic"), "{trial}");
            let p = number("p");
            assert!(
                (found.p - p).abs() < 1e-9 * p.max(1e-3),
                "{} {trial}",
                found.p
            );
        }
    }

    #[test]
    fn runs_that_never_differ_are_not_tested() {
        assert_eq!(signed_rank(&[]), None);
        assert_eq!(signed_rank(&[0.0, 0.0]), None);
        assert_eq!(signed_rank(&[0.0, f64::NAN]), None);
        assert_eq!(signed_rank(&[0.1]).map(|t| t.p), Some(1.0));
    }
}
