//! What can go wrong while synthesising.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::Result;

/// An error of this crate. Messages say what was expected, what was found and what to do; the
/// path comes last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that describes no phantom or no study.
    #[error("{0}")]
    Config(String),
    /// A recipe with values that cannot be, or steps that do not go together.
    #[error("{0}")]
    Recipe(String),
    /// A file that a recipe names.
    #[error("could not read: {source}: {}", path.display())]
    Read {
        /// Why it failed.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// A file that does not hold what it should.
    #[error("{message}: {}", path.display())]
    File {
        /// What was expected and found, and what to do.
        message: String,
        /// The file.
        path: PathBuf,
    },
    /// A volume that cannot be made or written.
    #[error(transparent)]
    Volume(#[from] crossmod_volume::Error),
    /// A noise model that cannot be applied.
    #[error(transparent)]
    Scanner(#[from] crossmod_scanner::Error),
    /// The user asked to stop.
    #[error("interrupted after {made} images; run the same command again to make the others")]
    Interrupted {
        /// Images made since the start of the command.
        made: usize,
    },
    /// A record that cannot be written as JSON.
    #[error("could not write the record as JSON: {source}: {}", path.display())]
    Record {
        /// Why it failed.
        source: serde_json::Error,
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn read(source: std::io::Error, path: &Path) -> Self {
        Self::Read {
            source,
            path: path.to_owned(),
        }
    }

    pub(crate) fn file(message: impl Into<String>, path: &Path) -> Self {
        Self::File {
            message: message.into(),
            path: path.to_owned(),
        }
    }

    pub(crate) fn record(source: serde_json::Error, path: &Path) -> Self {
        Self::Record {
            source,
            path: path.to_owned(),
        }
    }
}

/// Refuses what is no probability.
pub(crate) fn probability(key: &str, found: f32) -> Result<()> {
    if (0.0..=1.0).contains(&found) {
        return Ok(());
    }
    Err(Error::Recipe(format!(
        "expected {key} to be a probability, 0 to 1, found {found}"
    )))
}

/// Refuses a range whose ends are not in order or not within bounds.
pub(crate) fn range(key: &str, found: [f32; 2], bounds: RangeInclusive<f32>) -> Result<()> {
    if found.iter().all(|v| bounds.contains(v)) && found[0] <= found[1] {
        return Ok(());
    }
    Err(Error::Recipe(format!(
        "expected {key} to be a range within {} to {}, found {found:?}",
        bounds.start(),
        bounds.end()
    )))
}

/// Refuses a range of whole numbers whose ends are not in order or not within bounds.
pub(crate) fn counts(key: &str, found: [usize; 2], bounds: RangeInclusive<usize>) -> Result<()> {
    if found.iter().all(|v| bounds.contains(v)) && found[0] <= found[1] {
        return Ok(());
    }
    Err(Error::Recipe(format!(
        "expected {key} to be a range within {} to {}, found {found:?}",
        bounds.start(),
        bounds.end()
    )))
}
