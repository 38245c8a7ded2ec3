//! What products of 16-bit numbers with 32-bit sums (AVX512-BF16) would bring a convolution.
//!
//! ```text
//! cargo run --release -p crossmod-kernels --example bf16
//! ```
//!
//! On one thread: the peaks of both kinds of product in registers, then two layers in turns, by the
//! library's own f32 convolution and by a direct bf16 one: 3 × 3 with stride 1, where f32 goes
//! Winograd's way, and with stride 2, where it cannot. The bf16 convolution is the best of
//! cases: its weights are packed beforehand, and sizes are multiples of its tile.

#![allow(
    unsafe_code,
    reason = "vector instructions that the library does not use"
)]

#[cfg(target_arch = "x86_64")]
mod wide;

fn main() {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512bf16")
        && std::arch::is_x86_feature_detected!("avx512bw")
    {
        wide::compare();
        return;
    }
    eprintln!("expected a processor with AVX512-BF16, found none: nothing was measured");
    std::process::exit(1);
}
