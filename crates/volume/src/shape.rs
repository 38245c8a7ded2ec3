//! What label maps look like: their connected parts and their holes.

pub mod components;
pub mod holes;
mod runs;

pub use components::{Component, Components, Least, keep_largest, remove_smaller_than};
pub use holes::{Extent, fill_holes};
pub use runs::Neighbourhood;
