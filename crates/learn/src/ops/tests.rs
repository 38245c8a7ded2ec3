//! Every operation against Burn's own and against finite differences.

use burn::tensor::TensorData;
use burn::tensor::module::conv2d as burn_conv2d;
use burn::tensor::ops::ConvOptions;
use crossmod_volume::rng::Rng;

use super::*;
use crate::loss::gradient;

fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, 0, 0);
    (0..n).map(|_| rng.normal()).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], like: &Tensor<4>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &like.device())
}

/// A scalar that weighs every output differently, so that no gradient can hide.
fn weigh(y: Tensor<4>) -> Tensor<1> {
    let n = y.shape().num_elements();
    let weights = Tensor::<4>::from_data(TensorData::new(values(n, 9), y.dims()), &y.device());
    (y * weights).sum()
}

const X: [usize; 4] = [2, 2, 6, 5];

#[test]
fn lone_activations_agree_with_burn_and_with_differences() {
    use burn::tensor::activation::{leaky_relu, tanh};
    // Away from the kink.
    let x: Vec<f32> = values(120, 1)
        .iter()
        .map(|x| x.abs().max(0.1).copysign(*x))
        .collect();
    for of in [Pointwise::LeakyRelu(0.2), Pointwise::Tanh] {
        let device = crate::device::cpu();
        let t = Tensor::<4>::from_data(TensorData::new(x.clone(), X), &device);
        let theirs = match of {
            Pointwise::LeakyRelu(slope) => leaky_relu(t.clone(), f64::from(slope)),
            Pointwise::Tanh => tanh(t.clone()),
        };
        let apart = (pointwise(t, of) - theirs).abs().max();
        assert!(apart.into_scalar::<f32>() < 1e-6);
        gradient::assert_matches(X, &x, 2e-2, 2e-3, |x| weigh(pointwise(x, of)));
    }
}

#[test]
fn convolution_agrees_with_burn() {
    let device = crate::device::cpu();
    let x = Tensor::<4>::from_data(
        TensorData::new(values(2 * 3 * 9 * 10, 1), [2, 3, 9, 10]),
        &device,
    );
    let w = tensor(&values(4 * 3 * 16, 2), [4, 3, 4, 4], &x);
    let b = tensor(&values(4, 3), [4], &x);
    for stride in [1, 2] {
        let options = ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
        let theirs = burn_conv2d(x.clone(), w.clone(), Some(b.clone()), options);
        let ours = conv(x.clone(), w.clone(), b.clone(), Walk::zero(stride, 1));
        assert_eq!(ours.dims(), theirs.dims());
        assert!((ours - theirs).abs().max().into_scalar::<f32>() < 1e-4);
    }
}

#[test]
fn convolution_gradients_match_differences() {
    let (x, w, b) = (values(120, 1), values(3 * 2 * 9, 2), values(3, 3));
    for walk in [
        Walk::same(3, Padding::Reflect),
        Walk::same(3, Padding::Replicate),
        Walk::zero(2, 1),
    ] {
        gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
            let (w, b) = (tensor(&w, [3, 2, 3, 3], &x), tensor(&b, [3], &x));
            weigh(conv(x, w, b, walk))
        });
        gradient::assert_matches([3, 2, 3, 3], &w, 1e-1, 1e-3, |w| {
            let (x, b) = (tensor(&x, X, &w), tensor(&b, [3], &w));
            weigh(conv(x, w, b, walk))
        });
        gradient::assert_matches([3], &b, 1e-1, 1e-3, |b| {
            let x = Tensor::from_data(TensorData::new(x.clone(), X), &b.device());
            let w = tensor(&w, [3, 2, 3, 3], &x);
            weigh(conv(x, w, b, walk))
        });
    }
}

#[test]
fn transposed_convolution_gradients_match_differences() {
    let x = values(120, 1);
    for (kernel, padding) in [(3, 1), (2, 0)] {
        let walk = Walk::zero(2, padding);
        let (shape, b) = ([2, 3, kernel, kernel], values(3, 3));
        let w = values(6 * kernel * kernel, 2);
        gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
            let (w, b) = (tensor(&w, shape, &x), tensor(&b, [3], &x));
            let y = conv_transpose(x, w, b, walk);
            assert_eq!(y.dims(), [2, 3, 12, 10]);
            weigh(y)
        });
        gradient::assert_matches(shape, &w, 1e-1, 1e-3, |w| {
            let (x, b) = (tensor(&x, X, &w), tensor(&b, [3], &w));
            weigh(conv_transpose(x, w, b, walk))
        });
    }
}

#[test]
fn instance_norm_gradients_match_differences() {
    let (x, gamma, beta) = (values(120, 1), [1.5, -0.5], [0.2, 0.4]);
    for activation in [Activation::None, Activation::LeakyRelu(0.2)] {
        gradient::assert_matches(X, &x, 1e-3, 2e-2, |x| weigh(instance_norm(x, activation)));
        gradient::assert_matches(X, &x, 1e-3, 2e-2, |x| {
            let (g, b) = (tensor(&gamma, [2], &x), tensor(&beta, [2], &x));
            weigh(instance_norm_affine(x, g, b, activation))
        });
        gradient::assert_matches([2], &gamma, 1e-2, 1e-2, |g| {
            let x = Tensor::from_data(TensorData::new(x.clone(), X), &g.device());
            let b = tensor(&beta, [2], &x);
            weigh(instance_norm_affine(x, g, b, activation))
        });
    }
}

const VOLUME: [usize; 5] = [1, 2, 3, 4, 5];

