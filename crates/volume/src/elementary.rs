//! Exponential, logarithm and power in plain arithmetic: the compiler turns loops over them into
//! vectors, and every machine gives the same bits, which the system's own functions do not promise.
//!
//! Arguments are reduced by powers of 2, and a polynomial, fitted in the Chebyshev points of the
//! reduced range, is evaluated for what is left.

use std::f32::consts::{LOG2_E, SQRT_2};

/// Below it the exponential would no longer be a normal number.
const LOWEST: f32 = -87.3;

/// Above it the exponential would no longer be finite.
const HIGHEST: f32 = 88.3;

/// ln 2 in two parts; the first has so few digits that its product with an exponent is exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// `e^x`, to a relative error of 2e-7; `x` is taken as if within -87.3 and 88.3. NaN stays NaN.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    // Added to a small number it leaves the nearest integer in the low bits.
    const INTEGER: f32 = 12_582_912.0;
    // Not clamp: these comparisons become one instruction each, and leave NaN.
    let x = if x < LOWEST { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let shifted = x * LOG2_E + INTEGER;
    let power = shifted - INTEGER;
    let r = (x - power * LN_2[0]) - power * LN_2[1];
    // (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2.
    let tail = 1.392_617_6e-3;
    let tail = tail * r + 8.363_173e-3;
    let tail = tail * r + 4.166_655_5e-2;
    let tail = tail * r + 1.666_657_7e-1;
    let tail = tail * r + 0.5;
    let value = (tail * (r * r) + r) + 1.0;
    let scale = (shifted.to_bits() << 23).wrapping_add(1f32.to_bits());
    value * f32::from_bits(scale)
}

/// `ln x` of a positive normal number, to 2e-7 of the result or of 1, whichever is larger. NaN
/// stays NaN.
#[inline(always)]
#[must_use]
pub fn ln(x: f32) -> f32 {
    const MANTISSA: u32 = (1 << 23) - 1;
    let half = f32::from_bits(x.to_bits() & MANTISSA | 1f32.to_bits());
    let exponent = ((x.to_bits() >> 23) as i32).wrapping_sub(127);
    let large = half > SQRT_2;
    let m = if large { 0.5 * half } else { half };
    let power = exponent.wrapping_add(i32::from(large)) as f32;
    // ln m = 2 artanh(s); (artanh(s) / s - 1) / s^2 on |s| <= 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let tail = (0.147_899_75 * square + 0.199_943_9) * square + 0.333_333_43;
    let value = 2.0 * s + 2.0 * s * square * tail;
    let sum = (power * LN_2[1] + value) + power * LN_2[0];
    if x.is_nan() { x } else { sum }
}

/// `x^exponent` of a number that is not negative, to a relative error of 2e-7 times the larger of 1
/// and |`exponent` ln `x`|; 0 where `x` is 0, subnormal or negative.
#[inline(always)]
#[must_use]
pub fn power(x: f32, exponent: f32) -> f32 {
    let value = exp(exponent * ln(x));
    // NaN goes through.
    if x < f32::MIN_POSITIVE { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from the least to the greatest, evenly in the exponent's digits.
    fn positive() -> impl Iterator<Item = f32> {
        let (least, most) = (f32::MIN_POSITIVE.to_bits(), f32::MAX.to_bits());
        (least..most).step_by(50_021).map(f32::from_bits)
    }

    #[test]
    fn exp_agrees_with_f64() {
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 2e-7, "{x} {error}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) > 0.0 && exp(f32::INFINITY).is_finite());
    }

    #[test]
    fn ln_agrees_with_f64() {
        for x in positive() {
            let expected = f64::from(x).ln();
            let error = (f64::from(ln(x)) - expected).abs();
            assert!(error < 2e-7 * expected.abs().max(1.0), "{x} {error}");
        }
        assert!(ln(1.0) == 0.0 && ln(f32::NAN).is_nan());
    }

    #[test]
    fn power_agrees_with_f64() {
        for exponent in [0.1, 0.5, 1.0, 2.3, 5.0] {
            for x in positive().filter(|x| (1e-7..=1.0).contains(x)) {
                let expected = f64::from(x).powf(f64::from(exponent));
                let error = (f64::from(power(x, exponent)) / expected - 1.0).abs();
                let size = (exponent * x.ln()).abs().max(1.0);
                assert!(error < 4e-7 * f64::from(size), "{x} {exponent} {error}");
            }
            assert_eq!(power(0.0, exponent), 0.0);
            assert_eq!(power(-1.0, exponent), 0.0);
            assert!((power(1.0, exponent) - 1.0).abs() < 1e-6);
            assert!(power(f32::NAN, exponent).is_nan());
        }
    }
}
