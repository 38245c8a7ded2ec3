//! Every operation and its gradients on the GPU against the CPU's kernels. They skip where there
//! is no GPU; a software driver such as Mesa's lavapipe counts as one.

use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::rng::Rng;

use crate::device::{Kind, Processor};
use crate::ops::*;

/// The first GPU, for training.
fn gpu() -> Option<Device> {
    match Processor::find(Kind::Gpu) {
        Ok(processor) => Some(processor.training()),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 0, 0);
    (0..n).map(|_| rng.normal()).collect()
}

/// Leaves of the given lengths to a result.
type Operation<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<1>;

/// The values of an operation, and the gradients to its inputs of a weighted sum of them.
fn run(device: &Device, lengths: &[usize], of: Operation<'_>) -> Vec<Vec<f32>> {
    let leaf = |(seed, &n): (usize, &usize)| {
        Tensor::<1>::from_data(TensorData::new(noise(n, seed as u64), [n]), device).require_grad()
    };
    let leaves: Vec<_> = lengths.iter().enumerate().map(leaf).collect();
    let y = of(&leaves);
    let n = y.dims()[0];
    let weights = Tensor::<1>::from_data(TensorData::new(noise(n, 99), [n]), device);
    let mut grads = (y.clone() * weights).sum().backward();
    let gradient = |leaf: &Tensor<1>| leaf.grad_remove(&mut grads).expect("a gradient");
    let gradients: Vec<_> = leaves.iter().map(gradient).map(values).collect();
    [vec![values(y)], gradients].concat()
}

fn assert_agree(gpu: &Device, what: &str, lengths: &[usize], of: Operation<'_>) {
    let theirs = run(&crate::device::cpu_training(), lengths, of);
    let ours = run(gpu, lengths, of);
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(a.len(), b.len(), "{what}, {i}");
        let scale = b.iter().fold(1e-3, |m: f32, v| m.max(v.abs()));
        let apart =
            |m: f32, (a, b): (&f32, &f32)| if m >= (a - b).abs() { m } else { (a - b).abs() };
        let apart = a.iter().zip(b).fold(0.0, apart);
        assert!(apart < 1e-4 * scale, "{what}, {i}: {apart} of {scale}");
    }
}

fn flat<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    let n = y.shape().num_elements();
    y.reshape([n])
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Of odd sizes, and no two alike.
const IMAGE: [usize; 4] = [2, 3, 9, 7];
const VOLUME: [usize; 5] = [2, 3, 5, 9, 7];

#[test]
fn convolutions_agree() {
    let Some(gpu) = gpu() else { return };
    // Every new geometry has the GPU try its kernels anew, which takes a software driver seconds.
    let cases: [(Padding, &[(usize, usize)]); 3] = [
        (Padding::Zero, &[(1, 1), (3, 1), (3, 2), (4, 2)]),
        (Padding::Reflect, &[(3, 1), (7, 1)]),
        (Padding::Replicate, &[(3, 2)]),
    ];
    for (mode, geometries) in cases {
        for &(kernel, stride) in geometries {
            let walk = Walk {
                mode,
                ..Walk::zero(stride, kernel / 2)
            };
            let what = format!("{mode:?} {kernel}/{stride}");
            let shape = [4, IMAGE[1], kernel, kernel];
            let lengths = [count(&IMAGE), count(&shape), 4];
            assert_agree(&gpu, &what, &lengths, &|leaves| {
                let [x, w, b] = [0, 1, 2].map(|i| leaves[i].clone());
                flat(conv(x.reshape(IMAGE), w.reshape(shape), b, walk))
            });
            if kernel == 7 {
                continue;
            }
            let shape = [4, VOLUME[1], kernel, kernel, kernel];
            let lengths = [count(&VOLUME), count(&shape), 4];
            assert_agree(&gpu, &format!("{what} deep"), &lengths, &|leaves| {
                let [x, w, b] = [0, 1, 2].map(|i| leaves[i].clone());
                flat(conv(x.reshape(VOLUME), w.reshape(shape), b, walk.deep()))
            });
        }
    }
}

#[test]
fn transposed_convolutions_agree() {
    let Some(gpu) = gpu() else { return };
    for (kernel, padding) in [(3, 1), (2, 0)] {
        let walk = Walk::zero(2, padding);
        let what = format!("transposed {kernel}");
        let shape = [IMAGE[1], 4, kernel, kernel];
        let lengths = [count(&IMAGE), count(&shape), 4];
        assert_agree(&gpu, &what, &lengths, &|leaves| {
            let [x, w, b] = [0, 1, 2].map(|i| leaves[i].clone());
            flat(conv_transpose(x.reshape(IMAGE), w.reshape(shape), b, walk))
        });
        let shape = [VOLUME[1], 4, kernel, kernel, kernel];
        let lengths = [count(&VOLUME), count(&shape), 4];
        assert_agree(&gpu, &format!("{what} deep"), &lengths, &|leaves| {
            let [x, w, b] = [0, 1, 2].map(|i| leaves[i].clone());
            let (x, w) = (x.reshape(VOLUME), w.reshape(shape));
            flat(conv_transpose(x, w, b, walk.deep()))
        });
    }
}

