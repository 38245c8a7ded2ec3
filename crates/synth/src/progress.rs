//! How work tells its caller where it is: the workspace's own trait.

pub use crossmod_volume::{Progress, Silent};
