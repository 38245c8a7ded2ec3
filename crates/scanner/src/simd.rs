//! Vectors of `f32`, and the choice of instruction set at run time.
//!
//! A kernel is written once, as a [`Kernel`] generic over [`Lanes`], and compiled for AVX-512, for
//! AVX2 with FMA, and for the target's baseline; [`Level::run`] picks one. The baseline twin is
//! plain Rust (on aarch64 the compiler makes NEON of it) and is what the others are tested
//! against.
#![allow(
    unsafe_code,
    reason = "vector instructions and unchecked reads of the inner loops"
)]

use std::sync::OnceLock;

/// A vector of `f32` held in a register.
///
/// # Safety
///
/// Every function may be called only where the CPU has the instructions of the implementing type,
/// which [`Level::run`] sees to; pointers must be valid for [`Lanes::LANES`] elements.
pub(crate) trait Lanes: Copy {
    /// Elements in a vector.
    const LANES: usize;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn min(self, b: Self) -> Self;
    unsafe fn max(self, b: Self) -> Self;
    /// `self * b + c`, rounded once where the CPU can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Linear interpolation in `from` at each position: neither negative nor past the last
    /// element but one.
    unsafe fn sample(from: *const f32, position: Self) -> Self;
    /// The same for positions that do not fall from lane to lane and lie less than
    /// `2 * LANES - 1` from the first one rounded down; that many elements and one more must be
    /// readable from there.
    unsafe fn sample_near(from: *const f32, position: Self) -> Self;
}

/// A computation that can be compiled for any instruction set.
pub(crate) trait Kernel {
    type Output;
    /// The computation; `#[inline(always)]` in every implementation, and so is what it calls, or
    /// the instructions of `V` would not reach it.
    fn run<V: Lanes>(self) -> Self::Output;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// An instruction set that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(Isa);

impl Level {
    /// The fastest one.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().last().copied().unwrap_or(Self(Isa::Portable)))
    }

    /// All of them, the fastest last.
    pub(crate) fn all() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 adds to the list")]
        let mut all = vec![Self(Isa::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Isa::Avx2));
                if is_x86_feature_detected!("avx512f") {
                    all.push(Self(Isa::Avx512));
                }
            }
        }
        all
    }

    /// Runs `kernel` with these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Isa::Portable => kernel.run::<Portable>(),
            // SAFETY: a Level exists only for what `all` detected.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { x86::avx512(kernel) },
        }
    }
}

/// Eight elements in the target's baseline instructions.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

/// `mul_add` without the instruction is a slow call into libm.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

