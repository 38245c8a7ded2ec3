//! Translators and segmenters: nets, losses, batches, training, inference.
//!
//! The only room that names Burn. Tensors are `[batch, channels, height, width]`, f32.

mod error;

pub mod batch;
pub mod bench;
pub mod device;
pub mod fit;
pub mod loss;
pub mod net;
pub mod ops;
pub mod plan;
pub mod recipe;
pub mod segment;
pub mod window;

pub use crossmod_volume::{Progress, Silent};
pub use error::Error;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
