//! Training, whatever is trained: the loop, its budget and schedule, optimiser, checkpoints.

mod adam;
mod average;
mod budget;
mod gradients;
mod log;
pub(crate) mod manifest;
mod optimizer;
mod pool;
mod run;
mod schedule;
mod sgd;
mod slots;
mod train;

pub use adam::{Adam, AdamConfig};
pub use average::Average;
pub use budget::Budget;
pub use gradients::NetGradients;
#[cfg(test)]
pub(crate) use gradients::reach;
pub use log::{Row, read as read_log};
pub use manifest::Manifest;
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
pub use pool::ImagePool;
pub use run::{RunFolder, State, write_json};
pub use schedule::{Poly, Schedule};
pub use sgd::{Sgd, SgdConfig};
pub(crate) use train::VALIDATION;
pub use train::{Decay, Losses, Plan, Summary, Trainable, train};
