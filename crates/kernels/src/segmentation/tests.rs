//! Both losses and their gradient against the formulas in `f64`.

use super::*;
use crate::check::{same_on_any_pool, slope, wave, wide};

/// `[cross-entropy, dice]` as written in the head of the module.
fn exact(of: &SegmentationLoss, logits: &[f64], labels: &[u16]) -> [f64; 2] {
    let (n, classes) = (of.spatial, of.classes);
    let mut sums = vec![[0.0; 3]; of.batch * classes];
    let (mut cross_entropy, mut counted) = (0.0, 0.0);
    for (i, &label) in labels.iter().enumerate() {
        if Some(label) == of.ignore {
            continue;
        }
        counted += 1.0;
        let (sample, pixel) = (i / n, i % n);
        let z = |class: usize| logits[(sample * classes + class) * n + pixel];
        let top = (0..classes).map(z).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..classes).map(|c| (z(c) - top).exp()).sum();
        let weight = of
            .weights
            .as_ref()
            .map_or(1.0, |w| f64::from(w[usize::from(label)]));
        cross_entropy += weight * (sum.ln() + top - z(usize::from(label)));
        for class in 0..classes {
            let p = (z(class) - top).exp() / sum;
            let group = if of.dice.per_sample { sample } else { 0 };
            let of_class = &mut sums[group * classes + class];
            let g = if usize::from(label) == class {
                1.0
            } else {
                0.0
            };
            of_class[0] += p * g;
            of_class[1] += if of.dice.squared { p * p } else { p };
            of_class[2] += g;
        }
    }
    let groups = if of.dice.per_sample { of.batch } else { 1 };
    let first = if of.dice.background { 0 } else { 1 };
    let scores: Vec<f64> = (0..groups)
        .flat_map(|g| (first..classes).map(move |c| g * classes + c))
        .map(|i| {
            let [both, p, g] = sums[i];
            (2.0 * both + f64::from(of.dice.smooth_numerator))
                / (p + g + f64::from(of.dice.smooth_denominator))
        })
        .collect();
    [
        cross_entropy / counted,
        1.0 - scores.iter().sum::<f64>() / scores.len() as f64,
    ]
}

fn labels(n: usize, classes: usize, ignore: Option<u16>) -> Vec<u16> {
    (0..n)
        .map(|i| match ignore {
            Some(ignore) if i % 7 == 3 => ignore,
            _ => ((i * i + i / 5) % classes) as u16,
        })
        .collect()
}

/// Options that differ from each other in everything.
fn losses(spatial: usize) -> Vec<SegmentationLoss> {
    let three = SegmentationLoss {
        batch: 2,
        classes: 3,
        spatial,
        weights: Some(vec![1.0, 10.0, 3.0]),
        ignore: None,
        dice: SoftDice::SYNSEG,
    };
    vec![
        SegmentationLoss {
            classes: 5,
            weights: None,
            ignore: Some(255),
            dice: SoftDice::NNUNET,
            ..three.clone()
        },
        SegmentationLoss {
            ignore: Some(1),
            dice: SoftDice {
                background: true,
                per_sample: true,
                smooth_numerator: 0.5,
                ..SoftDice::SYNSEG
            },
            ..three.clone()
        },
        SegmentationLoss {
            classes: 2,
            weights: None,
            dice: SoftDice {
                per_sample: false,
                ..SoftDice::NNUNET
            },
            ..three.clone()
        },
        three,
    ]
}

