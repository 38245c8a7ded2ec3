//! Sine and cosine in plain arithmetic that the compiler turns into vectors, with the same result on
//! every machine, as [`crossmod_volume::elementary`] has other functions.
//!
//! The argument is reduced to an eighth of a turn, and its Taylor series is evaluated.

use std::f32::consts::FRAC_PI_2;

/// Added to a small number it leaves the nearest integer in the low bits.
const INTEGER: f32 = 12_582_912.0;

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
    use crossmod_volume::elementary::{exp, ln};

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
