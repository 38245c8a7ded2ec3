//! From volumes to batches: slices in memory, random patches of them.

mod augment;
mod prepare;
mod sampler;
mod slices;

pub use augment::{AugmentConfig, AugmentDraw};
pub use prepare::{Prepared, pad_to, prepare};
pub use sampler::{Batch, Order, Sampler};
pub use slices::Slices;
