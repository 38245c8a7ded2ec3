//! What the cores can do at most: multiply-adds in registers, nothing loaded or stored.
//!
//! The figure that the speed of a convolution is a share of. It is measured where it is used, since
//! clock rates differ with the instructions, the number of busy cores and the machine's neighbours.

use std::hint::black_box;
use std::time::Instant;

use crate::simd::{Kernel, Lanes, Level};

/// Rounds of a run: a few milliseconds, which a busy machine may leave undisturbed.
const ROUNDS: usize = 1 << 20;

/// Runs of which the fastest counts.
const RUNS: usize = 24;

/// The most multiply-adds that `threads` threads did in a second together, in GFLOP/s: two
/// operations each, `f32`, with the instructions that all kernels use.
#[must_use]
pub fn fma_peak(threads: usize) -> f64 {
    let level = Level::best();
    let run = || -> f64 {
        std::thread::scope(|scope| {
            let spawn = |_| scope.spawn(move || gflops(level));
            let running: Vec<_> = (0..threads).map(spawn).collect();
            running.into_iter().filter_map(|t| t.join().ok()).sum()
        })
    };
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

/// The instruction set that kernels use on this machine.
#[must_use]
pub fn instructions() -> &'static str {
    match Level::best().lanes() {
        16 => "AVX-512",
        8 => "AVX2 and FMA",
        _ if cfg!(target_arch = "aarch64") => "NEON",
        _ => "the target's baseline",
    }
}

/// The rate of one thread.
fn gflops(level: Level) -> f64 {
    let start = Instant::now();
    let products = if level.wide() {
        level.run(Chains::<24>)
    } else {
        level.run(Chains::<12>)
    };
    2.0 * products as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// `N` chains of multiply-adds, each waiting for itself only: more than what two units with a
/// latency of four cycles can have under way, and as many registers as there are beside two factors.
struct Chains<const N: usize>;

impl<const N: usize> Kernel for Chains<N> {
    /// Multiply-adds done.
    type Output = usize;

    #[inline(always)]
    fn run<V: Lanes>(self) -> usize {
        let (factor, summand) = (black_box(0.999_f32), black_box(1e-3_f32));
        // SAFETY: called through Level::run, and a vector is stored to a buffer that holds it.
        unsafe {
            let (factor, summand) = (V::splat(factor), V::splat(summand));
            let mut chains = [V::splat(1.0); N];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = chain.mul_add(factor, summand);
                }
            }
            let mut out = [0.0f32; 64];
            assert!(V::LANES <= out.len());
            for chain in chains {
                chain.store(out.as_mut_ptr());
                black_box(&out);
            }
        }
        ROUNDS * N * V::LANES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain is `x → 0.999 x + 0.001` from 1, which stays there: so the products are not skipped
    /// for being zero or denormal, and their number is known.
    #[test]
    fn every_level_counts_its_products() {
        for level in Level::all() {
            assert_eq!(level.run(Chains::<12>), ROUNDS * 12 * level.lanes());
        }
    }

    #[test]
    fn the_rate_is_a_number() {
        let peak = fma_peak(1);
        assert!(peak > 0.0 && peak.is_finite(), "{peak}");
    }
}
