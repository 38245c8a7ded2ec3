use super::*;
use crate::loss::{cross_entropy_dice, gradient};
use crate::segment::plan::{Class, Dims, Net, NetKind, Transpose};
use crossmod_volume::rng::Rng;

fn plan(classes: Vec<Class>, ignore: Option<u16>, batch_dice: bool) -> SegmentationPlan {
    SegmentationPlan {
        dataset: "trial".into(),
        spacing_mm: [1.0; 3],
        patch: [2, 2, 2],
        batch: 2,
        batch_dice,
        mirror_axes: Vec::new(),
        ignore,
        ram_mb: 1,
        median_shape: [2; 3],
        reasons: Vec::new(),
        dims: Dims::Three,
        transpose: Transpose {
            orientation: None,
            forward: [0, 1, 2],
        },
        net: Net {
            kind: NetKind::PlainConv,
            features: vec![2],
            strides: vec![[1; 3]],
            kernels: vec![[3; 3]],
            convs_per_stage: vec![1],
            convs_per_stage_decoder: Vec::new(),
            deep_supervision: false,
        },
        channels: Vec::new(),
        classes,
    }
}

fn plain() -> Vec<Class> {
    [(0, "background"), (3, "a"), (5, "b")]
        .map(|(value, name)| Class::new(value, name))
        .into()
}

fn regions() -> Vec<Class> {
    let region = |value, values: &[u16]| Class {
        values: values.to_vec(),
        ..Class::new(value, "region")
    };
    vec![
        Class::new(0, "background"),
        region(1, &[3, 5]),
        region(5, &[5]),
    ]
}

const SHAPE: [usize; 3] = [2, 2, 2];
/// Of two samples of 8 voxels.
const LABELS: [u16; 16] = [0, 3, 5, 3, 0, 0, 9, 5, 3, 3, 0, 5, 0, 9, 5, 0];

fn values(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(1, 0, 0);
    (0..count).map(|_| rng.normal()).collect()
}

fn tensor(channels: usize) -> Tensor<5> {
    let shape = [2, channels, 2, 2, 2];
    let data = TensorData::new(values(shape.iter().product()), shape);
    Tensor::from_data(data, &crate::device::cpu())
}

fn truth<'a>(labels: &'a [u16], annotated: &'a [Option<Vec<bool>>]) -> Truth<'a> {
    Truth {
        labels,
        shape: SHAPE,
        annotated,
    }
}

const ALL: [Option<Vec<bool>>; 2] = [None, None];

fn scalar(loss: Tensor<1>) -> f32 {
    loss.into_scalar::<f32>()
}

#[test]
fn gradients_match_differences() {
    let partly = [Some(vec![true, false, true]), None];
    for (classes, outputs) in [(plain(), 3), (regions(), 2)] {
        for (batch_dice, annotated) in [(false, &ALL), (true, &ALL), (false, &partly)] {
            let config = PlannedLossConfig {
                class_weights: vec![1.0, 2.0, 0.5],
                ..PlannedLossConfig::default()
            };
            let loss = PlannedLoss::new(&config, &plan(classes.clone(), Some(9), batch_dice));
            assert_eq!(loss.outputs(), outputs);
            // Beside the finest logits those of one voxel, made of them.
            let x = values(2 * outputs * 8);
            gradient::assert_matches([2, outputs, 8], &x, 1e-2, 5e-3, |x: Tensor<3>| {
                let x = x.reshape([2, outputs, 2, 2, 2]);
                let small = ops::average_pool(x.clone(), [2; 3]);
                loss.of(vec![x, small], truth(&LABELS, annotated))
            });
        }
    }
}

/// Values are classes in the plan's order; where all is known the loss is the usual one.
#[test]
fn label_values_become_classes() {
    let labels: Vec<u16> = LABELS.iter().map(|&v| if v == 9 { 0 } else { v }).collect();
    let plan = plan(plain(), None, true);
    let loss = PlannedLoss::new(&PlannedLossConfig::default(), &plan);
    let found = scalar(loss.of(vec![tensor(3)], truth(&labels, &ALL)));
    let classes = labels.iter().map(|v| [0, 0, 0, 1, 0, 2][usize::from(*v)]);
    // Squared sizes there, plain ones here: compared where both are, in the cross-entropy.
    let entropy = PlannedLossConfig {
        lambda_dice: 0.0,
        ..PlannedLossConfig::default()
    };
    let entropy = PlannedLoss::new(&entropy, &plan);
    let alone = scalar(entropy.of(vec![tensor(3)], truth(&labels, &ALL)));
    let expected = crate::loss::cross_entropy(tensor(3), classes.clone().collect(), &[]);
    assert!((alone - scalar(expected)).abs() < 1e-6);
    let with_dice = scalar(cross_entropy_dice(tensor(3), classes.collect(), &[]));
    assert!(found > alone && (found - with_dice).abs() < 0.3);
}

