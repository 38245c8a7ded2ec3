//! Labelled images by rule: phantoms whose anatomy and images are drawn, not collected.

mod error;
pub mod phantom;

pub use error::Error;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
