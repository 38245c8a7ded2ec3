//! Pictures of images, labels and results.

mod base64;
mod error;
mod font;
pub mod html;
pub mod sheet;
pub mod tile;

pub use error::Error;
pub use sheet::Sheet;
pub use tile::Tile;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
