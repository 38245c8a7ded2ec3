//! Cubic B-splines on equally spaced samples.
//!
//! A signal is interpolated by a sum of cubic B-splines whose coefficients a recursive filter
//! finds (Unser, Aldroubi and Eden 1993, "B-spline signal processing", doi:10.1109/78.193220 and
//! 10.1109/78.193221). Beyond its ends the signal holds its first and last sample, for ever: what
//! `scipy.ndimage.zoom` means by mode `nearest` and `skimage.transform.resize` by `edge`. Positions
//! are in samples; the first sample lies at 0.

use rayon::prelude::*;

/// The filter's pole, √3 − 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// Samples of a row that one thread filters at a time.
const CHUNK: usize = 1 << 15;

/// Weights of the B-splines at −1, 0, 1 and 2 for a point at `t` in 0..=1.
pub(crate) fn weights(t: f64) -> [f64; 4] {
    let s = 1.0 - t;
    [
        s * s * s / 6.0,
        (4.0 - 3.0 * t * t * (2.0 - t)) / 6.0,
        (4.0 - 3.0 * s * s * (2.0 - s)) / 6.0,
        t * t * t / 6.0,
    ]
}

/// Samples become coefficients, in place: `lanes` signals side by side, sample by sample.
///
/// Far from an end each coefficient is that of the infinite signal. At the ends the geometric
/// series over the held samples are summed in closed form.
pub(crate) fn prefilter(samples: &mut [f32], lanes: usize) {
    if lanes == 0 || samples.len() <= lanes {
        return;
    }
    let pole = POLE as f32;
    let start = (6.0 / (1.0 - POLE)) as f32;
    let end = (POLE / (1.0 - POLE * POLE)) as f32;
    let n = samples.len() / lanes;

    samples[..lanes].iter_mut().for_each(|s| *s *= start);
    for k in 1..n - 1 {
        let (before, row) = neighbours(samples, k, lanes);
        each(before, row, |p, s| 6.0 * s + pole * p);
    }
    let (before, last) = neighbours(samples, n - 1, lanes);
    each(before, last, |p, s| {
        let held = start * s;
        let causal = 6.0 * s + pole * p;
        s - end * (causal - held)
    });
    for k in (0..n - 1).rev() {
        let (rows, after) = samples.split_at_mut((k + 1) * lanes);
        each(&after[..lanes], &mut rows[k * lanes..], |next, d| {
            pole * (next - d)
        });
    }
}

/// Rows `k - 1` and `k`.
fn neighbours(samples: &mut [f32], k: usize, lanes: usize) -> (&[f32], &mut [f32]) {
    let (before, rest) = samples.split_at_mut(k * lanes);
    (&before[(k - 1) * lanes..], &mut rest[..lanes])
}

fn each(other: &[f32], row: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let apply = |(row, other): (&mut [f32], &[f32])| {
        for (v, &o) in row.iter_mut().zip(other) {
            *v = f(o, *v);
        }
    };
    if row.len() > CHUNK {
        row.par_chunks_mut(CHUNK)
            .zip(other.par_chunks(CHUNK))
            .for_each(apply);
    } else {
        apply((row, other));
    }
}

