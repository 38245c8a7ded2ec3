//! Exponential and logarithm in plain arithmetic that the compiler turns into vectors.
//!
//! Both reduce the argument by powers of 2 and evaluate a polynomial fitted (in the Chebyshev
//! points of the reduced range) to what is left.

use std::f32::consts::{LOG2_E, SQRT_2};

/// Below it the result would no longer be a normal number.
const LOWEST: f32 = -87.3;

/// Above it the result would no longer be finite.
const HIGHEST: f32 = 88.3;

/// ln 2 in two parts; the first has so few digits that its product with an exponent is exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// `e^x`, to a relative error of 2e-7; `x` is taken as if within -87.3 and 88.3. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
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
pub(crate) fn ln(x: f32) -> f32 {
    const MANTISSA: u32 = (1 << 23) - 1;
    let half = f32::from_bits(x.to_bits() & MANTISSA | 1f32.to_bits());
    let exponent = (x.to_bits() >> 23) as i32 - 127;
    let large = half > SQRT_2;
    let m = if large { 0.5 * half } else { half };
    let power = (exponent + i32::from(large)) as f32;
    // ln m = 2 artanh(s); (artanh(s) / s - 1) / s^2 on |s| <= 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let tail = (0.147_899_75 * square + 0.199_943_9) * square + 0.333_333_43;
    let value = 2.0 * s + 2.0 * s * square * tail;
    let sum = (power * LN_2[1] + value) + power * LN_2[0];
    if x.is_nan() { x } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_f64() {
        let steps = 2_000_000;
        for i in 0..=steps {
            let x = LOWEST + (HIGHEST - LOWEST) * (i as f32 / steps as f32);
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error <= 2e-7, "{x}: {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(f32::INFINITY) > 1e38);
    }

    #[test]
    fn ln_agrees_with_f64() {
        for i in 0..2_000_000u32 {
            // All exponents, mantissas at a stride.
            let x = f32::from_bits((1 << 23) + i * 1065);
            let exact = f64::from(x).ln();
            let error = (f64::from(ln(x)) - exact).abs() / exact.abs().max(1.0);
            assert!(error <= 2e-7, "{x}: {error}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert!(ln(f32::NAN).is_nan());
    }
}
