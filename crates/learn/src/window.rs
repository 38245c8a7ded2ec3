//! Whole volumes through a trained net: slices in, a volume on the input's own grid out.

mod files;
mod predict;
mod slicewise;
mod translate;

pub use files::{Job, jobs};
pub use predict::{Predictor, predict};
pub use translate::{Direction, Translator, translate};