#[test]
fn values_agree_with_the_formulas() {
    for of in losses(2 * softmax::CHUNK + 300) {
        let n = of.batch * of.spatial;
        let logits = wave(n * of.classes, 0.37, 0.5);
        let labels = labels(n, of.classes, of.ignore);
        let expected = exact(&of, &wide(&logits), &labels);
        for level in Level::all() {
            let found = forward::forward(level, &of, &logits, &labels);
            let error = (found.cross_entropy - expected[0]).abs();
            assert!(error < 1e-6 * expected[0], "{of:?} {level:?} {error}");
            let error = (found.dice - expected[1]).abs();
            assert!(error < 1e-6, "{of:?} {level:?} {error}");
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    for of in losses(301) {
        let n = of.batch * of.spatial;
        let logits = wave(n * of.classes, 0.37, 0.5);
        let labels = labels(n, of.classes, of.ignore);
        for level in Level::all() {
            let terms = forward::forward(level, &of, &logits, &labels);
            for scale in [[1.0f32, 0.0], [0.0, 1.0], [0.7, -1.3]] {
                let mut found = vec![9.0; logits.len()];
                backward::backward(level, &of, &logits, &labels, &terms, scale, &mut found);
                let loss = |z: &[f64]| {
                    let [cross_entropy, dice] = exact(&of, z, &labels);
                    f64::from(scale[0]) * cross_entropy + f64::from(scale[1]) * dice
                };
                for i in (0..logits.len()).step_by(43) {
                    let expected = slope(loss, &wide(&logits), i, 1e-4);
                    let error = (f64::from(found[i]) - expected).abs();
                    assert!(error < 1e-7, "{of:?} {level:?} {i}: {error}");
                }
            }
        }
    }
}

#[test]
fn large_logits_stay_finite() {
    let of = SegmentationLoss {
        batch: 1,
        classes: 3,
        spatial: 2,
        weights: None,
        ignore: None,
        dice: SoftDice::SYNSEG,
    };
    let logits = [1e4, -1e4, -1e4, 0.0, 0.0, 3e4];
    let terms = of.forward(&logits, &[0, 1]);
    assert_eq!(terms.cross_entropy, 1.5e4);
    let mut found = [9.0; 6];
    of.backward(&logits, &[0, 1], &terms, [2.0, 0.0], &mut found);
    for (found, expected) in found.iter().zip([0.0, 0.0, 0.0, -1.0, 0.0, 1.0]) {
        assert!((found - expected).abs() < 1e-30);
    }
    of.backward(&logits, &[0, 1], &terms, [1.0, 1.0], &mut found);
    assert!(found.iter().all(|v| v.is_finite()));
    let broken = of.forward(&[f32::NAN; 6], &[0, 1]);
    assert!(broken.cross_entropy.is_nan(), "a net gone astray is seen");
}

#[test]
fn nothing_to_count_has_no_gradient() {
    let of = SegmentationLoss {
        batch: 1,
        classes: 2,
        spatial: 3,
        weights: None,
        ignore: Some(9),
        dice: SoftDice::NNUNET,
    };
    let logits = wave(6, 1.0, 0.0);
    let terms = of.forward(&logits, &[9; 3]);
    assert_eq!((terms.cross_entropy, terms.dice), (0.0, 0.0));
    let mut found = [9.0; 6];
    of.backward(&logits, &[9; 3], &terms, [1.0; 2], &mut found);
    assert_eq!(found, [0.0; 6]);
}

#[test]
#[should_panic(expected = "a label is not below")]
fn a_label_that_is_no_class_is_refused() {
    let of = &losses(4)[3];
    let _ = of.forward(&[0.0; 24], &[0, 1, 2, 3, 0, 0, 0, 0]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let of = &losses(3 * softmax::CHUNK + 5)[0];
    let n = of.batch * of.spatial;
    let (logits, labels) = (wave(n * 5, 0.37, 0.5), labels(n, 5, of.ignore));
    same_on_any_pool(|| {
        let terms = of.forward(&logits, &labels);
        let mut found = vec![0.0; logits.len()];
        of.backward(&logits, &labels, &terms, [1.0, 1.0], &mut found);
        for value in [terms.cross_entropy, terms.dice] {
            let bits = value.to_bits();
            found.extend([bits as u32, (bits >> 32) as u32].map(f32::from_bits));
        }
        found
    });
}
