//! A CT scanner: a volume in Hounsfield units is projected along a helix, counted photon by photon, and
//! reconstructed.
//!
//! | part | does |
//! |---|---|
//! | [`simulate`] | a scan from end to end, and its settings |
//! | [`fast`] | the noise of a scan alone |
//! | [`geometry`] | scanners, and the helix over a volume |
//! | [`phantom`] | bodies of known shape, with exact line integrals |
//! | [`project`] | line integrals of a volume |
//! | [`attenuation`], [`photons`] | Hounsfield units, the tube, counting |
//! | [`physics`] | spectra, scatter, metal, motion and what else a real scan adds |
//! | [`filter`], [`reconstruct`] | kernels, and images from line integrals |
//! | [`noise`] | how much noise, without a scan |

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
