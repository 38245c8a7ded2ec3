//! The transforms of a line of elements, for the points 0, ±√½, ±√2 and ∞.

use super::SIDE;
use crate::simd::Lanes;

/// The points besides 0 and ∞ are those and their negatives; their squares are 1/2 and 2.
const NEAR: f32 = std::f32::consts::FRAC_1_SQRT_2;
const FAR: f32 = std::f32::consts::SQRT_2;

/// `a + b`.
///
/// # Safety
///
/// The CPU has V; so for all that follow.
#[inline(always)]
pub(super) unsafe fn add<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.mul_add(V::splat(1.0), b) }
}

/// `a + factor * b`.
#[inline(always)]
unsafe fn plus<V: Lanes>(a: V, factor: f32, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { b.mul_add(V::splat(factor), a) }
}

/// `factor * a`.
#[inline(always)]
unsafe fn times<V: Lanes>(factor: f32, a: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { a.mul_add(V::splat(factor), V::splat(0.0)) }
}

/// Bᵀ: six neighbouring elements to six points.
#[inline(always)]
unsafe fn to_points<V: Lanes>([a, b, c, d, e, f]: [V; SIDE]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let (even, odd) = (plus(e, -2.0, c), plus(d, -2.0, b));
        let (even2, odd2) = (plus(e, -0.5, c), plus(d, -0.5, b));
        [
            plus(add(a, e), -2.5, c),
            plus(even, NEAR, odd),
            plus(even, -NEAR, odd),
            plus(even2, FAR, odd2),
            plus(even2, -FAR, odd2),
            plus(add(b, f), -2.5, d),
        ]
    }
}

/// The first three powers of the points, summed: what Aᵀ begins with.
#[inline(always)]
unsafe fn moments<V: Lanes>([a, b, c, d, e]: [V; 5]) -> ([V; 3], [V; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        let (even, odd) = (add(b, c), plus(b, -1.0, c));
        let (even2, odd2) = (add(d, e), plus(d, -1.0, e));
        let first = plus(times(NEAR, odd), FAR, odd2);
        let second = plus(times(0.5, even), 2.0, even2);
        ([add(add(a, even), even2), first, second], [odd, odd2])
    }
}

/// Aᵀ for four outputs.
#[inline(always)]
unsafe fn to_four<V: Lanes>([a, b, c, d, e, f]: [V; SIDE]) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let ([zeroth, first, second], [odd, odd2]) = moments([a, b, c, d, e]);
        let third = plus(plus(f, 0.5 * NEAR, odd), 2.0 * FAR, odd2);
        [zeroth, first, second, third]
    }
}

/// Aᵀ for three outputs.
#[inline(always)]
unsafe fn to_three<V: Lanes>([a, b, c, d, e, f]: [V; SIDE]) -> [V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let ([zeroth, first, second], _) = moments([a, b, c, d, e]);
        [zeroth, first, add(second, f)]
    }
}

/// Aᵀ for so many outputs, three or four.
#[inline(always)]
pub(super) unsafe fn to_outputs<V: Lanes, const N: usize>(points: [V; SIDE]) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut outputs = [V::splat(0.0); N];
        if N == 4 {
            outputs.copy_from_slice(&to_four(points));
        } else {
            outputs.copy_from_slice(&to_three(points));
        }
        outputs
    }
}

/// G for a filter of three.
#[inline(always)]
unsafe fn filter3<V: Lanes>([a, b, c]: [V; 3]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let near = times(-2.0 / 3.0, plus(a, 0.5, c));
        let far = times(1.0 / 6.0, plus(a, 2.0, c));
        [
            a,
            plus(near, -2.0 / 3.0 * NEAR, b),
            plus(near, 2.0 / 3.0 * NEAR, b),
            plus(far, FAR / 6.0, b),
            plus(far, -FAR / 6.0, b),
            c,
        ]
    }
}

/// G for a filter of four.
#[inline(always)]
unsafe fn filter4<V: Lanes>([a, b, c, d]: [V; 4]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        let near = times(-2.0 / 3.0, plus(a, 0.5, c));
        let far = times(1.0 / 6.0, plus(a, 2.0, c));
        let (odd, odd2) = (plus(b, 0.5, d), plus(b, 2.0, d));
        [
            a,
            plus(near, -2.0 / 3.0 * NEAR, odd),
            plus(near, 2.0 / 3.0 * NEAR, odd),
            plus(far, FAR / 6.0, odd2),
            plus(far, -FAR / 6.0, odd2),
            d,
        ]
    }
}

/// The points of a line of elements: as of an input with N = 6, as of a filter with fewer.
///
/// # Safety
///
/// The CPU has V.
#[inline(always)]
pub(super) unsafe fn points<V: Lanes, const N: usize>(line: [V; N]) -> [V; SIDE] {
    // SAFETY: the caller's promise.
    unsafe {
        match N {
            SIDE => to_points([line[0], line[1], line[2], line[3], line[N - 2], line[N - 1]]),
            4 => filter4([line[0], line[1], line[2], line[N - 1]]),
            _ => filter3([line[0], line[1], line[2]]),
        }
    }
}
