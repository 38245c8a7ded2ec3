//! Medical images, label maps and where they lie in the patient.
//!
//! [`Image`] is `f32` on a [`Grid`], [`Labels`] is `u16` on a [`Grid`]; nothing in crossmod passes
//! a bare array and a spacing side by side.

pub mod dataset;
pub mod elementary;
mod error;
mod grid;
mod image;
pub mod intensity;
pub mod io;
mod labels;
mod progress;
pub mod rng;
pub mod shape;
pub mod space;

pub use error::Error;
pub use grid::Grid;
pub use image::Image;
pub use labels::Labels;
pub use progress::{Progress, Silent};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
