//! Counter-based random numbers: any draw can be repeated alone.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11,
//! doi:10.1145/2063384.2063405). The key is the seed; the counter holds (case, step, block), so
//! the numbers of one case and step do not depend on how many others were drawn, in which order,
//! or on which thread or machine.

use rand_core::TryRng;
use std::convert::Infallible;

mod normal;

/// A stream of random numbers for one (seed, case, step).
#[derive(Debug, Clone)]
pub struct Rng {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

/// A number for a name, to be used as `case`: FNV-1a, 64 bit.
#[must_use]
pub fn case_id(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Rng {
    /// The stream of `seed` for `case` (an index, or [`case_id`] of a name) at `step`; streams of
    /// different triples are independent.
    #[must_use]
    pub fn new(seed: u64, case: u64, step: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, step, case as u32, (case >> 32) as u32],
            block: [0; 4],
            used: 4,
        }
    }

    /// The next 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32_10(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in [0, 1), 24 bits.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [low, high).
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n; 0 where `n` is 0 or 1.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = u64::from(self.bits()) << 32 | u64::from(self.bits());
        ((u128::from(wide) * n as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Standard normal (Box–Muller, one of the pair).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.unit()).cos()
    }

    /// Fills `out` with standard normal numbers (Box–Muller, both of the pair), many times faster
    /// than as many calls of [`Rng::normal`]. They begin at the next whole block of the stream, and
    /// what is left of their last blocks is not used; which number goes where depends on nothing but
    /// the length.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        self.used = self.block.len();
        normal::fill(self, out);
    }

    /// A random order of 0..n (Fisher–Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// So that `rand_distr`'s distributions can draw from the stream.
impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.bits())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.bits()) << 32 | u64::from(self.bits()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.bits().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' Random123 library (`kat_vectors`, philox 4x32 10).
    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, case, step| {
            let mut rng = Rng::new(seed, case, step);
            [(); 8].map(|()| rng.bits())
        };
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
    }

    #[test]
    fn moments_of_uniform_and_normal() {
        let mut rng = Rng::new(7, 0, 0);
        let n = 40_000;
        let uniform: Vec<f32> = (0..n).map(|_| rng.unit()).collect();
        let normal: Vec<f32> = (0..n).map(|_| rng.normal()).collect();
        let mean = |v: &[f32]| v.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
        let square: Vec<f32> = normal.iter().map(|x| x * x).collect();
        assert!((mean(&uniform) - 0.5).abs() < 0.01);
        assert!(mean(&normal).abs() < 0.02);
        assert!((mean(&square) - 1.0).abs() < 0.03);
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Rng::new(3, 1, 4).permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
