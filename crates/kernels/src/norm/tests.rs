//! The passes against the definition in `f64`, its differences, and each other.

use super::backward::{Saved, backward};
use super::forward::forward;
use super::*;
use crate::check::{dot, same_on_any_pool, slope, wave, wide};
use crate::sums::CHUNK;

const CHANNELS: usize = 3;

fn norm(spatial: usize, activation: Activation) -> InstanceNorm {
    InstanceNorm {
        instances: 2 * CHANNELS,
        channels: CHANNELS,
        spatial,
        eps: 1e-5,
        activation,
    }
}

/// y in f64 by the definition.
fn exact(
    norm: &InstanceNorm,
    x: &[f64],
    residual: Option<&[f64]>,
    gamma: &[f64],
    beta: &[f64],
) -> Vec<f64> {
    let n = norm.spatial as f64;
    let slope = f64::from(norm.activation.slope());
    let mut y = Vec::new();
    for (i, x) in x.chunks(norm.spatial).enumerate() {
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + f64::from(norm.eps)).sqrt();
        for v in x {
            let mut z = gamma[i % CHANNELS] * (v - mean) * inverse + beta[i % CHANNELS];
            z += residual.map_or(0.0, |r| r[y.len()]);
            y.push(if z > 0.0 { z } else { slope * z });
        }
    }
    y
}

const GAMMA: [f32; 3] = [1.5, -0.7, 0.3];
const BETA: [f32; 3] = [0.2, -0.1, 0.05];
const AFFINE: Option<(&[f32], &[f32])> = Some((&GAMMA, &BETA));
const ACTIVATIONS: [Activation; 3] = [
    Activation::None,
    Activation::Relu,
    Activation::LeakyRelu(0.2),
];

/// Output, means and deviations.
fn run(
    level: Level,
    norm: &InstanceNorm,
    x: &[f32],
    residual: Option<&[f32]>,
    affine: Option<(&[f32], &[f32])>,
) -> [Vec<f32>; 3] {
    let mut out = [x.len(), norm.instances, norm.instances].map(|n| vec![9.0; n]);
    let [y, mean, inv_std] = &mut out;
    forward(level, norm, x, residual, affine, y, mean, inv_std);
    out
}

/// A large mean and odd lengths: the variance must not lose its digits.
#[test]
fn forward_agrees_with_the_definition() {
    for level in Level::all() {
        for (spatial, activation) in [5, 4097, 40_000].into_iter().zip(ACTIVATIONS) {
            let norm = norm(spatial, activation);
            let x = wave(6 * spatial, 0.7, 300.0);
            let r = wave(6 * spatial, 0.9, 0.1);
            for residual in [None, Some(&r[..])] {
                let [y, ..] = run(level, &norm, &x, residual, AFFINE);
                let added = residual.map(wide);
                let expected = exact(
                    &norm,
                    &wide(&x),
                    added.as_deref(),
                    &wide(&GAMMA),
                    &wide(&BETA),
                );
                for (y, e) in y.iter().zip(expected) {
                    assert!(
                        (f64::from(*y) - e).abs() < 2e-4,
                        "{level:?} {spatial}: {y} for {e}"
                    );
                }
            }
        }
    }
}

/// Finite differences, in f64, of sum(y * r) for fixed weights r.
#[test]
fn backward_agrees_with_finite_differences() {
    const N: usize = 37;
    let x = wave(6 * N, 0.7, 0.5);
    let r = wave(6 * N, 1.3, 0.1);
    let added = wave(6 * N, 2.1, 0.03);
    for level in Level::all() {
        for activation in ACTIVATIONS {
            for residual in [None, Some(&added[..])] {
                let norm = norm(N, activation);
                let [y, mean, inv_std] = run(level, &norm, &x, residual, AFFINE);
                let (mut dx, mut dadded) = (vec![9.0; 6 * N], vec![9.0; 6 * N]);
                let (mut dgamma, mut dbeta) = ([0.0; 3], [0.0; 3]);
                let saved = Saved {
                    x: &x,
                    y: residual.map(|_| &y[..]),
                    mean: &mean,
                    inv_std: &inv_std,
                    affine: AFFINE,
                };
                let wanted = residual.map(|_| &mut dadded[..]);
                let gradients = Some((&mut dgamma[..], &mut dbeta[..]));
                backward(level, &norm, saved, &r, &mut dx, wanted, gradients);

                // Input, residual, gamma and beta in one array.
                let all = [wide(&x), wide(&added), wide(&GAMMA), wide(&BETA)].concat();
                let loss = |all: &[f64]| -> f64 {
                    let (x, rest) = all.split_at(6 * N);
                    let (added, rest) = rest.split_at(6 * N);
                    let (gamma, beta) = rest.split_at(3);
                    exact(&norm, x, residual.map(|_| added), gamma, beta)
                        .iter()
                        .zip(&r)
                        .map(|(y, &r)| y * f64::from(r))
                        .sum()
                };
                let found = [&dx[..], &dadded, &dgamma, &dbeta].concat();
                for i in (0..6 * N).step_by(5).chain(12 * N..12 * N + 6) {
                    let expected = slope(loss, &all, i, 1e-6);
                    assert!(
                        (f64::from(found[i]) - expected).abs() < 1e-3,
                        "{level:?} {activation:?} {i}: {} for {expected}",
                        found[i]
                    );
                }
                if residual.is_some() {
                    for i in (6 * N..12 * N).step_by(3) {
                        let expected = slope(loss, &all, i, 1e-6);
                        assert!((f64::from(found[i]) - expected).abs() < 1e-3, "{i}");
                    }
                }
            }
        }
    }
}

