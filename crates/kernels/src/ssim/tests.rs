//! The value against the definition in `f64`, the gradient against its differences.

use super::*;
use crate::check::{same_on_any_pool, slope, wave, wide};

/// The definition: every window, every element of it, moments about the window's own means.
fn exact(of: &Ssim, x: &[f64], y: &[f64]) -> f64 {
    let bell = |axis: usize, i: usize| {
        let from = i as f64 - (of.window[axis] as f64 - 1.0) / 2.0;
        (-from * from / (2.0 * f64::from(of.sigma).powi(2))).exp()
    };
    let mut offsets = Vec::new();
    for d in 0..of.window[0] {
        for r in 0..of.window[1] {
            for c in 0..of.window[2] {
                let at = (d * of.size[1] + r) * of.size[2] + c;
                offsets.push((at, bell(0, d) * bell(1, r) * bell(2, c)));
            }
        }
    }
    let all: f64 = offsets.iter().map(|o| o.1).sum();
    let range = f64::from(of.range);
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let (mut total, mut count) = (0.0, 0.0);
    for p in 0..of.planes {
        for d in 0..=of.size[0] - of.window[0] {
            for r in 0..=of.size[1] - of.window[1] {
                for c in 0..=of.size[2] - of.window[2] {
                    let start = ((p * of.size[0] + d) * of.size[1] + r) * of.size[2] + c;
                    let mean = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                        offsets
                            .iter()
                            .map(|(at, w)| w / all * f(x[start + at], y[start + at]))
                            .sum()
                    };
                    let (mx, my) = (mean(&|x, _| x), mean(&|_, y| y));
                    let spread = mean(&|x, y| (x - mx).powi(2) + (y - my).powi(2));
                    let both = mean(&|x, y| (x - mx) * (y - my));
                    total += (2.0 * mx * my + c1) * (2.0 * both + c2)
                        / ((mx * mx + my * my + c1) * (spread + c2));
                    count += 1.0;
                }
            }
        }
    }
    total / count
}

/// An image, a volume with the paper's window, and an anisotropic one with an even window.
fn cases() -> [Ssim; 3] {
    let image = Ssim::new(2, [1, 13, 61], 2.0);
    assert_eq!(image.window, [1, 11, 11]);
    [
        image,
        Ssim::new(1, [12, 13, 14], 2.0),
        Ssim {
            planes: 2,
            size: [5, 6, 45],
            window: [3, 4, 1],
            sigma: 0.8,
            range: 4.0,
        },
    ]
}

fn pair(of: &Ssim) -> [Vec<f32>; 2] {
    let n = of.planes * of.size.iter().product::<usize>();
    let x = wave(n, 0.7, 0.4);
    let y = wave(n, 1.9, 0.0);
    let y = x.iter().zip(&y).map(|(x, y)| 0.3 * x + 0.2 * y).collect();
    [x, y]
}

#[test]
fn values_and_gradients_agree_with_the_definition() {
    for of in cases() {
        let [x, y] = pair(&of);
        let (wide_x, wide_y) = (wide(&x), wide(&y));
        let expected = exact(&of, &wide_x, &wide_y);
        for level in Level::all() {
            let found = passes::mean(level, &of, &x, &y);
            assert!(
                (found - expected).abs() < 1e-6,
                "{of:?} {level:?}: {found} for {expected}"
            );
            let n = x.len() as f64;
            let [mut dx, mut dy, mut alone] = [0, 1, 2].map(|_| vec![9.0; x.len()]);
            let again = passes::gradient(level, &of, &x, &y, n as f32, &mut dx, Some(&mut dy));
            assert_eq!(again, found);
            passes::gradient(level, &of, &x, &y, n as f32, &mut alone, None);
            assert!(alone == dx, "the gradient to y changes nothing else");
            for i in (0..x.len()).step_by(x.len() / 17) {
                let along_x = n * slope(|x| exact(&of, x, &wide_y), &wide_x, i, 1e-5);
                let along_y = n * slope(|y| exact(&of, &wide_x, y), &wide_y, i, 1e-5);
                for (found, expected) in [(dx[i], along_x), (dy[i], along_y)] {
                    assert!(
                        (f64::from(found) - expected).abs() < 1e-4 * (1.0 + expected.abs()),
                        "{of:?} {level:?} {i}: {found} for {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_image_is_like_itself() {
    for of in cases() {
        let [x, y] = pair(&of);
        let mut dx = vec![9.0; x.len()];
        let found = of.gradient(&x, &x, x.len() as f32, &mut dx, None);
        assert!((found - 1.0).abs() < 1e-6);
        assert!(dx.iter().all(|v| v.abs() < 1e-3), "the top is flat");
        assert!((of.mean(&x, &y) - of.mean(&y, &x)).abs() < 1e-7);
    }
}

/// No variance at all, at 0 and far from it.
#[test]
fn constant_images_have_a_finite_gradient() {
    for of in cases() {
        let n = of.planes * of.size.iter().product::<usize>();
        for (a, b) in [(0.0, 0.0), (1000.1, 1000.1), (0.3, -0.9)] {
            let (x, y) = (vec![a; n], vec![b; n]);
            let mut dx = vec![f32::NAN; n];
            let found = of.gradient(&x, &y, 1.0, &mut dx, None);
            let c1 = f64::from(0.01 * of.range).powi(2);
            let (a, b) = (f64::from(a), f64::from(b));
            let expected = (2.0 * a * b + c1) / (a * a + b * b + c1);
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
            assert!(dx.iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn an_offset_costs_no_digits() {
    let of = Ssim::new(1, [1, 40, 40], 2.0);
    let [x, y] = pair(&of);
    // 4096 + x is rounded to steps of 2^-11; the definition gets the rounded values.
    let [x, y] = [x, y].map(|v| v.iter().map(|v| v + 4096.0).collect::<Vec<f32>>());
    let expected = exact(&of, &wide(&x), &wide(&y));
    let found = of.mean(&x, &y);
    assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for of in [
        Ssim::new(1, [24, 40, 40], 2.0),
        Ssim::new(3, [1, 99, 203], 2.0),
    ] {
        let [x, y] = pair(&of);
        same_on_any_pool(|| {
            let (mut dx, mut dy) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let bits = of.gradient(&x, &y, 1.0, &mut dx, Some(&mut dy)).to_bits();
            dx.extend(dy);
            dx.extend([bits as u32, (bits >> 32) as u32].map(f32::from_bits));
            dx
        });
    }
}

#[test]
#[should_panic(expected = "the window fits")]
fn a_window_larger_than_the_image_is_refused() {
    let _ = Ssim::new(1, [1, 8, 20], 1.0).mean(&[0.0; 160], &[0.0; 160]);
}
