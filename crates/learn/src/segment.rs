//! Segmentation that plans itself: what a dataset is, and the net, patch and preparation that
//! follow from it.
//!
//! - [`fingerprint`] reads every case once and keeps what planning needs: shapes, spacings,
//!   intensities of the foreground, volumes of the classes.
//! - [`plan`] turns a fingerprint and a memory budget into a [`plan::SegmentationPlan`], each choice
//!   with its reason, and reads and writes nnU-Net's `plans.json`.
//!
//! The rules are those of nnU-Net (Isensee et al., Nature Methods 18, 2021,
//! doi:10.1038/s41592-020-01008-z); the memory they plan for is that of this crate's own training
//! step. Arrays are `[z, y, x]`, spacings mm.

pub mod fingerprint;
pub mod plan;

pub use fingerprint::Fingerprint;
pub use plan::{PlanConfig, SegmentationPlan};
