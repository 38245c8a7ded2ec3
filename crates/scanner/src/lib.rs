//! A CT scanner: from Hounsfield units to attenuation, photons and quantum noise.

pub mod attenuation;
mod error;
pub mod noise;
pub mod photons;

pub use error::Error;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
