//! Intensities: their distribution, and bringing them to the range that nets work in.

pub mod foreground;
pub mod normalise;
pub mod percentile;
pub mod standardise;
pub mod vary;

pub use foreground::{Statistics, sample_foreground};
pub use normalise::Normalise;
pub use percentile::percentiles;
pub use standardise::{Standardise, unstandardise};
