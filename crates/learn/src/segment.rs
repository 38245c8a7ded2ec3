//! Segmentation that plans itself: what a dataset is, and the net, patch and preparation that
//! follow from it.
//!
//! - [`fingerprint`] reads every case once and keeps what planning needs: shapes, spacings,
//!   intensities of the foreground, volumes of the classes.
//! - [`plan`] turns a fingerprint and a memory budget into a [`plan::SegmentationPlan`], each choice
//!   with its reason, and reads and writes nnU-Net's `plans.json`.
//! - [`postprocess`] chooses and applies rules about connected parts and holes.
//! - [`prepare`] brings a case to a plan's grid and intensities, and the net's answer back.
//! - [`store`] keeps the prepared cases that training cuts patches from, within a memory budget.
//! - `data` finds what is trained on; `recipe`, `start`, `learner` and `check` train; `validate` segments the cases kept for it.
//! - `net` and `predict` are the trained run, before whole volumes.
//!
//! The rules are those of nnU-Net (Isensee et al., Nature Methods 18, 2021,
//! doi:10.1038/s41592-020-01008-z); the memory they plan for is that of this crate's own training
//! step. Arrays are `[z, y, x]`, spacings mm.

mod check;
mod data;
pub mod fingerprint;
mod learner;
mod net;
pub mod plan;
pub mod postprocess;
mod predict;
pub mod prepare;
mod recipe;
mod start;
pub mod store;
mod validate;

pub use fingerprint::Fingerprint;
pub use plan::{PlanConfig, SegmentationPlan};
pub use postprocess::{PostprocessConfig, Postprocessing};
pub(crate) use predict::predictor_of;
pub use predict::{Changes, is_segment_run, predict_runs};
pub use prepare::{Prepared, read_channels};
pub use recipe::{All, Fold, Mix, SegmentKind, SegmentRecipe, StopConfig};
pub use start::{SegmentRequest, SegmentSummary, resume_segment, start_segment};
pub use store::Store;
pub use validate::Validation;
