//! What can go wrong while synthesising.

use std::path::{Path, PathBuf};

/// An error of this crate. Messages say what was expected, what was found and what to do; the
/// path comes last.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that describes no phantom or no study.
    #[error("{0}")]
    Config(String),
    /// A volume that cannot be made or written.
    #[error(transparent)]
    Volume(#[from] crossmod_volume::Error),
    /// A noise model that cannot be applied.
    #[error(transparent)]
    Scanner(#[from] crossmod_scanner::Error),
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
    pub(crate) fn record(source: serde_json::Error, path: &Path) -> Self {
        Self::Record {
            source,
            path: path.to_owned(),
        }
    }
}
