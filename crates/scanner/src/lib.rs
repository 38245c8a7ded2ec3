//! A CT scanner: from Hounsfield units to attenuation, photons and quantum noise.

pub mod attenuation;
mod backproject;
mod error;
pub mod fast;
pub mod filter;
pub mod geometry;
pub mod noise;
pub mod phantom;
pub mod photons;
pub mod physics;
pub mod project;
mod rebin;
pub mod reconstruct;
mod simd;
pub mod simulate;

pub use error::Error;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
