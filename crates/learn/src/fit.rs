//! Training, whatever is trained: the loop, its budget and schedule, optimiser, checkpoints.

mod adam;
mod budget;
mod gradients;
mod log;
mod pool;
mod run;
mod schedule;
mod sgd;
mod slots;
mod train;

pub use adam::{Adam, AdamConfig};
pub use budget::Budget;
pub use gradients::NetGradients;
pub use log::{Row, read as read_log};
pub use pool::ImagePool;
pub use run::{Manifest, RunFolder, State, write_json};
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdConfig};
pub use train::{Losses, Plan, Summary, Trainable, train};
