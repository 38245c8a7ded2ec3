//! What label maps look like: their connected parts, their holes and their distances.

pub mod components;
pub mod distance;
pub mod holes;
pub mod nearest;
mod runs;

pub use components::{Component, Components, Least, keep_largest, remove_smaller_than};
pub use distance::{depth_mm, distance_mm, signed_distance_mm};
pub use holes::{Extent, fill_holes};
pub use nearest::{Points, nearest_mm};
pub use runs::Neighbourhood;
