//! Nearest-neighbour enlargement by 2 in both directions.

use crate::threads;
use rayon::prelude::*;

/// `y`, `[plane][2 rows][2 columns]`, repeats every element of `x`, `[plane][rows][columns]`, four
/// times.
///
/// # Panics
///
/// Where a length does not fit.
pub fn upsample2(x: &[f32], planes: usize, size: [usize; 2], y: &mut [f32]) {
    let [rows, cols] = check(x.len(), planes, size, y.len());
    if x.is_empty() {
        return;
    }
    let least = threads::least(4 * rows * cols);
    let pairs = y
        .par_chunks_mut(4 * rows * cols)
        .zip(x.par_chunks(rows * cols));
    pairs.with_min_len(least).for_each(|(y, x)| {
        for (y, x) in y.chunks_mut(4 * cols).zip(x.chunks(cols)) {
            let (top, bottom) = y.split_at_mut(2 * cols);
            for (pair, &x) in top.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                *pair = [x; 2];
            }
            bottom.copy_from_slice(top);
        }
    });
}

/// The gradient `dx` of the input of [`upsample2`]: the sums of `dy` over blocks of 2 × 2; `size`
/// is that of the input.
///
/// # Panics
///
/// Where a length does not fit.
pub fn upsample2_backward(dy: &[f32], planes: usize, size: [usize; 2], dx: &mut [f32]) {
    let [rows, cols] = check(dx.len(), planes, size, dy.len());
    if dx.is_empty() {
        return;
    }
    let least = threads::least(4 * rows * cols);
    let pairs = dx
        .par_chunks_mut(rows * cols)
        .zip(dy.par_chunks(4 * rows * cols));
    pairs.with_min_len(least).for_each(|(dx, dy)| {
        for (dx, dy) in dx.chunks_mut(cols).zip(dy.chunks(4 * cols)) {
            let (top, bottom) = dy.split_at(2 * cols);
            let (top, bottom) = (top.as_chunks::<2>().0, bottom.as_chunks::<2>().0);
            for (dx, (a, b)) in dx.iter_mut().zip(top.iter().zip(bottom)) {
                *dx = (a[0] + a[1]) + (b[0] + b[1]);
            }
        }
    });
}

fn check(small: usize, planes: usize, size: [usize; 2], large: usize) -> [usize; 2] {
    assert_eq!(
        small,
        planes * size[0] * size[1],
        "elements of the small side"
    );
    assert_eq!(large, 4 * small, "elements of the large side");
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_fills_a_block() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = [0.0; 24];
        upsample2(&x, 1, [2, 3], &mut y);
        let row = |a: f32, b: f32, c: f32| [a, a, b, b, c, c];
        let expected = [
            row(1.0, 2.0, 3.0),
            row(1.0, 2.0, 3.0),
            row(4.0, 5.0, 6.0),
            row(4.0, 5.0, 6.0),
        ];
        assert_eq!(y, *expected.as_flattened());
    }

    #[test]
    fn backward_is_the_adjoint() {
        let (planes, size) = (5, [3, 7]);
        let x: Vec<f32> = (0..105).map(|i| ((i * 7) % 13) as f32 - 6.0).collect();
        let dy: Vec<f32> = (0..420).map(|i| ((i * 5) % 11) as f32 - 5.0).collect();
        let (mut y, mut dx) = (vec![0.0; 420], vec![9.0; 105]);
        upsample2(&x, planes, size, &mut y);
        upsample2_backward(&dy, planes, size, &mut dx);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        // Small integers: exact.
        assert_eq!(dot(&y, &dy), dot(&x, &dx));
    }
}
