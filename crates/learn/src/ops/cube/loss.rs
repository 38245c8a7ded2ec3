//! The losses of one and of two tensors, as `crossmod-kernels` defines them.

use burn::tensor::activation::log_softmax;
use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor, TensorData};
use crossmod_kernels::Distance;

use crate::ops::Segmentation;
use crate::ops::simple::Binary;

/// The mean of a difference.
pub(super) fn mean(difference: Tensor<5>, distance: Distance) -> Tensor<1> {
    match distance {
        Distance::Absolute => difference.abs().mean(),
        Distance::Squared => difference.square().mean(),
    }
}

/// The loss of two tensors.
pub(super) fn of_two(a: Tensor<5>, b: Tensor<5>, op: Binary) -> Tensor<1> {
    match op {
        Binary::Distance(distance) => mean(a - b, distance),
        Binary::Ssim(range) => ssim(a, b, range),
    }
}

/// The weighted sum of cross-entropy and 1 minus soft Dice.
///
/// # Panics
/// Where a label is no class, or there are not as many as pixels.
pub(super) fn segmentation(logits: Tensor<5>, of: &Segmentation) -> Tensor<1> {
    let [n, classes, d, h, w] = logits.dims();
    let pixels = d * h * w;
    assert_eq!(of.labels.len(), n * pixels, "a label for each pixel");
    let ignored = |label: u16| of.ignore == Some(label);
    let is_class = |&label: &u16| ignored(label) || usize::from(label) < classes;
    assert!(of.labels.iter().all(is_class), "every label is a class");
    let device = logits.device();
    let log_p = log_softmax(logits.reshape([n, classes, pixels]), 1);
    let truth = {
        // No class is -1, so that nothing is true of a pixel that does not count.
        let class = |&label: &u16| if ignored(label) { -1 } else { label.into() };
        let labels: Vec<i32> = of.labels.iter().map(class).collect();
        let labels = Tensor::<3, Int>::from_data(TensorData::new(labels, [n, 1, pixels]), &device);
        let all = Tensor::<1, Int>::arange(0..classes as i64, &device).reshape([1, classes, 1]);
        let shape = [n, classes, pixels];
        labels.expand(shape).equal(all.expand(shape)).float()
    };
    let counted = of.labels.iter().filter(|&&label| !ignored(label)).count();
    let [entropy, dice] = of.factors;
    let cross_entropy = {
        let at_truth = log_p.clone() * truth.clone();
        let weighted = match &of.weights {
            Some(weights) => {
                let weights = TensorData::new(weights.clone(), [1, classes, 1]);
                at_truth * Tensor::from_data(weights, &device)
            }
            None => at_truth,
        };
        weighted.sum() / -(counted.max(1) as f32)
    };
    let overlap = {
        let p = log_p.exp();
        let p = if counted < of.labels.len() {
            p * truth.clone().sum_dim(1)
        } else {
            p
        };
        let sum = |t: Tensor<3>| {
            let t = t.sum_dim(2);
            if of.dice.per_sample { t } else { t.sum_dim(0) }
        };
        let both = sum(p.clone() * truth.clone());
        let size = sum(if of.dice.squared { p.square() } else { p }) + sum(truth);
        let scores = (both * 2.0 + of.dice.smooth_numerator) / (size + of.dice.smooth_denominator);
        let first = usize::from(!of.dice.background);
        scores.narrow(1, first, classes - first).mean()
    };
    cross_entropy * entropy + (-overlap + 1.0) * dice
}

/// Elements along a side of the window of the structural similarity, and its deviation.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;

/// The mean structural similarity; second moments are those of the values less their plane's mean,
/// so that an offset costs no digits.
fn ssim(a: Tensor<5>, b: Tensor<5>, range: f32) -> Tensor<1> {
    let [n, c, d, h, w] = a.dims();
    let count = n * c;
    let apart = |x: Tensor<5>| {
        let x = x.reshape([count, 1, d, h, w]);
        let centre = x.clone().detach().mean_dims(&[2, 3, 4]);
        (x - centre.clone(), centre)
    };
    let ((u, centre_a), (v, centre_b)) = (apart(a), apart(b));
    let squares = u.clone().square() + v.clone().square();
    let product = u.clone() * v.clone();
    let fields = blurred(Tensor::cat(vec![u, v, squares, product], 0));
    let field = |i: usize| fields.clone().narrow(0, i * count, count);
    let (u, v) = (field(0), field(1));
    let variances = field(2) - u.clone().square() - v.clone().square();
    let covariance = field(3) - u.clone() * v.clone();
    let (a, b) = (u + centre_a, v + centre_b);
    let [c1, c2] = [0.01, 0.03].map(|k: f32| (k * range).powi(2));
    let above = (a.clone() * b.clone() * 2.0 + c1) * (covariance * 2.0 + c2);
    let below = (a.square() + b.square() + c1) * (variances.clamp_min(0.0) + c2);
    (above / below).mean()
}

/// The weighted means of windows, along every axis of more than one element.
fn blurred(x: Tensor<5>) -> Tensor<5> {
    let middle = (WINDOW / 2) as f64;
    let bell = [(); WINDOW].map(|()| 0.0);
    let mut bell: [f64; WINDOW] = bell;
    for (i, weight) in bell.iter_mut().enumerate() {
        *weight = (-0.5 * ((i as f64 - middle) / SIGMA).powi(2)).exp();
    }
    let total: f64 = bell.iter().sum();
    let bell = bell.map(|weight| (weight / total) as f32);
    let device = x.device();
    (2..5)
        .filter(|&axis| x.dims()[axis] > 1)
        .fold(x.clone(), |x, axis| {
            let mut shape = [1; 5];
            shape[axis] = WINDOW;
            let weights = Tensor::from_data(TensorData::new(bell.to_vec(), shape), &device);
            conv3d(
                x,
                weights,
                None,
                ConvOptions::new([1; 3], [0; 3], [1; 3], 1),
            )
        })
}
