//! The measurement, where the processor has the instructions.

use std::arch::x86_64::*;
use std::hint::black_box;
use std::time::Instant;

use crossmod_kernels::{Conv, Padding, fma_peak};

/// Output channels of a tile.
const BLOCK: usize = 8;
/// Vectors of outputs of a tile.
const SPAN: usize = 2;
const LANES: usize = 16;
const SIDE: usize = 3;
const TURNS: usize = 21;

pub(crate) fn compare() {
    // SAFETY: `main` looked for the instructions.
    let peaks = [fma_peak(1), unsafe { dot_peak() }];
    println!(
        "peak of one thread: f32 {:.0} GFLOP/s, bf16 {:.0} ({:.2} times)",
        peaks[0],
        peaks[1],
        peaks[1] / peaks[0]
    );
    for (channels, side, stride) in [
        ([256, 256], 64, 1),
        ([64, 128], 256, 2),
        ([128, 256], 128, 2),
    ] {
        layer(channels, side, stride, peaks);
    }
}

/// One layer, both ways in turns.
fn layer([from, to]: [usize; 2], side: usize, stride: usize, peaks: [f64; 2]) {
    let conv = Conv {
        batch: 1,
        in_channels: from,
        out_channels: to,
        in_size: [1, side, side],
        kernel: [1, SIDE, SIDE],
        stride: [1, stride, stride],
        padding: [0, 1, 1],
        mode: Padding::Zero,
    };
    let x = noise(conv.in_len(), 1);
    let w = noise(conv.weight_len(), 2);
    let (mut exact, mut rounded) = (vec![0.0; conv.out_len()], vec![0.0; conv.out_len()]);
    let halves = Halves::new(&conv, &w);
    let (mut long, mut short) = (Vec::new(), Vec::new());
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.expect("a pool of one thread");
    for _ in 0..TURNS {
        let start = Instant::now();
        one.install(|| conv.forward(&x, &w, None, &mut exact));
        long.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        // SAFETY: `main` looked for the instructions.
        unsafe { halves.forward(&x, &mut rounded) };
        short.push(start.elapsed().as_secs_f64());
    }
    let operations = 2.0 * (conv.out_len() * from * SIDE * SIDE) as f64 / 1e9;
    let (long, short) = (median(long), median(short));
    let square = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    };
    let error = square(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b))
        / square(&mut exact.iter().copied());
    println!(
        "{from}→{to} {side}² k{SIDE} s{stride}: f32 {:.2} ms ({:.0} % of its peak), bf16 {:.2} ms ({:.0} % of its \
         peak), {:.2} times; relative error {error:.1e}",
        1e3 * long,
        100.0 * operations / long / peaks[0],
        1e3 * short,
        100.0 * operations / short / peaks[1],
        long / short
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Numbers in [-1, 1), the same in every run.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The most products in registers, GFLOP/s: 24 chains, as `fma_peak` has them.
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot_peak() -> f64 {
    const ROUNDS: usize = 1 << 20;
    let factor = _mm512_cvtneps_pbh(_mm512_set1_ps(black_box(0.5)));
    let factor = double(factor);
    let mut best = 0.0f64;
    for _ in 0..24 {
        let start = Instant::now();
        let mut chains = [_mm512_set1_ps(1.0); 24];
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = _mm512_dpbf16_ps(*chain, factor, factor);
            }
        }
        let sum = chains
            .into_iter()
            .fold(_mm512_setzero_ps(), |sum, chain| _mm512_add_ps(sum, chain));
        black_box(_mm512_reduce_add_ps(sum));
        let products = (ROUNDS * 24 * 2 * LANES) as f64;
        best = best.max(2.0 * products / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Sixteen numbers twice.
#[target_feature(enable = "avx512f")]
fn double(of: __m256bh) -> __m512bh {
    // SAFETY: both are 16-bit numbers without further meaning.
    unsafe {
        let of: __m256i = std::mem::transmute(of);
        std::mem::transmute(_mm512_broadcast_i64x4(of))
    }
}

/// Pairs of channels side by side in 32 bits: the even one in the lower half.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(even: __m512, odd: __m512) -> __m512i {
    // SAFETY: a vector of 16-bit numbers, as integers.
    let bits = |of: __m512| unsafe {
        let half: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(of));
        _mm512_cvtepu16_epi32(half)
    };
    _mm512_or_si512(bits(even), _mm512_slli_epi32::<16>(bits(odd)))
}

/// A layer with packed weights, `[block][pair of channels][tap][channel of the block]`.
struct Halves<'a> {
    conv: &'a Conv,
    weights: Vec<u32>,
}

