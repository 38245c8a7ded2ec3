//! The normal distribution: how much of it lies below, and below what so much lies.

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

/// The part of the standard normal distribution below `z`.
pub(crate) fn below(z: f64) -> f64 {
    if z < 0.0 { above(-z) } else { 1.0 - above(z) }
}

/// The part above `z`, exact in proportion also far out.
pub(crate) fn above(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - above(-z);
    }
    let x = z / SQRT_2;
    if x < 2.0 {
        // The Maclaurin series of the error function (DLMF 7.6.2), all of whose terms are positive.
        let mut term = x;
        let mut sum = x;
        let mut n = 0.0;
        while term > 1e-17 * sum {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return 0.5 * (1.0 - FRAC_2_SQRT_PI * (-x * x).exp() * sum);
    }
    // The continued fraction of the complement (DLMF 7.9.1), from its end.
    let fraction = (1..=80)
        .rev()
        .fold(x, |below, n| x + 0.5 * f64::from(n) / below);
    0.5 * (-x * x).exp() / (PI.sqrt() * fraction)
}

/// The z that `share` of the distribution lies below; infinite at 0 and 1.
pub(crate) fn quantile(share: f64) -> f64 {
    if share <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if share >= 1.0 {
        return f64::INFINITY;
    }
    if share > 0.5 {
        return -quantile(1.0 - share);
    }
    // Bisection: from 0 down to where `f64` ends, each step halving.
    let (mut low, mut high) = (-40.0_f64, 0.0_f64);
    while high - low > 1e-15 * (1.0 + high.abs()) {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.special.ndtr(-z)`, SciPy 1.17.1.
    #[test]
    fn tails_are_those_of_tables() {
        let tails = [
            (0.0, 0.5),
            (0.5, 0.308_537_538_725_986_9),
            (1.959_963_984_540_054, 0.025_000_000_000_000_023),
            (2.8, 0.002_555_130_330_427_93),
            (2.9, 0.001_865_813_300_384_045),
            (6.0, 9.865_876_450_376_982e-10),
            (20.0, 2.753_624_118_606_233_7e-89),
        ];
        for (z, tail) in tails {
            assert!((above(z) / tail - 1.0).abs() < 1e-12, "{z} {}", above(z));
            assert!((below(-z) / tail - 1.0).abs() < 1e-12);
            assert!((below(z) + tail - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn quantiles_are_what_so_much_lies_below() {
        for share in [1e-300, 1e-9, 0.025, 0.3, 0.5, 0.9, 0.999_999] {
            let z = quantile(share);
            assert!((below(z) / share - 1.0).abs() < 1e-12, "{share} {z}");
        }
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
    }
}
