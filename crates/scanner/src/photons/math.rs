//! Exponential, logarithm, sine and cosine in plain arithmetic that the compiler turns into
//! vectors, with the same result on every machine.
//!
//! All reduce the argument and evaluate a polynomial in what is left: for the first two fitted in
//! the Chebyshev points of the reduced range, for the last two the Taylor series.

use std::f32::consts::{FRAC_PI_2, LOG2_E, SQRT_2};

/// ln 2 in two parts; the first has so few digits that its product with an exponent is exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// Added to a small number it leaves the nearest integer in the low bits.
const INTEGER: f32 = 12_582_912.0;

/// `e^x` to a relative error of 2e-7; `x` is taken as if within -87.3 and 88.3.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Not clamp: these comparisons become one instruction each.
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
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

/// `ln x` of a positive normal number, to 2e-7 of the result or of 1, whichever is larger.
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
    (power * LN_2[1] + value) + power * LN_2[0]
}

/// Sine and cosine of `turns` full turns, from 0 to 1, to 2e-7.
#[inline(always)]
pub(crate) fn sin_cos_of_turn(turns: f32) -> [f32; 2] {
    let quarters = 4.0 * turns;
    let shifted = quarters + INTEGER;
    let x = (quarters - (shifted - INTEGER)) * FRAC_PI_2;
    let square = x * x;
    let sin = 2.755_731_9e-6 * square - 1.984_127e-4;
    let sin = sin * square + 8.333_333e-3;
    let sin = sin * square - 1.666_666_7e-1;
    let sin = sin * square * x + x;
    let cos = -2.755_732e-7 * square + 2.480_158_7e-5;
    let cos = cos * square - 1.388_888_9e-3;
    let cos = cos * square + 4.166_666_7e-2;
    let cos = cos * square - 0.5;
    let cos = cos * square + 1.0;
    let quarter = shifted.to_bits();
    let (a, b) = if quarter & 1 == 0 {
        (sin, cos)
    } else {
        (cos, sin)
    };
    // The sine changes sign in quarters 2 and 3, the cosine in 1 and 2.
    let sign = |value: f32, negative: u32| f32::from_bits(value.to_bits() ^ negative << 31);
    [
        sign(a, quarter >> 1 & 1),
        sign(b, (quarter ^ quarter >> 1) & 1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_agree_with_double_precision() {
        for i in 0..=1_000_000 {
            let part = f64::from(i) / 1e6;
            let x = (part * 174.0 - 87.0) as f32;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-7, "exp {x}");
            let exact = f64::from(exp(x)).ln();
            let error = (f64::from(ln(exp(x))) - exact).abs();
            assert!(error < 2e-7 * exact.abs().max(1.0), "ln {x}");
            let turns = part as f32;
            let (sin, cos) = (std::f64::consts::TAU * f64::from(turns)).sin_cos();
            let found = sin_cos_of_turn(turns);
            assert!((f64::from(found[0]) - sin).abs() < 2e-7, "sin {turns}");
            assert!((f64::from(found[1]) - cos).abs() < 2e-7, "cos {turns}");
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
        assert!(exp(-1e9) < 2e-38 && exp(1e9) > 1e38);
    }
}
