//! Whole volumes through a trained net: slices in, a volume on the input's own grid out.

mod files;
pub mod planned;
mod predict;
pub mod sliding;
mod stack;
mod translate;
mod volume;

pub use files::{CaseJob, Job, case_jobs, jobs};
pub use planned::{Outcome, PlannedPredictor, Wanted, predict_planned};
pub use predict::{Predictor, predict};
pub use sliding::{PatchNet, WindowBatch, WindowConfig};
pub(crate) use translate::SliceTranslator;
pub use translate::{Direction, Translator, translate};
