//! Pooling and upsampling by 2, one axis after the other.

use burn::tensor::Tensor;
use crossmod_kernels::Interpolation;

/// Maxima of blocks; the gradient goes to the first maximum.
pub(super) fn max_pool(x: Tensor<5>, factor: [usize; 3]) -> Tensor<5> {
    // Along rows first, then down: of equal elements the first in row-major order stays.
    pool(x, factor, |first, second| {
        let larger = second.clone().greater(first.clone());
        first.mask_where(larger, second)
    })
}

/// Means of blocks.
pub(super) fn average_pool(x: Tensor<5>, factor: [usize; 3]) -> Tensor<5> {
    pool(x, factor, |first, second| (first + second) * 0.5)
}

/// Twice as many elements along every axis whose factor is 2.
pub(super) fn upsample(
    x: Tensor<5>,
    factor: [usize; 3],
    interpolation: Interpolation,
) -> Tensor<5> {
    axes(factor).fold(x, |x, axis| match interpolation {
        Interpolation::Nearest => interleaved(x.clone(), x, axis),
        Interpolation::Linear => {
            let n = x.dims()[axis];
            let part = |start, len| x.clone().narrow(axis, start, len);
            let before = Tensor::cat(vec![part(0, 1), part(0, n - 1)], axis);
            let after = Tensor::cat(vec![part(1, n - 1), part(n - 1, 1)], axis);
            let near = x.clone() * 0.75;
            interleaved(near.clone() + before * 0.25, near + after * 0.25, axis)
        }
    })
}

fn pool(
    x: Tensor<5>,
    factor: [usize; 3],
    join: impl Fn(Tensor<5>, Tensor<5>) -> Tensor<5>,
) -> Tensor<5> {
    axes(factor).fold(x, |x, axis| {
        let mut dims = x.dims();
        let half = dims[axis] / 2;
        let x = x.narrow(axis, 0, 2 * half);
        dims[axis] = half;
        let [outer, inner] = around(dims, axis);
        let pairs = x.reshape([outer, half, 2, inner]);
        let element = |i| pairs.clone().narrow(2, i, 1).reshape(dims);
        join(element(0), element(1))
    })
}

/// `first` and `second` in turn along an axis.
fn interleaved(first: Tensor<5>, second: Tensor<5>, axis: usize) -> Tensor<5> {
    let mut dims = first.dims();
    let [outer, inner] = around(dims, axis);
    let column = |x: Tensor<5>| x.reshape([outer, dims[axis], 1, inner]);
    let pairs = Tensor::cat(vec![column(first), column(second)], 2);
    dims[axis] *= 2;
    pairs.reshape(dims)
}

/// The axes whose factor is 2, the last first.
fn axes(factor: [usize; 3]) -> impl Iterator<Item = usize> {
    (0..3).rev().filter(move |&i| factor[i] == 2).map(|i| i + 2)
}

/// Elements before and after an axis.
fn around(dims: [usize; 5], axis: usize) -> [usize; 2] {
    [
        dims[..axis].iter().product(),
        dims[axis + 1..].iter().product(),
    ]
}
