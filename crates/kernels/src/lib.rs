//! CPU arithmetic for convolutional nets on plain `f32` slices, forward and backward.
//!
//! Tensors are contiguous and row-major: activations `[batch][channel][row][column]`, convolution
//! weights `[out channel][in channel][kernel row][kernel column]`. The crate knows no tensor
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
pub mod conv2d;
mod norm;
mod pool;
mod resize;
mod scratch;
mod shared;
mod simd;
mod threads;

pub use adam::Adam;
pub use conv2d::{Conv2d, Padding, grad_bias};
pub use norm::{Activation, InstanceNorm};
pub use pool::{max_pool2, max_pool2_backward};
pub use resize::{upsample2, upsample2_backward};
