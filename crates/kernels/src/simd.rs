//! Vectors of `f32`, and the choice of instruction set at run time.
//!
//! A kernel is written once, as a [`Kernel`] generic over [`Lanes`], and compiled three times: for
//! AVX-512, for AVX2 with FMA, and for the target's baseline. [`Level::run`] picks one. The
//! baseline twin is plain Rust (on aarch64 the compiler makes NEON of it) and is what the others
//! are tested against.

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
    /// Whether there are 32 vector registers, not 16.
    const WIDE: bool;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`, rounded once where the CPU can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// The sum of the elements.
    unsafe fn sum(self) -> f32;
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
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
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

    /// Elements in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Isa::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::Avx512::LANES,
        }
    }

    /// Whether there are 32 vector registers, not 16.
    pub(crate) fn wide(self) -> bool {
        match self.0 {
            Isa::Portable => Portable::WIDE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::Avx2::WIDE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::Avx512::WIDE,
        }
    }
}

/// Four elements in the target's baseline instructions.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

/// `mul_add` without the instruction is a slow call into libm.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

impl Lanes for Portable {
    const LANES: usize = 4;
    const WIDE: bool = cfg!(target_arch = "aarch64");

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| {
            let (a, b, c) = (self.0[i], b.0[i], c.0[i]);
            if FUSED { a.mul_add(b, c) } else { a * b + c }
        }))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
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

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256);

    impl Lanes for Avx2 {
        const LANES: usize = 8;
        const WIDE: bool = false;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the CPU has AVX2, the trait's contract.
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
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above, with FMA.
            Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let half = _mm_add_ps(
                    _mm256_castps256_ps128(self.0),
                    _mm256_extractf128_ps::<1>(self.0),
                );
                let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    impl Lanes for Avx512 {
        const LANES: usize = 16;
        const WIDE: bool = true;

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
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Check;

    impl Kernel for Check {
        type Output = (Vec<f32>, f32);
        #[inline(always)]
        fn run<V: Lanes>(self) -> Self::Output {
            let a: Vec<f32> = (0..V::LANES).map(|i| i as f32).collect();
            let mut out = vec![0.0; V::LANES];
            // SAFETY: called through Level::run; both vectors hold LANES elements.
            let sum = unsafe {
                let v = V::load(a.as_ptr()).mul_add(V::splat(2.0), V::splat(1.0));
                v.store(out.as_mut_ptr());
                v.sum()
            };
            (out, sum)
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        for level in Level::all() {
            let (out, sum) = level.run(Check);
            let expected: Vec<f32> = (0..level.lanes()).map(|i| 2.0 * i as f32 + 1.0).collect();
            assert_eq!(out, expected, "{level:?}");
            assert_eq!(sum, expected.iter().sum::<f32>(), "{level:?}");
        }
    }
}
