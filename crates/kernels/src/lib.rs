//! CPU arithmetic for convolutional nets on plain `f32` slices, forward and backward.
//!
//! Tensors are contiguous and row-major: activations `[batch][channel][depth][row][column]`,
//! convolution weights `[out channel][in channel][depth][row][column]`; images have a depth of 1. The crate knows no tensor
//! library: callers own every buffer, and results are written, not returned.
//!
//! Work is spread over the current `rayon` pool. No result depends on the number of threads: every
//! output element, gradients of weights included, is summed in one fixed order. It does depend on
//! the instruction set, which is chosen once at run time.
//!
//! Every function panics where a slice has not the length its geometry asks for: that is a
//! programmer's error, not a user's.

#![allow(
    unsafe_code,
    reason = "vector instructions chosen at run time, and writes of threads to disjoint places"
)]

mod adam;
mod blocks;
#[cfg(test)]
mod check;
pub mod conv;
mod distance;
mod exponential;
mod norm;
mod peak;
mod pointwise;
mod pool;
mod recycle;
mod resize;
mod scratch;
mod segmentation;
mod sgd;
mod shared;
mod simd;
mod ssim;
mod sums;
mod threads;

pub use adam::Adam;
pub use conv::{Conv, Padding, grad_bias};
pub use distance::{Distance, Target};
pub use norm::{Activation, InstanceNorm};
pub use peak::{fma_peak, instructions};
pub use pointwise::Pointwise;
pub use pool::Pool;
pub use recycle::Recycler;
pub use resize::{Interpolation, Upsample};
pub use segmentation::{SegmentationLoss, SegmentationTerms, SoftDice};
pub use sgd::Sgd;
pub use ssim::Ssim;