/// The gradient along x and along the constants is 0 however large the instance: moving or
/// scaling x does not move y.
#[test]
fn the_gradient_of_a_large_instance_is_orthogonal_to_shift_and_scale() {
    let norm = InstanceNorm {
        instances: 2,
        channels: 1,
        spatial: 3 * CHUNK + 1234,
        eps: 0.0,
        activation: Activation::LeakyRelu(0.01),
    };
    let n = norm.instances * norm.spatial;
    let (x, dy, added) = (wave(n, 0.7, 3.0), wave(n, 0.31, 0.4), wave(n, 0.1, 0.0));
    for level in Level::all() {
        let [y, mean, inv_std] = run(level, &norm, &x, Some(&added), None);
        let (mut dx, mut again, mut dadded) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let saved = Saved {
            x: &x,
            y: Some(&y),
            mean: &mean,
            inv_std: &inv_std,
            affine: None,
        };
        backward(level, &norm, saved, &dy, &mut dx, None, None);
        backward(
            level,
            &norm,
            saved,
            &dy,
            &mut again,
            Some(&mut dadded),
            None,
        );
        assert!(dx == again, "the residual's gradient changes nothing else");
        for ((y, dy), g) in y.iter().zip(&dy).zip(&dadded) {
            assert_eq!(*g, if *y > 0.0 { *dy } else { dy * 0.01 });
        }
        let size = dot(&dx, &dx).sqrt();
        for (dx, x) in dx.chunks(norm.spatial).zip(x.chunks(norm.spatial)) {
            let ones = vec![1.0; norm.spatial];
            assert!(dot(dx, &ones).abs() < 1e-3 * size, "{level:?}");
            assert!(dot(dx, x).abs() < 1e-3 * size, "{level:?}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (spatial, instances) in [(2 * CHUNK + 999, 2), (700, 200)] {
        let norm = InstanceNorm {
            instances,
            channels: 2,
            spatial,
            eps: 1e-5,
            activation: Activation::Relu,
        };
        let n = instances * spatial;
        let (x, r) = (wave(n, 0.7, 0.3), wave(n, 0.2, 0.0));
        let (gamma, beta) = ([0.7, 1.2], [0.1, 0.0]);
        same_on_any_pool(|| {
            let affine = Some((&gamma[..], &beta[..]));
            let [mut y, mut mean, mut inv_std] = [n, instances, instances].map(|n| vec![0.0; n]);
            norm.forward_add(&x, &r, affine, &mut y, &mut mean, &mut inv_std);
            let (mut dx, mut dr) = (vec![0.0; n], vec![0.0; n]);
            let (mut dgamma, mut dbeta) = ([0.0; 2], [0.0; 2]);
            norm.backward_add(
                &x,
                &y,
                &mean,
                &inv_std,
                affine,
                &r,
                &mut dx,
                Some(&mut dr),
                Some((&mut dgamma, &mut dbeta)),
            );
            [&y[..], &mean, &inv_std, &dx, &dr, &dgamma, &dbeta].concat()
        });
    }
}

#[test]
fn without_affine_the_output_is_standard() {
    let norm = norm(1000, Activation::None);
    let x = wave(6000, 0.013, -7.0);
    let [mut y, mut mean, mut inv_std] = [6000, 6, 6].map(|n| vec![0.0; n]);
    norm.forward(&x, None, &mut y, &mut mean, &mut inv_std);
    for y in y.chunks(1000) {
        let mean = y.iter().sum::<f32>() / 1000.0;
        let variance = y.iter().map(|v| v * v).sum::<f32>() / 1000.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3);
    }
    let mut dx = vec![0.0; 6000];
    norm.backward(&x, &mean, &inv_std, None, &y, &mut dx, None);
    // y is x up to shift and scale.
    assert!(dx.iter().all(|v| v.abs() < 1e-4));
}
