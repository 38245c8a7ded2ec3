//! Maximum over 2 × 2 blocks, step 2.
//!
//! An odd last row or column has no block: it is left out, and gets gradient 0.

use crate::threads;
use rayon::prelude::*;

/// The maxima `y`, `[plane][rows / 2][columns / 2]`, of `x`, `[plane][rows][columns]`; NaN where a
/// block holds one.
///
/// # Panics
///
/// Where a length does not fit.
pub fn max_pool2(x: &[f32], planes: usize, size: [usize; 2], y: &mut [f32]) {
    let [rows, cols] = size;
    let [high, wide] = check(x.len(), planes, size, y.len());
    if y.is_empty() {
        return;
    }
    let least = threads::least(rows * cols);
    let pairs = y.par_chunks_mut(high * wide).zip(x.par_chunks(rows * cols));
    pairs.with_min_len(least).for_each(|(y, x)| {
        for (y, x) in y.chunks_mut(wide).zip(x.chunks(2 * cols)) {
            let (top, bottom) = x.split_at(cols);
            let (top, bottom) = (top.as_chunks::<2>().0, bottom.as_chunks::<2>().0);
            for (y, (a, b)) in y.iter_mut().zip(top.iter().zip(bottom)) {
                *y = larger(larger(a[0], a[1]), larger(b[0], b[1]));
            }
        }
    });
}

/// The gradient `dx` of the input of [`max_pool2`]: `dy` goes to the first maximum of its block in
/// row-major order (the first NaN, where there is one). Every element of `dx` is written.
///
/// # Panics
///
/// Where a length does not fit.
pub fn max_pool2_backward(x: &[f32], dy: &[f32], planes: usize, size: [usize; 2], dx: &mut [f32]) {
    let [rows, cols] = size;
    let [high, wide] = check(x.len(), planes, size, dy.len());
    assert_eq!(dx.len(), x.len(), "elements of dx");
    if dx.is_empty() {
        return;
    }
    let least = threads::least(rows * cols);
    let images = dx
        .par_chunks_mut(rows * cols)
        .zip(x.par_chunks(rows * cols));
    images
        .with_min_len(least)
        .enumerate()
        .for_each(|(plane, (dx, x))| {
            dx.fill(0.0);
            for row in 0..high {
                for col in 0..wide {
                    let first = 2 * row * cols + 2 * col;
                    let mut best = first;
                    for at in [first + 1, first + cols, first + cols + 1] {
                        if x[at] > x[best] || (x[at].is_nan() && !x[best].is_nan()) {
                            best = at;
                        }
                    }
                    dx[best] = dy[(plane * high + row) * wide + col];
                }
            }
        });
}

/// The larger one; NaN if one is.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a >= b || a.is_nan() { a } else { b }
}

fn check(x: usize, planes: usize, [rows, cols]: [usize; 2], y: usize) -> [usize; 2] {
    assert_eq!(x, planes * rows * cols, "elements of the input");
    assert_eq!(
        y,
        planes * (rows / 2) * (cols / 2),
        "elements of the output"
    );
    [rows / 2, cols / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_and_where_they_were() {
        #[rustfmt::skip]
        let x = [
            1.0, 5.0, 2.0, 2.0, 9.0,
            4.0, 3.0, 2.0, 1.0, 9.0,
            9.0, 9.0, 9.0, 9.0, 9.0,
        ];
        let mut y = [0.0; 2];
        max_pool2(&x, 1, [3, 5], &mut y);
        assert_eq!(y, [5.0, 2.0]);
        let mut dx = [7.0; 15];
        max_pool2_backward(&x, &[0.5, -2.0], 1, [3, 5], &mut dx);
        let mut expected = [0.0; 15];
        expected[1] = 0.5;
        expected[2] = -2.0;
        assert_eq!(dx, expected);
    }

    #[test]
    fn nan_is_not_lost() {
        for place in 0..4 {
            let mut x = [1.0, 2.0, 3.0, 4.0];
            x[place] = f32::NAN;
            let mut y = [0.0];
            max_pool2(&x, 1, [2, 2], &mut y);
            assert!(y[0].is_nan());
            let mut dx = [0.0; 4];
            max_pool2_backward(&x, &[1.0], 1, [2, 2], &mut dx);
            assert_eq!(dx[place], 1.0);
        }
    }

    /// The gradient of a linear functional is found by moving each input.
    #[test]
    fn backward_agrees_with_differences() {
        let (planes, size) = (3, [6, 7]);
        let x: Vec<f32> = (0..126).map(|i| ((i * 37) % 101) as f32).collect();
        let r: Vec<f32> = (0..27).map(|i| (i as f32 * 0.7).sin()).collect();
        let loss = |x: &[f32]| -> f32 {
            let mut y = vec![0.0; 27];
            max_pool2(x, planes, size, &mut y);
            y.iter().zip(&r).map(|(y, r)| y * r).sum()
        };
        let mut dx = vec![0.0; 126];
        max_pool2_backward(&x, &r, planes, size, &mut dx);
        for i in 0..126 {
            let mut moved = x.clone();
            moved[i] += 0.25;
            assert!((loss(&moved) - loss(&x) - 0.25 * dx[i]).abs() < 1e-3, "{i}");
        }
    }
}
