//! Labelled images by rule: phantoms whose anatomy and images are drawn, and images painted onto
//! label maps.
//!
//! A [`SynthRecipe`] is an ordered list of [`Step`]s. A [`Generator`] draws each step from a stream of
//! its own, applies it to the [`Scene`] of a case, and keeps the [`Draw`]s: the [`Record`] of an image
//! makes the same image again, on any number of threads.
//!
//! | part | does |
//! |---|---|
//! | `recipe` | a recipe file, or a preset by its name |
//! | `scene` | what steps work on: labels, what they are, the image |
//! | `steps` | one file for each step: its ranges, its draw, what it does |
//! | `generate` | case and number in, image, labels and record out |
//! | `phantom` | a study that needs no data at all |

mod error;
mod generate;
pub mod phantom;
mod recipe;
mod scene;
pub mod steps;

pub use error::Error;
pub use generate::{Generator, Made, Record};
pub use recipe::{PRESETS, SynthRecipe};
pub use scene::{Scene, Structure};
pub use steps::{Draw, Step};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