/// The coefficients that the value at `position` is made of, out of `n`: the first one and up to
/// four weights. Those of the held ends, which are not stored, are put in terms of the two that
/// lie nearest: with pole z the coefficients before the first go to the first sample s₀ as
/// c₋ₖ = s₀ + zᵏ (c₀ − s₀).
pub(crate) fn taps(position: f64, n: usize) -> (usize, [f64; 4]) {
    if n == 1 {
        return (0, [1.0, 0.0, 0.0, 0.0]);
    }
    // At −1 and n the value is already the first and last sample's.
    let position = position.clamp(-1.0, n as f64);
    let below = position.floor().min((n - 1) as f64);
    let spread = weights(position - below);
    let below = below as i64;
    let last = n as i64 - 1;
    let first = (below - 1).clamp(0, (last - 3).max(0));

    let mut found = [0.0; 4];
    let mut add = |index: i64, weight: f64| found[(index - first) as usize] += weight;
    for (k, weight) in spread.into_iter().enumerate() {
        let index = below - 1 + k as i64;
        let beyond = (-index).max(index - last);
        if beyond <= 0 {
            add(index, weight);
            continue;
        }
        let (edge, inner) = if index < 0 { (0, 1) } else { (last, last - 1) };
        let decay = POLE.powi(beyond as i32);
        // s₀ = ((5 + z) c₀ + (1 − z) c₁) / 6, from c₋₁ = (1 + z) c₀ − z c₁.
        let sample = weight * (1.0 - decay) / 6.0;
        add(edge, sample * (5.0 + POLE) + weight * decay);
        add(inner, sample * (1.0 - POLE));
    }
    (first as usize, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn at(coefficients: &[f32], position: f64) -> f64 {
        let (first, weights) = taps(position, coefficients.len());
        let near = coefficients[first..].iter().zip(weights);
        near.map(|(&c, w)| f64::from(c) * w).sum()
    }

    #[test]
    fn it_passes_through_every_sample_and_holds_the_ends() {
        for n in [1, 2, 3, 4, 5, 30] {
            let mut rng = Rng::new(1, n as u64, 0);
            let samples: Vec<f32> = (0..n).map(|_| rng.normal()).collect();
            let mut coefficients = samples.clone();
            prefilter(&mut coefficients, 1);
            for (i, &s) in samples.iter().enumerate() {
                assert!((at(&coefficients, i as f64) - f64::from(s)).abs() < 1e-6);
            }
            for (far, end) in [
                (-1.0, 0),
                (-7.5, 0),
                (n as f64, n - 1),
                (n as f64 + 3.2, n - 1),
            ] {
                assert!((at(&coefficients, far) - f64::from(samples[end])).abs() < 1e-6);
            }
        }
    }

    /// The same signal with its ends written out forty times: the coefficients near the middle
    /// then do not feel how the far ends are treated.
    #[test]
    fn the_ends_are_those_of_a_signal_held_for_ever() {
        for n in [2, 3, 4, 9] {
            let mut rng = Rng::new(2, n as u64, 0);
            let mut short: Vec<f32> = (0..n).map(|_| rng.normal()).collect();
            let mut long = vec![short[0]; 40];
            long.extend_from_slice(&short);
            long.extend_from_slice(&[short[n - 1]; 40]);
            prefilter(&mut short, 1);
            prefilter(&mut long, 1);
            for step in -20..=(20 * n as i32) {
                let p = f64::from(step) / 20.0;
                let difference = at(&short, p) - at(&long, p + 40.0);
                assert!(difference.abs() < 2e-6, "{n} {p} {difference}");
            }
        }
    }

    #[test]
    fn cubics_come_out_exactly_far_from_the_ends() {
        let cubic = |x: f64| 0.002 * x * x * x - 0.1 * x * x + x - 3.0;
        let mut samples: Vec<f32> = (0..60).map(|i| cubic(f64::from(i)) as f32).collect();
        prefilter(&mut samples, 1);
        for step in 0..200 {
            let p = 20.0 + f64::from(step) / 10.0;
            assert!((at(&samples, p) - cubic(p)).abs() < 2e-5 * cubic(p).abs().max(1.0));
        }
    }

    #[test]
    fn lanes_do_not_mix() {
        let mut rng = Rng::new(3, 0, 0);
        let lanes = CHUNK + 3;
        let mut all: Vec<f32> = (0..6 * lanes).map(|_| rng.normal()).collect();
        let mut one: Vec<f32> = (0..6).map(|k| all[k * lanes + 77]).collect();
        prefilter(&mut all, lanes);
        prefilter(&mut one, 1);
        for (k, &c) in one.iter().enumerate() {
            assert_eq!(all[k * lanes + 77], c);
        }
    }

    #[test]
    fn weights_are_the_spline_and_sum_to_one() {
        assert_eq!(weights(0.0), [1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0, 0.0]);
        assert_eq!(
            weights(0.5),
            [1.0 / 48.0, 23.0 / 48.0, 23.0 / 48.0, 1.0 / 48.0]
        );
    }
}
