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
//! | `prior` | how intensities of classes vary, from a file |
//! | `reference` | where intensities of tissues come from |
//! | `scene` | what steps work on: labels, what they are, the image |
//! | `quantiles` | distributions, and giving values another one |
//! | `scheme` | what label values stand for: names, sides, classes, targets |
//! | `steps` | one file for each step: its ranges, its draw, what it does |
//! | `texture` | what fills an organ or a body: drawn textures and films |
//! | `fit` | measures a prior from real scans |
//! | `generate` | case and number in, image, labels and record out |
//! | `source` | label maps and scans in files, of whatever layout |
//! | `offline` | a dataset of images in a folder |
//! | `sheet` | slices of images to look at |
//! | `phantom` | a study that needs no data at all |

mod error;
mod fit;
mod generate;
pub mod offline;
pub mod phantom;
mod prior;
mod progress;
mod quantiles;
mod recipe;
mod reference;
mod scene;
mod scheme;
pub mod sheet;
mod source;
pub mod steps;
mod tables;
mod texture;

pub use error::Error;
pub use fit::fit;
pub use generate::{Generator, Made, Record};
pub use prior::{Prior, PriorClass, QUANTILES, Spread};
pub use progress::{Progress, Silent};
pub use quantiles::Quantiles;
pub use recipe::{PRESETS, SynthRecipe};
pub use reference::Reference;
pub use scene::{Scene, Structure};
pub use scheme::LabelScheme;
pub use source::{LabelCase, LabelFiles, LabelSource, SourceOptions};
pub use steps::{Draw, Step};
pub use tables::Phase;
pub use texture::{ClipDraw, TextureDraw, Textures};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
