//! Weighted sums of neighbouring elements along one axis.

/// Columns whose sums stay in registers while the loop runs over the window.
const WIDE: usize = 32;

/// Fewer of them, for what is left of a row.
const NARROW: usize = 8;

/// `out[j]` is the sum over k of `weights[k] * source[k * stride + j]`.
#[inline(always)]
pub(super) fn weighted(source: &[f32], stride: usize, weights: &[f32], out: &mut [f32]) {
    let (wide, rest) = out.as_chunks_mut::<WIDE>();
    let mut start = 0;
    for out in wide {
        *out = block(source, start, stride, weights);
        start += WIDE;
    }
    let (narrow, rest) = rest.as_chunks_mut::<NARROW>();
    for out in narrow {
        *out = block(source, start, stride, weights);
        start += NARROW;
    }
    for out in rest {
        [*out] = block(source, start, stride, weights);
        start += 1;
    }
}

#[inline(always)]
fn block<const N: usize>(source: &[f32], start: usize, stride: usize, weights: &[f32]) -> [f32; N] {
    let mut sums = [0.0; N];
    for (k, weight) in weights.iter().enumerate() {
        let values = &source[k * stride + start..][..N];
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += weight * value;
        }
    }
    sums
}

/// The weighted sums of u, v, u² + v² and u v along an axis, u and v being the values of two
/// sources less their centres.
#[inline(always)]
pub(super) fn moments(
    [x, y]: [&[f32]; 2],
    stride: usize,
    weights: &[f32],
    centres: [f32; 2],
    out: &mut [f32],
) {
    const N: usize = 16;
    let cols = out.len() / 4;
    let mut start = 0;
    while start < cols {
        if start + N <= cols {
            put::<N>(
                moments_block([x, y], start, stride, weights, centres),
                start,
                out,
            );
            start += N;
        } else {
            put::<1>(
                moments_block([x, y], start, stride, weights, centres),
                start,
                out,
            );
            start += 1;
        }
    }
}

#[inline(always)]
fn put<const N: usize>(sums: [[f32; N]; 4], start: usize, out: &mut [f32]) {
    let cols = out.len() / 4;
    for (field, sums) in sums.iter().enumerate() {
        out[field * cols + start..][..N].copy_from_slice(sums);
    }
}

#[inline(always)]
fn moments_block<const N: usize>(
    [x, y]: [&[f32]; 2],
    start: usize,
    stride: usize,
    weights: &[f32],
    centres: [f32; 2],
) -> [[f32; N]; 4] {
    let [mut first, mut second, mut squares, mut product] = [[0.0; N]; 4];
    for (k, &weight) in weights.iter().enumerate() {
        let x = &x[k * stride + start..][..N];
        let y = &y[k * stride + start..][..N];
        for i in 0..N {
            let (u, v) = (x[i] - centres[0], y[i] - centres[1]);
            let (wu, wv) = (weight * u, weight * v);
            first[i] += wu;
            second[i] += wv;
            squares[i] += wu * u + wv * v;
            product[i] += wu * v;
        }
    }
    [first, second, squares, product]
}

/// Which rows of the adjoint's input meet row `at` of its output along an axis, and the weights:
/// those of the windows that hold the element. `windows` is their number; the weights are
/// symmetric.
#[inline(always)]
pub(super) fn meeting(at: usize, windows: usize, weights: &[f32]) -> (usize, &[f32]) {
    let n = weights.len();
    let first = (at + 1).saturating_sub(n);
    let last = at.min(windows - 1);
    (first, &weights[first + n - 1 - at..last + n - at])
}
