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
    /// Vectors of half as many elements, for what fits into them; itself where there are none.
    type Half: Lanes;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`, rounded once where the CPU can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// The sums of the elements of four vectors.
    unsafe fn sums(of: [Self; 4]) -> [f32; 4];
    /// The elements of four vectors in turns: all first ones, then all second ones, and so on.
    unsafe fn interleave(of: [Self; 4]) -> [Self; 4];
    /// The inverse of [`Lanes::interleave`].
    unsafe fn deinterleave(of: [Self; 4]) -> [Self; 4];
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
    type Half = Self;

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
    unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
        of.map(|Self([a, b, c, d])| (a + c) + (b + d))
    }
    #[inline(always)]
    unsafe fn interleave([a, b, c, d]: [Self; 4]) -> [Self; 4] {
        [0, 1, 2, 3].map(|i| Self([a.0[i], b.0[i], c.0[i], d.0[i]]))
    }
    #[inline(always)]
    unsafe fn deinterleave(of: [Self; 4]) -> [Self; 4] {
        // A transposition, which is its own inverse.
        // SAFETY: the caller's promise.
        unsafe { Self::interleave(of) }
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
        type Half = Self;

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
        unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
            // SAFETY: as above.
            unsafe { quarter_sums(fold(of[0].0, of[1].0), fold(of[2].0, of[3].0)) }
        }
        #[inline(always)]
        unsafe fn interleave(of: [Self; 4]) -> [Self; 4] {
            // SAFETY: as above.
            unsafe { interleave([of[0].0, of[1].0, of[2].0, of[3].0]).map(Self) }
        }
        #[inline(always)]
        unsafe fn deinterleave(of: [Self; 4]) -> [Self; 4] {
            // SAFETY: as above.
            unsafe { deinterleave([of[0].0, of[1].0, of[2].0, of[3].0]).map(Self) }
        }
    }

    /// In each half, the transpose of the 4 × 4 elements of four vectors.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn transpose([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (ab2, cd2) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            _mm256_shuffle_ps::<0b01_00_01_00>(ab2, cd2),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab2, cd2),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn interleave(of: [__m256; 4]) -> [__m256; 4] {
        let [a, b, c, d] = transpose(of);
        [
            _mm256_permute2f128_ps::<0x20>(a, b),
            _mm256_permute2f128_ps::<0x20>(c, d),
            _mm256_permute2f128_ps::<0x31>(a, b),
            _mm256_permute2f128_ps::<0x31>(c, d),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn deinterleave([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        transpose([
            _mm256_permute2f128_ps::<0x20>(a, c),
            _mm256_permute2f128_ps::<0x31>(a, c),
            _mm256_permute2f128_ps::<0x20>(b, d),
            _mm256_permute2f128_ps::<0x31>(b, d),
        ])
    }

    /// In the low half the sums of neighbouring quarters of `a`, in the high half those of `b`:
    /// lane i of a half is the sum of lanes i and i + 4.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fold(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(
            _mm256_permute2f128_ps::<0x20>(a, b),
            _mm256_permute2f128_ps::<0x31>(a, b),
        )
    }

    /// The sums of the four quarters of `(ab, cd)`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn quarter_sums(ab: __m256, cd: __m256) -> [f32; 4] {
        // Within quarters: a a c c | b b d d, then a c a c | b d b d.
        let pairs = _mm256_add_ps(
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
        );
        let sums = _mm256_add_ps(pairs, _mm256_movehdup_ps(pairs));
        let low = _mm256_castps256_ps128(sums);
        let high = _mm256_extractf128_ps::<1>(sums);
        let mut out = [0.0; 4];
        // SAFETY: `out` holds four elements.
        unsafe { _mm_storeu_ps(out.as_mut_ptr(), _mm_shuffle_ps::<0b10_00_10_00>(low, high)) };
        // a c b d
        [out[0], out[2], out[1], out[3]]
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx512(__m512);

    impl Lanes for Avx512 {
        const LANES: usize = 16;
        const WIDE: bool = true;
        type Half = Avx2;

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
        unsafe fn sums(of: [Self; 4]) -> [f32; 4] {
            // SAFETY: as above; a CPU with AVX-512 has AVX2.
            unsafe {
                let [a, b, c, d] = [
                    halves(of[0].0),
                    halves(of[1].0),
                    halves(of[2].0),
                    halves(of[3].0),
                ];
                quarter_sums(fold(a, b), fold(c, d))
            }
        }
        #[inline(always)]
        unsafe fn interleave(of: [Self; 4]) -> [Self; 4] {
            // SAFETY: as above; each half of the lanes gives half of the vectors.
            unsafe {
                let [a, b, c, d] = of.map(|v| split(v.0));
                let [e, f, g, h] = interleave([a.0, b.0, c.0, d.0]);
                let [i, j, k, l] = interleave([a.1, b.1, c.1, d.1]);
                [join(e, f), join(g, h), join(i, j), join(k, l)].map(Self)
            }
        }
        #[inline(always)]
        unsafe fn deinterleave(of: [Self; 4]) -> [Self; 4] {
            // SAFETY: as above.
            unsafe {
                let [a, b, c, d] = of.map(|v| split(v.0));
                let [e, f, g, h] = deinterleave([a.0, a.1, b.0, b.1]);
                let [i, j, k, l] = deinterleave([c.0, c.1, d.0, d.1]);
                [join(e, i), join(f, j), join(g, k), join(h, l)].map(Self)
            }
        }
    }

    /// The two halves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn split(a: __m512) -> (__m256, __m256) {
        (_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn join(low: __m256, high: __m256) -> __m512 {
        _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
    }

    /// The sum of the two halves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn halves(a: __m512) -> __m256 {
        let (low, high) = split(a);
        _mm256_add_ps(low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Check;

    impl Kernel for Check {
        type Output = (Vec<f32>, [f32; 4], Vec<f32>, Vec<f32>);
        #[inline(always)]
        fn run<V: Lanes>(self) -> Self::Output {
            let a: Vec<f32> = (0..V::LANES).map(|i| i as f32).collect();
            let mut out = vec![0.0; V::LANES];
            // SAFETY: called through Level::run; both vectors hold LANES elements.
            let sums = unsafe {
                let v = V::load(a.as_ptr()).mul_add(V::splat(2.0), V::splat(1.0));
                v.store(out.as_mut_ptr());
                V::sums([v, V::load(a.as_ptr()), V::splat(3.0), V::splat(-1.0)])
            };
            // SAFETY: as above.
            unsafe {
                let all: Vec<f32> = (0..4 * V::LANES).map(|i| i as f32).collect();
                let four = [0, 1, 2, 3].map(|i| V::load(all[i * V::LANES..].as_ptr()));
                let (mut turns, mut back) = (all.clone(), all);
                for (i, v) in V::interleave(four).into_iter().enumerate() {
                    v.store(turns[i * V::LANES..].as_mut_ptr());
                }
                for (i, v) in V::deinterleave(V::interleave(four)).into_iter().enumerate() {
                    v.store(back[i * V::LANES..].as_mut_ptr());
                }
                (out, sums, turns, back)
            }
        }
    }

    #[test]
    fn every_level_computes_the_same() {
        for level in Level::all() {
            let (out, sums, turns, back) = level.run(Check);
            let n = level.lanes();
            let expected: Vec<f32> = (0..n).map(|i| 2.0 * i as f32 + 1.0).collect();
            assert_eq!(out, expected, "{level:?}");
            let expected: Vec<f32> = (0..4 * n).map(|i| (i % 4 * n + i / 4) as f32).collect();
            assert_eq!(turns, expected, "{level:?}");
            let all: Vec<f32> = (0..4 * n).map(|i| i as f32).collect();
            assert_eq!(back, all, "{level:?}");
            let n = n as f32;
            assert_eq!(sums, [n * n, n * (n - 1.0) / 2.0, 3.0 * n, -n], "{level:?}");
        }
    }
}