#[test]
fn norms_agree() {
    let Some(gpu) = gpu() else { return };
    let activations = [
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu(0.2),
    ];
    let n = count(&VOLUME);
    for activation in activations {
        let what = format!("{activation:?}");
        assert_agree(&gpu, &what, &[count(&IMAGE)], &|leaves| {
            flat(instance_norm(leaves[0].clone().reshape(IMAGE), activation))
        });
        assert_agree(&gpu, &what, &[n], &|leaves| {
            flat(instance_norm(leaves[0].clone().reshape(VOLUME), activation))
        });
        assert_agree(&gpu, &format!("{what} affine"), &[n, 3, 3], &|leaves| {
            let [x, g, b] = [0, 1, 2].map(|i| leaves[i].clone());
            flat(instance_norm_affine(x.reshape(VOLUME), g, b, activation))
        });
    }
    assert_agree(&gpu, "residual", &[n, n], &|leaves| {
        let [x, residual] = [0, 1].map(|i| leaves[i].clone().reshape(VOLUME));
        flat(instance_norm_add(x, residual))
    });
}

#[test]
fn lone_activations_agree() {
    let Some(gpu) = gpu() else { return };
    for of in [Pointwise::LeakyRelu(0.2), Pointwise::Tanh] {
        assert_agree(&gpu, &format!("{of:?}"), &[count(&IMAGE)], &|leaves| {
            flat(pointwise(leaves[0].clone().reshape(IMAGE), of))
        });
    }
}

#[test]
fn resampling_agrees() {
    let Some(gpu) = gpu() else { return };
    for factor in [[1, 2, 2], [1, 2, 1], [2, 2, 2], [1, 1, 1]] {
        let operations: [(&str, fn(Tensor<5>, [usize; 3]) -> Tensor<5>); 4] = [
            ("max", max_pool),
            ("average", average_pool),
            ("nearest", |x, f| upsample(x, f, Interpolation::Nearest)),
            ("linear", |x, f| upsample(x, f, Interpolation::Linear)),
        ];
        for (name, of) in operations {
            let what = format!("{name} {factor:?}");
            assert_agree(&gpu, &what, &[count(&VOLUME)], &|leaves| {
                flat(of(leaves[0].clone().reshape(VOLUME), factor))
            });
        }
    }
    assert_agree(&gpu, "max of an image", &[count(&IMAGE)], &|leaves| {
        flat(max_pool(leaves[0].clone().reshape(IMAGE), [1, 2, 2]))
    });
    // All alike after a ReLU: one of them gets the gradient, the first.
    assert_agree(&gpu, "max of equals", &[count(&IMAGE)], &|leaves| {
        let x = leaves[0].clone().reshape(IMAGE);
        flat(max_pool(x.clamp_max(0.0) * 0.0 + 1.0, [1, 2, 2]))
    });
}

#[test]
fn distances_and_similarity_agree() {
    let Some(gpu) = gpu() else { return };
    for kind in [Distance::Absolute, Distance::Squared] {
        let n = count(&VOLUME);
        assert_agree(&gpu, &format!("{kind:?} to"), &[n], &|leaves| {
            distance_to(leaves[0].clone().reshape(VOLUME), 0.7, kind)
        });
        assert_agree(&gpu, &format!("{kind:?}"), &[n, n], &|leaves| {
            let [a, b] = [0, 1].map(|i| leaves[i].clone().reshape(VOLUME));
            distance(a, b, kind)
        });
    }
    const FLAT: [usize; 4] = [1, 2, 13, 15];
    const DEEP: [usize; 5] = [1, 2, 11, 12, 13];
    assert_agree(&gpu, "ssim", &[count(&FLAT); 2], &|leaves| {
        // An offset, which must cost no digits.
        let [a, b] = [0, 1].map(|i| leaves[i].clone().reshape(FLAT) + 10.0);
        ssim(a, b, 6.0)
    });
    assert_agree(&gpu, "deep ssim", &[count(&DEEP); 2], &|leaves| {
        let [a, b] = [0, 1].map(|i| leaves[i].clone().reshape(DEEP));
        ssim(a, b, 6.0)
    });
}

#[test]
fn segmentation_losses_agree() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(5, 0, 0);
    let labels: Vec<u16> = (0..count(&VOLUME) / VOLUME[1])
        .map(|_| rng.below(VOLUME[1]) as u16)
        .collect();
    for dice in [SoftDice::SYNSEG, SoftDice::NNUNET] {
        for weights in [None, Some(vec![0.5, 1.0, 10.0])] {
            for (factors, ignore) in [
                ([1.0, 0.0], None),
                ([0.0, 1.0], Some(1)),
                ([1.0, 2.0], Some(2)),
            ] {
                let of = Segmentation {
                    labels: labels.clone(),
                    ignore,
                    weights: weights.clone(),
                    dice,
                    factors,
                };
                let what = format!("{dice:?} {weights:?} {factors:?} {ignore:?}");
                assert_agree(&gpu, &what, &[count(&VOLUME)], &|leaves| {
                    segmentation_loss(leaves[0].clone().reshape(VOLUME), of.clone())
                });
            }
        }
    }
}