/// What the net says of ignored voxels changes nothing.
#[test]
fn ignored_voxels_do_not_count() {
    for classes in [plain(), regions()] {
        let loss = PlannedLoss::new(
            &PlannedLossConfig::default(),
            &plan(classes, Some(9), false),
        );
        let channels = loss.outputs();
        let mut other = values(2 * channels * 8);
        let before = other.clone();
        for (i, _) in LABELS.iter().enumerate().filter(|(_, l)| **l == 9) {
            for c in 0..channels {
                other[(i / 8 * channels + c) * 8 + i % 8] += 5.0;
            }
        }
        assert_ne!(before, other);
        let [a, b] = [before, other].map(|values| {
            let data = TensorData::new(values, [2, channels, 2, 2, 2]);
            let logits = Tensor::from_data(data, &crate::device::cpu());
            scalar(loss.of(vec![logits], truth(&LABELS, &ALL)))
        });
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

/// A class that was not annotated may be called background or itself, at the same loss.
#[test]
fn hidden_classes_may_be_found() {
    let loss = PlannedLoss::new(&PlannedLossConfig::default(), &plan(plain(), None, false));
    let annotated = vec![Some(vec![true, true, false]); 2];
    let labels: Vec<u16> = LABELS.iter().map(|&v| if v == 3 { 3 } else { 0 }).collect();
    let sure = |class: usize| {
        let channel = |c: usize| {
            let own = labels.iter().map(move |&l| {
                let wanted = if l == 3 { 1 } else { class };
                if wanted == c { 12.0f32 } else { -12.0 }
            });
            own.collect::<Vec<f32>>()
        };
        let channels = [0, 1, 2].map(channel);
        let mut values = Vec::<f32>::new();
        for sample in 0..2 {
            for channel in &channels {
                values.extend(&channel[sample * 8..(sample + 1) * 8]);
            }
        }
        let data = TensorData::new(values, [2, 3, 2, 2, 2]);
        let logits = Tensor::from_data(data, &crate::device::cpu());
        scalar(loss.of(vec![logits], truth(&labels, &annotated)))
    };
    assert!(sure(0) < 1e-3 && sure(2) < 1e-3, "{} {}", sure(0), sure(2));
    assert!(sure(1) > 5.0);
}

/// Weights 4, 2, 1 of 7; the truth of a voxel of two is that of the second.
#[test]
fn coarser_sizes_weigh_less() {
    let config = PlannedLossConfig {
        lambda_dice: 0.0,
        ..PlannedLossConfig::default()
    };
    let loss = PlannedLoss::new(&config, &plan(plain(), None, false));
    let labels: Vec<u16> = (0..2 * 64).map(|i| [0, 3, 5][i % 3]).collect();
    let truth = Truth {
        labels: &labels,
        shape: [4; 3],
        annotated: &ALL,
    };
    let logits = |size: usize, seed: u64| {
        let mut rng = Rng::new(seed, 0, 0);
        let shape = [2, 3, size, size, size];
        let values: Vec<f32> = (0..6 * size.pow(3)).map(|_| rng.normal()).collect();
        Tensor::<5>::from_data(TensorData::new(values, shape), &crate::device::cpu())
    };
    let each = [logits(4, 1), logits(2, 2), logits(1, 3)];
    let entropy = |logits: Tensor<5>, step: usize| {
        let places: Vec<usize> = (step / 2..4).step_by(step).collect();
        let mut thin = Vec::new();
        for sample in labels.chunks(64) {
            for z in &places {
                for y in &places {
                    thin.extend(places.iter().map(|x| sample[(z * 4 + y) * 4 + x]));
                }
            }
        }
        let classes = thin.iter().map(|v| [0, 0, 0, 1, 0, 2][usize::from(*v)]);
        scalar(crate::loss::cross_entropy(logits, classes.collect(), &[]))
    };
    let expected = [(0, 1, 4.0), (1, 2, 2.0), (2, 4, 1.0)]
        .map(|(i, step, weight)| entropy(each[i].clone(), step) * weight / 7.0);
    let found = scalar(loss.of(each.to_vec(), truth));
    let expected: f32 = expected.iter().sum();
    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
}