impl Lanes for Portable {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + b.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * b.0[i]))
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].min(b.0[i])))
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].max(b.0[i])))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| {
            let (a, b, c) = (self.0[i], b.0[i], c.0[i]);
            if FUSED { a.mul_add(b, c) } else { a * b + c }
        }))
    }
    #[inline(always)]
    unsafe fn sample(from: *const f32, position: Self) -> Self {
        Self(std::array::from_fn(|i| {
            let index = position.0[i] as i32;
            let fraction = position.0[i] - index as f32;
            // SAFETY: the caller's promise: index and its successor are in the slice.
            let (a, b) = unsafe {
                let at = from.offset(index as isize);
                (*at, *at.add(1))
            };
            a + fraction * (b - a)
        }))
    }
    #[inline(always)]
    unsafe fn sample_near(from: *const f32, position: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::sample(from, position) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Lanes};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256);

    impl Lanes for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the CPU has AVX2 and FMA, the trait's contract.
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above, and the pointer is valid.
            Self(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm256_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm256_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm256_min_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm256_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn sample(from: *const f32, position: Self) -> Self {
            // SAFETY: as in `splat`; the caller promises that index and its successor are
            // readable.
            unsafe {
                let index = _mm256_cvttps_epi32(position.0);
                let fraction = _mm256_sub_ps(position.0, _mm256_cvtepi32_ps(index));
                let a = _mm256_i32gather_ps::<4>(from, index);
                let b = _mm256_i32gather_ps::<4>(from.add(1), index);
                Self(_mm256_fmadd_ps(fraction, _mm256_sub_ps(b, a), a))
            }
        }
        #[inline(always)]
        unsafe fn sample_near(from: *const f32, position: Self) -> Self {
            // SAFETY: as in `splat`; the caller promises 16 readable elements from the first
            // index, and that no index or its successor lies past them.
            unsafe {
                let index = _mm256_cvttps_epi32(position.0);
                let fraction = _mm256_sub_ps(position.0, _mm256_cvtepi32_ps(index));
                let first = _mm_cvtsi128_si32(_mm256_castsi256_si128(index));
                let from = from.offset(first as isize);
                let (low, high) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
                let index = _mm256_sub_epi32(index, _mm256_set1_epi32(first));
                let next = _mm256_add_epi32(index, _mm256_set1_epi32(1));
                let (a, b) = (pick(low, high, index), pick(low, high, next));
                Self(_mm256_fmadd_ps(fraction, _mm256_sub_ps(b, a), a))
            }
        }
    }

    /// The elements of the sixteen in `low` and `high` that `index` names.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pick(low: __m256, high: __m256, index: __m256i) -> __m256 {
        let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index));
        _mm256_blendv_ps(
            _mm256_permutevar8x32_ps(low, index),
            _mm256_permutevar8x32_ps(high, index),
            upper,
        )
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    impl Lanes for Avx512 {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the CPU has AVX-512, the trait's contract.
            Self(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above, and the pointer is valid.
            Self(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm512_add_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm512_mul_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm512_min_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm512_max_ps(self.0, b.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as in `splat`.
            Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn sample(from: *const f32, position: Self) -> Self {
            // SAFETY: as in `splat`; the caller promises that index and its successor are
            // readable.
            unsafe {
                let index = _mm512_cvttps_epi32(position.0);
                let fraction = _mm512_sub_ps(position.0, _mm512_cvtepi32_ps(index));
                let a = _mm512_i32gather_ps::<4>(index, from);
                let b = _mm512_i32gather_ps::<4>(index, from.add(1));
                Self(_mm512_fmadd_ps(fraction, _mm512_sub_ps(b, a), a))
            }
        }
        #[inline(always)]
        unsafe fn sample_near(from: *const f32, position: Self) -> Self {
            // SAFETY: as in `splat`; the caller promises 32 readable elements from the first
            // index, and that no index or its successor lies past them.
            unsafe {
                let index = _mm512_cvttps_epi32(position.0);
                let fraction = _mm512_sub_ps(position.0, _mm512_cvtepi32_ps(index));
                let first = _mm_cvtsi128_si32(_mm512_castsi512_si128(index));
                let from = from.offset(first as isize);
                let (low, high) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
                let index = _mm512_sub_epi32(index, _mm512_set1_epi32(first));
                let next = _mm512_add_epi32(index, _mm512_set1_epi32(1));
                let a = _mm512_permutex2var_ps(low, index, high);
                let b = _mm512_permutex2var_ps(low, next, high);
                Self(_mm512_fmadd_ps(fraction, _mm512_sub_ps(b, a), a))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every operation on `a` and interpolates in `table` from 0.3 in steps of `step`.
    struct Check<'a> {
        a: &'a [f32; 16],
        table: &'a [f32; 64],
        step: f32,
    }

    impl Kernel for Check<'_> {
        type Output = Vec<[f32; 6]>;
        #[inline(always)]
        fn run<V: Lanes>(self) -> Self::Output {
            let mut out = [[0.0; 16]; 6];
            let position: [f32; 16] = std::array::from_fn(|i| 0.3 + self.step * i as f32);
            // SAFETY: called through Level::run; all arrays hold at least LANES elements, and
            // positions end below 0.3 + 15 * 1.9 + 1 < 64.
            unsafe {
                let (a, two) = (V::load(self.a.as_ptr()), V::splat(2.0));
                let at = V::load(position.as_ptr());
                let results = [
                    a.add(two),
                    a.mul(two).min(V::splat(9.0)),
                    a.max(V::splat(3.0)),
                    a.mul_add(two, V::splat(1.0)),
                    V::sample(self.table.as_ptr(), at),
                    V::sample_near(self.table.as_ptr(), at),
                ];
                for (out, v) in out.iter_mut().zip(results) {
                    v.store(out.as_mut_ptr());
                }
            }
            (0..V::LANES.min(8)).map(|i| out.map(|o| o[i])).collect()
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        let a = std::array::from_fn(|i| i as f32);
        let table: [f32; 64] = std::array::from_fn(|i| ((i * i) % 37) as f32);
        for step in [0.0, 0.4, 1.0, 1.85] {
            for level in Level::all() {
                let found = level.run(Check {
                    a: &a,
                    table: &table,
                    step,
                });
                for (i, found) in found.iter().enumerate() {
                    let x = i as f32;
                    let at = 0.3 + step * x;
                    let (k, f) = (at as usize, at.fract());
                    let line = table[k] * (1.0 - f) + table[k + 1] * f;
                    let expected = [
                        x + 2.0,
                        (2.0 * x).min(9.0),
                        x.max(3.0),
                        2.0 * x + 1.0,
                        line,
                        line,
                    ];
                    for (found, expected) in found.iter().zip(expected) {
                        assert!((found - expected).abs() < 2e-5, "{level:?} {step} {i}");
                    }
                }
            }
        }
    }
}