#[test]
fn convolution_of_volumes_agrees_with_burn() {
    use burn::tensor::module::conv3d as burn_conv3d;
    let device = crate::device::cpu();
    let new = |shape: [usize; 5], seed| {
        let n = shape.iter().product();
        Tensor::<5>::from_data(TensorData::new(values(n, seed), shape), &device)
    };
    let b = Tensor::<1>::from_data(TensorData::new(values(14, 3), [14]), &device);
    for (kernel, stride) in [(3, 1), (3, 2), (4, 2)] {
        let (x, w) = (
            new([1, 13, 9, 10, 11], 1),
            new([14, 13, kernel, kernel, kernel], 2),
        );
        let options = ConvOptions::new([stride; 3], [1; 3], [1; 3], 1);
        let theirs = burn_conv3d(x.clone(), w.clone(), Some(b.clone()), options);
        let ours = conv(x, w, b.clone(), Walk::zero(stride, 1).deep());
        assert_eq!(ours.dims(), theirs.dims());
        let scale = theirs.clone().abs().max().into_scalar::<f32>();
        let error = (ours - theirs).abs().max().into_scalar::<f32>();
        assert!(error < 2e-5 * scale, "{error} of {scale}");
    }
}

#[test]
fn gradients_through_volumes_match_differences() {
    let (x, w, b) = (values(120, 1), values(3 * 2 * 27, 2), values(3, 3));
    let weigh = |y: Tensor<5>| {
        let [n, c, d, h, w] = y.dims();
        weigh(y.reshape([n, c, d * h, w]))
    };
    let walk = Walk::zero(2, 1).deep();
    gradient::assert_matches(VOLUME, &x, 1e-1, 1e-3, |x| {
        let w = Tensor::<5>::from_data(TensorData::new(w.clone(), [3, 2, 3, 3, 3]), &x.device());
        let b = Tensor::<1>::from_data(TensorData::new(b.clone(), [3]), &x.device());
        weigh(conv(x, w, b, walk))
    });
    gradient::assert_matches(VOLUME, &x, 1e-1, 1e-3, |x| {
        let w = Tensor::<5>::from_data(TensorData::new(w.clone(), [2, 3, 3, 3, 3]), &x.device());
        let b = Tensor::<1>::from_data(TensorData::new(b.clone(), [3]), &x.device());
        weigh(conv_transpose(x, w, b, walk))
    });
    gradient::assert_matches(VOLUME, &x, 1e-3, 2e-2, |x| {
        weigh(instance_norm(x, Activation::LeakyRelu(0.01)))
    });
}

#[test]
fn a_residual_is_added_and_gets_its_gradient() {
    let (x, r) = (values(120, 1), values(120, 2));
    let sum = |x: Tensor<4>, r: Tensor<4>| weigh(instance_norm_add(x, r));
    gradient::assert_matches(X, &x, 1e-3, 2e-2, |x| {
        let r = tensor(&r, X, &x);
        sum(x, r)
    });
    gradient::assert_matches(X, &r, 1e-1, 1e-3, |r| {
        let x = tensor(&x, X, &r);
        sum(x, r)
    });
    let device = crate::device::cpu();
    let [x, r] = [x, r].map(|v| Tensor::<4>::from_data(TensorData::new(v, X), &device));
    let apart = instance_norm(x.clone(), Activation::None) + r.clone();
    assert!(
        (instance_norm_add(x, r) - apart)
            .abs()
            .max()
            .into_scalar::<f32>()
            < 1e-6
    );
}

#[test]
fn pooling_and_upsampling_gradients_match_differences() {
    let x = values(120, 1);
    for factor in [[1, 2, 2], [1, 2, 1]] {
        gradient::assert_matches(X, &x, 1e-3, 1e-2, |x| weigh(max_pool(x, factor)));
        gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| weigh(average_pool(x, factor)));
        for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
            gradient::assert_matches(X, &x, 1e-1, 1e-3, |x| {
                weigh(upsample(x, factor, interpolation))
            });
        }
    }
}

#[test]
fn distances_and_similarity_agree_with_their_formulas_and_differences() {
    let (a, b) = (values(2 * 144, 1), values(2 * 144, 2));
    const SHAPE: [usize; 4] = [1, 2, 12, 12];
    // Nowhere near the kink.
    let aside: Vec<f32> = (0..a.len())
        .map(|i| a[i] + [0.5, -0.7, 0.9][i % 3])
        .collect();
    gradient::assert_matches(SHAPE, &a, 1e-2, 1e-2, |a| {
        let b = tensor(&aside, SHAPE, &a);
        distance(a, b, Distance::Absolute) * 288.0
    });
    gradient::assert_matches(SHAPE, &b, 1e-2, 1e-2, |b| {
        let a = tensor(&a, SHAPE, &b);
        distance(a, b, Distance::Squared) * 288.0
    });
    gradient::assert_matches(SHAPE, &a, 1e-2, 1e-2, |a| {
        let b = tensor(&b, SHAPE, &a);
        ssim(a, b, 2.0) * 100.0
    });
    let device = crate::device::cpu();
    let [a, b] = [a, b].map(|v| Tensor::<4>::from_data(TensorData::new(v, SHAPE), &device));
    let ours = distance(a.clone(), b.clone(), Distance::Absolute).into_scalar::<f32>();
    let theirs = (a.clone() - b).abs().mean().into_scalar::<f32>();
    assert!((ours - theirs).abs() < 1e-6);
    assert!((ssim(a.clone(), a, 2.0).into_scalar::<f32>() - 1.0).abs() < 1e-5);
}
