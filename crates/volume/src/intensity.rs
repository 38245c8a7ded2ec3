//! Intensities: their distribution, and bringing them to the range that nets work in.

pub mod percentile;
pub mod standardise;

pub use percentile::percentiles;
pub use standardise::{Standardise, unstandardise};
