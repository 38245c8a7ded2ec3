//! Numbers and pictures of what was done: sheets, and pages with a viewer.

mod base64;
mod canvas;
pub mod case;
pub mod chart;
mod error;
mod evaluated;
mod font;
pub mod page;
pub mod planes;
pub mod sheet;
pub mod tensorboard;
pub mod tile;
pub mod volumes;

pub use chart::Chart;
pub use error::Error;
pub use page::Page;
pub use planes::{Plane, Stack};
pub use sheet::Sheet;
pub use tile::Tile;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