impl<'a> Halves<'a> {
    fn new(conv: &'a Conv, w: &[f32]) -> Self {
        let (from, taps) = (conv.in_channels, SIDE * SIDE);
        let [_, _, columns] = conv.out_size();
        let fits = [
            (columns, SPAN * LANES),
            (conv.out_channels, BLOCK),
            (from, 2),
        ];
        assert!(fits.iter().all(|(n, of)| n.is_multiple_of(*of)));
        let half = |value: f32| {
            let bits = value.to_bits();
            (bits + 0x7fff + (bits >> 16 & 1)) >> 16
        };
        let mut weights = Vec::with_capacity(w.len() / 2);
        for block in (0..conv.out_channels).step_by(BLOCK) {
            for pair in 0..from / 2 {
                for tap in 0..taps {
                    for out in block..block + BLOCK {
                        let at = (out * from + 2 * pair) * taps + tap;
                        weights.push(half(w[at]) | half(w[at + taps]) << 16);
                    }
                }
            }
        }
        Self { conv, weights }
    }

    /// The input as pairs of channels, padded with zeros; with stride 2 each row's even columns
    /// before its odd ones.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pack(&self, x: &[f32]) -> Vec<u32> {
        let [_, rows, columns] = self.conv.in_size;
        let width = columns + 2;
        let mut packed = vec![0u32; self.conv.in_channels / 2 * (rows + 2) * width];
        let mut row_of_pairs = vec![0u32; width];
        for (pair, plane) in packed.chunks_exact_mut((rows + 2) * width).enumerate() {
            for row in 0..rows {
                let even = &x[(2 * pair * rows + row) * columns..][..columns];
                let odd = &x[((2 * pair + 1) * rows + row) * columns..][..columns];
                for first in (0..columns).step_by(LANES) {
                    // SAFETY: rows hold a multiple of LANES elements, and one more on either side.
                    unsafe {
                        let of = pairs(
                            _mm512_loadu_ps(even.as_ptr().add(first)),
                            _mm512_loadu_ps(odd.as_ptr().add(first)),
                        );
                        _mm512_storeu_si512(row_of_pairs.as_mut_ptr().add(1 + first).cast(), of);
                    }
                }
                let to = &mut plane[(row + 1) * width..][..width];
                if self.conv.stride[2] == 1 {
                    to.copy_from_slice(&row_of_pairs);
                } else {
                    let (evens, odds) = to.split_at_mut(width / 2);
                    for (i, two) in row_of_pairs.chunks_exact(2).enumerate() {
                        (evens[i], odds[i]) = (two[0], two[1]);
                    }
                }
            }
        }
        packed
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn forward(&self, x: &[f32], y: &mut [f32]) {
        let packed = self.pack(x);
        let [_, rows, columns] = self.conv.out_size();
        let (stride, width) = (self.conv.stride[2], self.conv.in_size[2] + 2);
        let plane = (self.conv.in_size[1] + 2) * width;
        let pairs = self.conv.in_channels / 2;
        // Where a tap begins in a plane.
        let taps: [usize; SIDE * SIDE] = std::array::from_fn(|tap| {
            let (row, column) = (tap / SIDE, tap % SIDE);
            let column = match stride {
                1 => column,
                _ => column % 2 * (width / 2) + column / 2,
            };
            row * width + column
        });
        let of_block = pairs * SIDE * SIDE * BLOCK;
        for row in 0..rows {
            for first in (0..columns).step_by(SPAN * LANES) {
                let start = stride * row * width + first;
                for (block, weights) in self.weights.chunks_exact(of_block).enumerate() {
                    let mut sums = [[_mm512_setzero_ps(); SPAN]; BLOCK];
                    for (pair, weights) in weights.chunks_exact(SIDE * SIDE * BLOCK).enumerate() {
                        // SAFETY: taps lie in the padded plane of a pair, weights hold a block each.
                        unsafe {
                            let from = packed.as_ptr().add(pair * plane + start);
                            let mut weight = weights.as_ptr().cast::<i32>();
                            for tap in taps {
                                let values: [__m512bh; SPAN] = std::array::from_fn(|i| {
                                    let at = from.add(tap + i * LANES);
                                    std::mem::transmute(_mm512_loadu_si512(at.cast()))
                                });
                                for sums in &mut sums {
                                    let factor = std::mem::transmute::<__m512i, __m512bh>(
                                        _mm512_set1_epi32(*weight),
                                    );
                                    for (sum, value) in sums.iter_mut().zip(values) {
                                        *sum = _mm512_dpbf16_ps(*sum, value, factor);
                                    }
                                    weight = weight.add(1);
                                }
                            }
                        }
                    }
                    for (c, sums) in sums.into_iter().enumerate() {
                        let at = ((block * BLOCK + c) * rows + row) * columns + first;
                        let to = y[at..][..SPAN * LANES].as_mut_ptr();
                        for (i, sum) in sums.into_iter().enumerate() {
                            // SAFETY: the slice holds SPAN vectors.
                            unsafe { _mm512_storeu_ps(to.add(i * LANES), sum) };
                        }
                    }
                }
            }
        }
    }
}
