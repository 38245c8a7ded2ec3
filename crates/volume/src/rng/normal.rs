//! Normal numbers by the thousand: Box–Muller on several blocks of Philox side by side.
//!
//! Box & Muller, Annals of Mathematical Statistics 29(2):610-611, 1958, doi:10.1214/aoms/1177706645.
//! Every operation is plain arithmetic on arrays, which the compiler turns into vectors, and exact in
//! its rounding, so that all machines give the same bits.

use super::{Rng, philox4x32_10};
use crate::elementary::ln;

/// Blocks side by side.
const LANES: usize = 16;

/// Numbers from so many blocks.
const BATCH: usize = 4 * LANES;

/// Fills `out` from the stream's next block on.
pub(super) fn fill(rng: &mut Rng, out: &mut [f32]) {
    let mut batches = out.chunks_exact_mut(BATCH);
    for batch in &mut batches {
        batch.copy_from_slice(&next(rng));
    }
    let rest = batches.into_remainder();
    if !rest.is_empty() {
        rest.copy_from_slice(&next(rng)[..rest.len()]);
    }
}

fn next(rng: &mut Rng) -> [f32; BATCH] {
    let mut words = [[0u32; LANES]; 4];
    for lane in 0..LANES {
        let block = philox4x32_10(rng.counter, rng.key);
        rng.counter[0] = rng.counter[0].wrapping_add(1);
        for (word, bits) in words.iter_mut().zip(block) {
            word[lane] = bits;
        }
    }
    let [a, b, c, d] = words;
    let mut out = [0.0; BATCH];
    let (first, second) = out.split_at_mut(2 * LANES);
    pairs(&a, &b, first);
    pairs(&c, &d, second);
    out
}

/// A pair of numbers from each pair of words: one of each in the first half, the other in the second.
fn pairs(of_radius: &[u32; LANES], of_angle: &[u32; LANES], out: &mut [f32]) {
    /// 2⁻³¹.
    const UNIT: f32 = 1.0 / 2_147_483_648.0;
    /// A quarter turn, radians, by 2²⁴.
    const QUARTER: f32 = std::f32::consts::FRAC_PI_2 / 16_777_216.0;
    const SIGN: u32 = 1 << 31;
    let (cosines, sines) = out.split_at_mut(LANES);
    let words = of_radius.iter().zip(of_angle);
    for ((x, y), (&r, &a)) in cosines.iter_mut().zip(sines).zip(words) {
        // In (0, 1]: through signed integers, which have vectors everywhere.
        let uniform = ((r >> 1) as i32 as f32 + 0.5) * UNIT;
        let square = -ln(uniform);
        let radius = (if square > 0.0 { square } else { 0.0 }).sqrt();
        // Two bits choose the quarter, by signs; 24 the angle within it, here about its middle.
        let (sign_x, sign_y) = (a & SIGN, a << 1 & SIGN);
        let angle = ((a & 0xff_ffff) as i32 as f32 - 8_388_607.5) * QUARTER;
        let (s, c) = sine_and_cosine(angle);
        // Turned by an eighth, √2 times as long: the radius above is shorter by as much.
        *x = f32::from_bits((radius * (c - s)).to_bits() ^ sign_x);
        *y = f32::from_bits((radius * (c + s)).to_bits() ^ sign_y);
    }
}

/// Of an angle within ±π/4, to 1e-7: the first terms of the series.
#[inline(always)]
fn sine_and_cosine(angle: f32) -> (f32, f32) {
    let q = angle * angle;
    let sine = 1.0 + q * (-1.0 / 6.0 + q * (1.0 / 120.0 + q * (-1.0 / 5040.0 + q / 362_880.0)));
    let cosine = 1.0 + q * (-0.5 + q * (1.0 / 24.0 + q * (-1.0 / 720.0 + q / 40_320.0)));
    (angle * sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_agree_with_f64() {
        for i in -1000..=1000 {
            let angle = i as f32 * 1e-3 * std::f32::consts::FRAC_PI_4;
            let (s, c) = sine_and_cosine(angle);
            let (es, ec) = f64::from(angle).sin_cos();
            assert!((f64::from(s) - es).abs() < 1.5e-7 && (f64::from(c) - ec).abs() < 1.5e-7);
        }
    }

    /// Abramowitz & Stegun 7.1.26, to 1.5e-7.
    fn cumulative(x: f64) -> f64 {
        let t = 1.0 / (1.0 + 0.327_591_1 * x.abs() / 2f64.sqrt());
        let poly = t
            * (0.254_829_592
                + t * (-0.284_496_736
                    + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
        let tail = 0.5 * poly * (-x * x / 2.0).exp();
        if x < 0.0 { tail } else { 1.0 - tail }
    }

    #[test]
    fn numbers_are_normal_and_those_of_a_pair_independent() {
        let n = 1 << 20;
        let mut numbers = vec![0.0; n];
        Rng::new(5, 6, 7).fill_normal(&mut numbers);
        let values: Vec<f64> = numbers.iter().map(|&v| f64::from(v)).collect();
        let mean_of = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        for (power, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            let moment = mean_of(&|i| values[i].powi(power));
            // Four standard errors of the fourth power's mean, √96/√n.
            assert!((moment - expected).abs() < 0.04, "{power} {moment}");
        }
        for lag in [1, LANES, 2 * LANES, BATCH] {
            let both = mean_of(&|i| values[i] * values[(i + lag) % n]);
            let squares = mean_of(&|i| (values[i] * values[(i + lag) % n]).powi(2));
            assert!(
                both.abs() < 0.004 && (squares - 1.0).abs() < 0.012,
                "{lag} {both} {squares}"
            );
        }
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        let distance = |(i, &v): (usize, &f64)| (cumulative(v) - (i as f64 + 0.5) / n as f64).abs();
        let ks = sorted.iter().enumerate().map(distance).fold(0.0, f64::max);
        // Exceeded by chance once in a thousand at 1.95/√n.
        assert!(ks < 1.95 / (n as f64).sqrt(), "{ks}");
    }

    #[test]
    fn the_same_stream_gives_the_same_numbers_at_any_length() {
        let of = |n: usize| {
            let mut out = vec![0.0; n];
            Rng::new(1, 2, 3).fill_normal(&mut out);
            out
        };
        let long = of(300);
        for n in [0, 1, 63, 64, 65, 299] {
            assert_eq!(of(n), long[..n], "{n}");
        }
        let mut rng = Rng::new(1, 2, 3);
        let mut twice = [[0.0; BATCH]; 2];
        twice.iter_mut().for_each(|out| rng.fill_normal(out));
        assert_eq!(twice.concat(), long[..2 * BATCH]);
    }
}
