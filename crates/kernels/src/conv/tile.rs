//! What every inner loop does: products added to a block of registers.

use crate::simd::Lanes;

/// Adds to `sums[c][i]` the product of the vector at `values[i] + at` with factor `c`, at
/// `factors + c * step`: one element for all lanes where `SPLAT`, else a vector.
///
/// # Safety
///
/// The CPU has V; all of these can be read.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "blocks of registers, by index")]
pub(super) unsafe fn add_products<
    V: Lanes,
    const BLOCK: usize,
    const SPAN: usize,
    const SPLAT: bool,
>(
    sums: &mut [[V; SPAN]; BLOCK],
    values: [*const f32; SPAN],
    at: usize,
    factors: *const f32,
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // The fewer operands are held, the others pass through one register.
        if SPAN <= BLOCK {
            let mut held = [V::splat(0.0); SPAN];
            for i in 0..SPAN {
                held[i] = V::load(values[i].add(at));
            }
            for c in 0..BLOCK {
                let factor = factor::<V, SPLAT>(factors.add(c * step));
                for i in 0..SPAN {
                    sums[c][i] = held[i].mul_add(factor, sums[c][i]);
                }
            }
        } else {
            let mut held = [V::splat(0.0); BLOCK];
            for c in 0..BLOCK {
                held[c] = factor::<V, SPLAT>(factors.add(c * step));
            }
            for i in 0..SPAN {
                let value = V::load(values[i].add(at));
                for c in 0..BLOCK {
                    sums[c][i] = value.mul_add(held[c], sums[c][i]);
                }
            }
        }
    }
}

/// # Safety
///
/// The CPU has V; an element, or without `SPLAT` a vector, can be read.
#[inline(always)]
unsafe fn factor<V: Lanes, const SPLAT: bool>(at: *const f32) -> V {
    // SAFETY: the caller's promise.
    unsafe { if SPLAT { V::splat(*at) } else { V::load(at) } }
}
